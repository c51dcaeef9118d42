"""Another animal's motion on this shape.

Both animals are individuals of one template: their joints mean the same, and rotations are carried over as they are.
The path is scaled by the length of the legs. Legs of other proportions put the body at another height and slope: it is
lifted and tilted until standing soles are, on the average, on the ground; planting the feet does the rest.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.geometry.rotations import rotation_about
from animal4d.motion.motion import Motion
from animal4d.motion.skeleton import Skeleton

_STEEPEST = 0.35
"""Radians by which a body is tilted at most."""


def carried_over(motion: Motion, source: Skeleton, target: Skeleton) -> Motion:
    """The motion on the target's shape, before its feet are planted (`feet.planted`)."""
    ratio = target.leg_length / source.leg_length
    root = motion.root * ratio
    root[:, :2] += motion.root[0, :2] * (1 - ratio)
    scaled = replace(motion, root=root, ground_velocity=motion.ground_velocity * ratio)
    return _set_down(_levelled(scaled, target), target)


def _standing_heights(motion: Motion, soles: Float[Tensor, "frames 4 3"]) -> Float[Tensor, "4"]:
    """Mean height of every sole in its stances; NaN for a paw that never stands."""
    return torch.where(motion.stance, soles[..., 2], 0).sum(0) / motion.stance.sum(0)


def _levelled(motion: Motion, skeleton: Skeleton) -> Motion:
    """Tilted about the root's y axis until standing front and hind paws are equally high."""
    soles = skeleton.soles(motion.joint_rotations, motion.root)
    heights = _standing_heights(motion, soles)
    front, back = heights[:2].nanmean(), heights[2:].nanmean()
    if not bool(torch.isfinite(front - back)):
        return motion
    ahead = motion.joint_rotations[:, 0, :, 0]
    apart = ((soles[:, :2].mean(1) - soles[:, 2:].mean(1)) * ahead).sum(-1).mean()
    tilt = torch.atan2(front - back, apart).clamp(-_STEEPEST, _STEEPEST)
    rotations = motion.joint_rotations.clone()
    rotations[:, 0] = rotations[:, 0] @ rotation_about("y", tilt)
    return replace(motion, joint_rotations=rotations)


def _set_down(motion: Motion, skeleton: Skeleton) -> Motion:
    heights = _standing_heights(motion, skeleton.soles(motion.joint_rotations, motion.root))
    if bool(heights.isnan().all()):
        lowest = skeleton.foot_heights(motion.joint_rotations, motion.root).min()
        heights = lowest.expand(4)
    root = motion.root.clone()
    root[:, 2] -= heights.nanmean()
    return replace(motion, root=root)
