"""`animal4d synth`: clips whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from animal4d.synth.config import SynthConfig
from animal4d.synth.external_config import TRUTH_FILE, ExternalDataConfig


@dataclass(frozen=True)
class Synth:
    """Render a clip with full truth: from the built-in body, or from any skinned, animated glTF.

    Example: animal4d synth --motion walk --out clips/walk

    Example: animal4d synth --source Husky.glb --motion Walk --out clips/husky

    Example: animal4d synth --layout external-data --frames 100 --out data/synthetic
    """

    out: Path
    """Folder to write: frames, masks, parts, cameras.json and truth.npz; or an external data tree."""
    layout: Literal["folder", "external-data"] = "folder"
    """`external-data` writes the tree of 4D-Animal's published data, with all its cues, and truth.npz beside it."""
    clip: Annotated[SynthConfig, tyro.conf.arg(name="")] = field(default_factory=SynthConfig)
    """What to render."""
    external: ExternalDataConfig = field(default_factory=ExternalDataConfig)
    """For --layout external-data: the sequence, and how far its cues are from the truth."""

    def run(self) -> None:
        from rich.console import Console

        from animal4d.synth.clip import check_empty, make_synthetic_clip, write_synthetic_clip
        from animal4d.synth.external_data import write_external_data

        console = Console()
        check_empty(self.out)  # rendering takes a while
        with console.status("rendering") as status:
            clip = make_synthetic_clip(self.clip)
            if self.layout == "folder":
                write_synthetic_clip(clip, self.out)
            else:
                write_external_data(
                    clip,
                    self.out,
                    self.external,
                    lambda what, done, of: status.update(f"{what} {done}/{of}"),
                )
        if self.layout == "folder":
            console.print(f"{len(clip.frames)} frames with masks, parts, cameras and truth in [bold]{self.out}[/bold]")
            return
        console.print(f"{len(clip.frames)} frames with all cues in [bold]{self.out}[/bold]")
        console.print(
            f"[bold]animal4d reconstruct external:{self.out}:{self.external.sequence} --truth "
            f"{self.out / TRUTH_FILE}[/bold] fits them",
            soft_wrap=True,
        )
