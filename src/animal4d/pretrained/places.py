"""Where weights lie on disk, and the notes kept beside them: what each file was when it came, and accepted terms."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from animal4d.errors import Animal4dError
from animal4d.pretrained.networks import NETWORKS, Network

VARIABLE = "ANIMAL4D_WEIGHTS"
_RECEIPTS = "received.json"
_ACCEPTED = "accepted_terms.json"


@dataclass(frozen=True)
class Receipt:
    """What a file was when it came."""

    size: int
    sha256: str
    source: str
    """The address or path that it came from."""


def weights_root() -> Path:
    """Folder of all weights: the environment variable ANIMAL4D_WEIGHTS, or the user's cache. Raises Animal4dError where
    that variable names a file."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        root = Path(chosen).expanduser()
        if root.is_file():
            raise Animal4dError(f"{VARIABLE}: {root} is a file; name the folder where weights are kept, or unset it")
        return root
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "animal4d" / "weights"


def known_network(name: str) -> Network:
    """The network of this name. Raises Animal4dError, naming all, where there is none."""
    if name not in NETWORKS:
        raise Animal4dError(f"unknown network '{name}'; known are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def network_folder(name: str) -> Path:
    """Where the files of a network belong."""
    return weights_root() / known_network(name).name


def part_of(path: Path) -> Path:
    """Where the bytes of a file gather while it is fetched."""
    return path.with_name(f"{path.name}.part")


def receipts(name: str) -> dict[str, Receipt]:
    """By file, what came; empty where nothing is known, as of files that were put there by hand."""
    notes = _read(network_folder(name) / _RECEIPTS)
    found: dict[str, Receipt] = {}
    for file, note in notes.items():
        try:
            found[file] = Receipt(int(note["size"]), str(note["sha256"]), str(note["source"]))
        except (KeyError, TypeError, ValueError):
            continue  # notes that someone has edited are no notes
    return found


def note_receipt(name: str, file: str, receipt: Receipt) -> None:
    from animal4d.files.atomic import write_json  # not above: it takes torch with it, and reading does without

    notes = {known: asdict(note) for known, note in receipts(name).items()}
    write_json(network_folder(name) / _RECEIPTS, notes | {file: asdict(receipt)})


def has_accepted(network: Network) -> bool:
    """Whether someone has accepted the terms of this network as they are now."""
    note = _read(weights_root() / _ACCEPTED).get(network.name)
    return isinstance(note, Mapping) and note.get("licence") == network.licence and note.get("terms") == network.terms


def note_acceptance(network: Network) -> None:
    from animal4d.files.atomic import write_json

    path = weights_root() / _ACCEPTED
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    write_json(path, _read(path) | {network.name: {"licence": network.licence, "terms": network.terms, "when": when}})


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
