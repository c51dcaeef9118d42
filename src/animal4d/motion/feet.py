"""Feet that neither slide nor sink: standing paws are pinned to the ground, and legs follow by inverse kinematics.

Between two stances a paw follows the motion as it is, plus a cubic that leads from the correction of one stance to that
of the next with steady velocity (Kovar et al. 2002 blend corrections over a fixed time instead). What would sink into
the ground is raised by a smooth curve.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.geometry.quaternions import matrix_from_quaternion, slerp
from animal4d.geometry.rotations import quaternion_from_matrix, rotation_about
from animal4d.motion.limbs import reach_for
from animal4d.motion.motion import Motion
from animal4d.motion.skeleton import Skeleton
from animal4d.motion.windows import runs, smooth_cover

_BLEND = 0.3
"""Seconds: a correction fades in and out within, where a swing lasts longer than two of them."""
_FLATTENING = 0.1
"""Seconds in which a paw is laid flat before a stance, and let go after it."""
_RAISING = 0.1
_MOST_STRETCHED = 0.995
"""Share of a leg's length: the trunk is lowered where a paw would be farther away."""
_DEEPEST_BOW = 0.08
"""Leg lengths by which the trunk is lowered at most."""
_CLEARANCE = 0.04
"""Leg lengths above the ground in the middle of a swing, at least: paws of a fit often swing along the ground."""
_FULL_SWING = 0.2
"""Seconds of a swing from which on it is as high as that."""
_ROUNDS = 4
_CYCLES_BESIDE = 2
"""Before and after a cycle that is planted: legs share the trunk, so a stance cut off at the end is felt far away."""


def planted(skeleton: Skeleton, motion: Motion) -> Motion:
    """The same motion with feet that stand still in their stances, lie on the ground there, and nowhere sink into it.

    The trunk keeps its orientation and its path; it is lowered where legs do not reach the ground. The feet of a cyclic
    motion are planted as they follow each other, so that it stays cyclic.
    """
    if motion.cyclic and len(motion) > 2:
        cycle = len(motion) - 1
        copies = _planted(skeleton, motion.repeated(2 * _CYCLES_BESIDE + 1))
        middle = copies.part(_CYCLES_BESIDE * cycle, (_CYCLES_BESIDE + 1) * cycle)
        middle = middle.moved(0.0, middle.root[0, :2], motion.root[0, :2])
        return replace(middle, cyclic=True)
    return _planted(skeleton, motion)


def _planted(skeleton: Skeleton, motion: Motion) -> Motion:
    turned, places = skeleton.forward(motion.joint_rotations, motion.root)
    flat = _laid_flat(skeleton, motion, turned)
    soles = torch.stack([foot.sole for foot in skeleton.feet])
    paws = [foot.leg.joints[3] for foot in skeleton.feet]
    natural = places[:, paws] + (flat @ soles[..., None])[..., 0]
    pins = torch.stack([_pins(natural[:, foot], motion.stance[:, foot]) for foot in range(4)], dim=1)
    raised = torch.zeros_like(pins[..., 2])
    planted = motion
    half_width = max(1, round(_RAISING * motion.fps))
    least = _CLEARANCE * skeleton.leg_length * _swing_arcs(motion.stance, motion.fps)
    for _ in range(_ROUNDS):
        corrections = [
            _filled(pins[:, foot] - natural[:, foot], motion.stance[:, foot], motion.fps) for foot in range(4)
        ]
        targets = natural + torch.stack(corrections, dim=1)
        targets[..., 2] += torch.where(motion.stance, 0, smooth_cover(raised, half_width))
        targets = targets - (flat @ soles[..., None])[..., 0]
        planted = _with_paws_at(skeleton, motion, turned, places, targets, flat)
        heights = skeleton.foot_heights(planted.joint_rotations, planted.root)
        pins[..., 2] -= torch.where(motion.stance, heights, 0)
        raised += (least - heights).clamp(min=0)
    return planted


def _swing_arcs(stance: Bool[Tensor, "frames 4"], fps: float) -> Float[Tensor, "frames 4"]:
    """From 0 in a stance up to 1 in the middle of a swing; no higher than time allows in a short one.

    A root of the sine, which is off the ground in its first frame already: a paw that goes along it slides in sight.
    """
    arcs = torch.zeros(stance.shape, dtype=torch.float64)
    for foot in range(4):
        for first, last in runs(~stance[:, foot]):
            gap = last - first + 2
            s = torch.arange(1, gap, dtype=torch.float64) / gap
            if first == 0:
                s = 0.5 + s / 2
            if last == len(stance) - 1:
                s = s / 2
            time_allows = min(1.0, gap / fps / _FULL_SWING)
            arcs[first : last + 1, foot] = time_allows * torch.sin(torch.pi * s).sqrt()
    return arcs


def _laid_flat(
    skeleton: Skeleton, motion: Motion, turned: Float[Tensor, "frames joints 3 3"]
) -> Float[Tensor, "frames 4 3 3"]:
    """Orientation of the paws: flat on the ground and not turning in a stance, their own away from it."""
    result = []
    blend = max(1, round(_FLATTENING * motion.fps))
    for number, foot in enumerate(skeleton.feet):
        own = turned[:, foot.leg.joints[3]]
        stands = runs(motion.stance[:, number])
        if not stands:
            result.append(own)
            continue
        ahead = torch.stack([own[first : last + 1, :2, 0].mean(0) for first, last in stands])
        level = rotation_about("z", torch.atan2(ahead[:, 1], ahead[:, 0]))
        frames = torch.arange(len(own))
        spans = torch.tensor(stands)
        away = torch.maximum(spans[:, 0] - frames[:, None], frames[:, None] - spans[:, 1]).clamp(min=0)
        distance, nearest = away.min(dim=1)
        share = 1 - (distance / (blend + 1)).clamp(max=1)
        share = share * share * (3 - 2 * share)
        wanted = quaternion_from_matrix(level[nearest])
        result.append(matrix_from_quaternion(slerp(quaternion_from_matrix(own), wanted, share)))
    return torch.stack(result, dim=1)


def _pins(natural: Float[Tensor, "frames 3"], stance: Bool[Tensor, "frames"]) -> Float[Tensor, "frames 3"]:
    """Where a sole stands, in the frames of its stances: on the ground in the middle of where it would be."""
    pins = natural.clone()
    for first, last in runs(stance):
        pins[first : last + 1, :2] = natural[first : last + 1, :2].mean(0)
        pins[first : last + 1, 2] = 0
    return pins


def _filled(
    corrections: Float[Tensor, "frames 3"], stance: Bool[Tensor, "frames"], fps: float
) -> Float[Tensor, "frames 3"]:
    """Corrections of the stances, led on smoothly through the frames between them."""
    blend = max(2, round(_BLEND * fps))
    result = torch.where(stance[:, None], corrections, 0)
    frames = len(stance)
    for first, last in runs(~stance):
        start = _end_of(corrections, first - 1, -1, stance) if first > 0 else None
        end = _end_of(corrections, last + 1, 1, stance) if last < frames - 1 else None
        gap = last - first + 2
        if start is not None and end is not None and gap <= 2 * blend:
            result[first : last + 1] = _cubic(start, end, gap)
            continue
        zero = torch.zeros_like(corrections[0])
        still = (zero, zero)
        if start is not None:
            fading = _cubic(start, still, blend)[: last - first + 1]
            result[first : first + len(fading)] = fading
        if end is not None:
            rising = _cubic(still, end, blend)[-(last - first + 1) :]
            result[last + 1 - len(rising) : last + 1] = rising
    return result


def _end_of(
    corrections: Float[Tensor, "frames 3"], frame: int, step: int, stance: Bool[Tensor, "frames"]
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Correction at the end of a stance and its change per frame there, so that the paw stands still to the last."""
    inward = frame + step
    if not 0 <= inward < len(stance) or not stance[inward]:
        return corrections[frame], torch.zeros_like(corrections[frame])
    return corrections[frame], step * (corrections[inward] - corrections[frame])


def _cubic(start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], gap: int) -> Float[Tensor, "between 3"]:
    """Hermite's cubic with given values and slopes per frame, at the frames between two that are `gap` apart."""
    s = (torch.arange(1, gap, dtype=torch.float64) / gap)[:, None]
    return (
        (2 * s**3 - 3 * s**2 + 1) * start[0]
        + (s**3 - 2 * s**2 + s) * gap * start[1]
        + (3 * s**2 - 2 * s**3) * end[0]
        + (s**3 - s**2) * gap * end[1]
    )


def _with_paws_at(
    skeleton: Skeleton,
    motion: Motion,
    turned: Float[Tensor, "frames joints 3 3"],
    places: Float[Tensor, "frames joints 3"],
    targets: Float[Tensor, "frames 4 3"],
    orientations: Float[Tensor, "frames 4 3 3"],
) -> Motion:
    """`turned` and `places` are the joints of the motion in the world."""
    bow = _bow(skeleton, places, targets, motion.fps)
    places = places.clone()
    places[..., 2] -= bow[:, None]
    root = motion.root.clone()
    root[:, 2] -= bow
    rotations = motion.joint_rotations.clone()
    for number, foot in enumerate(skeleton.feet):
        rotations[:, list(foot.leg.joints)] = reach_for(
            skeleton, number, turned, places, targets[:, number], orientations[:, number]
        )
    return replace(motion, joint_rotations=rotations, root=root)


def _bow(
    skeleton: Skeleton, places: Float[Tensor, "frames joints 3"], targets: Float[Tensor, "frames 4 3"], fps: float
) -> Float[Tensor, "frames"]:
    """How far the trunk must come down for all paws to be within reach."""
    needed = torch.zeros(len(places), 4, dtype=torch.float64)
    for number, foot in enumerate(skeleton.feet):
        offset = places[:, foot.leg.joints[0]] - targets[:, number]
        reach = _MOST_STRETCHED * foot.leg.reach
        highest = (reach**2 - offset[:, :2].square().sum(-1)).clamp(min=0).sqrt()
        needed[:, number] = (offset[:, 2] - highest).clamp(min=0)
    deepest = _DEEPEST_BOW * skeleton.leg_length
    return smooth_cover(needed.amax(1).clamp(max=deepest), max(1, round(_RAISING * fps)))
