"""Runs that are stopped, go on, and end as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from animal4d.cli.console import ConsoleProgress
from animal4d.fit.trainer import StepReport
from cli.commands import Outcome, Reconstruct, animal4d

_KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from animal4d.config import load_config
from animal4d.runs import RunRequest, run_reconstruction
from animal4d.run_progress import SilentRunProgress

clip, out, settings, last_step = sys.argv[1:]

class Killer(SilentRunProgress):
    def step(self, stage, report):
        if stage == "fit" and report.step == int(last_step):
            os.kill(os.getpid(), signal.SIGKILL)

request = RunRequest(Path(clip), Path(out), fps=24.0, truth=Path(clip) / "truth.npz")
run_reconstruction(request, load_config(Path(settings)), Killer())
"""


def results(run: Path) -> dict[str, Any]:
    """All that must not depend on when a run was stopped."""
    metrics = json.loads((run / "metrics.json").read_text())
    steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for entry in (metrics, *steps):
        del entry["seconds"]
    return {"metrics": metrics, "steps": steps, "asset": (run / "asset.glb").read_bytes()}


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the console sends Ctrl-C after this step of the fit."""

    def stepped(self: ConsoleProgress, stage: str, report: StepReport) -> None:
        del self
        if stage == "fit" and report.step == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ConsoleProgress, "step", stepped)


def is_one_line_with_the_way_on(outcome: Outcome, clip: Path, run: Path) -> bool:
    last = outcome.err.strip().splitlines()[-1]
    return last.startswith("animal4d: interrupted") and f"animal4d reconstruct {clip} --out {run} --resume" in last


def test_killed_and_interrupted_run_ends_with_the_same_numbers(
    finished: Path, clip: Path, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    killed_at = random.randrange(2, 10)  # on either side of the first checkpoint, which is at step 5
    arguments = [sys.executable, "-c", _KILLED_RUN, clip, run, quick, str(killed_at)]
    assert subprocess.run(arguments, check=False, env=dict(os.environ)).returncode == -signal.SIGKILL
    assert not (run / "metrics.json").exists()

    with monkeypatch.context() as patched:
        interrupt_at(11, patched)
        outcome = animal4d("reconstruct", clip, "--out", run, "--resume")
    assert outcome.status == 130
    assert is_one_line_with_the_way_on(outcome, clip, run)
    assert (run / "checkpoints" / "last.pt").exists()

    outcome = animal4d("reconstruct", clip, "--out", run, "--resume", "--seed", "5")
    assert outcome.status == 0, outcome.err
    assert "not used: seed 5 (the run has 0)" in outcome.err.replace("\n", " ")
    assert "going on at step 11 of 12" in outcome.err
    expected, got = results(finished), results(run)
    assert [step["step"] for step in got["steps"]] == [step["step"] for step in expected["steps"]], f"{killed_at=}"
    expected["metrics"].pop("warnings"), got["metrics"].pop("warnings")
    assert got == expected, f"{killed_at=}"


def test_interrupt_before_the_fit_keeps_settings(clip: Path, reconstruct: Reconstruct, tmp_path: Path, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("animal4d.runs.fit_clip", interrupted)
    run = tmp_path / "run"
    outcome = reconstruct(clip, "--out", run)
    assert outcome.status == 130
    assert is_one_line_with_the_way_on(outcome, clip, run)
    assert (run / "cues" / "tracks.npz").exists()
