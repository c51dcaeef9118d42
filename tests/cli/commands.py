"""The command line called in-process, and settings that fit a small clip in seconds."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from animal4d.cli.main import main

FRAMES = 10
QUICK = {
    "working_size": 96,
    "eyes": False,
    "texture_size": 128,
    "fit": {
        "steps": 12,
        "checkpoint_every": 5,
        "starts": 2,
        "start_steps": 3,
        "batch_frames": 6,
        "surface_samples": 400,
        "mask_samples": 300,
    },
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str


Reconstruct = Callable[..., Outcome]
"""`animal4d reconstruct ARGUMENTS` with the settings of a coarse fit."""


def animal4d(*arguments: str | Path) -> Outcome:
    """`animal4d ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return Outcome(status, out.getvalue(), err.getvalue())


def error_line(outcome: Outcome) -> str:
    """The one line on stderr; progress before it is not an error."""
    assert outcome.status not in (0, 130), outcome.err
    assert "Traceback" not in outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("animal4d: error:")]
    assert len(lines) == 1
    assert outcome.err.splitlines()[-1] == lines[0]
    return lines[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
