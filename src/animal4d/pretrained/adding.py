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
from animal4d.pretrained.soundness import kind_of
from animal4d.pretrained.weights import INSTALL, require_weights, weights_state

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Added:
    """What a file turned out to be."""

    network: Network
    path: Path
    """As `require_weights` returns it; of what only helps the weights its own."""
    published: bool | None
    """Whether the weights are, bit by bit, the published ones; None where their checksum is not known."""
    replaced: tuple[str, ...] = ()
    """In words, the files that were there before and are no more."""


def add_weights(source: Path, name: str | None = None, show: Show | None = None, replace_others: bool = False) -> Added:
    """Copy a file of weights, or a folder as `transformers` reads it, to the place of its network.

    The network is recognised by the file's checksum, or else by names and shapes of its tensors; `name` says which one
    is meant. ONNX files, which tell little of themselves, are recognised by their checksum alone. With `replace_others`
    whole files of other content give way; damaged ones always do.

    Raises Animal4dError, in one line, where the file is damaged, holds anything but data, is of no known network or of
    another one, would replace another one, or cannot be copied; then nothing has changed.
    """
    source = source.expanduser()
    if not source.exists():
        raise Animal4dError(f"{source}: no such file or folder")
    wanted = None if name is None else _addable(known_network(name))
    weights = _weights_in(source, wanted) if source.is_dir() else source
    checksum = _checksum_of(weights)
    network, file = _recognised(weights, checksum, wanted)
    if checksum != file.sha256:
        _check(network, file, weights)
    is_weights = file is network.weights
    copies = [(file, weights), *(_settings(network, weights) if is_weights else ())]
    folder = network_folder(network.name)
    sums = {copied.name: checksum if copied is file else _checksum_of(path) for copied, path in copies}
    there = [told for copied, _ in copies if (told := _other_there(network, copied, sums[copied.name])) is not None]
    if there and not replace_others:
        raise Animal4dError(f"{there[0]} is there already: say --replace to put {source} in its place")
    replaced = [*there, *_damaged_there(network, [copied for copied, _ in copies])]
    _need_space(folder, [path for _, path in copies])
    for copied, path in copies:
        digest = sums[copied.name]
        _copy(path, folder / copied.name, digest, show)
        note_receipt(network.name, copied.name, Receipt(path.stat().st_size, digest, str(path.resolve())))
    published = None if file.sha256 is None else checksum == file.sha256
    path = require_weights(network.name) if is_weights else folder / file.name
    return Added(network, path, published, tuple(replaced))


def _other_there(network: Network, file: WeightsFile, checksum: str) -> str | None:
    """In words, a whole file of other content at a file's place; None where there is none."""
    path = network_folder(network.name) / file.name
    if not path.is_file() or file.name in weights_state(network.name).damaged:
        return None
    found = _checksum_of(path)
    if found == checksum:
        return None
    what = "the published file" if found == file.sha256 else f"SHA-256 {found[:12]}..."
    return f"{path} ({what})"


def _damaged_there(network: Network, files: list[WeightsFile]) -> list[str]:
    damaged = weights_state(network.name).damaged
    return [f"{network_folder(network.name) / file.name} (damaged)" for file in files if file.name in damaged]


def _addable(network: Network) -> Network:
    if network.package is not None:
        raise Animal4dError(f"{network.name} comes inside of the package {network.package}: {INSTALL}")
    return network


def _weights_in(folder: Path, wanted: Network | None) -> Path:
    networks = [wanted] if wanted is not None else [network for network in NETWORKS.values() if network.files]
    names = list(dict.fromkeys(network.weights.name for network in networks))
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        helping = [file.name for network in networks for file in network.known_files[1:]]
        found = [folder / name for name in helping if (folder / name).is_file()]
    if not found:
        unsafe = sorted(path.name for path in folder.glob("*.bin") if path.is_file())
        if unsafe:
            raise Animal4dError(
                f"{folder}: holds {unsafe[0]}, and weights of this kind must be saved as safetensors, which run no "
                "code (model.safetensors: save_pretrained(FOLDER) of transformers writes it)"
            )
        raise Animal4dError(f"{folder}: holds no weights; looked for {', '.join(names)}")
    if len(found) > 1:
        raise Animal4dError(f"{folder}: holds several files of weights ({', '.join(names)}); add them one by one")
    return found[0]


def _recognised(weights: Path, checksum: str, wanted: Network | None) -> tuple[Network, WeightsFile]:
    for network in NETWORKS.values():
        for file in network.known_files:
            if file.sha256 == checksum and wanted in (None, network):
                return network, file
    if wanted is not None:
        return wanted, next((file for file in wanted.known_files[1:] if _is(wanted, file, weights)), wanted.weights)
    found = networks_of(weights)
    if kind_of(weights) == "onnx":
        raise Animal4dError(
            f"{weights}: is none of the published ONNX files, which are known by their checksums alone; where it finds "
            f"masks, say --name {' or --name '.join(network.name for network in _onnx_networks())}"
        )
    if not found:
        known = ", ".join(network.name for network in NETWORKS.values() if network.files)
        raise Animal4dError(
            f"{weights}: is of none of the networks {known}; where it is one of them all the same, say --name NAME "
            "to hear what differs"
        )
    if len(found) > 1:
        names = ", ".join(network.name for network, _ in found)
        raise Animal4dError(f"{weights}: could be of {names}; say --name NAME")
    return found[0]


def _onnx_networks() -> list[Network]:
    return [network for network in NETWORKS.values() if network.files and network.weights.format == "onnx"]


def _is(network: Network, file: WeightsFile, path: Path) -> bool:
    try:
        check_file(network, file, path)
    except Animal4dError:
        return False
    return True


def _check(network: Network, file: WeightsFile, weights: Path) -> None:
    try:
        check_file(network, file, weights)
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
