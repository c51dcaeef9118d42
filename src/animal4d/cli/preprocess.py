"""`animal4d preprocess`: the published data tree of any clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from animal4d.cli.options import Avoided, OptionalBox, OptionalFloat, OptionalInt, OptionalPath, OptionalPoint, Uses

OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]


@dataclass(frozen=True)
class Preprocess:
    """Write the cues of a clip as the published data tree of 4D-Animal; what is there and current stays.

    Example: animal4d preprocess my_dog.mp4 --out data/mine

    Example: animal4d preprocess my_dog.mp4 --masks my_dog_masks --run runs/my_dog --out data/mine
    """

    source: tyro.conf.Positional[str]
    """A video, a folder of frames, cop3d:ROOT:SEQUENCE or external:ROOT:SEQUENCE."""
    out: Path
    """Root of the tree to write; other sequences in it stay."""
    layout: Literal["external-data"] = "external-data"
    """The tree to write."""
    sequence: OptionalName = None
    """Name of the sequence (default: that of the source)."""
    category: OptionalName = None
    """Folder of the sequence, and what a detector would call the animal (default: that of the source, or dog)."""
    fitted: Annotated[Path | None, tyro.conf.arg(name="run", metavar="PATH", help_behavior_hint="")] = None
    """Folder of a finished run on the same clip: part masks, surface, cameras and keypoints come from its animal.
    Without one, part masks are read off DensePose's surface maps, where its weights are there."""
    masks: OptionalPath = None
    """Folder of masks with the frames' names or in their order (or a mask video). Where neither they nor the source
    bring any, SAM 2 finds them where its weights are there, else the built-in network."""
    box: OptionalBox = None
    """Without masks: a box around the animal in the first frame, in pixels, where there are several, or none is
    found."""
    point: OptionalPoint = None
    """The same by a point on the animal."""
    eyes: bool = True
    """Whether the built-in network finds masks where none are given. Without it, --box starts GrabCut."""
    use: Uses = ()
    """Who makes a cue, as masks=sam2 or surface=files; `animal4d doctor` lists them. By default the best that is at
    hand does. Give them after the source."""
    avoid: Avoided = ()
    """Providers that are never used, as densepose-cse."""
    strict: bool = False
    """Stop where a network fails, instead of going on with the next best provider."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; auto takes CUDA where there is one."""
    cameras: OptionalPath = None
    """Intrinsics and camera poses, if you have them: cameras.json, the folder of a COLMAP model, or an npz of VGGT or
    MegaSaM."""
    fps: OptionalFloat = None
    """Frames per second of a folder of frames (default: 30)."""
    start: int = 0
    """First frame to use."""
    stop: OptionalInt = None
    """Frame to stop before."""
    stride: int = 1
    """Use every n-th frame."""
    max_frames: OptionalInt = None
    """Use at most so many frames."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape

        from animal4d.candidates import Choice
        from animal4d.cli.console import ConsoleProgress
        from animal4d.data.preprocess import PreprocessRequest, preprocess
        from animal4d.data.preprocess_source import ClipRequest
        from animal4d.fit.reconstruct import resolve_device
        from animal4d.makers import DENSEPOSE
        from animal4d.pretrained.networks import DOG_MESH
        from animal4d.pretrained.weights import find_weights, network_folder
        from animal4d.readers.cop3d import FrameChoice
        from animal4d.runs import parse_box, parse_point

        clip = ClipRequest(
            source=self.source,
            masks=self.masks,
            cameras=self.cameras,
            box=parse_box(self.box),
            point=parse_point(self.point),
            providers=Choice(self.use, self.avoid, self.eyes, self.strict),
            device=str(resolve_device(self.device)),
            fps=self.fps,
            choice=FrameChoice(self.start, self.stop, self.stride, self.max_frames),
        )
        clip.providers.check()
        sees = clip.providers.uses("surface", DENSEPOSE)
        request = PreprocessRequest(
            clip=clip,
            out=self.out,
            sequence=self.sequence,
            category=self.category,
            run=self.fitted,
            densepose=find_weights(DENSEPOSE) if sees else None,
            dog_mesh=network_folder(DENSEPOSE) / DOG_MESH.name if sees else None,
        )
        with ConsoleProgress() as progress:
            made = preprocess(request, progress.part)
            for warning in made.warnings:
                progress.warning(warning)
        console = Console(highlight=False)
        for report in made.entries:
            console.print(f"{report.state:9}[bold]{report.entry}[/bold]: {escape(report.note)}", soft_wrap=True)
        address = f"external:{self.out}:{made.place.name}"
        console.print(f"read it with [bold]animal4d reconstruct {escape(address)}[/bold]", soft_wrap=True)
