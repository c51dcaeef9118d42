"""A reader of skinned, animated GLB files written from the glTF 2.0 specification alone: nothing of our package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pygltflib import GLTF2

_TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_SHAPES = {"SCALAR": (), "VEC2": (2,), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


class GltfReader:
    """Skins the first skinned mesh of a file at given times."""

    def __init__(self, path: Path) -> None:
        loaded: Any = GLTF2().load_binary(str(path))
        self.document = loaded
        self._binary: bytes = loaded.binary_blob()
        self.mesh_node = next(node for node in loaded.nodes if node.skin is not None)
        self.skin = loaded.skins[self.mesh_node.skin]
        self.primitive = loaded.meshes[self.mesh_node.mesh].primitives[0]
        self.parents = {child: parent for parent, node in enumerate(loaded.nodes) for child in node.children or []}

    def array(self, index: int) -> np.ndarray:
        accessor = self.document.accessors[index]
        view = self.document.bufferViews[accessor.bufferView]
        shape = (accessor.count, *_SHAPES[accessor.type])
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        values = np.frombuffer(self._binary, _TYPES[accessor.componentType], int(np.prod(shape)), start)
        return values.reshape(shape)

    def attribute(self, name: str) -> np.ndarray:
        return self.array(getattr(self.primitive.attributes, name))

    @property
    def key_times(self) -> np.ndarray:
        return self.array(self.document.animations[0].samplers[0].input)

    def skinned_vertices(self, time: float | None) -> np.ndarray:
        """Vertices (V, 3) at a time of the first animation, or as the nodes stand when the time is None."""
        joint_matrices = np.stack([self._world(node, time) for node in self.skin.joints])
        # MAT4 elements are stored column by column.
        bind = self.array(self.skin.inverseBindMatrices).astype(np.float64).transpose(0, 2, 1)
        matrices = joint_matrices @ bind
        weights = self.attribute("WEIGHTS_0").astype(np.float64)
        blended = (weights[..., None, None] * matrices[self.attribute("JOINTS_0")]).sum(1)
        positions = np.pad(self.attribute("POSITION").astype(np.float64), ((0, 0), (0, 1)), constant_values=1.0)
        return (blended @ positions[..., None])[:, :3, 0]

    def _world(self, node: int, time: float | None) -> np.ndarray:
        local = self._local(node, time)
        return self._world(self.parents[node], time) @ local if node in self.parents else local

    def _local(self, index: int, time: float | None) -> np.ndarray:
        node = self.document.nodes[index]
        translation = np.array(node.translation or [0, 0, 0], float)
        rotation = np.array(node.rotation or [0, 0, 0, 1], float)
        scale = np.array(node.scale or [1, 1, 1], float)
        if time is not None:
            animation = self.document.animations[0]
            for channel in animation.channels:
                if channel.target.node == index:
                    value = self._sample(animation.samplers[channel.sampler], time, channel.target.path)
                    if channel.target.path == "translation":
                        translation = value
                    elif channel.target.path == "rotation":
                        rotation = value
        matrix = np.eye(4)
        matrix[:3, :3] = _rotation_matrix(rotation) * scale
        matrix[:3, 3] = translation
        return matrix

    def _sample(self, sampler, time: float, path: str) -> np.ndarray:
        times, values = self.array(sampler.input).astype(float), self.array(sampler.output).astype(float)
        after = int(np.clip(np.searchsorted(times, time), 1, len(times) - 1))
        share = np.clip((time - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)
        value = (1 - share) * values[after - 1] + share * values[after]
        return value / np.linalg.norm(value) if path == "rotation" else value


def _rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
