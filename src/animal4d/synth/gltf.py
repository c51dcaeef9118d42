"""Skinned, animated glTF files as posed meshes, read independently of any 3D library.

Everything in the file that moves with a skeleton becomes one mesh: all primitives of all skinned meshes, vertices
merged by position, and rigid meshes hung on a joint. Positions stay in glTF's frame (y up) until `to_world`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pygltflib
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.errors import Animal4dError
from animal4d.synth.gltf_data import GltfData

_TO_WORLD = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""From glTF (y up, +z ahead, +x to the left) to ours (z up, +x ahead, +y to the left)."""


def to_world(points: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch 3"]:
    """glTF coordinates (y up, looking along +z) in our axes (z up, looking along +x)."""
    return points @ _TO_WORLD.T


@dataclass(frozen=True)
class Channel:
    """One animated property of one node."""

    node: int
    path: str
    """translation, rotation or scale."""
    times: Float[ndarray, "keys"]
    values: Float[ndarray, "keys width"]
    """With CUBICSPLINE: in-tangent, value and out-tangent, (keys, 3, width)."""
    interpolation: str

    def at(self, times: Float[ndarray, "frames"]) -> Float[ndarray, "frames width"]:
        """Values at the given times, held constant outside of the keys."""
        if len(self.times) == 1:
            only = self.values[0, 1] if self.interpolation == "CUBICSPLINE" else self.values[0]
            return np.repeat(only[None], len(times), axis=0)
        left = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, len(self.times) - 2)
        step = self.times[left + 1] - self.times[left]
        s = np.clip((times - self.times[left]) / np.where(step > 0, step, 1.0), 0.0, 1.0)[:, None]
        if self.interpolation == "STEP":
            return np.where(s < 1.0, self.values[left], self.values[left + 1])
        if self.interpolation == "CUBICSPLINE":
            return self._cubic(left, step[:, None], s)
        start, end = self.values[left], self.values[left + 1]
        if self.path == "rotation":
            return _slerp(start, end, s)
        return start + (end - start) * s

    def _cubic(
        self, left: Int[ndarray, "frames"], step: Float[ndarray, "frames 1"], s: Float[ndarray, "frames 1"]
    ) -> Float[ndarray, "frames width"]:
        start, out_tangent = self.values[left, 1], self.values[left, 2]
        in_tangent, end = self.values[left + 1, 0], self.values[left + 1, 1]
        value = (
            (2 * s**3 - 3 * s**2 + 1) * start
            + step * (s**3 - 2 * s**2 + s) * out_tangent
            + (-2 * s**3 + 3 * s**2) * end
            + step * (s**3 - s**2) * in_tangent
        )
        return value / np.linalg.norm(value, axis=1, keepdims=True) if self.path == "rotation" else value


@dataclass(frozen=True)
class GltfAnimal:
    """The skinned content of a glTF file."""

    path: Path
    vertices: Float[ndarray, "vertices 3"]
    """Bind positions, merged by position."""
    faces: Int[ndarray, "faces 3"]
    face_colors: Float[ndarray, "faces 3"]
    """Base colour of each face's material, linear RGB."""
    weights: Float[ndarray, "vertices columns"]
    """Skinning weights; rows sum to 1."""
    column_nodes: tuple[int, ...]
    """Node of each column of `weights`."""
    inverse_bind: Float[ndarray, "columns 4 4"]
    node_names: tuple[str, ...]
    node_parents: tuple[int, ...]
    rest_trs: tuple[tuple[ndarray, ndarray, ndarray] | ndarray, ...]
    """Rest translation, rotation (x, y, z, w) and scale of each node, or its 4x4 matrix."""
    animations: dict[str, tuple[Channel, ...]]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the nodes that move vertices, in file order."""
        return tuple(self.node_names[node] for node in sorted(set(self.column_nodes)))

    @property
    def dominant_joints(self) -> tuple[str, ...]:
        """For every vertex the name of the joint that moves it most."""
        return tuple(self.node_names[self.column_nodes[column]] for column in self.weights.argmax(axis=1))

    def duration(self, animation: str) -> float:
        """Seconds to the last key: the length of one loop. Raises Animal4dError for an unknown animation."""
        return max(float(channel.times[-1]) for channel in self._channels(animation))

    def pose(
        self, animation: str, times: Float[ndarray, "frames"], loop: bool = True
    ) -> tuple[Float[ndarray, "frames vertices 3"], Float[ndarray, "frames nodes 4 4"]]:
        """Vertices and the transforms of all nodes at the given times in seconds, in glTF's frame.

        With `loop` the time wraps around at the animation's length. Raises Animal4dError for an unknown animation.
        """
        channels = self._channels(animation)
        if loop:
            times = np.mod(times, self.duration(animation))
        transforms = self.node_transforms(channels, times)
        skinning = transforms[:, list(self.column_nodes)] @ self.inverse_bind
        per_vertex = np.einsum("vc,tcij->tvij", self.weights, skinning, optimize=True)
        vertices = np.einsum("tvij,vj->tvi", per_vertex[..., :3, :3], self.vertices) + per_vertex[..., :3, 3]
        return vertices, transforms

    def node_transforms(
        self, channels: tuple[Channel, ...], times: Float[ndarray, "frames"]
    ) -> Float[ndarray, "frames nodes 4 4"]:
        """World transforms of all nodes; without channels the rest pose."""
        frames = len(times)
        animated: dict[int, dict[str, ndarray]] = {}
        for channel in channels:
            animated.setdefault(channel.node, {})[channel.path] = channel.at(times)
        local = np.empty((frames, len(self.node_names), 4, 4))
        for node, rest in enumerate(self.rest_trs):
            if isinstance(rest, ndarray):
                local[:, node] = rest
                continue
            values = animated.get(node, {})
            local[:, node] = _compose(
                np.broadcast_to(values.get("translation", rest[0]), (frames, 3)),
                np.broadcast_to(values.get("rotation", rest[1]), (frames, 4)),
                np.broadcast_to(values.get("scale", rest[2]), (frames, 3)),
            )
        world: dict[int, ndarray] = {}
        for node in range(len(self.node_names)):
            chain = [node]
            while chain[-1] not in world and self.node_parents[chain[-1]] >= 0:
                chain.append(self.node_parents[chain[-1]])
            for member in reversed(chain):
                if member not in world:
                    parent = self.node_parents[member]
                    world[member] = local[:, member] if parent < 0 else world[parent] @ local[:, member]
        return np.stack([world[node] for node in range(len(self.node_names))], axis=1)

    def _channels(self, animation: str) -> tuple[Channel, ...]:
        by_lower = {name.lower(): name for name in self.animations}
        name = by_lower.get(animation.lower())
        if name is None:
            known = ", ".join(self.animations)
            raise Animal4dError(f'{self.path}: no animation "{animation}"; the file has: {known}')
        return self.animations[name]


def _slerp(
    start: Float[ndarray, "frames 4"], end: Float[ndarray, "frames 4"], s: Float[ndarray, "frames 1"]
) -> Float[ndarray, "frames 4"]:
    cosine = (start * end).sum(axis=1, keepdims=True)
    end = np.where(cosine < 0, -end, end)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1.0, sine)
    value = np.where(near, 1 - s, np.sin((1 - s) * angle) / safe) * start
    value = value + np.where(near, s, np.sin(s * angle) / safe) * end
    return value / np.linalg.norm(value, axis=1, keepdims=True)


def _compose(
    translation: Float[ndarray, "frames 3"], rotation: Float[ndarray, "frames 4"], scale: Float[ndarray, "frames 3"]
) -> Float[ndarray, "frames 4 4"]:
    x, y, z, w = (rotation / np.linalg.norm(rotation, axis=1, keepdims=True)).T
    matrix = np.zeros((len(translation), 4, 4))
    matrix[:, 0, :3] = np.stack((1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)), axis=1)
    matrix[:, 1, :3] = np.stack((2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)), axis=1)
    matrix[:, 2, :3] = np.stack((2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)), axis=1)
    matrix[:, :3, :3] *= scale[:, None, :]
    matrix[:, :3, 3] = translation
    matrix[:, 3, 3] = 1.0
    return matrix


def load_gltf(path: str | Path) -> GltfAnimal:
    """Read a `.glb` or `.gltf` with a skin and at least one animation.

    Raises Animal4dError when the file is not there, is not glTF, or has no skin or no animation.
    """
    path = Path(path)
    data = GltfData.open(path)
    gltf = data.gltf
    if not gltf.skins:
        raise Animal4dError(f"{path}: no skin in this glTF; it takes a rigged animal")
    if not gltf.animations:
        raise Animal4dError(f"{path}: no animation in this glTF; it takes an animated animal")
    parents = [-1] * len(gltf.nodes)
    for index, node in enumerate(gltf.nodes):
        for child in node.children or []:
            parents[child] = index
    vertices, faces, colors, weights, columns, inverse_bind = _collect(data, parents)
    merged, faces, weights = _merge_by_position(vertices, faces, weights)
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return GltfAnimal(
        path=path,
        vertices=merged,
        faces=faces[proper],
        face_colors=colors[proper],
        weights=weights,
        column_nodes=tuple(columns),
        inverse_bind=inverse_bind,
        node_names=tuple(node.name or f"node_{index}" for index, node in enumerate(gltf.nodes)),
        node_parents=tuple(parents),
        rest_trs=tuple(_rest(node) for node in gltf.nodes),
        animations=_animations(data),
    )


def _rest(node: pygltflib.Node) -> tuple[ndarray, ndarray, ndarray] | ndarray:
    if node.matrix:
        return np.array(node.matrix, dtype=np.float64).reshape(4, 4).T
    return (
        np.array(node.translation or (0.0, 0.0, 0.0), dtype=np.float64),
        np.array(node.rotation or (0.0, 0.0, 0.0, 1.0), dtype=np.float64),
        np.array(node.scale or (1.0, 1.0, 1.0), dtype=np.float64),
    )


def _collect(data: GltfData, parents: list[int]) -> tuple[ndarray, ndarray, ndarray, ndarray, list[int], ndarray]:
    """All primitives that move with a skeleton, with weights over the columns of all skins."""
    gltf = data.gltf
    columns: list[int] = []
    bind: list[ndarray] = []
    first_column: dict[int, int] = {}
    for index, skin in enumerate(gltf.skins):
        first_column[index] = len(columns)
        skin_joints = skin.joints or []
        columns += skin_joints
        if skin.inverseBindMatrices is None:
            bind.append(np.broadcast_to(np.eye(4), (len(skin_joints), 4, 4)))
        else:
            bind.append(data.accessor(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1))
    joints = set(columns)
    pieces: list[tuple[ndarray, ndarray, ndarray, list[tuple[ndarray, ndarray]]]] = []
    for index, node in enumerate(gltf.nodes):
        if node.mesh is None:
            continue
        carrier = index
        while node.skin is None and carrier >= 0 and carrier not in joints:
            carrier = parents[carrier]
        if node.skin is None and carrier < 0:
            continue
        rigid_column = len(columns)
        if node.skin is None:
            columns.append(index)
            bind.append(np.eye(4)[None])
        for primitive in gltf.meshes[node.mesh].primitives:
            positions, triangles = data.triangles(primitive)
            if node.skin is None:
                influences = [(np.full((len(positions), 1), rigid_column), np.ones((len(positions), 1)))]
            else:
                influences = [(j.astype(np.int64) + first_column[node.skin], w) for j, w in data.influences(primitive)]
            color = np.broadcast_to(data.base_color(primitive.material), (len(triangles), 3))
            pieces.append((positions, triangles, color, influences))
    vertices, faces, colors, weights = [], [], [], []
    offset = 0
    for positions, triangles, color, influences in pieces:
        dense = np.zeros((len(positions), len(columns)))
        for joint, weight in influences:
            np.add.at(dense, (np.arange(len(positions))[:, None], joint), weight)
        dense /= np.maximum(dense.sum(axis=1, keepdims=True), 1e-12)
        vertices.append(positions)
        faces.append(triangles + offset)
        colors.append(color)
        weights.append(dense)
        offset += len(positions)
    if not vertices:
        raise Animal4dError(f"{data.path}: no skinned mesh in this glTF; it takes a rigged animal")
    return (
        np.concatenate(vertices),
        np.concatenate(faces),
        np.concatenate(colors),
        np.concatenate(weights),
        columns,
        np.concatenate(bind),
    )


def _merge_by_position(vertices: ndarray, faces: ndarray, weights: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """One vertex per place: exporters split vertices where normals or materials differ."""
    size = float(np.ptp(vertices, axis=0).max())
    keys = np.round(vertices / (1e-6 * size)).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    return vertices[first], inverse[faces], weights[first]


def _animations(data: GltfData) -> dict[str, tuple[Channel, ...]]:
    animations: dict[str, tuple[Channel, ...]] = {}
    for number, animation in enumerate(data.gltf.animations):
        channels = []
        for channel in animation.channels:
            if channel.target.node is None or channel.target.path not in ("translation", "rotation", "scale"):
                continue
            sampler = animation.samplers[channel.sampler]
            interpolation = sampler.interpolation or "LINEAR"
            values = data.accessor(sampler.output)
            if interpolation == "CUBICSPLINE":
                values = values.reshape(-1, 3, values.shape[-1])
            channels.append(
                Channel(
                    channel.target.node, channel.target.path, data.accessor(sampler.input)[:, 0], values, interpolation
                )
            )
        if channels:
            animations[animation.name or f"animation_{number}"] = tuple(channels)
    return animations
