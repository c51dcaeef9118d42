"""What an archive of a data tree holds: names, sizes and SHA-256 sums of its files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from animal4d.data.tree import check_name
from animal4d.errors import Animal4dError

MANIFEST_NAME = "manifest.json"
"""First member of every archive."""
_FORMAT = "animal4d data package"
_VERSION = 1
_SUM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PackedFile:
    """One file of an archive."""

    name: str
    """Relative to the tree's root, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of an archive."""

    sequences: tuple[str, ...]
    files: tuple[PackedFile, ...]
    left_out: tuple[str, ...] = ()
    """Files of the tree that were not packed since they are bound to licences of their own."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def to_bytes(self) -> bytes:
        """As JSON; the same manifest gives the same bytes."""
        content = {"format": _FORMAT, "version": _VERSION, **asdict(self)}
        return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> Manifest:
        """A manifest whose names are unique and stay inside of the tree. Raises Animal4dError on any other."""
        try:
            content: Any = json.loads(data)
            if (content["format"], content["version"]) != (_FORMAT, _VERSION):
                raise ValueError("it is of another format")
            files = tuple(_packed_file(entry) for entry in content["files"])
            sequences = tuple(str(name) for name in content["sequences"])
            left_out = tuple(str(name) for name in content["left_out"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Animal4dError(
                f"{where}: {MANIFEST_NAME} is not that of `animal4d data pack` ({type(error).__name__}: {error}): get "
                "the archive again"
            ) from error
        for file in files:
            check_name(file.name, f"{where}, {MANIFEST_NAME}")
        _check_distinct([file.name for file in files], where)
        return Manifest(sequences, files, left_out)


def _packed_file(entry: Any) -> PackedFile:
    name, size, sha256 = entry["name"], entry["size"], entry["sha256"]
    if type(name) is not str or type(size) is not int or type(sha256) is not str:
        raise ValueError("a file needs name, size and sha256")
    if size < 0 or not _SUM.fullmatch(sha256):
        raise ValueError(f"size or sha256 of {name} is none")
    return PackedFile(name, size, sha256)


def _check_distinct(names: Iterable[str], where: str) -> None:
    """No name twice, also where capitals do not count, and none that is the folder of another."""
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        folded = name.casefold()
        if folded in seen:
            raise Animal4dError(f"{where}: {name} is listed twice: get the archive again")
        seen.add(folded)
        folders.update(str(parent) for parent in PurePosixPath(folded).parents)
    if both := seen & folders:
        raise Animal4dError(f"{where}: {min(both)} is a file and a folder at once: get the archive again")
