"""Exact inverse kinematics of a leg: put a paw where the ground is, bend the joints above it as animals do.

A leg is a chain of three bones: upper arm, forearm, metacarpus (thigh, shank, metatarsus). Its joints swing about the
body's y axis and the first one also abducts about x. The pitch of the last bone is prescribed, which leaves two bones
and a closed formula. Angles of bones are measured in the sagittal plane from straight down, positive backward, so that
a rotation about +y by `a` adds `a` to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.body.model import ShapedBody

LEGS = ("front_left", "front_right", "back_left", "back_right")
"""Order of the legs in every array with a legs axis."""
_JOINTS = {"front": ("shoulder", "elbow", "wrist", "paw"), "back": ("hip", "knee", "hock", "paw")}


@dataclass(frozen=True)
class Leg:
    """A leg of one individual."""

    name: str
    joints: tuple[int, int, int, int]
    """Shoulder or hip, elbow or knee, wrist or hock, paw."""
    parent: int
    """The joint of the spine that carries the leg."""
    bones: Float[ndarray, "3 3"]
    """Rest vectors between the joints, limb scales included."""
    sole: float
    """Height of the paw joint above the ground when the paw stands flat."""

    @property
    def is_front(self) -> bool:
        return self.name.startswith("front")

    @property
    def lengths(self) -> Float[ndarray, "3"]:
        """Lengths of the bones in the sagittal plane."""
        return np.hypot(self.bones[:, 0], self.bones[:, 2])

    @property
    def rest_angles(self) -> Float[ndarray, "3"]:
        """Angles of the bones in the rest pose."""
        return bone_angle(self.bones)

    @property
    def reach(self) -> float:
        """Distance from the first joint to the paw joint with all bones in line."""
        return float(self.lengths.sum())


def bone_angle(vectors: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch"]:
    """Angle of a vector in the sagittal plane: 0 straight down, positive backward."""
    return np.arctan2(-vectors[..., 0], -vectors[..., 2])


def _direction(angle: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch 2"]:
    return np.stack((-np.sin(angle), -np.cos(angle)), axis=-1)


def legs_of(body: ShapedBody) -> tuple[Leg, ...]:
    """The four legs of an individual, in the order of `LEGS`."""
    model = body.model
    joints = body.joints.double().numpy()
    scales = body.joint_scales.double().numpy()
    identity = body.vertices.new_zeros(model.n_joints, 3, 3) + body.vertices.new_tensor(np.eye(3))
    rest = body.with_pose(identity)
    vertices, posed_joints = rest.vertices.double().numpy(), rest.joints.double().numpy()
    dominant = model.skinning_weights.argmax(dim=1).numpy()
    legs = []
    for name in LEGS:
        chain = [model.joint_names.index(f"{name}_{part}") for part in _JOINTS[name.split("_")[0]]]
        bones = np.stack([scales[above] * (joints[below] - joints[above]) for above, below in pairwise(chain)])
        lowest = vertices[dominant == chain[3], 2].min()
        legs.append(
            Leg(
                name=name,
                joints=(chain[0], chain[1], chain[2], chain[3]),
                parent=model.parents[chain[0]],
                bones=bones,
                sole=float(posed_joints[chain[3], 2] - lowest),
            )
        )
    return tuple(legs)


def rotation(axis: str, angle: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch 3 3"]:
    """Right-handed rotation matrices about a coordinate axis ("x", "y" or "z")."""
    cosine, sine = np.cos(angle), np.sin(angle)
    result = np.zeros((*np.shape(angle), 3, 3))
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    result[..., i, i] = 1.0
    result[..., j, j] = result[..., k, k] = cosine
    result[..., k, j], result[..., j, k] = sine, -sine
    return result


def required_reach(
    leg: Leg,
    origins: Float[ndarray, "frames 3"],
    targets: Float[ndarray, "frames 3"],
    metapodial_angle: Float[ndarray, "frames"],
) -> Float[ndarray, "frames"]:
    """How far the two upper bones must stretch, as a fraction of their length; above 1 the paw cannot be reached."""
    offset = (targets - origins)[:, [0, 2]] - leg.lengths[2] * _direction(metapodial_angle)
    return np.linalg.norm(offset, axis=1) / leg.lengths[:2].sum()


def solve_leg(
    leg: Leg,
    parent_rotations: Float[ndarray, "frames 3 3"],
    origins: Float[ndarray, "frames 3"],
    targets: Float[ndarray, "frames 3"],
    metapodial_angle: Float[ndarray, "frames"],
    paw_rotations: Float[ndarray, "frames 3 3"],
) -> Float[ndarray, "frames 4 3 3"]:
    """Local rotations of the four joints that bring the paw joint to `targets`.

    `origins` is the place of the first joint, `parent_rotations` the orientation of the joint that carries it,
    `metapodial_angle` the angle of the last bone and `paw_rotations` the orientation of the paw, all in one frame.
    Targets out of reach are approached along the stretched leg.
    """
    local = np.einsum("tji,tj->ti", parent_rotations, targets - origins)
    sideways = leg.bones[:, 1].sum()
    depth = -np.sqrt(np.maximum(local[:, 1] ** 2 + local[:, 2] ** 2 - sideways**2, 1e-9))
    abduction = np.arctan2(local[:, 2], local[:, 1]) - np.arctan2(depth, sideways)
    abduction = (abduction + np.pi) % (2 * np.pi) - np.pi

    pitch = np.arctan2(-parent_rotations[:, 2, 0], parent_rotations[:, 0, 0])
    last = metapodial_angle - pitch
    upper, lower, metapodial = leg.lengths
    ankle = np.stack((local[:, 0], depth), axis=1) - metapodial * _direction(last)
    distance = np.clip(np.linalg.norm(ankle, axis=1), abs(upper - lower) * 1.05 + 1e-6, (upper + lower) * 0.9995)
    ankle_angle = np.arctan2(-ankle[:, 0], -ankle[:, 1])
    opening = np.arccos(np.clip((upper**2 + distance**2 - lower**2) / (2 * upper * distance), -1, 1))
    # Elbows point backward, knees forward.
    first = ankle_angle + (opening if leg.is_front else -opening)
    second_vector = distance[:, None] * _direction(ankle_angle) - upper * _direction(first)
    second = np.arctan2(-second_vector[:, 0], -second_vector[:, 1])

    rest = leg.rest_angles
    absolute = np.stack((first - rest[0], second - rest[1], last - rest[2]), axis=1)
    relative = np.diff(absolute, axis=1, prepend=0.0)
    relative = (relative + np.pi) % (2 * np.pi) - np.pi
    swings = rotation("y", relative)
    swings[:, 0] = rotation("x", abduction) @ swings[:, 0]
    above_paw = parent_rotations @ swings[:, 0] @ swings[:, 1] @ swings[:, 2]
    paw = above_paw.transpose(0, 2, 1) @ paw_rotations
    return np.concatenate((swings, paw[:, None]), axis=1)
