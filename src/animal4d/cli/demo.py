"""`animal4d demo`: the whole way on the embedded synthetic clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from animal4d.cli.options import OptionalInt
from animal4d.config import Config


@dataclass(frozen=True)
class Demo:
    """Make the embedded clip (a dog trots past a moving camera, 40 frames) and reconstruct it from frames and masks.

    The clip's cameras, shape and motion are known and used for one thing only: to measure the result.

    Example: animal4d demo
    """

    out: Path = Path("runs/demo")
    """Run folder to write. The clip goes beside it, into <out>-clip."""
    steps: OptionalInt = None
    """Optimisation steps, instead of the usual number: fewer are faster and coarser."""
    overwrite: bool = False
    """Replace a finished run in the folder."""

    def run(self) -> None:
        from rich.console import Console

        from animal4d.cli.reconstruct import reconstruct_and_report
        from animal4d.run_folder import RunFolder, RunRequest
        from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
        from animal4d.synth.config import demo_config

        RunFolder(self.out).check(overwrite=self.overwrite, resume=False)
        clip_folder = self.out.parent / f"{self.out.name}-clip"
        ours = (clip_folder / "meta.json").is_file()
        clip = demo_config()
        console = Console(stderr=True, highlight=False)
        console.print("[bold]rendering the clip[/bold]")
        with console.status("a dog trots past a moving camera"):
            write_synthetic_clip(make_synthetic_clip(clip), clip_folder, overwrite=ours)
        config = Config()
        if self.steps is not None:
            config = replace(config, fit=replace(config.fit, steps=self.steps))
        request = RunRequest(
            source=clip_folder,
            out=self.out,
            fps=clip.fps,
            truth=clip_folder / "truth.npz",
            overwrite=self.overwrite,
        )
        reconstruct_and_report(request, config)
