"""Finished runs side by side: one table for the terminal, and compare/index.html with pictures frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from animal4d import __version__
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_text
from animal4d.report.html import GENERATOR, comparison, page, section, stage, table, theme_button, transport
from animal4d.report.payload import payload, picture_budget
from animal4d.report.plots import Axes, Line, line_plot
from animal4d.report.run import ShownRun, read_run
from animal4d.report.tables import MetricWords, duration, metrics_of, written
from animal4d.run_folder import RunFolder, flat_settings

_PARTS_OF_RECORD = ("config", "request")
_STYLES = ("c1", "c2", "c3", "c4", "c5", "c6")
_ABSENT = "not set"


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of all runs."""

    metric: MetricWords
    values: tuple[float | None, ...]
    best: tuple[bool, ...]
    """None of them where all are alike or only one run has it."""


@dataclass(frozen=True)
class Comparison:
    """What two or more runs have in common, and what not."""

    names: tuple[str, ...]
    part: str
    """"test", or "mean" (over all frames) where a run has no test frames."""
    metrics: tuple[ComparedMetric, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    """Settings that differ: name and the value in each run."""
    seconds: tuple[float | None, ...]


def compare_runs(folders: Sequence[RunFolder]) -> tuple[Comparison, list[ShownRun]]:
    """Raises Animal4dError where fewer than two runs are given, or one is not finished."""
    if len(folders) < 2:
        raise Animal4dError(f"give at least two runs, got {len(folders) or 'none'}: animal4d compare RUN RUN")
    runs = [read_run(folder) for folder in folders]
    part = "test" if all(run.metrics.get("splits", {}).get("test") for run in runs) else "mean"
    metrics = []
    for metric in metrics_of(*(run.metrics for run in runs)):
        values = tuple(run.value(metric.key, part) for run in runs)
        if any(value is not None for value in values):
            metrics.append(ComparedMetric(metric, values, _best(values, metric.higher_is_better)))
    spent = (run.metrics.get("seconds") or {} for run in runs)
    seconds = tuple(sum(stages.values()) if stages else None for stages in spent)
    return Comparison(_names(runs), part, tuple(metrics), _different_settings(runs), seconds), runs


def check_place(out: Path) -> None:
    """Raises Animal4dError where no page can be written to the folder `out`: a file, or a page not ours, lies there."""
    for path in (out, *out.parents):
        if path.is_file():
            raise Animal4dError(f"{path} is a file; give --out a folder")
    path = out / "index.html"
    if path.is_file() and f'name="generator" content="{GENERATOR}"' not in path.read_text(errors="replace")[:4000]:
        raise Animal4dError(f"{path} was not written by animal4d; give --out another folder")


def write_comparison(compared: Comparison, runs: Sequence[ShownRun], out: Path) -> Path:
    """Write `out/index.html` and return its path. Raises Animal4dError where `check_place` does."""
    check_place(out)
    path = out / "index.html"
    longest = max(runs, key=lambda run: run.times[-1] - run.times[0])
    budget = picture_budget(*runs)
    data = {
        "times": [round(time, 6) for time in longest.times],
        "numbers": longest.frame_numbers,
        "parts": longest.part_of_frame(),
        "runs": [payload(run, budget) for run in runs],
    }
    write_text(path, page(f"{' and '.join(compared.names)} · animal4d", _body(compared, runs, longest), data))
    return path


def _best(values: Sequence[float | None], higher: bool) -> tuple[bool, ...]:
    known = [value for value in values if value is not None]
    if len(known) < 2 or max(known) == min(known):
        return (False,) * len(values)
    wanted = max(known) if higher else min(known)
    return tuple(value == wanted for value in values)


def _names(runs: Sequence[ShownRun]) -> tuple[str, ...]:
    """Names of the folders, with those above them where they would be alike."""
    plain = [run.name for run in runs]
    if len(set(plain)) == len(plain):
        return tuple(plain)
    return tuple(f"{run.folder.path.resolve().parent.name}/{run.name}" for run in runs)


def _different_settings(runs: Sequence[ShownRun]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    flat: list[dict[str, str]] = []
    for run in runs:
        values: dict[str, str] = {"animal4d": str(run.setting("versions", "animal4d") or "unknown")}
        for part in _PARTS_OF_RECORD:
            values |= {name: str(value) for name, value in flat_settings(run.record.get(part) or {}).items()}
        flat.append(values)
    names = dict.fromkeys(name for values in flat for name in values)
    rows = ((name, tuple(values.get(name, _ABSENT) for values in flat)) for name in names)
    return tuple((name, values) for name, values in rows if len(set(values)) > 1)


def _body(compared: Comparison, runs: Sequence[ShownRun], longest: ShownRun) -> str:
    panels = "".join(
        f"<div><h3>{escape(name)}</h3>{comparison(index, f'The input of {name} with its result over it')}"
        f"{stage(index, f'The animal of {name}, animated')}</div>"
        for index, name in enumerate(compared.names)
    )
    measured = "test frames" if compared.part == "test" else "all frames"
    different = [[escape(name), *map(escape, values)] for name, values in compared.settings]
    settings = (
        table(["", *compared.names], different, "Settings that differ") if different else "<p>No setting differs.</p>"
    )
    return "\n".join(
        (
            f'<header class="top"><div><h1>{escape(" · ".join(compared.names))}</h1>'
            f'<p class="subtitle">{len(runs)} runs side by side</p></div>{theme_button()}</header><main>',
            f'<div class="runs">{panels}</div>',
            section("metrics", f"Measures on {measured}", _metric_table(compared), "The star marks the best of a row."),
            section("curves", "Frame by frame", f'<div class="plots">{_overlap_plot(compared, runs, longest)}</div>'),
            section("settings", "Settings that differ", settings),
            f"</main><footer>Written by animal4d {escape(__version__)}</footer>{transport()}",
        )
    )


def _metric_table(compared: Comparison) -> str:
    rows = []
    for entry in compared.metrics:
        cells = [
            f'<span class="best">{written(value, entry.metric.kind)}</span>'
            if best
            else written(value, entry.metric.kind)
            for value, best in zip(entry.values, entry.best, strict=True)
        ]
        words = f'{escape(entry.metric.short)}<span class="words">{escape(entry.metric.words)}</span>'
        rows.append([words, *cells])
    times = [written(None, "") if seconds is None else duration(seconds) for seconds in compared.seconds]
    rows.append(["time in all", *times])
    return table(["", *compared.names], rows, "Measures of all runs", "numbers")


def _overlap_plot(compared: Comparison, runs: Sequence[ShownRun], longest: ShownRun) -> str:
    x = [time - longest.times[0] for time in longest.times]
    if len(x) < 2:
        return "<p>A single frame has no curves.</p>"
    lines = [
        Line(name, _at(run, x), _STYLES[index % len(_STYLES)])
        for index, (name, run) in enumerate(zip(compared.names, runs, strict=True))
    ]
    return line_plot(Axes("Overlap of mesh and mask", "seconds", "IoU", high=1.0), x, lines, longest.part_of_frame())


def _at(run: ShownRun, seconds: Sequence[float]) -> list[float | None]:
    """Overlap of the frame nearest to each time after the first; None beyond the run's end."""
    own = [time - run.times[0] for time in run.times]
    overlaps = run.per_frame("iou")
    tolerance = 0.51 * max((seconds[-1] - seconds[0]) / (len(seconds) - 1), own[-1] / max(len(own) - 1, 1))
    found: list[float | None] = []
    for time in seconds:
        nearest = min(range(len(own)), key=lambda index: abs(own[index] - time))
        found.append(overlaps[nearest] if abs(own[nearest] - time) <= tolerance else None)
    return found
