"""From one motion into another: the second begins where it resembles the end of the first, and is blended in."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.geometry.quaternions import matrix_from_quaternion, slerp
from animal4d.geometry.rotations import quaternion_from_matrix
from animal4d.motion.likeness import features
from animal4d.motion.motion import Motion, headings
from animal4d.motion.skeleton import Skeleton

_SEARCHED = 0.8
"""Seconds of the second motion that may be left out for a better entry."""


def crossfaded(skeleton: Skeleton, first: Motion, second: Motion, seconds: float) -> Motion:
    """`first`, and over its last `seconds` into `second`, which goes on from the place and in the direction reached.

    Both are motions of the skeleton's individual; the second is brought to the rate of the first. Plant the feet
    afterwards: in the fade those stand that stand in both. Raises Animal4dError where one is shorter than the fade.
    """
    second = second.resampled(first.fps)
    fade = max(2, round(seconds * first.fps))
    for number, motion in enumerate((first, second), start=1):
        if len(motion) < fade + 2:
            raise Animal4dError(
                f"--crossfade {seconds:g}: motion {number} lasts {motion.seconds:.2f} s, which is too short for it; "
                "give a shorter fade"
            )
    begin = len(first) - fade
    entry = _best_entry(skeleton, first, second, fade)
    second = second.part(entry, len(second) - 1)
    turn = (headings(first.joint_rotations)[begin:] - headings(second.joint_rotations)[:fade]).mean()
    second = second.moved(float(turn), second.root[:fade, :2].mean(0), first.root[begin:, :2].mean(0))

    share = torch.arange(1, fade + 1, dtype=torch.float64) / (fade + 1)
    share = share * share * (3 - 2 * share)
    old = quaternion_from_matrix(first.joint_rotations[begin:])
    new = quaternion_from_matrix(second.joint_rotations[:fade])
    turned = matrix_from_quaternion(slerp(old, new, share[:, None]))
    root = torch.lerp(first.root[begin:], second.root[:fade], share[:, None])
    return replace(
        first,
        joint_rotations=torch.cat((first.joint_rotations[:begin], turned, second.joint_rotations[fade:])),
        root=torch.cat((first.root[:begin], root, second.root[fade:])),
        stance=torch.cat((first.stance[:begin], first.stance[begin:] & second.stance[:fade], second.stance[fade:])),
        cyclic=False,
    )


def _best_entry(skeleton: Skeleton, first: Motion, second: Motion, fade: int) -> int:
    """Frame of the second motion from which on it resembles the end of the first most."""
    latest = max(0, min(round(_SEARCHED * first.fps), len(second) - fade - 2, len(second) // 2))
    end: Float[Tensor, "fade features"] = features(skeleton, first)[-fade:]
    there = features(skeleton, second)
    costs = [float((there[entry : entry + fade] - end).square().mean()) for entry in range(latest + 1)]
    return int(torch.tensor(costs).argmin())
