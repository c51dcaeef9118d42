"""Addresses of sequences in data sets: `cop3d:<root>:<sequence>` and `external:<root>:<sequence>`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from animal4d.errors import Animal4dError

_LAYOUTS: tuple[Literal["cop3d", "external"], ...] = ("cop3d", "external")


@dataclass(frozen=True)
class SequenceAddress:
    """One sequence of a data set on disk; `str` writes it as the command line takes it."""

    layout: Literal["cop3d", "external"]
    root: Path
    sequence: str

    def __str__(self) -> str:
        return f"{self.layout}:{self.root}:{self.sequence}"

    def resolved(self) -> SequenceAddress:
        """With an absolute root, so that it can be used from any folder."""
        return SequenceAddress(self.layout, self.root.resolve(), self.sequence)


def parse_address(source: Path | str) -> SequenceAddress | None:
    """The address that `source` spells, None where it is an ordinary path. The root itself may hold colons.

    Raises Animal4dError where root or sequence is left out.
    """
    text = str(source)
    for layout in _LAYOUTS:
        if text.startswith(f"{layout}:"):
            root, _, sequence = text[len(layout) + 1 :].rpartition(":")
            if not root or not sequence:
                raise Animal4dError(
                    f'"{text}" must be {layout}:<root>:<sequence>; `animal4d data list <root>` shows the sequences'
                )
            return SequenceAddress(layout, Path(root), sequence)
    return None
