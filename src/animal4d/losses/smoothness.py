"""Motion is smooth: accelerations, from second differences over the true times of the frames, and total variation.

A loss on accelerations belongs to the middle one of three frames; the first and the last frame get zero, and so does
every frame of a clip shorter than three.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

REFERENCE_INTERVAL = 1 / 30
"""Seconds. At this frame interval the acceleration is the plain second difference x[t-1] - 2 x[t] + x[t+1]."""


def accelerations(
    values: Float[Tensor, "frames *rest"], times: Float[Tensor, "frames"]
) -> Float[Tensor, "frames-2 *rest"]:
    """Second derivative in time of frames at any increasing times, per squared reference interval."""
    intervals = (times.diff() / REFERENCE_INTERVAL).to(values.dtype).view(-1, *[1] * (values.ndim - 1))
    velocities = values.diff(dim=0) / intervals
    return velocities.diff(dim=0) / (0.5 * (intervals[1:] + intervals[:-1]))


def translation_smoothness(
    translation: Float[Tensor, "frames 3"], times: Float[Tensor, "frames"]
) -> Float[Tensor, "frames"]:
    """Squared acceleration of the body."""
    if len(times) < 3:
        return translation.sum(1) * 0
    return _middle_frames(accelerations(translation, times).square().sum(1))


def rotation_smoothness(
    rotations: Float[Tensor, "frames joints 3 3"],
    times: Float[Tensor, "frames"],
    joint_weights: Float[Tensor, "joints"] | None = None,
) -> Float[Tensor, "frames"]:
    """Squared angular acceleration, summed over the joints.

    Half the squared Frobenius norm of the matrices' acceleration: the squared angular acceleration in radians where
    rotations change little from frame to frame, without logarithms.
    """
    if len(times) < 3:
        return rotations.sum((1, 2, 3)) * 0
    per_joint = 0.5 * accelerations(rotations, times).square().sum((2, 3))
    if joint_weights is not None:
        per_joint = per_joint * joint_weights
    return _middle_frames(per_joint.sum(1))


def total_variation(values: Float[Tensor, "frames *rest"]) -> Float[Tensor, "frames"]:
    """Sum of the absolute changes since the frame before, whatever the time between: over a clip it adds up to the way
    that the values go up and down. Zero in the first frame. Frames must be in order of time."""
    values = values[:, None].flatten(1)
    return torch.cat((values[:1].sum(1) * 0, values.diff(dim=0).abs().sum(1)))


def _middle_frames(values: Float[Tensor, "frames-2"]) -> Float[Tensor, "frames"]:
    return torch.nn.functional.pad(values, (1, 1))
