"""The body model's forward pass in immutable stages.

    BodyModel --with_shape(betas, limb_scales, vertex_offsets)--> ShapedBody
    ShapedBody --with_pose(rotations, translation)--> PosedBody

A stage is computed once and can be posed as often as wanted: one shape of a video, many poses. The maths is SMAL's
in BITE's variant (Zuffi et al. 2017, Rueegg et al. 2023); the template, its number of vertices, joints and shape
directions come with the data. Any batch axes may stand in front; those of shape and pose broadcast.

Body frame: x towards the head, y to the animal's left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

PART_NAMES = ("head", "torso", "tail", "front_left_leg", "front_right_leg", "back_left_leg", "back_right_leg")
LIMB_SCALE_NAMES = (
    "leg_length",
    "leg_thickness",
    "tail_length",
    "tail_thickness",
    "ear_y",
    "ear_length",
    "head_length",
)
_LEG_JOINTS = (*range(7, 15), *range(17, 25))
_TAIL_JOINTS = tuple(range(25, 32))
_LIMB_AXES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    (_LEG_JOINTS, (2,)),
    (_LEG_JOINTS, (0, 1)),
    (_TAIL_JOINTS, (0,)),
    (_TAIL_JOINTS, (1, 2)),
    ((33, 34), (1,)),
    ((33, 34), (2,)),
    ((16, 32), (0,)),
)
"""For each limb scale the joints it acts on and the axes that it stretches."""

KEYPOINT_ORDER = (41, 9, 8, 43, 19, 18, 42, 13, 12, 44, 23, 22, 25, 31, 33, 34, 35, 36, 38, 37, 39, 40, 46, 45)
"""The 24 keypoints as indices into the 35 regressed joints followed by the 12 keypoint vertices."""


def limb_mask(n_joints: int = 35) -> Float[Tensor, "7 3*joints"]:
    """Which log scale factor (joint, axis) each of the seven limb scales drives."""
    mask = torch.zeros(len(LIMB_SCALE_NAMES), n_joints, 3)
    for row, (joints, axes) in enumerate(_LIMB_AXES):
        for axis in axes:
            mask[row, list(joints), axis] = 1.0
    return mask.flatten(1)


@dataclass(frozen=True)
class BodyModel:
    """A template with its shape space, skeleton and skin. Knows nothing of files."""

    v_template: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]
    """Counter-clockwise seen from outside."""
    shape_directions: Float[Tensor, "vertices 3 betas"]
    joint_regressor: Float[Tensor, "joints vertices"]
    skinning_weights: Float[Tensor, "vertices joints"]
    parents: tuple[int, ...]
    """Parent of every joint, -1 for the root; parents come before their children."""
    joint_names: tuple[str, ...]
    center_indices: Int[Tensor, "center"]
    """Vertices on the plane of symmetry (y = 0)."""
    left_indices: Int[Tensor, "side"]
    right_indices: Int[Tensor, "side"]
    """`right_indices[i]` is the mirror image of `left_indices[i]`."""
    part_labels: Int[Tensor, "vertices"]
    """Index into `PART_NAMES`."""
    keypoint_vertices: Int[Tensor, "12"]
    """Vertices that complete the regressed joints to the 24 keypoints, in the order of `KEYPOINT_ORDER`."""
    joint_limits: Float[Tensor, "joints 3 2"]
    """Lowest and highest comfortable rotation vector component per joint and axis, in radians: a soft prior."""
    pose_correctives: Float[Tensor, "correctives vertices 3"] | None = None
    """Blend shapes driven by `(R[1:] - I).flatten()`, nine for every joint but the root."""
    recentre_vertices: tuple[int, int] | None = None
    """SMAL files move the midpoint of these two vertices to the origin before skinning, and leave the joints where
    they are (fitted SMAL parameters depend on it). The built-in template has its mid-body at the origin: None."""
    name: str = "builtin"

    @property
    def n_vertices(self) -> int:
        return self.v_template.shape[0]

    @property
    def n_joints(self) -> int:
        return len(self.parents)

    @property
    def n_betas(self) -> int:
        return self.shape_directions.shape[2]

    @property
    def n_offsets(self) -> int:
        """Length of the compact symmetric offsets: two numbers per centre vertex, three per pair."""
        return 2 * len(self.center_indices) + 3 * len(self.left_indices)

    @property
    def device(self) -> torch.device:
        return self.v_template.device

    @cached_property
    def body_length(self) -> float:
        """Nose to tail base of the mean shape: the unit of errors."""
        nose = self.v_template[self.keypoint_vertices[0]]
        tail_base = self.joint_regressor[self.joint_names.index("tail_1")] @ self.v_template
        return float((nose - tail_base).norm())

    @cached_property
    def joint_levels(self) -> tuple[tuple[int, ...], ...]:
        """Joints by their depth in the tree: those of one level are computed together."""
        depth = [0] * self.n_joints
        for joint, parent in enumerate(self.parents[1:], start=1):
            depth[joint] = depth[parent] + 1
        return tuple(
            tuple(joint for joint in range(self.n_joints) if depth[joint] == level) for level in range(max(depth) + 1)
        )

    @cached_property
    def turning_weights(self) -> Float[Tensor, "vertices joints"]:
        """How much of each vertex turns with each joint: skinning weights of the joint and of all that follow it."""
        weights = self.skinning_weights.clone()
        for joint in range(self.n_joints - 1, 0, -1):
            weights[:, self.parents[joint]] += weights[:, joint]
        return weights

    def to(self, device: torch.device | str) -> BodyModel:
        moved = {f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **moved)

    def expand_offsets(self, compact: Float[Tensor, "*batch offsets"]) -> Float[Tensor, "*batch vertices 3"]:
        """Symmetric offsets from their compact form: x of all centre vertices, then their z; x, then y, then z of all
        left vertices; right vertices mirror the left in y."""
        n_center = len(self.center_indices)
        center_x, center_z = compact[..., : 2 * n_center].unflatten(-1, (2, n_center)).unbind(-2)
        center = torch.stack((center_x, torch.zeros_like(center_x), center_z), dim=-1)
        left = compact[..., 2 * n_center :].unflatten(-1, (3, len(self.left_indices))).transpose(-1, -2)
        right = left * left.new_tensor([1.0, -1.0, 1.0])
        order = torch.cat((self.center_indices, self.left_indices, self.right_indices))
        return torch.cat((center, left, right), dim=-2)[..., torch.argsort(order), :]

    def with_shape(
        self,
        betas: Float[Tensor, "*#batch n_betas"] | None = None,
        limb_scales: Float[Tensor, "*#batch 7"] | None = None,
        vertex_offsets: Float[Tensor, "*#batch vertices 3"] | None = None,
    ) -> ShapedBody:
        """Rest shape, its joints and the scale of every joint. Fewer betas than the model has are allowed.

        Raises ValueError when there are more betas than shape directions.
        """
        vertices = self.v_template
        if betas is not None:
            if betas.shape[-1] > self.n_betas:
                raise ValueError(f"got {betas.shape[-1]} betas, but {self.name} has {self.n_betas} shape directions")
            directions = self.shape_directions[..., : betas.shape[-1]].flatten(0, 1)
            vertices = vertices + (betas @ directions.T).unflatten(-1, (self.n_vertices, 3))
        if vertex_offsets is not None:
            vertices = vertices + vertex_offsets
        joints = self.joint_regressor @ vertices
        if limb_scales is None:
            log_scales = vertices.new_zeros(self.n_joints, 3)
        else:
            mask = limb_mask(self.n_joints).to(limb_scales)
            log_scales = (limb_scales @ mask).unflatten(-1, (self.n_joints, 3))
        return ShapedBody(self, vertices, joints, log_scales.exp())


@dataclass(frozen=True)
class ShapedBody:
    """An individual in rest pose."""

    model: BodyModel
    vertices: Float[Tensor, "*batch vertices 3"]
    """Before limb scales, which act in skinning only."""
    joints: Float[Tensor, "*batch joints 3"]
    joint_scales: Float[Tensor, "*batch joints 3"]
    """Scale along the axes of every joint; a child does not inherit its parent's."""

    @property
    def bones(self) -> Float[Tensor, "*batch joints 3"]:
        """From every joint's parent to it in the parent's axes, limb scales included, in double precision; zero for
        the root."""
        parents = [max(parent, 0) for parent in self.model.parents]
        joints = self.joints.double()
        return (joints - joints[..., parents, :]) * self.joint_scales.double()[..., parents, :]

    def with_pose(
        self,
        joint_rotations: Float[Tensor, "*#batch joints 3 3"],
        translation: Float[Tensor, "*#batch 3"] | None = None,
    ) -> PosedBody:
        """Linear blend skinning. `joint_rotations[..., 0]` turns the body into the world, the others are relative to
        their parents; `translation` moves it in the world."""
        model = self.model
        vertices = self.vertices
        if model.pose_correctives is not None:
            identity = torch.eye(3, dtype=vertices.dtype, device=vertices.device)
            drivers = (joint_rotations[..., 1:, :, :] - identity).flatten(-3)
            vertices = vertices + (drivers @ model.pose_correctives.flatten(1)).unflatten(-1, (model.n_vertices, 3))
        if model.recentre_vertices is not None:
            a, b = model.recentre_vertices
            vertices = vertices - 0.5 * (vertices[..., a, :] + vertices[..., b, :]).unsqueeze(-2)

        linear, origins = _joint_transforms(model, self.joints, self.joint_scales, joint_rotations)
        offsets = origins - (linear @ self.joints[..., None]).squeeze(-1)
        transforms = torch.cat((linear, offsets[..., None]), dim=-1).flatten(-2)
        per_vertex = (model.skinning_weights @ transforms).unflatten(-1, (3, 4))
        skinned = (per_vertex[..., :3] @ vertices[..., None]).squeeze(-1) + per_vertex[..., 3]
        if translation is not None:
            skinned = skinned + translation[..., None, :]
            origins = origins + translation[..., None, :]
        return PosedBody(self, skinned, origins, linear)


@dataclass(frozen=True)
class PosedBody:
    """An individual in a pose, in the world."""

    shaped: ShapedBody
    vertices: Float[Tensor, "*batch vertices 3"]
    joints: Float[Tensor, "*batch joints 3"]
    """Joint positions along the kinematic chain."""
    joint_transforms: Float[Tensor, "*batch joints 3 3"]
    """World from joint: rotation with the joint's limb scale."""

    @property
    def keypoints(self) -> Float[Tensor, "*batch 24 3"]:
        """SMAL's 24 keypoints: joints regressed from the posed mesh, and named vertices."""
        model = self.shaped.model
        regressed = model.joint_regressor @ self.vertices
        points = torch.cat((regressed, self.vertices[..., model.keypoint_vertices, :]), dim=-2)
        return points[..., list(KEYPOINT_ORDER), :]


def _joint_transforms(
    model: BodyModel,
    joints: Float[Tensor, "*#batch joints 3"],
    joint_scales: Float[Tensor, "*#batch joints 3"],
    joint_rotations: Float[Tensor, "*#batch joints 3 3"],
) -> tuple[Float[Tensor, "*batch joints 3 3"], Float[Tensor, "*batch joints 3"]]:
    """Linear part and origin of every joint along the tree: locally `inv(S_parent) R_i S_i` and `J_i - J_parent`."""
    parents = torch.tensor([max(parent, 0) for parent in model.parents], device=joints.device)
    parent_scales = torch.where(
        torch.arange(model.n_joints, device=joints.device)[:, None] > 0,
        joint_scales[..., parents, :],
        torch.ones_like(joint_scales),
    )
    local = joint_rotations * joint_scales[..., None, :] / parent_scales[..., :, None]
    bones = joints - joints[..., parents, :]
    batch = torch.broadcast_shapes(local.shape[:-3], bones.shape[:-2])
    local, bones = local.expand(*batch, -1, -1, -1), bones.expand(*batch, -1, -1)

    linear = [local[..., :1, :, :]]
    origins = [joints[..., :1, :].expand(*batch, -1, -1)]
    order: list[int] = [0]
    for previous, level in zip(model.joint_levels[:-1], model.joint_levels[1:], strict=True):
        places = [previous.index(model.parents[joint]) for joint in level]
        above = linear[-1][..., places, :, :]
        linear.append(above @ local[..., list(level), :, :])
        origins.append(origins[-1][..., places, :] + (above @ bones[..., list(level), :, None]).squeeze(-1))
        order.extend(level)
    inverse = torch.argsort(torch.tensor(order, device=joints.device))
    return torch.cat(linear, dim=-3)[..., inverse, :, :], torch.cat(origins, dim=-2)[..., inverse, :]
