"""What is known before looking: animals are alike, and their joints bend only so far."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from animal4d.geometry.rotations import axis_angle_from_matrix


def mean_square(values: Float[Tensor, "*batch parameters"]) -> Float[Tensor, "*batch"]:
    """The parameter prior of betas, limb scales or offsets: zero is the average animal."""
    return values.square().mean(-1)


def joint_limits(
    joint_rotations: Float[Tensor, "frames joints 3 3"], limits: Float[Tensor, "joints 3 2"]
) -> Float[Tensor, "frames"]:
    """Squared radians by which the rotation vectors leave their limits, summed over all joints but the root.

    `limits` holds the lowest and the highest comfortable component per joint and axis (`BodyModel.joint_limits`).
    """
    vectors = axis_angle_from_matrix(joint_rotations[:, 1:])
    below = (limits[1:, :, 0] - vectors).clamp_min(0)
    above = (vectors - limits[1:, :, 1]).clamp_min(0)
    return (below + above).square().sum((1, 2))


def lasting_bend(joint_rotations: Float[Tensor, "frames joints 3 3"], midline: Sequence[int]) -> Float[Tensor, ""]:
    """Squared radians by which the joints of the midline are bent sideways or twisted on the mean of all frames.

    An animal looks aside and wags, but over a clip it is straight. A model that is not has been turned the wrong way by
    as much as its neck is bent back.
    """
    vectors = axis_angle_from_matrix(joint_rotations[:, midline])
    return vectors[..., (0, 2)].mean(0).square().sum()


def rest_pose(joint_rotations: Float[Tensor, "frames joints 3 3"]) -> Float[Tensor, "frames"]:
    """Departure from the rest pose: `2 - 2 cos(angle)`, which is the squared angle where it is small, summed over all
    joints but the root."""
    traces = joint_rotations[:, 1:].diagonal(dim1=-2, dim2=-1).sum(-1)
    return (3 - traces).sum(1)
