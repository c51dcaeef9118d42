"""Reading every byte of weights again: are they still what came, and what the network needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.checking import check_file
from animal4d.pretrained.networks import Network, WeightsFile
from animal4d.pretrained.places import Receipt, known_network, network_folder, receipts


@dataclass(frozen=True)
class Verdict:
    """What became of one file."""

    network: str
    path: Path
    kind: Literal["ok", "missing", "bad"]
    note: str
    sha256: str | None = None


def verify_weights(name: str, show: Callable[[str], None] | None = None) -> list[Verdict]:
    """A verdict for every file of a network that is there or needed; none for weights inside of packages."""
    network = known_network(name)
    folder, came = network_folder(name), receipts(name)
    verdicts: list[Verdict] = []
    for file in network.files:
        path = folder / file.name
        if path.is_file():
            if show is not None:
                show(f"{name}: {file.name}")
            verdicts.append(_verdict(network, file, path, came.get(file.name)))
        elif not file.optional:
            verdicts.append(Verdict(name, path, "missing", "is not there"))
    return verdicts


def _verdict(network: Network, file: WeightsFile, path: Path, came: Receipt | None) -> Verdict:
    try:
        checksum = file_checksum(path)
        if came is not None and checksum != came.sha256:
            return Verdict(network.name, path, "bad", "is damaged (it is not what came)", checksum)
        if checksum == file.sha256:
            return Verdict(network.name, path, "ok", "as published", checksum)
        check_file(network, file, path)
    except OSError as error:
        return Verdict(network.name, path, "bad", f"cannot be read ({error.strerror or error})")
    except Animal4dError as error:
        return Verdict(network.name, path, "bad", str(error).removeprefix(f"{path}: "))
    if file.sha256 is not None:
        note = "of the right structure, but not the published file"
    elif file.format == "json":
        note = "readable"
    else:
        note = "of the right structure; no published checksum is known"
    return Verdict(network.name, path, "ok", note if came is None else f"{note}; as it came", checksum)
