"""Fingerprints that tell whether something was made from the same input and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

_CHUNK = 1 << 20


def file_checksum(path: Path | str) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tensor_checksum(tensors: Iterable[Tensor | np.ndarray]) -> str:
    """SHA-256 of the types, shapes and values of some tensors, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = np.ascontiguousarray(tensor.detach().cpu().numpy() if isinstance(tensor, Tensor) else tensor)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def config_hash(config: Any) -> str:
    """Short SHA-256 of a JSON-like configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
