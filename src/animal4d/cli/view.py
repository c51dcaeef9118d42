"""`animal4d view`: finished runs in a live viewer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class View:
    """Look at finished runs in the browser: the animal in front of its video, through its camera, side by side.

    Needs the extra: pip install 'animal4d[view]'. Ctrl-C ends it.

    Example: animal4d view runs/demo
    """

    run_folders: tyro.conf.Positional[tuple[Path, ...]]
    """One or more finished runs."""
    port: int = 8080
    """Port of this machine that the viewer is served on."""

    def run(self) -> None:
        from rich.console import Console

        from animal4d.errors import Animal4dError

        if not self.run_folders:
            raise Animal4dError("no run was given: animal4d view RUN [RUN ...]")
        from animal4d.report.live import serve

        console = Console(highlight=False)
        serve(
            self.run_folders,
            self.port,
            lambda address: console.print(f"[bold]{address}[/bold]  open it in a browser; Ctrl-C ends", soft_wrap=True),
        )
