"""What a run tells while it goes on: to whoever watches, to its log, and when it may be interrupted."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from animal4d.files.atomic import write_text, writing_errors
from animal4d.fit.reconstruct import FitProgress, SilentProgress
from animal4d.fit.trainer import StepReport

FIT = "fit"
"""Stage of the steps of the fit itself, as `FitProgress.step` hears it."""


class RunProgress(FitProgress, Protocol):
    """Who watches a run."""

    def stage(self, name: str) -> None:
        """A stage begins: "reading the clip", ..."""

    def part(self, what: str, done: int, of: int) -> None:
        """A part of the stage is done."""

    def warning(self, text: str) -> None:
        """Something the user should know."""


class SilentRunProgress(SilentProgress):
    """Says nothing."""

    def stage(self, name: str) -> None:
        del name

    def part(self, what: str, done: int, of: int) -> None:
        del what, done, of

    def warning(self, text: str) -> None:
        del text


class Monitor:
    """Passes on what a run tells, and keeps times, decisions and the log. Itself a `FitProgress`."""

    def __init__(self, log: Path, watcher: RunProgress) -> None:
        self.watcher = watcher
        self.seconds: dict[str, float] = {}
        self.decisions: list[str] = []
        self._log = log
        self._log_fits = False
        self._fitting = False
        self._interrupted = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announces a stage and takes its time."""
        self.watcher.stage(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - began, 2)

    def message(self, text: str) -> None:
        self.decisions.append(text)
        self.watcher.message(text)

    def step(self, stage: str, report: StepReport) -> None:
        if not self._log_fits:
            _truncate_log(self._log, stage, report.step)
            self._log_fits = True
        self._write(stage, report)
        self.watcher.step(stage, report)
        self._fitting = stage == FIT and report.step < report.steps
        if self._interrupted:
            raise KeyboardInterrupt

    @contextmanager
    def deferring_interrupts(self) -> Iterator[None]:
        """Within, Ctrl-C during the fit waits for the end of the step, so that what is kept is a whole step; a second
        Ctrl-C does not wait. Elsewhere, and outside of the main thread, it acts as ever."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(_signal: int, _frame: object) -> None:
            if not self._fitting or self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True

        previous = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def _write(self, stage: str, report: StepReport) -> None:
        line: dict[str, Any] = {
            "stage": stage,
            "step": report.step,
            "total": _short(report.total),
            "losses": {name: _short(value) for name, value in report.losses.items()},
        }
        if report.validation_iou is not None:
            line["validation_iou"] = _short(report.validation_iou)
        line["seconds"] = round(report.seconds, 3)
        with writing_errors(self._log):
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _truncate_log(path: Path, stage: str, step: int) -> None:
    """Drop what the log says of this step and of all after it: a run that goes on from a checkpoint does them again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
            earlier = not _is_start(stage) and (_is_start(entry["stage"]) or entry["step"] < step)
        except (ValueError, KeyError, TypeError):
            continue  # half a line of a run that was killed
        if earlier:
            kept.append(line + "\n")
    write_text(path, "".join(kept))


def _is_start(stage: str) -> bool:
    """The short fits of candidate starts count their own steps; all other stages count those of the fit."""
    return stage.startswith("start")


def _short(value: float) -> float:
    return float(f"{value:.6g}")
