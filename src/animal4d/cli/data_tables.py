"""What `animal4d data verify` prints."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from animal4d.data.finding import Finding
from animal4d.data.verify import Verification

_SIGNS = {"ok": "[green]ok[/green]", "missing": "[dim]-[/dim]", "broken": "[bold red]bad[/bold red]"}
_COLUMNS = {
    "cameras": "cameras",
    "images": "images",
    "masks": "masks",
    "refined_masks": "refined",
    "part_masks": "parts",
    "tracking_points": "tracks",
    "cse_predictions": "CSE",
    "pnp_cameras": "PnP",
    "sparse_keypoints": "points",
    "init_pose": "shape",
}
"""Entries of a sequence, and how their columns are called."""


def print_verification(verification: Verification, console: Console | None = None) -> None:
    """Shared entries, then a row per sequence, then a line for everything that is broken."""
    console = console or Console(highlight=False)
    shared = Table(title=escape(f"{verification.root}: shared"), title_justify="left")
    for column in ("entry", "state", "note"):
        shared.add_column(column, no_wrap=column == "entry")
    for finding in verification.of(""):
        shared.add_row(finding.entry.replace("_", " "), _SIGNS[finding.state], _note(finding))
    console.print(shared)
    if verification.sequences:
        # Narrow enough for a terminal of 80 letters.
        table = Table(title="sequences", title_justify="left", box=None, padding=(0, 1, 0, 0))
        table.add_column("sequence", no_wrap=True)
        for words in _COLUMNS.values():
            table.add_column(words, justify="center", no_wrap=True)
        for sequence in verification.sequences:
            states = {finding.entry: finding.state for finding in verification.of(sequence)}
            cells = [_SIGNS[states[entry]] if entry in states else "" for entry in _COLUMNS]
            table.add_row(escape(sequence), *cells)
        console.print(table)
    for finding in verification.broken:
        where = f"{finding.sequence}, " if finding.sequence else ""
        line = f"{escape(where)}{finding.entry.replace('_', ' ')}: {escape(finding.note)}"
        console.print(f"[bold red]broken:[/bold red] {line}", soft_wrap=True)
    if not verification.broken:
        missing = sum(finding.state == "missing" for finding in verification.findings)
        console.print(f"nothing is broken; optional entries that are not there (-): {missing}")


def _note(finding: Finding) -> str:
    return "see below" if finding.state == "broken" else escape(finding.note)
