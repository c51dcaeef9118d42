"""Unpacking an archive of `pack` into a data tree, checked down to the last byte.

Archives come from strangers. Only plain files that the manifest names are taken, each of the size and sum that it
says; everything is checked before the first file takes its place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from animal4d.data.manifest import MANIFEST_NAME, Manifest, PackedFile
from animal4d.data.pack import BLOCK
from animal4d.data.tree import check_name
from animal4d.errors import Animal4dError
from animal4d.files.atomic import writing_errors
from animal4d.files.checksums import file_checksum
from animal4d.files.paths import join_inside

_CHUNK = 1 << 20
_LARGEST_MANIFEST = 1 << 26
_LONGEST_NAME = 4096
_FORBIDDEN = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
}

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, of)`."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    offset: int
    """Of its first byte in the archive."""


@dataclass(frozen=True)
class Unpacked:
    """What came of an archive."""

    manifest: Manifest
    written: int
    """Number of files that are new."""
    kept: int
    """Number of files that were there already, the same to the last byte."""


def unpack(archive: Path, root: Path, progress: Progress | None = None) -> Unpacked:
    """Write the archive's files below `root`, all or none.

    Raises Animal4dError where the archive is damaged, holds anything but the files of its manifest, or would leave
    `root`; where another file of the same name is there; and where the disk is full.
    """
    try:
        stream = archive.open("rb")
    except OSError as error:
        raise Animal4dError(f"{archive} cannot be read ({error.strerror or error})") from error
    with stream:
        members = _members(stream, archive)
        manifest = _read_manifest(stream, members, archive)
        places = _places(manifest, members[1:], archive)
        new = [file for file in manifest.files if not _is_there(root, file)]
        with _made_folder(root), _staging(root) as staging:
            for done, file in enumerate(new):
                with writing_errors(root / file.name):
                    _extract(stream, places[file.name], file, staging / str(done), archive)
                if progress is not None:
                    progress("unpacking", done + 1, len(new))
            _move_all(staging, root, new)
    return Unpacked(manifest, len(new), len(manifest.files) - len(new))


def _members(stream: BinaryIO, archive: Path) -> list[_Member]:
    """All members, without reading their content. Anything but plain files is refused here."""
    end = stream.seek(0, os.SEEK_END)
    offset, long_name = 0, None
    members: list[_Member] = []
    while True:
        stream.seek(offset)
        block = stream.read(BLOCK)
        if block == bytes(BLOCK):
            return members
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise Animal4dError(
                f"{archive}: not an archive of `animal4d data pack`, or cut off after {len(members)} files: get it "
                "again"
            ) from error
        name = long_name or info.name
        offset += BLOCK
        if info.size < 0 or offset + info.size > end:
            raise Animal4dError(f"{archive}: {name!r} goes on beyond its end: it is cut off, get it again")
        if info.type == tarfile.GNUTYPE_LONGNAME and info.size <= _LONGEST_NAME and long_name is None:
            long_name = stream.read(info.size).rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            check_name(name, str(archive))
            members.append(_Member(name, info.size, offset))
            long_name = None
        else:
            kind = _FORBIDDEN.get(info.type, f"of type {info.type!r}")
            raise Animal4dError(f"{archive}: {name!r} is {kind}; only plain files are unpacked, so none was")
        offset += info.size + -info.size % BLOCK


def _read_manifest(stream: BinaryIO, members: list[_Member], archive: Path) -> Manifest:
    if not members or members[0].name != MANIFEST_NAME or members[0].size > _LARGEST_MANIFEST:
        raise Animal4dError(f"{archive} does not start with {MANIFEST_NAME}: it is none of `animal4d data pack`")
    stream.seek(members[0].offset)
    return Manifest.from_bytes(stream.read(members[0].size), str(archive))


def _places(manifest: Manifest, members: list[_Member], archive: Path) -> dict[str, _Member]:
    """Every file of the manifest in the archive: there once, of the right size, and no other."""
    sizes = {file.name: file.size for file in manifest.files}
    places: dict[str, _Member] = {}
    for member in members:
        if member.name not in sizes:
            raise Animal4dError(f"{archive}: {member.name} is not in its manifest: get the archive again")
        if member.name in places:
            raise Animal4dError(f"{archive}: {member.name} is in it twice: get the archive again")
        if member.size != sizes[member.name]:
            raise Animal4dError(
                f"{archive}: {member.name} has {member.size} bytes, its manifest says {sizes[member.name]}: get the "
                "archive again"
            )
        places[member.name] = member
    if lacking := sizes.keys() - places.keys():
        raise Animal4dError(f"{archive}: {min(lacking)} is in its manifest but not in it: get the archive again")
    return places


def _is_there(root: Path, file: PackedFile) -> bool:
    """Whether the very same file is there already. Raises Animal4dError where something else is in its place."""
    target = root / file.name
    for folder in reversed(target.relative_to(root).parents):
        if (root / folder).exists() and not (root / folder).is_dir():
            raise Animal4dError(f"{root / folder} is a file where a folder is needed: choose another folder")
    join_inside(root, file.name)
    if not os.path.lexists(target):
        return False
    same = not target.is_symlink() and target.is_file() and target.stat().st_size == file.size
    if not same or file_checksum(target) != file.sha256:
        raise Animal4dError(
            f"{target} is there already and differs from the archive: choose another folder, or move it"
        )
    return True


@contextmanager
def _made_folder(root: Path) -> Iterator[None]:
    """Make the folder; where the block fails, a new one goes again."""
    new = not root.exists()
    with writing_errors(root):
        root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                root.rmdir()
        raise


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder beside the files' places, on the same disk, that is gone in the end."""
    with writing_errors(root):
        folder = Path(tempfile.mkdtemp(prefix=".unpack-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _extract(stream: BinaryIO, member: _Member, file: PackedFile, path: Path, archive: Path) -> None:
    digest, left = hashlib.sha256(), file.size
    stream.seek(member.offset)
    with path.open("wb") as target:
        while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
            digest.update(chunk)
            target.write(chunk)
            left -= len(chunk)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        raise Animal4dError(f"{archive}: {file.name} does not have the sum of its manifest: get the archive again")


def _move_all(staging: Path, root: Path, files: list[PackedFile]) -> None:
    """Give the files their places; where one cannot have it, take the others away again."""
    moved: list[Path] = []
    made: list[Path] = []
    try:
        for number, file in enumerate(files):
            target = root / file.name
            with writing_errors(target):
                for folder in reversed(target.relative_to(root).parents):
                    if not (root / folder).is_dir():
                        (root / folder).mkdir()
                        made.append(root / folder)
                (staging / str(number)).replace(target)
            moved.append(target)
    except BaseException:
        with suppress(OSError):
            for path in moved:
                path.unlink()
            for folder in reversed(made):
                folder.rmdir()
        raise
