"""`animal4d evaluate`: measure a finished run again, against truth or keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from animal4d.cli.options import OptionalPath


@dataclass(frozen=True)
class Evaluate:
    """Measure a finished run: image metrics on held-out frames, 3D errors with truth, PCK with keypoints.

    Example: animal4d evaluate runs/demo --truth runs/demo-clip/truth.npz
    """

    run_folder: tyro.conf.Positional[Path]
    """A finished run."""
    truth: OptionalPath = None
    """truth.npz of a synthetic clip: measure 3D errors (default: that of the run)."""
    keypoints: OptionalPath = None
    """keypoints.json (BADJA's): measure PCK (default: that of the run)."""

    def run(self) -> None:
        from animal4d.cli.console import print_summary
        from animal4d.runs import evaluate_run

        print_summary(evaluate_run(self.run_folder, self.truth, self.keypoints), self.run_folder)
