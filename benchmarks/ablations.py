"""What every cue is worth: the synthetic external-data clip with each cue left out, and with the paper's preset.

    python benchmarks/ablations.py                           100 frames, the default number of steps
    python benchmarks/ablations.py --steps 300 --frames 40   a quick look

Every variant runs in a process of its own; two at a time. Writes docs/ablations.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from result_cases import REPOSITORY, external_request
from results import circumstances

from animal4d.config import FitConfig

RUNS = REPOSITORY / "runs" / "ablations"
REPORT = REPOSITORY / "docs" / "ablations.md"
VARIANTS: dict[str, tuple[str, ...]] = {
    "all cues, default preset": (),
    "without silhouettes": ("--without", "silhouette"),
    "without parts": ("--without", "parts"),
    "without surface map": ("--without", "surface"),
    "without tracks": ("--without", "tracks"),
    "without features": ("--without", "features"),
    "without colours": ("--without", "colors"),
    "silhouettes and tracks alone": ("--without", "parts", "surface"),
    "all cues, paper preset": ("--preset", "paper"),
}
MEASURES: tuple[tuple[str, str, str, float], ...] = (
    ("IoU, test", "iou", "test", 1.0),
    ("IoUw5, test", "iou_w5", "test", 1.0),
    ("PSNRM dB, test", "texture_psnrm", "test", 1.0),
    ("vertex error %", "vertex_error", "mean", 100.0),
    ("PA-MPJPE %", "pa_mpjpe", "mean", 100.0),
    ("right way %", "right_way_round", "mean", 100.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=FitConfig().steps)
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    request = external_request(RUNS / "external")
    shared = (
        *("--truth", str(request.truth), "--max-frames", str(arguments.frames)),
        *("--steps", str(arguments.steps), "--no-eyes"),  # the tree's own cues alone
    )

    def run(item: tuple[str, tuple[str, ...]]) -> dict[str, Any]:
        name, options = item
        out = RUNS / name.replace(" ", "-").replace(",", "")
        command = [sys.executable, "-c", "from animal4d.cli.main import main; main()", "reconstruct"]
        command += [str(request.source), "--out", str(out), *shared, *options]
        with (RUNS / f"{out.name}.log").open("w") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
        print(f"{name}: done", flush=True)
        return json.loads((out / "metrics.json").read_text())

    with ThreadPoolExecutor(2) as pool:
        measured = list(pool.map(run, VARIANTS.items()))
    REPORT.write_text(_report(dict(zip(VARIANTS, measured, strict=True)), arguments.frames, arguments.steps))
    print(f"written: {REPORT.relative_to(REPOSITORY)}")


def _report(measured: dict[str, dict[str, Any]], frames: int, steps: int) -> str:
    about = circumstances(0, steps)
    lines = [
        "# What every cue is worth",
        "",
        "Written by `benchmarks/ablations.py`; do not edit. The synthetic external-data clip (noisy cues, moving "
        f"camera), {frames} frames, {steps} steps, seed 0, commit {about['commit']}, {about['date']}. PSNRM is that of "
        "the shell texture.",
        "",
        "| | " + " | ".join(title for title, *_ in MEASURES) + " |",
        "| --- |" + " ---: |" * len(MEASURES),
    ]
    for name, metrics in measured.items():
        cells = [_cell(metrics[key].get(part), scale) for _, key, part, scale in MEASURES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, scale: float) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if scale == 1.0 and value < 2 else f"{value * scale:.1f}"


if __name__ == "__main__":
    main()
