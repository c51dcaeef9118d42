"""Taking over files that the user has: recognised, checked, copied to their place."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from animal4d.errors import Animal4dError
from animal4d.files.atomic import atomic_path, writing_errors
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.checking import check_file, networks_of
from animal4d.pretrained.download import Show, discard
from animal4d.pretrained.networks import NETWORKS, Network, WeightsFile
from animal4d.pretrained.places import Receipt, known_network, network_folder, note_receipt
from animal4d.pretrained.weights import INSTALL, require_weights

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Added:
    """What a file turned out to be."""

    network: Network
    path: Path
    """As `require_weights` returns it."""
    published: bool | None
    """Whether the weights are, bit by bit, the published ones; None where their checksum is not known."""


def add_weights(source: Path, name: str | None = None, show: Show | None = None) -> Added:
    """Copy a file of weights, or a folder as `transformers` reads it, to the place of its network.

    The network is recognised by the file's checksum, or else by names and shapes of its tensors; `name` says which one
    is meant. Raises Animal4dError, in one line, where the file is damaged, holds anything but data, is of no known
    network or of another one, or cannot be copied; then nothing has changed.
    """
    source = source.expanduser()
    if not source.exists():
        raise Animal4dError(f"{source}: no such file or folder")
    wanted = None if name is None else _addable(known_network(name))
    weights = _weights_in(source, wanted) if source.is_dir() else source
    checksum = _checksum_of(weights)
    network = _recognised(weights, checksum, wanted)
    if checksum != network.weights.sha256:
        _check_weights(network, weights)
    copies = [(network.weights, weights), *_settings(network, weights)]
    folder = network_folder(network.name)
    _need_space(folder, [path for _, path in copies])
    for file, path in copies:
        digest = checksum if file is network.weights else _checksum_of(path)
        _copy(path, folder / file.name, digest, show)
        note_receipt(network.name, file.name, Receipt(path.stat().st_size, digest, str(path.resolve())))
    published = None if network.weights.sha256 is None else checksum == network.weights.sha256
    return Added(network, require_weights(network.name), published)


def _addable(network: Network) -> Network:
    if network.package is not None:
        raise Animal4dError(f"{network.name} comes inside of the package {network.package}: {INSTALL}")
    return network


def _weights_in(folder: Path, wanted: Network | None) -> Path:
    networks = [wanted] if wanted is not None else [network for network in NETWORKS.values() if network.files]
    names = list(dict.fromkeys(network.weights.name for network in networks))
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise Animal4dError(f"{folder}: holds no weights; looked for {', '.join(names)}")
    if len(found) > 1:
        raise Animal4dError(f"{folder}: holds several files of weights ({', '.join(names)}); add them one by one")
    return found[0]


def _recognised(weights: Path, checksum: str, wanted: Network | None) -> Network:
    for network in NETWORKS.values():
        if network.files and network.weights.sha256 == checksum and wanted in (None, network):
            return network
    if wanted is not None:
        return wanted
    found = [network for network, _ in networks_of(weights)]
    if not found:
        known = ", ".join(network.name for network in NETWORKS.values() if network.files)
        raise Animal4dError(
            f"{weights}: is of none of the networks {known}; where it is one of them all the same, say --name NAME "
            "to hear what differs"
        )
    if len(found) > 1:
        names = ", ".join(network.name for network in found)
        raise Animal4dError(f"{weights}: could be of {names}; say --name NAME")
    return found[0]


def _check_weights(network: Network, weights: Path) -> None:
    try:
        check_file(network, network.weights, weights)
    except Animal4dError as error:
        others = _others(weights)
        if not others:
            raise
        raise Animal4dError(f"{weights}: is no file of {network.name} but of {others}; say --name {others}") from error


def _others(weights: Path) -> str:
    try:
        return " or ".join(network.name for network, _ in networks_of(weights))
    except Animal4dError:
        return ""


def _settings(network: Network, weights: Path) -> list[tuple[WeightsFile, Path]]:
    """The files beside the weights that belong to them, looked through. Nobody needs those that are optional."""
    beside: list[tuple[WeightsFile, Path]] = []
    for file in network.files:
        path = weights.with_name(file.name)
        if file is network.weights or (file.optional and not path.is_file()):
            continue
        if not path.is_file():
            raise Animal4dError(f"{path}: is missing, and {network.name} needs it beside {weights.name}")
        check_file(network, file, path)
        beside.append((file, path))
    return beside


def _need_space(folder: Path, paths: list[Path]) -> None:
    with writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    needed, free = sum(path.stat().st_size for path in paths), shutil.disk_usage(folder).free
    if needed > free:
        raise Animal4dError(
            f"cannot write {folder}: it needs {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free on the disk; "
            "free some, or choose another folder with ANIMAL4D_WEIGHTS"
        )


def _copy(source: Path, destination: Path, checksum: str, show: Show | None) -> None:
    if destination.exists() and destination.samefile(source):
        return
    size, done, digest = source.stat().st_size, 0, hashlib.sha256()
    with atomic_path(destination) as temporary, source.open("rb") as reading, temporary.open("wb") as writing:
        while chunk := reading.read(_CHUNK):
            writing.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if show is not None:
                show(destination.name, done, size)
        if digest.hexdigest() != checksum:
            raise Animal4dError(f"{source}: changed while it was copied; nothing was kept, try again")
    discard(destination)


def _checksum_of(path: Path) -> str:
    try:
        return file_checksum(path)
    except OSError as error:
        raise Animal4dError(f"{path}: cannot be read ({error.strerror or error})") from error
