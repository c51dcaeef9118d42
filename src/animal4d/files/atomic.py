"""Writing files so that a reader finds the old content or the new, never half of it.

Everything is written to a temporary file in the same folder, flushed to disk and renamed. What goes wrong on the way
(no space, no permission) leaves the old file as it was and is told in one line.
"""

from __future__ import annotations

import errno
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from animal4d.errors import Animal4dError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; when the block ends well it takes `path`'s place.

    Parent folders are made. Raises Animal4dError where the disk is full or writing is not allowed.
    """
    path = Path(path)
    with writing_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _flush(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _flush(path.parent)


def write_bytes(path: Path | str, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Strict JSON: NaN and infinities raise ValueError, since other readers choke on them."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_npz(path: Path | str, arrays: Mapping[str, ArrayLike]) -> None:
    buffer = io.BytesIO()
    plain: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez_compressed(buffer, **plain)
    write_bytes(path, buffer.getvalue())


def open_npz(path: Path | str) -> np.lib.npyio.NpzFile:
    """The arrays of a `.npz` file, to be used in a `with`. Raises OSError, or ValueError where it is no such file."""
    if Path(path).is_file() and not zipfile.is_zipfile(path):
        raise ValueError("not a .npz file")
    return np.load(path, allow_pickle=False)


def read_npz_record(path: Path | str, version: int | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of a `.npz` file, and the plain values that its array `plain` holds as JSON; `format` must be `version`.

    Raises what numpy and json raise on a damaged file, and ValueError on one of another version.
    """
    with open_npz(path) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    plain: dict[str, Any] = json.loads(str(arrays.pop("plain")))
    if plain.pop("format") != version:
        raise ValueError("it was written by another version")
    return arrays, plain


def write_torch(path: Path | str, value: Any) -> None:
    """Tensors and plain containers only, so that `torch.load(weights_only=True)` reads them back."""
    # Through memory: torch's own file writer turns a full disk into a RuntimeError without a cause.
    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_bytes(path, buffer.getvalue())


@contextmanager
def writing_errors(path: Path | str) -> Iterator[None]:
    """Turn what the operating system says while writing `path` into one line with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            remedy = "no space left on the disk; free some, or choose another folder"
        elif error.errno in _NOT_ALLOWED:
            remedy = "writing is not allowed there; choose another folder, or change its permissions"
        elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            remedy = "a file stands where a folder is needed, or the other way round; move it away"
        elif error.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL):
            remedy = "the system cannot make such a file there; choose another folder or name"
        else:
            raise
        raise Animal4dError(f"cannot write {path}: {remedy}") from error


def _flush(path: Path) -> None:
    """Force the content of a file, or the entries of a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
