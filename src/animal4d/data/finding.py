"""What a check of a data tree says about one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from animal4d.errors import Animal4dError

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One entry of the tree."""

    sequence: str
    """Name of the sequence, empty for what serves all of them."""
    entry: str
    state: State
    """`missing` is no fault: the entry is optional. `broken` is one."""
    note: str
    """Of what is there: how much. Of what is missing: where it is looked for. Of what is broken: file and remedy."""


def checked(sequence: str, entry: str, check: Callable[[], str]) -> Finding:
    """`ok` with the check's note, or `broken` with the line that it raised."""
    try:
        return Finding(sequence, entry, "ok", check())
    except Animal4dError as error:
        return Finding(sequence, entry, "broken", " ".join(str(error).split()))
