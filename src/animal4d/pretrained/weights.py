"""Weights of pretrained networks on disk: where they are, in what state, and what to do where they are not.

Nothing here touches the network; `getting.get_weights` does, when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from animal4d.errors import Animal4dError
from animal4d.pretrained.networks import NETWORKS, Network
from animal4d.pretrained.packages import INSTALL, file_in_package
from animal4d.pretrained.places import known_network, network_folder, part_of, receipts, weights_root
from animal4d.pretrained.soundness import fault

__all__ = [
    "INSTALL",
    "NETWORKS",
    "State",
    "find_weights",
    "how_to_get",
    "known_network",
    "network_folder",
    "require_weights",
    "weights_checksum",
    "weights_root",
    "weights_state",
]


@dataclass(frozen=True)
class State:
    """How it stands with the weights of a network."""

    kind: Literal["missing", "partial", "damaged", "present"]
    note: str = ""
    """What is wrong, in words."""
    damaged: tuple[str, ...] = ()
    """Files that are there and of no use."""


def find_weights(name: str) -> Path | None:
    """The network's file, or its folder as `transformers` reads it; None where a file of it is missing.

    Only looks whether the files are there: a damaged one is told by `require_weights`, or by whoever reads it.
    """
    network = known_network(name)
    if network.package_file is not None:
        return file_in_package(network.package_file)
    folder = network_folder(name)
    if _missing(network, folder):
        return None
    return folder if network.is_folder else folder / network.weights.name


def require_weights(name: str) -> Path:
    """As `find_weights`.

    Raises Animal4dError, in one line, where a file is missing (which, where it belongs, where it is from, which
    command fetches it) or visibly damaged.
    """
    network = known_network(name)
    path = find_weights(name)
    if path is None:
        raise Animal4dError(how_to_get(name))
    state = weights_state(name)
    if state.kind == "damaged":
        raise Animal4dError(f"{network_folder(name) / state.damaged[0]}: {state.note}; {_command(network)}")
    return path


def weights_state(name: str) -> State:
    """How it stands with a network's files. Takes milliseconds: frames and sizes are looked at, not all bytes."""
    network = known_network(name)
    if network.package_file is not None:
        return State("present" if file_in_package(network.package_file) is not None else "missing")
    folder = network_folder(name)
    came = receipts(name)
    damaged: dict[str, str] = {}
    for file in network.files:
        path = folder / file.name
        if not path.is_file():
            continue
        wrong = fault(path, file.format)
        if wrong is None and file.name in came and path.stat().st_size != came[file.name].size:
            wrong = f"it has {path.stat().st_size} bytes, {came[file.name].size} came"
        if wrong is not None:
            damaged[file.name] = f"is damaged ({wrong})"
    if damaged:
        return State("damaged", next(iter(damaged.values())), tuple(damaged))
    missing = _missing(network, folder)
    if not missing:
        return State("present")
    begun = [file.name for file in network.files if part_of(folder / file.name).is_file()]
    if begun or any((folder / file.name).is_file() for file in network.files):
        return State("partial", f"{', '.join(missing)} missing" if not begun else f"{begun[0]} is half there")
    return State("missing")


def weights_checksum(name: str) -> str:
    """What tells these weights from others of the same network: SHA-256 of the file, or of all sums of a folder.

    Raises as `require_weights`.
    """
    from animal4d.files.checksums import config_hash  # not above: it takes torch with it, and looking does without

    network = known_network(name)
    path = require_weights(name)
    if not network.is_folder:
        return _checksum(path)
    # The settings that say how pictures are prepared count as well: they change what comes out.
    names = [file.name for file in network.files if (path / file.name).is_file()]
    return config_hash({file: _checksum(path / file) for file in names})


def _checksum(path: Path) -> str:
    status = path.stat()
    return _checksum_at(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _checksum_at(path: Path, size: int, changed: int) -> str:
    from animal4d.files.checksums import file_checksum

    del size, changed  # they tell one state of the file from another
    return file_checksum(path)


def _missing(network: Network, folder: Path) -> list[str]:
    return [file.name for file in network.files if not file.optional and not (folder / file.name).is_file()]


def how_to_get(name: str) -> str:
    """In one line, which files of a network are missing, where they belong, where they are from, and which command
    fetches them; to be called where some are."""
    network = known_network(name)
    if network.package is not None:
        return f"{network.name} is not installed (package {network.package}): {INSTALL}"
    folder = network_folder(network.name)
    missing = _missing(network, folder)
    places = " and ".join(str(folder / file) for file in missing)
    sources = " and ".join(file.url for file in network.files if file.name in missing)
    are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
    return (
        f"{places} {are} missing (weights of {network.name}): {_command(network)}, or put {them} there from {sources}"
    )


def _command(network: Network) -> str:
    if network.gated:
        return f"get the files at {network.page} and run animal4d weights add FOLDER"
    return f"run animal4d weights get {network.name}"
