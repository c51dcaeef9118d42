"""How the entries of a tree were made: one JSON per sequence, and one for what all sequences share.

An entry whose note is the same as before, and whose files are there, is not made again. An entry that is there without
a note was made by others and is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from animal4d.files.atomic import write_json
from animal4d.files.checksums import config_hash

FOLDER = "provenance"
SHARED = "shared"
_FORMAT = 1

Note = dict[str, Any]
"""Plain values: equal notes mean equal entries."""
State = Literal["absent", "begun", "complete"]


def entry_note(maker: str, version: int, **inputs: Any) -> Note:
    """A note: who makes the entry, and fingerprints of all that it is made from."""
    return {"maker": maker, "version": version, "inputs": {name: config_hash(value) for name, value in inputs.items()}}


@dataclass(frozen=True)
class Provenance:
    """The notes of a sequence, or (`SHARED`) of what all share, in `<root>/provenance`."""

    path: Path

    @classmethod
    def of(cls, root: Path, name: str) -> Provenance:
        return cls(root / FOLDER / f"{name}.json")

    def state(self, entry: str, note: Note) -> State:
        """Whether an entry was made, or begun, under just this note."""
        found = self._read().get(entry)
        if not isinstance(found, Mapping) or found.get("note") != note:
            return "absent"
        return "complete" if found.get("complete") is True else "begun"

    def is_ours(self, entry: str) -> bool:
        """Whether there is any note of the entry."""
        return entry in self._read()

    def note(self, entry: str) -> Note | None:
        """The note of an entry that is complete."""
        found = self._read().get(entry)
        if not isinstance(found, dict) or found.get("complete") is not True:
            return None
        note = found.get("note")
        return note if isinstance(note, dict) and isinstance(note.get("inputs"), dict) else None

    def forget(self, entry: str) -> None:
        self._save({name: value for name, value in self._read().items() if name != entry})

    def begin(self, entry: str, note: Note) -> None:
        self._write(entry, note, complete=False)

    def finish(self, entry: str, note: Note) -> None:
        self._write(entry, note, complete=True)

    def _write(self, entry: str, note: Note, complete: bool) -> None:
        self._save(self._read() | {entry: {"note": note, "complete": complete}})

    def _save(self, entries: dict[str, Any]) -> None:
        write_json(self.path, {"format": _FORMAT, "entries": dict(sorted(entries.items()))})

    def _read(self) -> dict[str, Any]:
        """Damaged notes count as none."""
        try:
            content = json.loads(self.path.read_text())
            entries = content["entries"] if content["format"] == _FORMAT else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return entries if isinstance(entries, dict) else {}
