"""What the commands print: progress while a run goes on, and a short table at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from animal4d.fit.trainer import StepReport
    from animal4d.runs import RunResult

_LOSSES_SHOWN = 3
_PERCENT, _DECIBEL = "{:.1%}", "{:.1f} dB"
_TABLE = (
    ("iou", "overlap with the masks (IoU)", _PERCENT),
    ("iou_w5", "overlap in the worst 5 % of frames (IoUw5)", _PERCENT),
    ("psnrm", "colour inside of the mask (PSNRM)", _DECIBEL),
    ("texture_psnrm", "the same with the shell texture", _DECIBEL),
    ("vertex_error", "vertex error, share of the body length", _PERCENT),
    ("pa_mpjpe", "joint error (PA-MPJPE), share of the body length", _PERCENT),
    ("chamfer", "Chamfer distance, share of the diagonal", _PERCENT),
    ("right_way_round", "frames where head and tail are the right way round", _PERCENT),
    ("pck_0.2", "keypoints within 0.2 (PCK@0.2)", _PERCENT),
    ("pck_0.1", "keypoints within 0.1 (PCK@0.1)", _PERCENT),
)
"""Metrics of the summary: key, in words, and how the value is written."""
_WHERE = (
    ("report/index.html", "look here first: the animal in 3D, every frame, every number; opens in a browser"),
    ("overlay.mp4", "input, mesh over input, textured, turntable"),
    ("asset.glb", "the animated animal; opens in Blender, three.js, any glTF viewer"),
    ("cameras.json", "the cameras, in the world of asset.glb"),
    ("metrics.json", "every number, frame by frame"),
)


class ConsoleProgress:
    """Progress of a run on stderr: a live line on a terminal, now and then a plain line elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live = self.console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._label = ""
        self._validation = ""

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        self._close()
        self._print(f"[bold]{escape(name)}[/bold]")

    def part(self, what: str, done: int, of: int) -> None:
        self._show(what, done, of, "")

    def message(self, text: str) -> None:
        self._print(f"  {escape(text)}")

    def warning(self, text: str) -> None:
        self._print(f"  [yellow]warning:[/yellow] {escape(text)}")

    def step(self, stage: str, report: StepReport) -> None:
        if stage != self._label:
            self._validation = ""
        if report.validation_iou is not None:
            self._validation = f"validation IoU {report.validation_iou:.3f}"
        detail = f"loss {report.total:.3g} ({_largest(report.losses)})  {self._validation}"
        self._show(stage, report.step, report.steps, detail)
        if not self._live and report.validation_iou is not None:
            left = (report.steps - report.step) * report.seconds / max(report.step, 1)
            self._print(f"  {stage} {report.step}/{report.steps}  {detail}  {left:.0f} s left")

    def _show(self, label: str, done: int, of: int, detail: str) -> None:
        if self._task is None or label != self._label:
            self._close()
            self._task = self._bar.add_task(f"  {escape(label)}", total=of, detail="")
            self._label = label
        self._bar.update(self._task, completed=done, total=of, detail=escape(detail))

    def _close(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def _print(self, markup: str) -> None:
        self._bar.console.print(markup, soft_wrap=True)


def print_summary(result: RunResult, out: Path, console: Console | None = None) -> None:
    """A short table and where to look; before it, in plain words, what casts doubt on it."""
    console = console or Console(highlight=False)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    part, numbers = _part_shown(result.metrics)
    frames = f"{len(numbers)} held-out frames" if part == "test" else f"{len(numbers)} frames"
    table = Table(title=f"Measured on {frames}", title_justify="left", show_header=False, title_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, words, written in _TABLE:
        value = result.metrics.get(name, {}).get(part)
        if value is not None:
            table.add_row(words, written.format(value))
    if result.seconds:
        table.add_section()
        for stage, seconds in result.seconds.items():
            table.add_row(f"time for {stage}", f"{seconds:.1f} s")
        table.add_row("time in all", f"{sum(result.seconds.values()):.1f} s")
    console.print(table)
    for name, words in _WHERE:
        console.print(f"[bold]{escape(str(out / name))}[/bold]  {words}", soft_wrap=True)


def _part_shown(metrics: Mapping[str, Any]) -> tuple[str, list[int]]:
    """The test frames where there are any, otherwise all; key of the value, and the frames' numbers."""
    test = metrics.get("splits", {}).get("test", [])
    return ("test", test) if test else ("mean", metrics.get("frames", []))


def _largest(losses: Mapping[str, float]) -> str:
    ranked = sorted(losses.items(), key=lambda item: -item[1])[:_LOSSES_SHOWN]
    return ", ".join(f"{name} {value:.2g}" for name, value in ranked)
