"""`make results`: runs every clip of the table, each in a process of its own, and writes docs/results.md.

    python benchmarks/results.py                         everything
    python benchmarks/results.py --only demo,Husky       some clips; the others keep what was measured before
    python benchmarks/results.py --only demo --steps 40  a quick look, kept apart in runs/results/quick

Run folders, their measurements as JSON and sheets of pictures to look at are left in runs/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from result_cases import CASES, REPOSITORY, Case
from result_report import report

RUNS = REPOSITORY / "runs" / "results"
REPORT = REPOSITORY / "docs" / "results.md"
STEP = "step"
"""Name of benchmarks/step.py among the clips."""


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        _measure(_case(arguments.child), arguments.steps, arguments.out)
        return
    quick = arguments.steps is not None
    runs = RUNS / "quick" if quick else RUNS
    runs.mkdir(parents=True, exist_ok=True)
    names = arguments.only.split(",") if arguments.only else [*(case.name for case in CASES), STEP]
    chosen = [_case(name) for name in names if name != STEP]
    for case in chosen:
        if case.needs is not None and not case.needs.exists():
            print(f"{case.name}: skipped, needs {case.needs}, which is not there", flush=True)
            continue
        print(f"{case.name}: {case.title}", flush=True)
        _run_child(case, arguments.steps, runs)
    if STEP in names:
        print(f"{STEP}: milliseconds per frame and step", flush=True)
        _time_a_step(runs / "step.md")
    results = {case.name: _saved(runs / f"{case.name}.json") for case in CASES}
    step = runs / "step.md"
    destination = runs / "results.md" if quick else REPORT
    destination.write_text(report(CASES, results, step.read_text() if step.is_file() else None))
    print(f"written: {destination.relative_to(REPOSITORY)}; pictures to look at: {runs.relative_to(REPOSITORY)}/*.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", help=f"names of clips, with commas between; known: {', '.join(c.name for c in CASES)}"
    )
    parser.add_argument("--steps", type=int, help="fewer optimisation steps, for a quick look")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _case(name: str) -> Case:
    for case in CASES:
        if case.name == name:
            return case
    sys.exit(f"no clip is called {name}; known: {', '.join(case.name for case in CASES)}, {STEP}")


def _run_child(case: Case, steps: int | None, runs: Path) -> None:
    """A process of its own, so that time and memory are those of this clip alone."""
    command = [sys.executable, __file__, "--child", case.name, "--out", str(runs)]
    command += [] if steps is None else ["--steps", str(steps)]
    (runs / f"{case.name}.json").unlink(missing_ok=True)
    began = time.monotonic()
    with (runs / f"{case.name}.log").open("w") as log:
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        lines = (runs / f"{case.name}.log").read_text().strip().splitlines()
        failure = {"failed": lines[-1] if lines else f"exit status {status}", "date": time.strftime("%Y-%m-%d")}
        (runs / f"{case.name}.json").write_text(json.dumps(failure))
    print(f"  {'failed' if status else 'done'} after {time.monotonic() - began:.0f} s", flush=True)


def _time_a_step(path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "step.py")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        path.write_text(done.stdout)
    else:
        path.unlink(missing_ok=True)
        print("  failed", flush=True)


def _measure(case: Case, steps: int | None, runs: Path) -> None:
    """The child's part: one clip from its files to its measurements."""
    began = time.monotonic()
    from animal4d.config import Config
    from animal4d.runs import run_reconstruction

    folder = runs / case.name
    request = case.make_request(folder)
    config = Config()
    steps = case.steps if steps is None else steps
    if steps is not None:
        config = replace(config, fit=replace(config.fit, steps=steps))
    run = run_reconstruction(request, config)
    total = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    from result_measures import against_true_masks, read_measurements, write_sheet

    write_sheet(folder / "overlay.mp4", runs / f"{case.name}.png")
    measured = read_measurements(folder, request.keypoints) | {
        "seconds": run.seconds,
        "fit_seconds": run.seconds.get("fitting"),
        "total_seconds": total,
        "peak_memory": peak,
        "warnings": [*run.warnings, *([run.diverged] if run.diverged else [])],
        **circumstances(config.seed, config.fit.steps),
    }
    if case.hidden_masks is not None:
        measured |= against_true_masks(folder, case.hidden_masks(folder), measured["frames"])
    (runs / f"{case.name}.json").write_text(json.dumps(measured, indent=1))


def circumstances(seed: int, steps: int) -> dict[str, Any]:
    import platform

    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "seed": seed,
        "steps": steps,
        "commit": commit,
        "load": round(os.getloadavg()[0], 1),
        "machine": f"{_processor()}, {cores} cores, Python {platform.python_version()}, torch {torch.__version__}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


def _saved(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.is_file() else None


if __name__ == "__main__":
    main()
