"""Packing some sequences of an external data tree into one tar file, the same bytes every time."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from animal4d.data.index import cut_index
from animal4d.data.manifest import MANIFEST_NAME, Manifest, PackedFile
from animal4d.data.tree import INDEX_FILE, TreeFile, licensed_files, sequence_files, shared_files
from animal4d.errors import Animal4dError
from animal4d.files.atomic import atomic_path
from animal4d.files.checksums import file_checksum
from animal4d.readers.external import open_external

BLOCK = 512
"""Bytes; members of a tar file start at its multiples."""
_CHUNK = 1 << 20
_MODE = 0o644

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, of)`."""


def pack(
    root: Path,
    sequences: Sequence[str],
    out: Path,
    with_licensed: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Write the files that the sequences need, and those that all need, to an uncompressed tar file.

    The manifest comes first, then the files by name, without times, owners or permissions of this machine. The index
    is cut down to the sequences. The files of `LICENSED_FOLDERS` that others gave out under terms of their own are
    left out unless `with_licensed`, and named in the manifest.

    Raises Animal4dError where a sequence or picture is missing, a file cannot be read or changes meanwhile, and where
    `out` cannot be written: no half file stays.
    """
    index = open_external(root)
    names = sorted(set(sequences)) or [sequence.name for sequence in index.sequences()]
    files = {file.name: file for name in names for file in sequence_files(root, index, name)}
    files |= {file.name: file for file in shared_files(root, with_licensed)}
    index_bytes = cut_index(index.database, names)
    packed = [PackedFile(INDEX_FILE, len(index_bytes), hashlib.sha256(index_bytes).hexdigest())]
    for done, file in enumerate(files.values(), start=1):
        packed.append(_measured(file))
        if progress is not None:
            progress("reading", done, len(files))
    left_out = () if with_licensed else tuple(file.name for file in licensed_files(root))
    manifest = Manifest(tuple(names), tuple(sorted(packed, key=lambda file: file.name)), left_out)
    if out.is_dir():
        raise Animal4dError(f"{out} is a folder: give the name of a file, as {out / 'subset.tar'}")
    with atomic_path(out) as temporary, temporary.open("wb") as stream:
        _write_member(stream, MANIFEST_NAME, manifest.to_bytes())
        for done, file in enumerate(manifest.files, start=1):
            if file.name == INDEX_FILE:
                _write_member(stream, file.name, index_bytes)
            else:
                _copy_member(stream, file, files[file.name].path)
            if progress is not None:
                progress("packing", done, len(manifest.files))
        stream.write(bytes(2 * BLOCK))
    return manifest


def _measured(file: TreeFile) -> PackedFile:
    try:
        return PackedFile(file.name, file.path.stat().st_size, file_checksum(file.path))
    except OSError as error:
        raise _unreadable(file.path, error) from error


def _header(name: str, size: int) -> bytes:
    """The header blocks of a plain file; the only ones that `unpack` takes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _write_member(stream: BinaryIO, name: str, content: bytes) -> None:
    stream.write(_header(name, len(content)))
    stream.write(content)
    stream.write(bytes(-len(content) % BLOCK))


def _copy_member(stream: BinaryIO, file: PackedFile, path: Path) -> None:
    stream.write(_header(file.name, file.size))
    digest, left = hashlib.sha256(), file.size
    try:
        source = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with source:
        while left > 0:
            try:
                chunk = source.read(min(_CHUNK, left))
            except OSError as error:
                raise _unreadable(path, error) from error
            if not chunk:
                break
            digest.update(chunk)
            stream.write(chunk)
            left -= len(chunk)
    if digest.hexdigest() != file.sha256:
        raise Animal4dError(f"{path} changed while it was packed: pack again when nothing writes to the tree")
    stream.write(bytes(-file.size % BLOCK))


def _unreadable(path: Path, error: OSError) -> Animal4dError:
    return Animal4dError(f"{path} cannot be read ({error.strerror or error}): check the disk and its permissions")
