"""The glTF 2.0 binary container: arrays in, one deterministic .glb out, and back. Knows nothing of animals."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAY_BUFFER = 34962
ELEMENT_ARRAY_BUFFER = 34963
_COMPONENT_TYPES = {"uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}
_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")
_MAGIC, _JSON, _BINARY = b"glTF", b"JSON", b"BIN\0"
_ELEMENT_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


def gltf_quaternions(quaternions: NDArray[np.floating]) -> NDArray[np.floating]:
    """(x, y, z, w), as glTF has them, of (w, x, y, z)."""
    return np.roll(quaternions, -1, axis=-1)


@dataclass
class GlbBuilder:
    """Collects the binary chunk and the accessors that describe it."""

    _binary: bytearray = field(default_factory=bytearray)
    _views: list[dict[str, Any]] = field(default_factory=list)
    _accessors: list[dict[str, Any]] = field(default_factory=list)

    def add(self, values: NDArray[Any], target: int | None = None, bounds: bool = False) -> int:
        """Store an array (n,), (n, 2), (n, 3), (n, 4) or column-major (n, 4, 4); returns the accessor's index.

        `target` says what a GPU uses it for; `bounds` adds minimum and maximum, which glTF demands of positions and
        times.
        """
        values = np.ascontiguousarray(values)
        accessor: dict[str, Any] = {
            "bufferView": self.add_bytes(values.astype(values.dtype.newbyteorder("<")).tobytes(), target),
            "componentType": _COMPONENT_TYPES[values.dtype.name],
            "count": len(values),
            "type": _ELEMENT_TYPES[values.shape[1:]],
        }
        if bounds:
            accessor["min"] = np.atleast_1d(values.min(axis=0)).tolist()
            accessor["max"] = np.atleast_1d(values.max(axis=0)).tolist()
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        """Store a whole file, such as a picture, or an array's bytes; returns the buffer view's index."""
        self._binary.extend(b"\0" * (-len(self._binary) % 4))
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._binary.extend(data)
        self._views.append(view)
        return len(self._views) - 1

    def add_tracks(
        self,
        animation: dict[str, Any],
        tracks: Iterable[tuple[str, int, NDArray[np.floating], NDArray[np.floating]]],
    ) -> None:
        """Put channels with their samplers into an animation: path, node, times and values, in single precision. Tracks
        with the same times share them."""
        accessors: dict[bytes, int] = {}
        for path, node, times, values in tracks:
            times = times.astype(np.float32)
            key = times.tobytes()
            if key not in accessors:
                accessors[key] = self.add(times, bounds=True)
            channel = {"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}}
            animation["channels"].append(channel)
            output = self.add(values.astype(np.float32))
            animation["samplers"].append({"input": accessors[key], "output": output, "interpolation": "LINEAR"})

    def to_bytes(self, document: dict[str, Any]) -> bytes:
        """The whole file: `document` (scenes, nodes, meshes, ...) completed by the stored arrays."""
        binary = bytes(self._binary) + b"\0" * (-len(self._binary) % 4)
        complete = {
            **document,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(binary)}],
        }
        text = json.dumps(complete, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        length = _HEADER.size + _CHUNK.size + len(text) + _CHUNK.size + len(binary)
        return b"".join(
            (
                _HEADER.pack(_MAGIC, 2, length),
                _CHUNK.pack(len(text), _JSON),
                text,
                _CHUNK.pack(len(binary), _BINARY),
                binary,
            )
        )


def read_glb(glb: bytes) -> tuple[dict[str, Any], bytes]:
    """Document and binary chunk of a file that `GlbBuilder` wrote. Raises ValueError where it is not whole."""
    try:
        magic, _, length = _HEADER.unpack_from(glb)
        size, kind = _CHUNK.unpack_from(glb, _HEADER.size)
        start = _HEADER.size + _CHUNK.size
        document = json.loads(glb[start : start + size])
        binary_size, binary_kind = _CHUNK.unpack_from(glb, start + size)
    except struct.error as error:
        raise ValueError("not a whole .glb file") from error
    binary = glb[start + size + _CHUNK.size :]
    kinds = (magic, kind, binary_kind) == (_MAGIC, _JSON, _BINARY)
    if not kinds or length != len(glb) or len(binary) != binary_size or not isinstance(document, dict):
        raise ValueError("not a whole .glb file")
    return document, binary


def reopened(glb: bytes) -> tuple[dict[str, Any], GlbBuilder]:
    """The document without its arrays, and a builder that has them and takes more; indices of accessors stay.

    Raises ValueError where the file is not whole.
    """
    document, binary = read_glb(glb)
    try:
        del document["buffers"]
        return document, GlbBuilder(bytearray(binary), document.pop("bufferViews"), document.pop("accessors"))
    except KeyError as error:
        raise ValueError(f"a .glb file without {error}") from error
