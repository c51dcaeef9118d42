"""The clips of `make results`: where each comes from, how it is read, and what must be reached on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from animal4d.runs import RunRequest
from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import SynthConfig, demo_config, third_party_config
from animal4d.synth.external_config import TRUTH_FILE, ExternalDataConfig
from animal4d.synth.external_data import write_external_data

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "clips"


@dataclass(frozen=True)
class Target:
    """A figure that must be reached: at least (`>=`), at most (`<=`) or below (`<`) a limit."""

    measure: str
    """Key of the measurements that a clip's process writes down."""
    label: str
    relation: str
    limit: float
    unit: str = ""
    scale: float = 1.0
    """From the measurement to the unit."""

    def reached(self, value: float) -> bool:
        shown = value * self.scale
        if self.relation == ">=":
            return shown >= self.limit
        return shown <= self.limit if self.relation == "<=" else shown < self.limit

    def shortfall(self, value: float) -> float:
        return abs(value * self.scale - self.limit)

    def in_words(self) -> str:
        return f"{self.label} {self.relation} {self.limit:g}{self.unit}"


@dataclass(frozen=True)
class Case:
    """A clip and what must be reached on it."""

    name: str
    title: str
    make_request: Callable[[Path], RunRequest]
    """From the run folder to the request; may make the clip beside the run folder first."""
    targets: tuple[Target, ...]
    needs: Path | None = None
    """File or folder without which the case is skipped."""
    steps: int | None = None
    """Steps of the fit, where not the usual number."""
    by_frame: bool = False
    """Whether the report goes through it frame by frame."""
    hidden_masks: Callable[[Path], Path] | None = None
    """From the run folder to true masks that the run is not given: they judge it."""


JOINT_ERROR_BEFORE = {"Husky": 5.7, "ShibaInu": 5.3, "Cow": 7.3}
"""PA-MPJPE in % of the body length with given masks and without the built-in network (commit 0786f7b)."""
RIGHT_WAY = Target("right_way_round", "right way round in", ">=", 100.0, " % of frames", 100.0)
MEMORY = Target("peak_memory", "peak memory", "<", 2.0, " GB", 1e-9)


def _synthetic(config: SynthConfig) -> Callable[[Path], RunRequest]:
    """Frames and masks alone go into the fit; the truth only measures it."""

    def request(out: Path) -> RunRequest:
        clip = _clip_beside(out)
        write_synthetic_clip(make_synthetic_clip(config), clip, overwrite=True)
        return RunRequest(
            source=clip / "frames",
            masks=clip / "masks",
            truth=clip / "truth.npz",
            fps=config.fps,
            out=out,
            overwrite=True,
        )

    return request


def _clip_beside(out: Path) -> Path:
    return out.parent / f"{out.name}-clip"


def _davis(name: str) -> Callable[[Path], RunRequest]:
    folder = SHARED / "davis" / name
    return lambda out: RunRequest(
        source=folder / "frames",
        masks=folder / "masks",
        keypoints=folder / "keypoints.json",
        fps=24.0,
        out=out,
        overwrite=True,
    )


def _third_party(name: str) -> Case:
    path = SHARED / "animals" / f"{name}.glb"
    targets = (
        Target("iou_test", "test IoU", ">=", 0.88),
        Target("chamfer", "Chamfer", "<=", 4.0, " % of the diagonal", 100.0),
        RIGHT_WAY,
    )
    title = f"{name} walking, camera sweeping 40 to 110 degrees and not given"
    return Case(name, title, _synthetic(third_party_config(path)), targets, needs=path)


def _footage(name: str) -> Case:
    targets = (Target("iou_test", "test IoU", ">=", 0.80), RIGHT_WAY, Target("pck_0.2", "PCK@0.2", ">=", 0.70))
    return Case(name, f"DAVIS {name}, given masks", _davis(name), targets, needs=SHARED / "davis" / name)


def _alone(case: Case, masks: Callable[[Path], Path], *targets: Target) -> Case:
    """The same frames without masks or cameras: the built-in network finds the animal."""

    def request(out: Path) -> RunRequest:
        return replace(case.make_request(out), masks=None)

    title = case.title.removesuffix(", given masks") + ", frames alone"
    return replace(
        case, name=f"{case.name}-alone", title=title, make_request=request, targets=targets, hidden_masks=masks
    )


def _third_party_alone(name: str) -> Case:
    return _alone(
        _third_party(name),
        lambda out: _clip_beside(out) / "masks",
        Target("iou_true", "IoU with the true masks", ">=", 0.85),
        Target("chamfer", "Chamfer", "<=", 3.5, " % of the diagonal", 100.0),
        Target("pa_mpjpe", "joint error (PA-MPJPE) below that of before", "<", JOINT_ERROR_BEFORE[name], " %", 100.0),
    )


def _footage_alone(name: str) -> Case:
    return _alone(
        _footage(name),
        lambda out: SHARED / "davis" / name / "masks",
        Target("mask_iou_true", "masks found against those made by hand, IoU", ">=", 0.75),
        Target("iou_true", "IoU with the masks made by hand", ">=", 0.75),
    )


def _shiba_video_alone(out: Path) -> RunRequest:
    return replace(_shiba_video(out), box=None)


def _robolounge_alone(out: Path) -> RunRequest:
    return replace(_robolounge(out), masks=None)


def _robolounge(out: Path) -> RunRequest:
    folder = SHARED / "dog-robolounge"
    return RunRequest(
        source=folder / "frames", masks=folder / "masks", stride=3, max_frames=60, out=out, overwrite=True
    )


def _shiba_video(out: Path) -> RunRequest:
    return RunRequest(
        source=SHARED / "shiba-haru-6.mp4", box="384,86,400,296", stride=8, max_frames=40, out=out, overwrite=True
    )


def external_request(out: Path, frames: int = 100) -> RunRequest:
    """A clip with all cues of the published layout, noisy ones, in a tree beside the run."""
    root = out.parent / f"{out.name}-tree"
    clip = make_synthetic_clip(replace(external_config(), frames=frames))
    config = ExternalDataConfig()
    shutil.rmtree(root, ignore_errors=True)
    write_external_data(clip, root, config)
    return RunRequest(
        source=Path(f"external:{root}:{config.sequence}"), truth=root / TRUTH_FILE, out=out, overwrite=True
    )


def external_config() -> SynthConfig:
    """100 frames of a dog that trots past a camera that goes round it."""
    return SynthConfig(motion="trot", shape="labrador", camera="orbit", frames=100, seed=3)


CASES = (
    Case(
        "demo",
        "demo clip, frames and masks only",
        _synthetic(demo_config()),
        (
            Target("iou_test", "test IoU", ">=", 0.92),
            Target("vertex_error", "vertex error", "<=", 5.0, " % of body length", 100.0),
            RIGHT_WAY,
            Target("fit_seconds", "fit", "<", 120.0, " s"),
            Target("total_seconds", "whole demo", "<", 180.0, " s"),
            MEMORY,
        ),
    ),
    _third_party("Husky"),
    _third_party("ShibaInu"),
    _third_party("Cow"),
    _footage("dog"),
    _footage("camel"),
    Case(
        "external",
        "synthetic external data, 100 frames, noisy cues, moving camera",
        external_request,
        (
            Target("iou_test", "test IoU", ">=", 0.93),
            Target("iou_w5_test", "IoUw5 of the test frames", ">=", 0.88),
            Target("vertex_error", "vertex error", "<=", 2.5, " % of body length", 100.0),
            Target("texture_psnrm_test", "PSNRM of the test frames", ">=", 22.0, " dB"),
            RIGHT_WAY,
        ),
    ),
    Case(
        "external-200",
        "synthetic external data, 200 frames, fitted in 100 steps",
        partial(external_request, frames=200),
        (Target("peak_memory", "peak memory", "<", 4.0, " GB", 1e-9),),
        steps=100,
    ),
    Case(
        "robolounge",
        "dog-robolounge, every third frame, pseudo masks",
        _robolounge,
        (),
        needs=SHARED / "dog-robolounge",
        by_frame=True,
    ),
    Case(
        "shiba-video",
        "shiba-haru-6.mp4 from a box (GrabCut masks)",
        _shiba_video,
        (),
        needs=SHARED / "shiba-haru-6.mp4",
        by_frame=True,
    ),
    _third_party_alone("Husky"),
    _third_party_alone("ShibaInu"),
    _third_party_alone("Cow"),
    _footage_alone("dog"),
    _footage_alone("camel"),
    Case(
        "shiba-video-alone",
        "shiba-haru-6.mp4, nothing given",
        _shiba_video_alone,
        (),
        needs=SHARED / "shiba-haru-6.mp4",
        by_frame=True,
    ),
    Case(
        "robolounge-alone",
        "dog-robolounge, every third frame, nothing given",
        _robolounge_alone,
        (),
        needs=SHARED / "dog-robolounge",
        by_frame=True,
    ),
)
