"""`animal4d doctor`: what is installed, what is available, what would make it better."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass

PACKAGES = ("torch", "numpy", "scipy", "numba", "opencv-python-headless", "av", "pillow", "pygltflib", "rich", "tyro")


@dataclass(frozen=True)
class Doctor:
    """Print what is installed, which cue providers are there, and what would make the result better."""

    def run(self) -> None:
        import torch
        from rich.console import Console
        from rich.table import Table

        from animal4d import __version__
        from animal4d.body.template import load_builtin_template

        table = Table(title=f"animal4d {__version__} on Python {platform.python_version()}", title_justify="left")
        table.add_column("what", no_wrap=True)
        table.add_column("state")
        table.add_column("note")
        for package in PACKAGES:
            try:
                table.add_row(package, importlib.metadata.version(package), "")
            except importlib.metadata.PackageNotFoundError:
                table.add_row(package, "[red]missing[/red]", f"pip install {package}")
        cuda = torch.cuda.is_available()
        table.add_row(
            "device",
            torch.cuda.get_device_name(0) if cuda else f"CPU, {os.cpu_count()} cores",
            "--device auto takes it" if cuda else "enough: 40 frames take minutes; CUDA is used where torch has it",
        )
        model = load_builtin_template()
        table.add_row("template", "builtin", f"{model.n_vertices} vertices, {model.n_joints} joints")
        table.add_row(
            "silhouettes", "--masks", "masks from a segmenter are best; --box starts GrabCut where there are none"
        )
        table.add_row("tracks", "builtin", "pyramidal Lucas-Kanade")
        table.add_row("features", "builtin", "colour, gradients and mask shape per patch; no weights needed")
        Console().print(table)
