"""What is visibly wrong with a file, and what kind of file it is: by its first bytes, its last ones, its header.

Neither torch nor anything else that is slow to import is needed for that.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import BinaryIO

from animal4d.pretrained.networks import Format
from animal4d.pretrained.onnx_header import onnx_header

_PICKLE_START, _PICKLE_STOP = b"\x80", b"."
_OLD_TORCH = b"l\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that torch wrote, as a pickle of its own, at the beginning of files before they were zip files."""
_OLD_TORCH_ENDS = 20
_LONGEST_HEADER = 100 << 20
"""Bytes of a safetensors header, as its reader allows them."""


def fault(path: Path, kind: Format) -> str | None:
    """What is visibly wrong with the frame of a file; None where nothing is. Takes milliseconds."""
    try:
        size = path.stat().st_size
        if size == 0:
            return "empty"
        if kind == "json":
            return None if isinstance(json.loads(path.read_text()), dict) else "it holds no settings"
        if kind == "onnx":
            onnx_header(path)
            return None
        with path.open("rb") as file:
            if kind == "safetensors":
                return _safetensors_fault(file.read(8), size, file)
            if kind == "torch" and zipfile.is_zipfile(path):
                return None
            start = file.read(1)
            file.seek(-1, 2)
            if start == _PICKLE_START and (kind == "torch" or file.read(1) == _PICKLE_STOP):
                return None
            return "it ends too early, or is another kind of file"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    except (json.JSONDecodeError, UnicodeDecodeError):
        return "its header is no JSON" if kind == "safetensors" else "it is no JSON"
    except ValueError as error:
        return str(error)  # of the ONNX header
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError):  # JSON of another shape
        return "its header is no safetensors header" if kind == "safetensors" else "it holds no settings"


def _safetensors_fault(start: bytes, size: int, file: BinaryIO) -> str | None:
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, _LONGEST_HEADER):
        return "it ends too early, or is no safetensors file"
    header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        return "it ends too early"
    return None


FORMAT_OF_SUFFIX: dict[str, Format] = {
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".pth": "torch",
    ".pt": "torch",
    ".pkl": "detectron",
}
"""What a file calls itself."""


def kind_of(path: Path) -> Format | None:
    """The kind of a file, by its first bytes. None where it is no file, or of a kind that holds no weights."""
    try:
        with path.open("rb") as file:
            start = file.read(_OLD_TORCH_ENDS)
    except OSError:
        return None
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER:
        return "safetensors"
    if start[:1] == b"{":
        return "json"
    if start[:2] == b"PK" or _OLD_TORCH in start:
        return "torch"
    if start[:1] == _PICKLE_START:
        return "detectron"
    return "onnx" if path.suffix == ".onnx" else None
