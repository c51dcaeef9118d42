"""The best cycle of a motion, closed so that it can be played for ever.

The cycle lies between the two moments that are most alike in pose and velocity (as motion graphs find their edges,
Kovar et al. 2002). What is left between its ends is halved and led away on either side by cubics, in place and in
velocity. The animal goes straight on: how it turns during a cycle is taken out evenly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle, rotation_about
from animal4d.motion.likeness import features
from animal4d.motion.motion import Motion, headings
from animal4d.motion.skeleton import Skeleton

SHORTEST = 0.5
"""Seconds of a cycle."""
_CLOSING = 0.3
"""Seconds on either side of the seam in which the ends are brought together."""


@dataclass(frozen=True)
class Loop:
    motion: Motion
    """Cyclic."""
    first: int
    last: int
    """Frames of the original motion that became its ends."""
    gap: float
    """How far the ends were apart: root mean square over the joints of place and velocity, in leg lengths."""


def best_loop(skeleton: Skeleton, motion: Motion) -> Loop:
    """The cycle of at least half a second whose ends are most alike, closed. Plant the feet afterwards.

    Raises Animal4dError where the motion is too short for one.
    """
    shortest = max(2, round(SHORTEST * motion.fps))
    if len(motion) <= shortest:
        raise Animal4dError(
            f"--loop: a cycle lasts at least {SHORTEST:g} s, but the motion only {motion.seconds:.2f} s; "
            "give a longer one"
        )
    here = features(skeleton, motion)
    distance = torch.cdist(here, here)
    order = torch.arange(len(motion))
    distance[order - order[:, None] < shortest] = torch.inf
    first, last = divmod(int(distance.argmin()), len(motion))
    return Loop(_closed(motion, first, last), first, last, float(distance[first, last]))


def _closed(motion: Motion, first: int, last: int) -> Motion:
    cycle = _straightened(motion.part(first, last))
    frames = len(cycle) - 1
    # Velocities at the ends come from the frames inside: those outside are another stride.
    rotations = cycle.joint_rotations
    turning_away = axis_angle_from_matrix(rotations[0].mT @ rotations[1])
    turning_in = axis_angle_from_matrix(rotations[-2].mT @ rotations[-1])
    turned_apart = axis_angle_from_matrix(rotations[0].mT @ rotations[-1])
    closing = min(frames // 2, max(2, round(_CLOSING * motion.fps)))
    turn = _led_away(turned_apart, turning_in - turning_away, frames, closing)
    rotations = rotations @ matrix_from_axis_angle(turn)

    apart = cycle.root[-1] - cycle.root[0]
    path = torch.cat((apart[:2], apart.new_zeros(1)))
    change = (cycle.root[-1] - cycle.root[-2]) - (cycle.root[1] - cycle.root[0])
    root = cycle.root + _led_away(apart - path, change, frames, closing)
    rotations[-1], root[-1] = rotations[0], root[0] + path
    stance = cycle.stance.clone()
    stance[-1] = stance[0]
    return replace(cycle, joint_rotations=rotations, root=root, stance=stance, cyclic=True)


def _straightened(cycle: Motion) -> Motion:
    """Looks at its end in the direction in which it began."""
    heading = headings(cycle.joint_rotations)
    back = -(heading[-1] - heading[0]) * torch.linspace(0, 1, len(cycle), dtype=torch.float64)
    rotations = cycle.joint_rotations.clone()
    rotations[:, 0] = rotation_about("z", back) @ rotations[:, 0]
    halfway = rotation_about("z", 0.5 * (back[1:] + back[:-1]))[:, :2, :2]
    steps = (halfway @ cycle.root[:, :2].diff(dim=0)[..., None])[..., 0]
    place = torch.cat((cycle.root[:1, :2], cycle.root[0, :2] + steps.cumsum(0)))
    return replace(cycle, joint_rotations=rotations, root=torch.cat((place, cycle.root[:, 2:]), dim=1))


def _led_away(
    gap: Float[Tensor, "*values"], velocity_gap: Float[Tensor, "*values"], frames: int, closing: int
) -> Float[Tensor, "frames+1 *values"]:
    """What closes a gap between end and beginning (end minus beginning): half of it at either end, fading inward."""
    result = gap.new_zeros(frames + 1, *gap.shape)
    s = (torch.arange(closing + 1, dtype=gap.dtype) / closing).reshape(-1, *[1] * gap.dim())
    value = (2 * s**3 - 3 * s**2 + 1) * gap / 2
    slope = (s**3 - 2 * s**2 + s) * closing * velocity_gap / 2
    result[: closing + 1] += value + slope
    result[frames - closing :] += (slope - value).flip(0)
    return result
