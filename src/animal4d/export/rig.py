"""The animal as skeleton formats want it: a tree of joints, a skin at rest and a motion, in the asset's axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.errors import Animal4dError
from animal4d.export.axes import vectors_to_asset
from animal4d.export.colors import linear_from_srgb
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.mesh import vertex_normals
from animal4d.geometry.quaternions import without_jumps
from animal4d.geometry.rotations import quaternion_from_matrix

ROUGHNESS = 0.9
"""Of the coat's material."""
_NEUTRAL_COLOR = 0.55
"""Linear grey of an animal without vertex colours."""


@dataclass(frozen=True)
class Rig:
    """Limb scales are not inherited along the tree: a joint turns and moves its children, a skin joint below it, which
    has none, carries the scale and moves the skin."""

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    joints: Float[ndarray, "joints 3"]
    """Where the skin is bound, before limb scales."""
    bones: Float[ndarray, "joints 3"]
    """From the parent to the joint in the parent's axes, with its limb scale; the root's from the origin."""
    scales: Float[ndarray, "joints 3"]
    """Of the skin joints."""
    rotations: Float[ndarray, "frames joints 4"]
    """Relative to the parents, as (w, x, y, z), without jumps of sign."""
    root: Float[ndarray, "frames 3"]
    """Place of the root joint."""
    root_at_rest: Float[ndarray, "3"]
    """Where the unturned animal stands on the ground."""
    vertices: Float[ndarray, "vertices 3"]
    normals: Float[ndarray, "vertices 3"]
    """Of unit length, those of vertices without a face too."""
    faces: Int[ndarray, "faces 3"]
    weights: Float[ndarray, "vertices joints"]
    colors: Float[ndarray, "vertices 3"]
    """Linear RGB; grey where the run has none."""


@torch.no_grad()
def rig_of(reconstruction: Reconstruction, model: BodyModel) -> Rig:
    """Pose correctives are left out: a skin has no place for them."""
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    shaped = reconstruction.shaped(model)
    joints = shaped.joints.double()
    bones = shaped.bones
    bones[0] = joints[0]
    root = vectors_to_asset((joints[0] + reconstruction.translation.double()).numpy())
    vertices = shaped.vertices
    if model.recentre_vertices is not None:
        vertices = vertices - vertices[list(model.recentre_vertices)].mean(0)
    normals = vertex_normals(vertices, model.faces)
    normals[normals.norm(dim=-1) < 0.5] = torch.tensor([0.0, 0.0, 1.0])
    unturned = shaped.with_pose(torch.eye(3).expand(model.n_joints, 3, 3))
    lift = np.array([0.0, -float(unturned.vertices[:, 2].min()), 0.0])
    bones_in_asset = vectors_to_asset(bones.numpy())
    return Rig(
        joint_names=model.joint_names,
        parents=model.parents,
        joints=vectors_to_asset(joints.numpy()),
        bones=bones_in_asset,
        scales=vectors_to_asset(shaped.joint_scales.double().numpy()),
        rotations=asset_quaternions(reconstruction.joint_rotations),
        root=root,
        root_at_rest=bones_in_asset[0] + lift,
        vertices=vectors_to_asset(vertices.numpy()),
        normals=vectors_to_asset(normals.numpy()),
        faces=model.faces.numpy(),
        weights=model.skinning_weights.double().numpy(),
        colors=_linear_colors(reconstruction, model),
    )


def check_times(reconstruction: Reconstruction, path: Path) -> None:
    """Raises Animal4dError where the frames' times cannot be those of an animation."""
    times = reconstruction.times
    if float(times[0]) < 0 or bool((times.diff() <= 0).any()):
        raise Animal4dError(f"{path}: the frames' times must ascend from 0 or later to become keys of an animation")


def _linear_colors(reconstruction: Reconstruction, model: BodyModel) -> Float[ndarray, "vertices 3"]:
    if reconstruction.vertex_colors is None:
        return np.full((model.n_vertices, 3), _NEUTRAL_COLOR)
    return linear_from_srgb(reconstruction.vertex_colors.double().clamp(0, 1)).numpy()


def largest_weights(
    weights: Float[ndarray, "vertices joints"], most: int
) -> tuple[Float[ndarray, "vertices influences"], Int[ndarray, "vertices influences"]]:
    """At most so many weights per vertex, the largest first, and their joints."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(weights, order, axis=1), order


def asset_quaternions(joint_rotations: Float[Tensor, "frames joints 3 3"]) -> Float[ndarray, "frames joints 4"]:
    """As (w, x, y, z) in the asset's axes, without jumps of sign."""
    quaternions = without_jumps(quaternion_from_matrix(joint_rotations.double())).numpy()
    return np.concatenate((quaternions[..., :1], vectors_to_asset(quaternions[..., 1:])), axis=-1)
