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
from animal4d.body.model import BodyModel
from animal4d.errors import Animal4dError
from animal4d.export.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbBuilder, gltf_quaternions
from animal4d.export.keyframes import Keys, fewest_keys, largest_deviation
from animal4d.export.rig import ROUGHNESS, Rig, check_times, largest_weights, rig_of
from animal4d.export.texture import SEEN_NAME
from animal4d.files.atomic import write_bytes
from animal4d.fit.reconstruction import Reconstruction
from animal4d.texture.bake import BakedTexture

MAX_INFLUENCES = 4
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
    data, summary = glb_bytes(reconstruction, model, path, texture, key_bound)
    write_bytes(path, data)
    return summary


def glb_bytes(
    reconstruction: Reconstruction,
    model: BodyModel,
    path: Path,
    texture: BakedTexture | None = None,
    key_bound: float = 0.0,
) -> tuple[bytes, GlbSummary]:
    """The file that `write_glb` writes, for who has more to do to it; `path` is named in errors."""
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    _check(reconstruction, path)
    with torch.no_grad():
        reduced, notes = _skinnable(model)
        data = _build(reconstruction, reduced, texture, fewest_keys(reconstruction, reduced, key_bound))
        error = largest_deviation(reconstruction, model, reconstruction, reduced) if notes else 0.0
    return data, GlbSummary(len(data), error, notes)


def _check(reconstruction: Reconstruction, path: Path) -> None:
    check_times(reconstruction, path)
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


def _build(reconstruction: Reconstruction, model: BodyModel, texture: BakedTexture | None, keys: Keys) -> bytes:
    builder = GlbBuilder()
    rig = rig_of(reconstruction, model)
    joints = len(rig.joint_names)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"animal4d {__version__}"},
        "scene": 0,
        "scenes": [{"name": "scene", "nodes": [0, 2 * joints]}],
        "nodes": _nodes(rig),
        "meshes": [_mesh(builder, rig, texture)],
        "materials": [_material(texture)],
        "skins": [
            {
                "name": "skeleton",
                "skeleton": 0,
                "joints": list(range(2 * joints)),
                "inverseBindMatrices": builder.add(_inverse_bind_matrices(rig)),
            }
        ],
    }
    if texture is not None:
        document |= _texture(builder, texture)
        document["asset"]["extras"] = {"seen_share": round(texture.seen_share, 4), "seen_mask": SEEN_NAME}
    if len(reconstruction) > 1:
        document["animations"] = [_animation(builder, rig, reconstruction, keys)]
    return builder.to_bytes(document)


def _nodes(rig: Rig) -> list[dict[str, Any]]:
    """Joint i is node 2 i, its skin node follows; the mesh comes last."""
    nodes: list[dict[str, Any]] = []
    for joint, name in enumerate(rig.joint_names):
        children = [2 * child for child, parent in enumerate(rig.parents) if parent == joint]
        place = rig.bones[joint] if joint else rig.root_at_rest
        nodes.append({"name": name, "children": [2 * joint + 1, *children], "translation": _numbers(place)})
        nodes.append({"name": f"{name}_skin", "scale": _numbers(rig.scales[joint])})
    if len(rig.root) == 1:
        nodes[0]["translation"] = _numbers(rig.root[0])
        for joint, rotation in enumerate(gltf_quaternions(rig.rotations[0])):
            nodes[2 * joint]["rotation"] = _numbers(rotation)
    nodes.append({"name": "animal", "mesh": 0, "skin": 0})
    return nodes


def _numbers(values: Array) -> list[float]:
    """As stored in single precision, which is what readers make of them."""
    return np.asarray(values, np.float32).tolist()


def _inverse_bind_matrices(rig: Rig) -> NDArray[np.float32]:
    """Column-major: the joint's place at rest goes to the origin. One for the joint node, one for its skin node."""
    joints = np.repeat(rig.joints, 2, axis=0)
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    matrices[:, 3, :3] = -joints
    return matrices


def _material(texture: BakedTexture | None) -> dict[str, Any]:
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    if texture is not None:
        surface["baseColorTexture"] = {"index": 0}
    return {"name": "coat", "pbrMetallicRoughness": surface, "doubleSided": False}


def _texture(builder: GlbBuilder, texture: BakedTexture) -> dict[str, Any]:
    view = builder.add_bytes(texture.png)
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


def _mesh(builder: GlbBuilder, rig: Rig, texture: BakedTexture | None) -> dict[str, Any]:
    """With a texture its corners take the place of the vertices."""
    weights, joints = _influences(rig)
    values: dict[str, NDArray[Any]] = {
        "POSITION": rig.vertices.astype(np.float32),
        "NORMAL": rig.normals.astype(np.float32),
    }
    if texture is None:
        faces, vertex = rig.faces, slice(None)
        # Linear RGB; glTF multiplies it with the material's white.
        values["COLOR_0"] = rig.colors.astype(np.float32)
    else:
        faces, vertex = texture.atlas.faces.numpy(), texture.atlas.vertex_of_corner.numpy()
    values |= {"JOINTS_0": joints, "WEIGHTS_0": weights}
    attributes = {
        name: builder.add(value[vertex], ARRAY_BUFFER, bounds=name == "POSITION") for name, value in values.items()
    }
    if texture is not None:
        attributes["TEXCOORD_0"] = builder.add(texture.atlas.uv.numpy().astype(np.float32), ARRAY_BUFFER)
    index_type = np.uint16 if len(values["POSITION"][vertex]) < 2**16 else np.uint32
    indices = builder.add(faces.ravel().astype(index_type), ELEMENT_ARRAY_BUFFER)
    return {"name": "animal", "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}


def _influences(rig: Rig) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Four weights and skin nodes per vertex; joint 0 where a weight is zero, as glTF asks for."""
    weights, joints = largest_weights(rig.weights, MAX_INFLUENCES)
    missing = ((0, 0), (0, MAX_INFLUENCES - weights.shape[1]))
    weights, joints = np.pad(weights, missing), np.pad(2 * joints + 1, missing)
    joints[weights == 0] = 0
    joint_type = np.uint8 if 2 * len(rig.joint_names) <= 2**8 else np.uint16
    return weights.astype(np.float32), joints.astype(joint_type)


def _animation(builder: GlbBuilder, rig: Rig, reconstruction: Reconstruction, keys: Keys) -> dict[str, Any]:
    rotations, times = gltf_quaternions(rig.rotations), reconstruction.times.numpy()
    tracks = [("translation", 0, times[keys.root], rig.root[keys.root])]
    tracks += [("rotation", 2 * joint, times[kept], rotations[kept, joint]) for joint, kept in enumerate(keys.joints)]
    animation = {"name": "motion", "channels": [], "samplers": []}
    builder.add_tracks(animation, tracks)
    return animation
