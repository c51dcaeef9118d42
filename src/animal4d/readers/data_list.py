"""What a folder of COP3D, or an external data tree, has for each of its sequences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from animal4d.readers.cop3d_index import INDEX_NAME, IndexedSequence, open_index
from animal4d.readers.external import SEQUENCE_ENTRIES, external_files, open_external


@dataclass(frozen=True)
class DataList:
    """The sequences of a data set, each with the names of its cues."""

    layout: Literal["cop3d", "external"]
    sequences: tuple[tuple[IndexedSequence, tuple[str, ...]], ...]
    shared: tuple[str, ...]
    """Entries of the tree that serve all sequences."""


def list_sequences(root: Path) -> DataList:
    """Sequences by name. Raises Animal4dError where `root` is neither, or its index cannot be read."""
    if (root / INDEX_NAME).is_file():
        index = open_index(root)
        return DataList("cop3d", tuple((sequence, ()) for sequence in index.sequences()), ())
    index = open_external(root)
    found: list[tuple[IndexedSequence, tuple[str, ...]]] = []
    shared: tuple[str, ...] = ()
    for sequence in index.sequences():
        # The files are found by the sequence's name alone; its frames need not be read for a list.
        present = external_files(root, sequence, ()).present()
        found.append((sequence, tuple(name for name in present if name in SEQUENCE_ENTRIES)))
        shared = tuple(name for name in present if name not in SEQUENCE_ENTRIES)
    return DataList("external", tuple(found), shared)
