"""`ShownRun`: all that a finished run's folder says of it, read once and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animal4d.errors import Animal4dError
from animal4d.export.gltf import read_glb
from animal4d.finished_run import FinishedRun, open_finished_run
from animal4d.run_folder import RunFolder

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class ShownRun(FinishedRun):
    """A run with all that a page shows of it."""

    metrics: dict[str, Any]
    log: list[dict[str, Any]]
    """One entry per logged step."""
    asset: bytes

    @property
    def times(self) -> list[float]:
        return self.reconstruction.times.tolist()

    @property
    def frame_numbers(self) -> list[int]:
        return self.reconstruction.frame_numbers.tolist()

    def part_of_frame(self) -> list[str]:
        """For every frame "train", "validation", "test", or "" where it belongs to none."""
        part = {number: name for name in PARTS for number in self.metrics.get("splits", {}).get(name, [])}
        return [part.get(number, "") for number in self.frame_numbers]

    def per_frame(self, metric: str) -> list[float | None]:
        """Values of a metric in every frame; all None where it was not measured."""
        entry = self.metrics.get(metric)
        values = entry.get("per_frame") if isinstance(entry, dict) else None
        return values if values and len(values) == len(self.reconstruction) else [None] * len(self.reconstruction)

    def value(self, metric: str, part: str = "test") -> float | None:
        entry = self.metrics.get(metric)
        value = entry.get(part) if isinstance(entry, dict) else None
        return float(value) if isinstance(value, int | float) else None

    def setting(self, *path: str) -> Any:
        """A value of the record by its path; None where it has none."""
        found: Any = self.record
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found


def read_run(folder: RunFolder) -> ShownRun:
    """Raises Animal4dError, with what to do, where the run is not finished, damaged, or of another version's format."""
    run = open_finished_run(folder.path)
    for needed in (folder.asset, folder.overlay):
        if not needed.is_file():
            raise Animal4dError(
                f"{folder.path} has no {needed.name}; write the results anew with `reconstruct --resume`, or start "
                "again with `animal4d reconstruct --overwrite`"
            )
    asset = folder.asset.read_bytes()
    try:
        read_glb(asset)
    except ValueError as error:
        raise Animal4dError(f"{folder.asset} is damaged; write it anew with `reconstruct --resume`") from error
    return ShownRun(**vars(run), metrics=_read_metrics(folder), log=_read_log(folder.log), asset=asset)


def _read_metrics(folder: RunFolder) -> dict[str, Any]:
    try:
        metrics = json.loads(folder.metrics.read_text())
    except (OSError, ValueError) as error:
        raise Animal4dError(f"{folder.metrics} is damaged ({error}); measure again with `animal4d evaluate`") from error
    if not isinstance(metrics, dict) or not isinstance(metrics.get("frames"), list):
        raise Animal4dError(f"{folder.metrics} holds no metrics of a run; measure again with `animal4d evaluate`")
    return metrics


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Empty where there is none: the log tells how a run went, not what it found."""
    entries = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # half a line of a run that was killed
        if isinstance(entry, dict) and {"stage", "step", "total"} <= entry.keys():
            entries.append(entry)
    return entries
