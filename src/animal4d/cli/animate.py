"""`animal4d animate`: the animal of a run does something that it did not do in its video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from animal4d.cli.options import OptionalFloat

if TYPE_CHECKING:
    from rich.console import Console

    from animal4d.motion.clips import Clip


@dataclass(frozen=True)
class Animate:
    """Another animal's motion, a gait or a loop for the animal of a finished run.

    Writes the asset with its own clip and the new ones, and poses and a preview of every new one.

    Example: animal4d animate runs/my_dog --motion runs/husky trot --out runs/my_dog_moves

    Example: animal4d animate runs/my_dog --motion go --speed 2 --out runs/my_dog_runs

    Example: animal4d animate runs/my_dog --motion walk gallop --crossfade 0.3 --out runs/my_dog_starts

    Example: animal4d animate runs/my_dog --loop --in-place --out runs/my_dog_loop
    """

    run_folder: tyro.conf.Positional[Path]
    """A finished run: whose shape moves."""
    out: Path
    """Folder to write: asset.glb, and per clip its poses (.npz) and a preview (.mp4, .png)."""
    motion: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN|GAIT|NPZ ...", help_behavior_hint="")] = ()
    """Folders of runs, gaits (walk, trot, gallop; go: the one of them that goes with --speed; stand, look_around, sit)
    or .npz files; every one becomes a clip. Needed but with --loop, which otherwise takes the run's own motion."""
    speed: OptionalFloat = None
    """Of gaits, in body lengths per second (default: the natural one). Strides become longer with it, stances
    shorter."""
    seconds: OptionalFloat = None
    """How long a gait lasts, or at most another motion (default: 3, or all)."""
    fps: OptionalFloat = None
    """Frames per second of the clips (default: those of the source, of the run for a gait)."""
    crossfade: OptionalFloat = None
    """Join all motions to one clip, fading so many seconds from each to the next."""
    loop: bool = False
    """Find the best cycle of every clip and close it."""
    in_place: bool = False
    """Move on the spot."""
    path: Literal["auto", "given", "feet"] = "auto"
    """Path over the ground: as `given`, or made by what the `feet` do, for sources whose camera moved unknown."""
    clip: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Names of the clips (default: of their sources)."""
    preview: bool = True
    overwrite: bool = False
    """Replace clips that the folder holds."""

    def run(self) -> None:
        from rich.console import Console

        from animal4d.finished_run import open_finished_run
        from animal4d.motion.clips import ClipOptions, make_clips, write_clips
        from animal4d.motion.sources import MotionRequest

        run = open_finished_run(self.run_folder)
        request = MotionRequest(speed=self.speed, seconds=self.seconds, fps=self.fps, path=self.path)
        options = ClipOptions(request, self.crossfade, self.loop, self.in_place, self.clip)
        clips = make_clips(run, self.motion, options)
        console = Console(highlight=False)
        with console.status("writing"):
            write_clips(run, clips, self.out, self.preview, self.overwrite)
        _print(console, clips, self.out)


def _print(console: Console, clips: Sequence[Clip], out: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title="Clips: speed in body lengths per second, feet in shares of the leg's length",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("clip", overflow="fold")
    looped = any(clip.loop_gap is not None for clip in clips)
    columns = ["seconds", "speed", "stances", "slide, mean", "slide, worst", "slide, touching", "sunk"]
    for words in (*columns, "gap of loop") if looped else columns:
        table.add_column(words, justify="right")
    for clip in clips:
        feet = clip.measures
        shares = (feet.mean_slide, feet.worst_slide, feet.worst_touching_slide, feet.deepest)
        cells = [f"{clip.motion.seconds:.2f}", f"{feet.speed:.2f}", str(len(feet.slides))]
        cells += [f"{share:.2%}" for share in shares]
        if clip.loop_gap is not None:
            cells.append(f"{clip.loop_gap:.1%}")
        table.add_row(escape(clip.name), *cells)
    console.print(table)
    console.print(f"[bold]{escape(str(out / 'asset.glb'))}[/bold]  the run's own clip and these", soft_wrap=True)
