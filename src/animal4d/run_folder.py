"""The folder of a run: where its files lie, whether it may be written, and the record of how it was made."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from animal4d import __version__
from animal4d.config import ASSUMED_BODY_LENGTH, Config, from_dict, to_dict
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_text
from animal4d.readers.address import parse_address

_FILES = (
    "metrics.json",  # first: without it the folder no longer counts as finished
    "asset.glb",
    "texture.png",
    "texture_seen.png",
    "cameras.json",
    "poses.npz",
    "reconstruction.npz",
    "overlay.mp4",
    "overlay.png",
    "report/index.html",
    "log.jsonl",
    "config.yaml",
    "checkpoints/last.pt",
    "checkpoints/best.pt",
)
"""All that a run writes but for its cues, which know themselves whether they are stale."""
_PACKAGES = ("torch", "numpy", "scipy", "numba", "opencv-python-headless", "av")
_MEASURES_ONLY = ("truth", "keypoints")
_KINDS = {"source": Path, "start": int, "stride": int, "stop": int | None, "max_frames": int | None}
_ABOUT_THIS_CALL = ("out", "overwrite", "resume")
_START_AGAIN = "start again with `animal4d reconstruct --overwrite`"


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for: where the clip is, how to read it, and where the run goes."""

    source: Path
    out: Path
    masks: Path | None = None
    box: str | None = None
    point: str | None = None
    cameras: Path | None = None
    fov: float | None = None
    fps: float | None = None
    start: int = 0
    stop: int | None = None
    stride: int = 1
    max_frames: int | None = None
    truth: Path | None = None
    keypoints: Path | None = None
    body_length: float = ASSUMED_BODY_LENGTH
    """Metres from nose to tail base: the scale of the asset."""
    overwrite: bool = False
    resume: bool = False

    def to_record(self) -> dict[str, Any]:
        """Plain values with absolute paths, so that a run can be resumed from anywhere."""
        plain = {name: value for name, value in asdict(self).items() if name not in _ABOUT_THIS_CALL}
        return {name: _absolute(value) if isinstance(value, Path) else value for name, value in plain.items()}

    @staticmethod
    def from_record(values: dict[str, Any], out: Path) -> RunRequest:
        """Inverse of `to_record`. Raises TypeError or KeyError where the record is damaged."""
        paths = ("source", "masks", "cameras", *_MEASURES_ONLY)
        plain: dict[str, Any] = {
            name: Path(value) if name in paths and value is not None else value for name, value in values.items()
        }
        for name, kinds in _KINDS.items():
            if not isinstance(plain[name], kinds):
                raise TypeError(f"{name} is {plain[name]!r}")
        return RunRequest(out=out, **plain)


def _absolute(path: Path) -> str:
    """Of a file or folder, or of the root of a sequence's address."""
    address = parse_address(path)
    return str(path.resolve() if address is None else address.resolved())


@dataclass(frozen=True)
class RunFolder:
    """`runs/<name>`: one file per property, see docs/architecture.md."""

    path: Path

    @property
    def asset(self) -> Path:
        return self.path / "asset.glb"

    @property
    def cameras(self) -> Path:
        return self.path / "cameras.json"

    @property
    def poses(self) -> Path:
        return self.path / "poses.npz"

    @property
    def reconstruction(self) -> Path:
        return self.path / "reconstruction.npz"

    @property
    def overlay(self) -> Path:
        return self.path / "overlay.mp4"

    @property
    def contact_sheet(self) -> Path:
        return self.path / "overlay.png"

    @property
    def metrics(self) -> Path:
        """Written last: a folder with it holds a finished run."""
        return self.path / "metrics.json"

    @property
    def record(self) -> Path:
        return self.path / "config.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def cues(self) -> Path:
        return self.path / "cues"

    @property
    def clip(self) -> Path:
        """The clip as it was read, where its masks are not files but were found."""
        return self.cues / "clip.npz"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.pt"

    def check(self, overwrite: bool, resume: bool) -> None:
        """Raises Animal4dError when a run lies here and nothing was said about it, or there is nothing to resume."""
        if self.path.exists() and not self.path.is_dir():
            raise Animal4dError(f"{self.path} is a file; give --out a folder")
        if overwrite and resume:
            raise Animal4dError("--overwrite and --resume exclude each other; give one of them")
        if resume and not self.record.exists():
            raise Animal4dError(f"{self.path} holds no run to go on with; leave --resume away")
        if resume:
            return
        there = [name for name in _FILES if (self.path / name).exists()]
        if there and not self.record.exists():
            raise Animal4dError(
                f"{self.path} is not the folder of a run, but holds {there[0]}; give --out another folder"
            )
        if overwrite:
            return
        if self.metrics.exists():
            raise Animal4dError(
                f"{self.path} holds a finished run; --overwrite replaces it, --resume writes its results anew from its "
                "checkpoint, another --out leaves it alone"
            )
        if self.last_checkpoint.exists():
            raise Animal4dError(
                f"{self.path} holds an interrupted run; --resume goes on with it, --overwrite starts again"
            )
        results = [name for name in there if name not in (self.record.name, self.log.name)]
        if results:
            raise Animal4dError(f"{self.path} holds results of a run ({results[0]}); --overwrite replaces them")

    def clear(self) -> None:
        """Remove what an earlier run wrote, and nothing else. Cues stay: they are made again where they are stale."""
        for name in _FILES:
            path = self.path / name
            path.unlink(missing_ok=True)
            # Half-written files of a run that was killed.
            for leftover in path.parent.glob(f".{path.stem}-*{path.suffix}"):
                leftover.unlink(missing_ok=True)

    def write_record(self, record: dict[str, Any]) -> None:
        write_text(self.record, yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120))

    def read_record(self) -> dict[str, Any]:
        """Raises Animal4dError when there is none, or it is damaged."""
        if not self.record.is_file():
            raise Animal4dError(
                f"{self.path} is not the folder of a run: it has no {self.record.name}; give the folder that "
                "`animal4d reconstruct --out` wrote"
            )
        try:
            record = yaml.safe_load(self.record.read_text())
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise Animal4dError(f"{self.record} cannot be read ({reason}); {_START_AGAIN}") from error
        parts = [record.get(name) for name in ("request", "config", "clip")] if isinstance(record, dict) else [None]
        if not all(isinstance(part, dict) for part in parts):
            raise Animal4dError(f"{self.record} is not the record of a run; {_START_AGAIN}")
        return record

    def recorded_request(self) -> RunRequest:
        try:
            return RunRequest.from_record(self.read_record()["request"], self.path)
        except (TypeError, KeyError, AttributeError) as error:
            raise Animal4dError(f"{self.record}: damaged request ({error}); {_START_AGAIN}") from error

    def recorded_config(self) -> Config:
        return from_dict(Config, self.read_record()["config"], str(self.record))


def versions() -> dict[str, str]:
    """Of everything that a result depends on."""
    found = {"animal4d": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def resumed_settings(
    asked: RunRequest, asked_config: Config, folder: RunFolder
) -> tuple[RunRequest, Config, tuple[str, ...]]:
    """The run's own settings, and in words which of those asked for now do not count.

    Truth and keypoints do: they only measure.
    """
    request, config = folder.recorded_request(), folder.recorded_config()
    ignored = _differences(asked.to_record(), request.to_record(), _default_record(asked), _MEASURES_ONLY)
    ignored += _differences(
        flat_settings(to_dict(asked_config)), flat_settings(to_dict(config)), flat_settings(to_dict(Config()))
    )
    measures = {name: value for name in _MEASURES_ONLY if (value := getattr(asked, name)) is not None}
    notes = (f"--resume goes on with the run's own settings; not used: {', '.join(ignored)}",) if ignored else ()
    return replace(request, resume=True, **measures), config, notes


def _default_record(asked: RunRequest) -> dict[str, Any]:
    names = {field.name for field in fields(RunRequest)} - set(_ABOUT_THIS_CALL)
    defaults = RunRequest(asked.source, asked.out).to_record()
    # The source is always asked for.
    return {name: defaults[name] for name in names if name != "source"}


def _differences(
    asked: dict[str, Any], recorded: dict[str, Any], defaults: dict[str, Any], but: tuple[str, ...] = ()
) -> list[str]:
    """Settings that were asked for, which a run has otherwise."""
    return [
        f"{name} {value} (the run has {recorded.get(name)})"
        for name, value in asked.items()
        if name not in but and value != recorded.get(name) and (name not in defaults or value != defaults[name])
    ]


def flat_settings(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their paths through nested settings, with dots between the names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flat_settings(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
