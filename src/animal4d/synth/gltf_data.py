"""Numbers out of a glTF file: accessors, primitives and materials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pygltflib
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.errors import Animal4dError

_COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_UNREADABLE = {"KHR_draco_mesh_compression", "EXT_meshopt_compression"}


@dataclass(frozen=True)
class GltfData:
    """An opened glTF file with its buffers."""

    path: Path
    gltf: pygltflib.GLTF2
    buffers: tuple[bytes, ...]

    @staticmethod
    def open(path: Path) -> GltfData:
        """Raises Animal4dError when the file is missing, is no glTF, lacks a buffer or is compressed."""
        if not path.is_file():
            raise Animal4dError(f"{path}: no such file")
        try:
            binary = path.open("rb").read(4) == b"glTF"
            gltf = pygltflib.GLTF2().load_binary(str(path)) if binary else pygltflib.GLTF2().load_json(str(path))
            if gltf is None:
                raise ValueError("empty")
        except Exception as error:  # pygltflib lets decoding, JSON and struct errors of all kinds through
            raise Animal4dError(f"{path}: not a glTF file (.glb or .gltf)") from error
        compressed = _UNREADABLE & set(gltf.extensionsRequired or [])
        if compressed:
            names = ", ".join(sorted(compressed))
            raise Animal4dError(f"{path}: compressed glTF ({names}); export it without compression")
        try:
            buffers = tuple(_buffer(gltf, buffer, path) for buffer in gltf.buffers)
        except (OSError, ValueError) as error:
            raise Animal4dError(f"{path}: cannot read its buffers ({error})") from error
        return GltfData(path, gltf, buffers)

    def accessor(self, index: int) -> Float[ndarray, "count width"]:
        """Values of an accessor as float64; normalised integers become fractions, sparse ones are filled in."""
        accessor = self.gltf.accessors[index]
        width = _WIDTHS[accessor.type]
        dtype = np.dtype(_COMPONENTS[accessor.componentType])
        if accessor.bufferView is None:
            values = np.zeros((accessor.count, width))
        else:
            raw = self._view(accessor.bufferView, accessor.byteOffset or 0, accessor.count, width, dtype)
            values = raw.astype(np.float64)
        if accessor.sparse is not None:
            sparse = accessor.sparse
            where = self._view(
                sparse.indices.bufferView,
                sparse.indices.byteOffset or 0,
                sparse.count,
                1,
                np.dtype(_COMPONENTS[sparse.indices.componentType]),
            )
            values[where[:, 0].astype(np.int64)] = self._view(
                sparse.values.bufferView, sparse.values.byteOffset or 0, sparse.count, width, dtype
            )
        if accessor.normalized and dtype.kind in "iu":
            values = np.maximum(values / np.iinfo(dtype).max, -1.0)
        return values

    def triangles(self, primitive: pygltflib.Primitive) -> tuple[Float[ndarray, "vertices 3"], Int[ndarray, "faces 3"]]:
        """Positions and triangles of a primitive. Raises Animal4dError for points and lines."""
        if primitive.attributes.POSITION is None:
            raise Animal4dError(f"{self.path}: a primitive has no positions")
        positions = self.accessor(primitive.attributes.POSITION)
        if primitive.indices is None:
            order = np.arange(len(positions))
        else:
            order = self.accessor(primitive.indices)[:, 0].astype(np.int64)
        mode = _TRIANGLES if primitive.mode is None else primitive.mode
        if mode == _TRIANGLES:
            return positions, order[: len(order) // 3 * 3].reshape(-1, 3)
        if mode == _STRIP:
            faces = np.stack((order[:-2], order[1:-1], order[2:]), axis=1)
            faces[1::2] = faces[1::2, [1, 0, 2]]
            return positions, faces
        if mode == _FAN:
            return positions, np.stack((np.full(len(order) - 2, order[0]), order[1:-1], order[2:]), axis=1)
        raise Animal4dError(f"{self.path}: a primitive is made of points or lines; it takes triangles")

    def influences(self, primitive: pygltflib.Primitive) -> list[tuple[ndarray, ndarray]]:
        """Joint indices and weights, four at a time (`JOINTS_0` with `WEIGHTS_0`, and `_1` where it is there)."""
        found = []
        for number in (0, 1):
            joints = getattr(primitive.attributes, f"JOINTS_{number}", None)
            weights = getattr(primitive.attributes, f"WEIGHTS_{number}", None)
            if joints is not None and weights is not None:
                found.append((self.accessor(joints), self.accessor(weights)))
        if not found:
            raise Animal4dError(f"{self.path}: a mesh with a skin has no joint weights")
        return found

    def base_color(self, material: int | None) -> Float[ndarray, "3"]:
        """Base colour factor of a material, linear RGB; textures are not looked at."""
        if material is None:
            return np.full(3, 0.5)
        surface = self.gltf.materials[material].pbrMetallicRoughness
        factor = None if surface is None else surface.baseColorFactor
        return np.array((factor or [1.0, 1.0, 1.0])[:3], dtype=np.float64)

    def _view(self, view_index: int, offset: int, count: int, width: int, dtype: np.dtype) -> ndarray:
        view = self.gltf.bufferViews[view_index]
        start = (view.byteOffset or 0) + offset
        stride = view.byteStride or width * dtype.itemsize
        data = self.buffers[view.buffer]
        end = start + (count - 1) * stride + width * dtype.itemsize
        if count and end > len(data):
            raise Animal4dError(f"{self.path}: truncated, an accessor reaches past the end of its buffer")
        return np.ndarray((count, width), dtype.newbyteorder("<"), data, start, (stride, dtype.itemsize))


def _buffer(gltf: pygltflib.GLTF2, buffer: pygltflib.Buffer, path: Path) -> bytes:
    if buffer.uri is None:
        blob = gltf.binary_blob()
        if blob is None:
            raise ValueError("its binary chunk is missing")
        return blob
    if buffer.uri.startswith("data:"):
        return gltf.decode_data_uri(buffer.uri)
    name = Path(buffer.uri)
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f'buffer "{buffer.uri}" lies outside of the file\'s folder')
    return (path.parent / name).read_bytes()
