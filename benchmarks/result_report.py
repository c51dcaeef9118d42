"""The text of docs/results.md, made of what was measured; nothing is written here by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from result_cases import Case, Target

OBSERVATIONS = Path(__file__).with_name("observations.md")
"""What people saw in the pictures: the one part that no program can measure."""
LOST = 0.6
"""Frames with less overlap are called lost."""
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("iou_test", "IoU, test", ".3f"),
    ("iou", "IoU, all", ".3f"),
    ("iou_w5", "IoUw5", ".3f"),
    ("iou_true", "IoU, hidden masks", ".3f"),
    ("texture_psnrm", "PSNRM shell", ".1f"),
    ("asset_psnrm", "PSNRM asset", ".1f"),
    ("vertex_error", "vertex error", ".1%"),
    ("pa_mpjpe", "PA-MPJPE", ".1%"),
    ("joint_motion_error", "of it motion", ".1%"),
    ("chamfer", "Chamfer", ".1%"),
    ("right_way_round", "right way", ".0%"),
    ("pck_0.2", "PCK@0.2", ".1%"),
    ("pck_0.1", "PCK@0.1", ".1%"),
    ("fit_seconds", "fit s", ".0f"),
    ("total_seconds", "total s", ".0f"),
)
STEP_TARGETS = {
    "all together": ("the whole step", Target("step", "time per frame", "<=", 12.0, " ms")),
    "all losses but colour": (
        "the trainer's step with all losses but colour",
        Target("step", "time per frame", "<=", 20.0, " ms"),
    ),
}
"""By the row of the benchmark's tables: what it is called in the report, and what must be reached."""
Results = Mapping[str, "dict[str, Any] | None"]


def report(cases: Sequence[Case], results: Results, step: str | None) -> str:
    """Markdown: circumstances, targets, all figures, and the clips that are gone through frame by frame. `step` is what
    benchmarks/step.py printed."""
    parts = [
        "# Results",
        "Written by `make results` (`benchmarks/results.py`); do not edit. Every clip is reconstructed by the same "
        "settings, the defaults, in a process of its own. Fits see the frames and the masks of those not held "
        "out; other masks, the truth and the keypoints only measure them. IoU is taken on held-out test frames, 3D "
        "errors over all frames.",
        _circumstances(results),
        "## Against the targets",
        "\n".join((*_target_rows(cases, results), *_step_rows(step))),
        "## All figures",
        _figures(cases, results),
        "Vertex error (after one similarity over the clip) and PA-MPJPE are in body lengths, Chamfer in diagonals of "
        "the bounding box. `of it motion` is what is left of PA-MPJPE where every joint may lie beside its "
        "counterpart by a vector that is fixed in the animal's frame: rigs of different makers do not mean the same "
        "place by a joint. `right way` is the share of frames in which the fit heads where the animal does: in "
        "space where the truth is known; on footage in the picture, in the frames that are annotated with head and "
        "tail. A dash: cannot be measured on this clip.",
    ]
    if step is not None:
        parts += ["## Time of one step", "Of `benchmarks/step.py`.", step.strip()]
    for case in cases:
        result = results[case.name]
        if case.by_frame and result is not None and "failed" not in result:
            parts += [f"## {case.title}, frame by frame", _frame_by_frame(result)]
    if OBSERVATIONS.is_file():
        parts.append(OBSERVATIONS.read_text().strip())
    return "\n\n".join(parts) + "\n"


def _circumstances(results: Results) -> str:
    known = [result for result in results.values() if result is not None and "failed" not in result]
    lines = {
        "machine": _distinct(result["machine"] for result in known),
        "date": _distinct(result["date"] for result in known),
        "commit": _distinct(result["commit"] for result in known),
        "seed": _distinct(str(result["seed"]) for result in known),
        "steps": _distinct(str(result["steps"]) for result in known),
        "load at the end of each run": _distinct(f"{result['load']:g}" for result in known),
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values)) or "nothing was run"


def _target_rows(cases: Sequence[Case], results: Results) -> list[str]:
    rows = ["| on | must reach | measured | |", "| --- | --- | ---: | --- |"]
    for case in cases:
        result = results[case.name]
        if result is None:
            rows.append(f"| {case.title} | | not run | |")
        elif "failed" in result:
            rows.append(f"| {case.title} | finishes | failed | **no**: {result['failed']} |")
        elif not case.targets:
            rows.append(f"| {case.title} | finishes | {len(result['frames'])} frames | yes |")
        else:
            rows += [_target_row(case.title, target, result.get(target.measure)) for target in case.targets]
    return rows


def _step_rows(step: str | None) -> Iterator[str]:
    for row, (words, target) in STEP_TARGETS.items():
        found = re.search(rf"^\| {row} \| ([\d.]+) ", step or "", re.MULTILINE)
        yield _target_row(f"benchmarks/step.py, {words}", target, float(found[1]) if found else None)


def _target_row(title: str, target: Target, value: float | None) -> str:
    if value is None or math.isnan(value):
        return f"| {title} | {target.in_words()} | not measured | **no** |"
    digits = 3 if target.limit < 1 else 2 if target.limit < 10 else 1 if target.limit < 100 else 0
    shown = f"{value * target.scale:.{digits}f}{target.unit}"
    verdict = "yes" if target.reached(value) else f"**no**, by {target.shortfall(value):.{digits}f}"
    return f"| {title} | {target.in_words()} | {shown} | {verdict} |"


def _figures(cases: Sequence[Case], results: Results) -> str:
    names = ["clip", "frames", *(label for _, label, _ in COLUMNS), "peak GB"]
    rows = ["| " + " | ".join(names) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    for case in cases:
        result = results[case.name]
        if result is None or "failed" in result:
            continue
        values = [_shown(result.get(key), style) for key, _, style in COLUMNS]
        cells = [case.name, str(len(result["frames"])), *values, f"{result['peak_memory'] / 1e9:.2f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _shown(value: float | None, style: str) -> str:
    return "-" if value is None or math.isnan(value) else format(value, style)


def _frame_by_frame(result: Mapping[str, Any]) -> str:
    """Stretches of frames with the same heading and the same state, with their overlap."""
    stretches: list[tuple[str, str, list[int], list[float]]] = []
    for number, iou, heading in zip(result["frames"], result["iou_by_frame"], result["headings"], strict=True):
        state = "no mask" if iou is None else "lost" if iou < LOST else "follows the mask"
        if not stretches or stretches[-1][:2] != (heading, state):
            stretches.append((heading, state, [], []))
        stretches[-1][2].append(number)
        stretches[-1][3].append(math.nan if iou is None else iou)
    rows = ["| frames of the video | the fit heads | IoU with the mask | state |", "| --- | --- | --- | --- |"]
    for heading, state, numbers, ious in stretches:
        frames = f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
        overlap = "-" if state == "no mask" else f"{min(ious):.2f}-{max(ious):.2f}"
        rows.append(f"| {frames} | {heading} | {overlap} | {state} |")
    text = "The masks are no truth here: overlap says whether the fit follows them, not whether it is right."
    warnings = "".join(f"\n- {warning}" for warning in result["warnings"])
    return f"{text}\n\n" + "\n".join(rows) + (f"\n\nSaid by the run:\n{warnings}" if warnings else "")
