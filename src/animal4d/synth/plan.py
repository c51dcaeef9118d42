"""From a plan for trunk and paws to joint rotations.

The trunk does what the plan says; inverse kinematics (`legs.py`) bends the legs so that the paws are where they are
meant to be. Everything is written along the heading +x with the ground at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import ShapedBody
from animal4d.synth.legs import Leg, bone_angle, required_reach, rotation, solve_leg

_MAX_STRETCH = 0.985
"""Legs are never stretched further than this fraction of their length."""


@dataclass(frozen=True)
class Motion:
    """A motion of one individual. Ground at z = 0."""

    joint_rotations: Float[Tensor, "frames joints 3 3"]
    """Index 0 turns the body into the world."""
    translation: Float[Tensor, "frames 3"]
    stance: Bool[ndarray, "frames 4"]
    """Which paws stand on the ground, in the order of `LEGS`."""
    speed: float
    """Forward speed in units per second."""
    root: Float[Tensor, "3"]
    """Rest place of the root joint, about which `joint_rotations[:, 0]` turns."""

    def placed(self, heading: float, origin: Float[ndarray, "3"]) -> Motion:
        """The same motion turned about the vertical by `heading` radians and moved by `origin`."""
        turn = torch.tensor(rotation("z", np.array(heading)), dtype=torch.float32)
        rotations = self.joint_rotations.clone()
        rotations[:, 0] = turn @ rotations[:, 0]
        place = (self.root + self.translation) @ turn.T + torch.as_tensor(origin, dtype=torch.float32)
        return replace(self, joint_rotations=rotations, translation=place - self.root)


@dataclass(frozen=True)
class Plan:
    """What the trunk and the paws are to do; the legs follow."""

    pelvis: Float[ndarray, "frames 3"]
    """Place of the trunk's middle relative to its rest place above the ground."""
    trunk: Float[ndarray, "frames 3"]
    """Roll, pitch and yaw of the pelvis."""
    spine: Float[ndarray, "frames 3"]
    """Total roll, pitch and yaw from the pelvis to the chest."""
    neck: Float[ndarray, "frames 3"]
    head: Float[ndarray, "frames 3"]
    tail: Float[ndarray, "frames 7 3"]
    paws: Float[ndarray, "frames 4 3"]
    """Places of the paws on the ground plan (x, y) and the height of their soles (z)."""
    folds: Float[ndarray, "frames 4"]
    """Extra backward angle of metacarpus or metatarsus, as a fraction of a full fold."""
    lean: Float[ndarray, "frames 4"]
    """Backward angle of metacarpus or metatarsus that goes with the leg's swing."""
    flat: Float[ndarray, "frames 4"]
    """1 where a paw lies flat on the ground, 0 where it hangs from the leg."""
    stance: Bool[ndarray, "frames 4"]
    speed: float = 0.0


@dataclass(frozen=True)
class Standing:
    """Measures of an individual that stands on the ground with straight trunk."""

    hip_height: float
    trunk_length: float
    """From the hips to the shoulders."""
    middle: Float[ndarray, "3"]
    """The trunk's middle in the body frame: pitch turns about it."""
    middle_height: float
    """Of the trunk's middle above the ground."""
    pitch: float
    """Pitch that puts front and hind paws on one ground."""
    paws: Float[ndarray, "4 2"]
    """Places of the paws on the ground plan relative to the trunk's middle."""


def stand_of(body: ShapedBody, legs: tuple[Leg, ...]) -> Standing:
    joints = body.joints.double().numpy()
    first = np.stack([joints[leg.joints[0]] for leg in legs])
    paws = first + np.stack([leg.bones.sum(0) for leg in legs])
    ground = paws[:, 2] - np.array([leg.sole for leg in legs])
    front, back = ground[:2].mean(), ground[2:].mean()
    middle = first.mean(0)
    middle[1] = 0.0
    distance = float(paws[:2, 0].mean() - paws[2:, 0].mean())
    return Standing(
        hip_height=float(first[2:, 2].mean() - back),
        trunk_length=float(first[:2, 0].mean() - first[2:, 0].mean()),
        middle=middle,
        middle_height=float(middle[2] - 0.5 * (front + back)),
        pitch=float(np.arctan2(front - back, distance)),
        paws=paws[:, :2] - middle[:2],
    )


def _euler(angles: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch 3 3"]:
    """Yaw after pitch after roll."""
    return rotation("z", angles[..., 2]) @ rotation("y", angles[..., 1]) @ rotation("x", angles[..., 0])


def carry_out(body: ShapedBody, legs: tuple[Leg, ...], stand: Standing, plan: Plan) -> Motion:
    """Trunk first, then the legs; the trunk is lowered where a paw would be out of reach."""
    model = body.model
    frames = len(plan.pelvis)
    rotations = np.broadcast_to(np.eye(3), (frames, model.n_joints, 3, 3)).copy()
    index = model.joint_names.index
    trunk = plan.trunk.copy()
    trunk[:, 1] += stand.pitch
    rotations[:, 0] = _euler(trunk)
    for number in range(1, 7):
        rotations[:, index(f"spine_{number}")] = _euler(plan.spine / 6)
    rotations[:, index("neck")] = _euler(plan.neck)
    rotations[:, index("head")] = _euler(plan.head)
    for number in range(7):
        rotations[:, index(f"tail_{number + 1}")] = _euler(plan.tail[:, number])

    # The root joint keeps its rest place under `with_pose`: move it so that the trunk turns about its middle.
    root = body.joints[0].double().numpy()
    wanted = plan.pelvis + np.array([0.0, 0.0, stand.middle_height])
    translation = wanted - root - np.einsum("tij,j->ti", rotations[:, 0], stand.middle - root)
    posed = body.with_pose(torch.tensor(rotations, dtype=torch.float32), torch.tensor(translation, dtype=torch.float32))
    origins = posed.joints.double().numpy()
    orientations = posed.joint_transforms.double().numpy()

    targets = plan.paws.copy()
    targets[..., 2] += np.array([leg.sole for leg in legs])
    angles = [_metapodial_angle(leg, i, origins[:, leg.joints[0]], targets[:, i], plan) for i, leg in enumerate(legs)]
    drop = _drop_into_reach(legs, origins, targets, angles)
    origins = origins - np.array([0.0, 0.0, drop])
    translation[:, 2] -= drop
    for i, leg in enumerate(legs):
        hang = angles[i] - leg.rest_angles[2]
        toes = (1 - plan.flat[:, i]) * (hang + 0.25)
        rotations[:, list(leg.joints)] = solve_leg(
            leg,
            parent_rotations=orientations[:, leg.parent],
            origins=origins[:, leg.joints[0]],
            targets=targets[:, i],
            metapodial_angle=angles[i],
            paw_rotations=rotation("y", toes),
        )
    return Motion(
        joint_rotations=torch.tensor(rotations, dtype=torch.float32),
        translation=torch.tensor(translation, dtype=torch.float32),
        stance=plan.stance,
        speed=plan.speed,
        root=body.joints[0],
    )


def _metapodial_angle(
    leg: Leg, i: int, origins: Float[ndarray, "frames 3"], targets: Float[ndarray, "frames 3"], plan: Plan
) -> Float[ndarray, "frames"]:
    """The last bone leans with the leg and folds back in the swing."""
    swing = bone_angle(targets - origins) - bone_angle(leg.bones.sum(0))
    full_fold = 0.85 if leg.is_front else 1.05
    return leg.rest_angles[2] + plan.lean[:, i] * swing + full_fold * plan.folds[:, i]


def _drop_into_reach(
    legs: tuple[Leg, ...],
    origins: Float[ndarray, "frames joints 3"],
    targets: Float[ndarray, "frames 4 3"],
    angles: list[Float[ndarray, "frames"]],
) -> float:
    """How much the whole trunk must be lowered for every paw to be within reach."""
    drop, step = 0.0, 0.004
    for _ in range(60):
        below = np.array([0.0, 0.0, drop])
        stretch = max(
            float(required_reach(leg, origins[:, leg.joints[0]] - below, targets[:, i], angles[i]).max())
            for i, leg in enumerate(legs)
        )
        if stretch <= _MAX_STRETCH:
            break
        drop += step
    return drop
