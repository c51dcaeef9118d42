"""asset.glb: one skinned mesh with its skeleton and one animation at the clip's real times.

Limb scales are not inherited along the tree, while scales of glTF nodes are. So every joint becomes two nodes: a
joint node (`head`) that carries rotation and translation only, and below it a skin node (`head_skin`) that carries
the limb scale and moves the skin. Children hang under the joint node. With that no approximation is needed. Both are
joints of the skin, though only skin nodes have weights: Blender guesses where nodes that are none were bound, and is
wrong by some 2 % of the body length.

At rest the animal stands on the ground at the origin and looks along +z, y up; the keys are at the clip's times
(seconds from the start of the video), the same as in cameras.json. A single frame gives no animation: the nodes then
hold its pose.

A baked texture goes in as a PNG: without loss, so that the picture is the measured one to the last bit and no blocks
form along the charts' borders, and at 1024 x 1024 about 1 MB. Vertices on the border between charts are split; without
a texture the mesh has vertex colours and no vertex twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from animal4d import __version__
from animal4d.body.model import BodyModel, ShapedBody
from animal4d.errors import Animal4dError
from animal4d.export.axes import vectors_to_asset
from animal4d.export.colors import linear_from_srgb
from animal4d.export.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbBuilder
from animal4d.export.keyframes import Keys, fewest_keys
from animal4d.export.texture import SEEN_NAME, png_bytes
from animal4d.files.atomic import write_bytes
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.mesh import vertex_normals
from animal4d.geometry.rotations import quaternion_from_matrix
from animal4d.texture.bake import BakedTexture

MAX_INFLUENCES = 4
_NEUTRAL_COLOR = 0.55
"""Linear grey of an animal without vertex colours."""
_FRAMES_PER_BLOCK = 32
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9729, 9987, 33071

Array = NDArray[np.floating]


@dataclass(frozen=True)
class GlbSummary:
    """What was written and how far it is from the model."""

    size: int
    """Bytes."""
    max_error: float
    """Largest distance of a vertex from the model's over all keys, in body lengths; 0 to rounding when `exact`."""
    notes: tuple[str, ...]
    """What a skinned mesh cannot hold of this model, in plain words."""

    @property
    def exact(self) -> bool:
        return not self.notes


def write_glb(
    reconstruction: Reconstruction,
    model: BodyModel,
    path: Path,
    texture: BakedTexture | None = None,
    key_bound: float = 0.0,
) -> GlbSummary:
    """Write the animated asset, with its texture or with vertex colours; the same input gives the same bytes.

    Every frame is a key, or with `key_bound` only those that keep all vertices within so many body lengths.

    Raises Animal4dError when times or numbers cannot go into a glTF file.
    """
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    _check(reconstruction, path)
    with torch.no_grad():
        reduced, notes = _skinnable(model)
        data = _build(reconstruction, reduced, texture, fewest_keys(reconstruction, reduced, key_bound))
        error = _largest_deviation(reconstruction, model, reduced) if notes else 0.0
    write_bytes(path, data)
    return GlbSummary(len(data), error, notes)


def _check(reconstruction: Reconstruction, path: Path) -> None:
    times = reconstruction.times
    if float(times[0]) < 0 or bool((times.diff() <= 0).any()):
        raise Animal4dError(f"{path}: the frames' times must ascend from 0 or later to become keys of an animation")
    for name in ("betas", "limb_scales", "vertex_offsets", "joint_rotations", "translation"):
        if not bool(torch.isfinite(getattr(reconstruction, name)).all()):
            raise Animal4dError(f"{path}: {name} of the reconstruction holds NaN or infinity, so no asset was written")


def _skinnable(model: BodyModel) -> tuple[BodyModel, tuple[str, ...]]:
    """The model with what a glTF skin can hold of it, and notes on what it cannot."""
    notes = []
    weights, joints = model.skinning_weights.topk(min(MAX_INFLUENCES, model.n_joints), dim=1)
    kept = torch.zeros_like(model.skinning_weights).scatter(1, joints, weights)
    lost = float((model.skinning_weights.sum(1) - kept.sum(1)).max())
    if lost > 1e-6:
        notes.append(f"only the {MAX_INFLUENCES} largest skinning weights of a vertex are kept (up to {lost:.3f} lost)")
    if model.pose_correctives is not None:
        notes.append("pose correctives are left out: a skinned mesh has no place for them")
    reduced = replace(model, skinning_weights=kept / kept.sum(1, keepdim=True), pose_correctives=None)
    return reduced, tuple(notes)


def _largest_deviation(reconstruction: Reconstruction, model: BodyModel, reduced: BodyModel) -> float:
    worst = 0.0
    for start in range(0, len(reconstruction), _FRAMES_PER_BLOCK):
        block = slice(start, start + _FRAMES_PER_BLOCK)
        wanted = reconstruction.posed(model, block).vertices
        written = reconstruction.posed(reduced, block).vertices
        worst = max(worst, float((wanted - written).norm(dim=-1).max()))
    return worst / model.body_length


def _build(reconstruction: Reconstruction, model: BodyModel, texture: BakedTexture | None, keys: Keys) -> bytes:
    builder = GlbBuilder()
    shaped = reconstruction.shaped(model)
    translations, rotations = _local_transforms(reconstruction, shaped)
    animated = len(reconstruction) > 1
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"animal4d {__version__}"},
        "scene": 0,
        "scenes": [{"name": "scene", "nodes": [0, 2 * model.n_joints]}],
        "nodes": _nodes(reconstruction, shaped, translations, rotations),
        "meshes": [_mesh(builder, reconstruction, shaped, texture)],
        "materials": [_material(texture)],
        "skins": [
            {
                "name": "skeleton",
                "skeleton": 0,
                "joints": list(range(2 * model.n_joints)),
                "inverseBindMatrices": builder.add(_inverse_bind_matrices(shaped)),
            }
        ],
    }
    if texture is not None:
        document |= _texture(builder, texture)
        document["asset"]["extras"] = {"seen_share": round(texture.seen_share, 4), "seen_mask": SEEN_NAME}
    if animated:
        document["animations"] = [_animation(builder, reconstruction, keys, translations, rotations)]
    return builder.to_bytes(document)


def _local_transforms(reconstruction: Reconstruction, shaped: ShapedBody) -> tuple[Array, Array]:
    """Of the joint nodes in the asset's axes: translations (joints, 3), the root's at the origin of the world still,
    and rotations (frames, joints, 4) as x, y, z, w, without jumps of sign."""
    joints = shaped.joints.double()
    parents = [max(parent, 0) for parent in shaped.model.parents]
    bones = (joints - joints[parents]) * shaped.joint_scales.double()[parents]
    bones[0] = joints[0]
    quaternions = quaternion_from_matrix(reconstruction.joint_rotations.double()).numpy()
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0).cumprod(axis=0)
    quaternions[1:] *= flips[..., None]
    rotations = np.concatenate((vectors_to_asset(quaternions[..., 1:]), quaternions[..., :1]), axis=-1)
    return vectors_to_asset(bones.numpy()), rotations


def _root_track(reconstruction: Reconstruction, translations: Array) -> Array:
    """Place of the root node in every frame."""
    return translations[0] + vectors_to_asset(reconstruction.translation.double().numpy())


def _nodes(
    reconstruction: Reconstruction, shaped: ShapedBody, translations: Array, rotations: Array
) -> list[dict[str, Any]]:
    """Joint i is node 2 i, its skin node follows; the mesh comes last."""
    model = shaped.model
    scales = vectors_to_asset(shaped.joint_scales.numpy())
    nodes: list[dict[str, Any]] = []
    for joint, name in enumerate(model.joint_names):
        children = [2 * child for child, parent in enumerate(model.parents) if parent == joint]
        nodes.append(
            {"name": name, "children": [2 * joint + 1, *children], "translation": _numbers(translations[joint])}
        )
        nodes.append({"name": f"{name}_skin", "scale": _numbers(scales[joint])})
    if len(reconstruction) > 1:
        nodes[0]["translation"] = _numbers(translations[0] + [0.0, _height_at_rest(shaped), 0.0])
    else:
        nodes[0]["translation"] = _numbers(_root_track(reconstruction, translations)[0])
        for joint in range(model.n_joints):
            nodes[2 * joint]["rotation"] = _numbers(rotations[0, joint])
    nodes.append({"name": "animal", "mesh": 0, "skin": 0})
    return nodes


def _height_at_rest(shaped: ShapedBody) -> float:
    """How far the rest pose must be lifted to stand on the ground."""
    unturned = torch.eye(3).expand(shaped.model.n_joints, 3, 3)
    return -float(shaped.with_pose(unturned).vertices[:, 2].min())


def _numbers(values: Array) -> list[float]:
    """As stored in single precision, which is what readers make of them."""
    return np.asarray(values, np.float32).tolist()


def _inverse_bind_matrices(shaped: ShapedBody) -> NDArray[np.float32]:
    """Column-major: the joint's place at rest goes to the origin. One for the joint node, one for its skin node."""
    joints = np.repeat(vectors_to_asset(shaped.joints.numpy()), 2, axis=0)
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    matrices[:, 3, :3] = -joints
    return matrices


def _material(texture: BakedTexture | None) -> dict[str, Any]:
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    if texture is not None:
        surface["baseColorTexture"] = {"index": 0}
    return {"name": "coat", "pbrMetallicRoughness": surface, "doubleSided": False}


def _texture(builder: GlbBuilder, texture: BakedTexture) -> dict[str, Any]:
    view = builder.add_bytes(png_bytes(texture.image))
    sampler = {
        "magFilter": _LINEAR,
        "minFilter": _LINEAR_MIPMAP_LINEAR,
        "wrapS": _CLAMP_TO_EDGE,
        "wrapT": _CLAMP_TO_EDGE,
    }
    return {
        "images": [{"name": "coat", "bufferView": view, "mimeType": "image/png"}],
        "samplers": [sampler],
        "textures": [{"name": "coat", "source": 0, "sampler": 0}],
    }


def _mesh(
    builder: GlbBuilder, reconstruction: Reconstruction, shaped: ShapedBody, texture: BakedTexture | None
) -> dict[str, Any]:
    """With a texture its corners take the place of the vertices."""
    model = shaped.model
    vertices = shaped.vertices
    if model.recentre_vertices is not None:
        vertices = vertices - vertices[list(model.recentre_vertices)].mean(0)
    normals = vertex_normals(vertices, model.faces)
    normals[normals.norm(dim=-1) < 0.5] = torch.tensor([0.0, 0.0, 1.0])  # without a face; glTF wants unit length
    weights, joints = _influences(model)
    values = {"POSITION": _in_asset_axes(vertices), "NORMAL": _in_asset_axes(normals)}
    if texture is None:
        faces, vertex = model.faces, slice(None)
        values["COLOR_0"] = _colors(reconstruction, model)
    else:
        faces, vertex = texture.atlas.faces, texture.atlas.vertex_of_corner.numpy()
    values |= {"JOINTS_0": joints, "WEIGHTS_0": weights}
    attributes = {
        name: builder.add(value[vertex], ARRAY_BUFFER, bounds=name == "POSITION") for name, value in values.items()
    }
    if texture is not None:
        attributes["TEXCOORD_0"] = builder.add(texture.atlas.uv.numpy().astype(np.float32), ARRAY_BUFFER)
    index_type = np.uint16 if len(values["POSITION"][vertex]) < 2**16 else np.uint32
    indices = builder.add(faces.flatten().numpy().astype(index_type), ELEMENT_ARRAY_BUFFER)
    return {"name": "animal", "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}


def _in_asset_axes(vectors: torch.Tensor) -> NDArray[np.float32]:
    return vectors_to_asset(vectors.numpy()).astype(np.float32)


def _colors(reconstruction: Reconstruction, model: BodyModel) -> NDArray[np.float32]:
    """Linear RGB; glTF multiplies it with the material's white."""
    if reconstruction.vertex_colors is None:
        return np.full((model.n_vertices, 3), _NEUTRAL_COLOR, np.float32)
    return linear_from_srgb(reconstruction.vertex_colors.double().clamp(0, 1)).numpy().astype(np.float32)


def _influences(model: BodyModel) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Four weights and skin nodes per vertex; joint 0 where a weight is zero, as glTF asks for."""
    all_weights = model.skinning_weights.double().numpy()
    order = np.argsort(-all_weights, axis=1, kind="stable")[:, :MAX_INFLUENCES]
    missing = MAX_INFLUENCES - order.shape[1]
    joints = np.pad(2 * order + 1, ((0, 0), (0, missing)))
    weights = np.pad(np.take_along_axis(all_weights, order, axis=1), ((0, 0), (0, missing)))
    joints[weights == 0] = 0
    joint_type = np.uint8 if 2 * model.n_joints <= 2**8 else np.uint16
    return weights.astype(np.float32), joints.astype(joint_type)


def _animation(
    builder: GlbBuilder, reconstruction: Reconstruction, keys: Keys, translations: Array, rotations: Array
) -> dict[str, Any]:
    tracks = [("translation", 0, _root_track(reconstruction, translations), keys.root)]
    tracks += [("rotation", joint, rotations[:, joint], kept) for joint, kept in enumerate(keys.joints)]
    all_times = reconstruction.times.numpy().astype(np.float32)
    accessors: dict[bytes, int] = {}  # channels with the same keys share their times
    samplers, channels = [], []
    for path, joint, values, kept in tracks:
        times = all_times[kept]
        if times.tobytes() not in accessors:
            accessors[times.tobytes()] = builder.add(times, bounds=True)
        channels.append({"sampler": len(samplers), "target": {"node": 2 * joint, "path": path}})
        output = builder.add(values[kept].astype(np.float32))
        samplers.append({"input": accessors[times.tobytes()], "output": output, "interpolation": "LINEAR"})
    return {"name": "motion", "channels": channels, "samplers": samplers}
