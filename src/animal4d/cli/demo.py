"""`animal4d demo`: the whole way on the embedded synthetic clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from animal4d.config import Config


@dataclass(frozen=True)
class Demo:
    """Make the embedded clip (a dog trots past a moving camera, 40 frames) and reconstruct it from frames and masks.

    The clip's cameras, shape and motion are known and used for one thing only: to measure the result.
    """

    out: Path = Path("runs/demo")
    """Run folder to write."""
    steps: int | None = None
    """Optimisation steps; fewer are faster and coarser."""
    overwrite: bool = False
    """Replace a finished run in the folder."""

    def run(self) -> None:
        from animal4d.cli.console import print_summary
        from animal4d.runs import RunRequest, check_folder, run_reconstruction
        from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
        from animal4d.synth.presets import demo_config

        check_folder(self.out, overwrite=self.overwrite, resume=False)
        clip_folder = self.out.parent / f"{self.out.name}-clip"
        write_synthetic_clip(make_synthetic_clip(demo_config()), clip_folder)
        config = Config()
        if self.steps is not None:
            config = replace(config, fit=replace(config.fit, steps=self.steps))
        request = RunRequest(
            source=clip_folder / "frames",
            out=self.out,
            masks=clip_folder / "masks",
            truth=clip_folder / "truth.npz",
            overwrite=self.overwrite,
        )
        print_summary(run_reconstruction(request, config), self.out)
