"""report/index.html: a run on one page that opens by double click, without server or network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from animal4d import __version__
from animal4d.export.texture import SEEN_NAME, TEXTURE_NAME
from animal4d.files.atomic import write_text
from animal4d.report.doubts import assumptions, doubts
from animal4d.report.html import (
    bullets,
    comparison,
    details,
    page,
    section,
    stage,
    table,
    theme_button,
    transport,
)
from animal4d.report.motion import HINGES, LEGS, Motion, motion_of
from animal4d.report.payload import payload, picture_budget
from animal4d.report.pictures import as_base64, small_picture
from animal4d.report.plots import Axes, Line, line_plot
from animal4d.report.run import ShownRun, read_run
from animal4d.report.tables import NOTHING, duration, metrics_of, written
from animal4d.run_folder import RunFolder

_TURNTABLE_STILLS = 8
_TEXTURE_SIDE = 768
_SIDE_STYLE = {"left": "c1", "right": "c2"}
_LEG_STYLE: dict[str, str] = dict(zip(LEGS, ("c1", "c2", "c3", "c4"), strict=True))
_FIGURES = ("iou", "psnrm", "vertex_error", "pa_mpjpe", "pck_0.2", "jitter")
_MOST_FIGURES = 4
_FRAME_FOLDERS = ("frames", "images")


def write_report(folder: RunFolder) -> Path:
    """Write the report of a finished run, in place of an earlier one, and return its path.

    Raises Animal4dError where the run is not finished or one of its files is damaged.
    """
    run = read_run(folder)
    motion = motion_of(run.reconstruction, run.model)
    data = {
        "times": [round(time, 6) for time in run.times],
        "numbers": run.frame_numbers,
        "parts": run.part_of_frame(),
        "runs": [payload(run, picture_budget(run))],
    }
    path = folder.path / "report" / "index.html"
    write_text(path, page(f"{run.name} · animal4d", _body(run, motion), data))
    return path


def _body(run: ShownRun, motion: Motion) -> str:
    parts = [
        f'<header class="top"><div><h1>{escape(run.name)}</h1><p class="subtitle">{escape(_subtitle(run))}</p></div>'
        f"{theme_button()}</header><main>",
        _doubts(run, motion),
        f'<div class="hero">{stage(0, f"The animal {run.name}, animated")}'
        f"{comparison(0, 'The input with the result over it')}</div>",
        f'<dl class="figures">{"".join(_figures(run))}</dl>',
        section("turntable", "Around the animal", _turntable(run)),
        section(
            "curves",
            "Frame by frame",
            f'<div class="plots">{"".join(_frame_plots(run, motion))}</div>',
            "Test frames are tinted: the fit never saw their masks. Touch a curve to go to its frame.",
        ),
        section("metrics", "Measures", _metrics(run)),
        *([section("texture", "Texture", texture)] if (texture := _texture(run)) else []),
        section("fit", "How it was found", _fit(run)),
        section("settings", "Settings", _settings(run)),
        f"</main><footer>Written by animal4d {escape(__version__)} · {escape(_files(run))}</footer>{transport()}",
    ]
    return "\n".join(parts)


def _subtitle(run: ShownRun) -> str:
    rate = run.reconstruction.fps
    size = run.setting("clip", "original_size") or ("?", "?")
    frames = len(run.reconstruction)
    source = Path(str(run.setting("request", "source") or "unknown source"))
    name = source.parent.name if source.name in _FRAME_FOLDERS else source.name
    seconds = (frames - 1) / rate if rate > 0 else 0
    pixels = f"{size[1]} \N{MULTIPLICATION SIGN} {size[0]} pixels"
    return f"{name} · {frames} frames, {seconds:.1f} s at {rate:g} per second · {pixels}"


def _doubts(run: ShownRun, motion: Motion) -> str:
    found, assumed = doubts(run, motion), assumptions(run)
    below = f'<div class="assumed">{details("What was taken for granted", bullets(assumed))}</div>' if assumed else ""
    if not found:
        return (
            '<aside class="doubts none" aria-label="Warnings"><p>Nothing stands out that would cast doubt on this run.'
            f"</p>{below}</aside>"
        )
    return f'<aside class="doubts" aria-label="Warnings"><h2>Before you trust it</h2>{bullets(found)}{below}</aside>'


def _figures(run: ShownRun) -> list[str]:
    part = "test" if run.metrics.get("splits", {}).get("test") else "mean"
    words = {metric.key: metric for metric in metrics_of(run.metrics)}
    cells = []
    for key in _FIGURES:
        value = run.value(key, part)
        if value is not None and len(cells) < _MOST_FIGURES:
            metric = words[key]
            where = " (test)" if part == "test" else ""
            cells.append(f"<div><dt>{escape(metric.short)}{where}</dt><dd>{written(value, metric.kind)}</dd></div>")
    seconds = run.metrics.get("seconds")
    if seconds:
        cells.append(f"<div><dt>time in all</dt><dd>{duration(sum(seconds.values()))}</dd></div>")
    cells.append(f"<div><dt>asset.glb</dt><dd>{len(run.asset) / 1e6:.2f} MB</dd></div>")
    return cells


def _turntable(run: ShownRun) -> str:
    last = len(run.reconstruction) - 1
    stills = min(_TURNTABLE_STILLS, last + 1)
    chosen = sorted({round(index * last / max(stills - 1, 1)) for index in range(stills)})
    buttons = [
        f'<button data-frame="{frame}" aria-label="Go to frame {run.frame_numbers[frame]}"><canvas></canvas>'
        f"<span>{run.frame_numbers[frame]}</span></button>"
        for frame in chosen
    ]
    return f'<div class="strip">{"".join(buttons)}</div>'


def _frame_plots(run: ShownRun, motion: Motion) -> list[str]:
    x = [time - run.times[0] for time in run.times]
    if len(x) < 2:
        return ["<p>A single frame has no curves.</p>"]
    parts = run.part_of_frame()
    over = "seconds"
    plots = []
    overlaps = run.per_frame("iou")
    if any(value is not None for value in overlaps):
        key = "".join(
            f'<span class="key"><i class="dot {part}"></i>{part}</span>' for part in ("train", "validation", "test")
        )
        axes = Axes("Overlap of mesh and mask", over, "IoU", high=1.0)
        plot = line_plot(axes, x, [Line("", overlaps, "quiet")], parts)
        plots.append(plot.replace('<div class="keys"></div>', f'<div class="keys">{key}</div>'))
    heights = [
        Line(leg.replace("_", " "), values.tolist(), _LEG_STYLE[leg]) for leg, values in motion.paw_heights.items()
    ]
    if heights:
        plots.append(line_plot(Axes("Height of the paws", over, "body lengths", zero_line=True), x, heights, parts))
    if motion.speed is not None:
        axes = Axes("Speed", over, "body lengths per second", low=0.0)
        plots.append(line_plot(axes, x, [Line("root over the ground", motion.speed.tolist(), "c1")], parts))
    for pair, hinges in HINGES.items():
        for hinge in hinges:
            lines = [
                Line(
                    angle.joint.split("_")[1],
                    angle.values.tolist(),
                    _SIDE_STYLE[angle.joint.split("_")[1]],
                    None if angle.uncertainty is None else angle.uncertainty.tolist(),
                )
                for angle in motion.angles
                if angle.joint in (f"{pair}_left_{hinge}", f"{pair}_right_{hinge}")
            ]
            if lines:
                title = f"{pair.capitalize()} {hinge}"
                unit = "degrees ± 1 standard deviation" if lines[0].spread is not None else "degrees"
                plots.append(line_plot(Axes(title, over, unit, zero_line=True), x, lines, parts))
    return plots


def _metrics(run: ShownRun) -> str:
    columns = [name for name in ("test", "validation", "train") if run.metrics.get("splits", {}).get(name)]
    rows, absent = [], []
    for metric in metrics_of(run.metrics):
        if run.value(metric.key, "mean") is None:
            reason = run.metrics[metric.key].get("reason")
            if reason:
                absent.append(f"{metric.short}: {reason}")
            continue
        cells = [written(run.value(metric.key, column), metric.kind) for column in (*columns, "mean")]
        arrow = "higher is better" if metric.higher_is_better else "lower is better"
        words = f'{escape(metric.short)}<span class="words">{escape(metric.words)}; {arrow}</span>'
        rows.append([words, f'<span class="main">{cells[0]}</span>', *cells[1:]])
    content = table(["", *columns, "all"], rows, "Measures by part of the clip", "numbers")
    return content + (details(f"Not measured ({len(absent)})", bullets(absent)) if absent else "")


def _texture(run: ShownRun) -> str:
    pictures = (
        (TEXTURE_NAME, "Baked from the frames", False),
        (SEEN_NAME, "White: seen in at least one frame; black: guessed from the other side and from around", True),
    )
    figures = []
    for name, words, nearest in pictures:
        path = run.folder.path / name
        if path.is_file():
            source = f"data:image/webp;base64,{as_base64(small_picture(path, _TEXTURE_SIDE, nearest))}"
            figures.append(
                f'<figure><img src="{source}" alt="{escape(words, quote=True)}" loading="lazy">'
                f"<figcaption>{escape(words)}</figcaption></figure>"
            )
    return f'<div class="textures">{"".join(figures)}</div>' if figures else ""


def _fit(run: ShownRun) -> str:
    plots = "".join(_loss_plots(run.log))
    decisions = [str(decision) for decision in run.record.get("decisions") or ()]
    cues = [
        [
            escape(str(cue.get("cue", "?")).replace("_", " ")),
            escape(str(cue.get("by") or cue.get("provider", "?"))),
            escape(str(cue.get("kind", ""))),
            escape(str(cue.get("why", ""))),
        ]
        for cue in run.record.get("cues") or ()
        if isinstance(cue, dict)
    ]
    given = [
        [escape(name), escape(str(run.setting("clip", key) or NOTHING)), "input", ""]
        for name, key in (("masks", "masks"), ("focal length", "intrinsics"))
    ]
    cue_table = table(["cue", "from", "kind", "why"], [*given, *cues], "Cues that were used")
    seconds = run.metrics.get("seconds") or {}
    slowest = max(seconds.values(), default=1) or 1
    bars = "".join(
        f'<dt>{escape(stage_name)}</dt><dd><div class="bar" style="width:{100 * taken / slowest:.1f}%"></div></dd>'
        f"<dd>{duration(taken)}</dd>"
        for stage_name, taken in seconds.items()
    )
    times = f'<h3>Time</h3><dl class="bars">{bars}</dl>' if bars else ""
    decided = f"<h3>Decisions</h3>{bullets(decisions)}" if decisions else ""
    return (
        (f'<div class="plots">{plots}</div>' if plots else "")
        + f'<div class="two" style="margin-top:1.4rem"><div><h3>Cues</h3>{cue_table}</div>'
        + f"<div>{times.replace('<h3>', '<h3 style=margin-top:0>', 1)}{decided}</div></div>"
    )


def _loss_plots(log: Sequence[dict[str, Any]]) -> list[str]:
    fit = [entry for entry in log if entry["stage"] == "fit" and isinstance(entry.get("losses"), dict)]
    if len(fit) < 2:
        return []
    steps = [float(entry["step"]) for entry in fit]
    names = [name for name in fit[-1]["losses"] if any(entry["losses"].get(name) for entry in fit)]
    names.sort(key=lambda name: -fit[-1]["losses"][name])
    lines = [
        Line(
            name.replace("_", " "), _thinned([entry["losses"].get(name) or None for entry in fit]), f"c{index % 11 + 1}"
        )
        for index, name in enumerate(names)
    ]
    lines.append(Line("total", _thinned([entry["total"] for entry in fit]), "ink"))
    highest = max(entry["total"] for entry in fit)
    plots = [line_plot(Axes("Losses", "step", "weighted", low=highest * 1e-5, logarithmic=True), steps, lines)]
    checked = [entry for entry in fit if isinstance(entry.get("validation_iou"), int | float)]
    if len(checked) > 1:
        overlaps = [float(entry["validation_iou"]) for entry in checked]
        at = [float(entry["step"]) for entry in checked]
        plots.append(line_plot(Axes("Validation frames", "step", "IoU"), at, [Line("overlap", overlaps, "c1")]))
    return plots


def _thinned(values: Sequence[float | None], share: float = 0.02) -> list[float | None]:
    """Smoothed by a median over a fiftieth of the steps: losses of random batches jump."""
    reach = max(1, int(share * len(values) / 2))
    smooth: list[float | None] = []
    for index, value in enumerate(values):
        near = sorted(v for v in values[max(0, index - reach) : index + reach + 1] if v is not None)
        smooth.append(near[len(near) // 2] if near and value is not None else None)
    return smooth


def _settings(run: ShownRun) -> str:
    blocks = [
        details(title, f"<pre>{escape(yaml.safe_dump(run.record.get(key) or {}, sort_keys=False))}</pre>")
        for title, key in (("Configuration", "config"), ("Request", "request"), ("Versions", "versions"))
    ]
    return "".join(blocks)


def _files(run: ShownRun) -> str:
    return f"beside it in {run.folder.path.resolve()}: asset.glb, cameras.json, poses.npz, metrics.json, overlay.mp4"
