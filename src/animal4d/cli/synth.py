"""`animal4d synth`: clips whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from animal4d.synth.config import SynthConfig


@dataclass(frozen=True)
class Synth:
    """Render a clip with full truth: from the built-in body, or from any skinned, animated glTF.

    Example: animal4d synth --motion walk --out clips/walk

    Example: animal4d synth --source Husky.glb --motion Walk --out clips/husky
    """

    out: Path
    """Folder to write: frames, masks, parts, cameras.json and truth.npz."""
    clip: Annotated[SynthConfig, tyro.conf.arg(name="")] = field(default_factory=SynthConfig)
    """What to render."""

    def run(self) -> None:
        from rich.console import Console

        from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip

        console = Console()
        with console.status("rendering"):
            clip = make_synthetic_clip(self.clip)
            write_synthetic_clip(clip, self.out)
        console.print(f"{len(clip.frames)} frames with masks, parts, cameras and truth in [bold]{self.out}[/bold]")
