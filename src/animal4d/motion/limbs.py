"""Inverse kinematics of a leg that changes a pose as little as it can: the paw goes where it is wanted.

The elbow or knee opens or closes in the plane that the leg already lies in, then the whole leg is swung about the
shoulder or hip on the shortest arc, without twist. Metacarpus or metatarsus keeps its direction as long as the two
bones above it reach; beyond that it turns in their plane. Where the paw already is where it is wanted nothing changes,
unlike with `synth.legs.solve_leg`, which plans a leg from nothing and knows no sideways bends.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.motion.skeleton import Skeleton

_MOST_STRETCHED = 0.998
_LEAST_BENT = 0.08
"""Sine of the angle at elbow or knee below which the plane of the leg is that of its hinge."""


def reach_for(
    skeleton: Skeleton,
    foot: int,
    turned: Float[Tensor, "frames joints 3 3"],
    places: Float[Tensor, "frames joints 3"],
    paw: Float[Tensor, "frames 3"],
    paw_orientation: Float[Tensor, "frames 3 3"],
) -> Float[Tensor, "frames 4 3 3"]:
    """Local rotations of a leg's four joints that bring the paw joint to `paw` in the given orientation.

    `turned` and `places` are all joints in the world as they are. A paw out of reach is approached with a straight leg.
    """
    leg = skeleton.feet[foot].leg
    first, second, third, fourth = leg.joints
    upper, lower = places[:, second] - places[:, first], places[:, third] - places[:, second]
    metapodial = places[:, fourth] - places[:, third]
    origin = places[:, first]
    reach = _MOST_STRETCHED * (_length(upper) + _length(lower))
    ankle = _ankle_within_reach(paw, metapodial, origin, reach)
    new_metapodial = _shortest_arc(metapodial, paw - ankle)

    to_ankle = ankle - origin
    distance = torch.minimum(_length(to_ankle), reach)
    forward = -1.0 if leg.is_front else 1.0
    hinge = torch.linalg.cross(turned[:, first, :, 1], upper, dim=-1) * -forward
    new_lower = _bent(upper, lower, distance, hinge)
    fold = _shortest_arc(lower, new_lower)
    swing = _shortest_arc(upper + new_lower, to_ankle)

    parent = turned[:, leg.parent]
    world = (
        swing @ turned[:, first],
        swing @ fold @ turned[:, second],
        new_metapodial @ turned[:, third],
        paw_orientation,
    )
    above = (parent, *world[:3])
    return torch.stack([up.mT @ here for up, here in zip(above, world, strict=True)], dim=1)


def _length(vectors: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames"]:
    return vectors.norm(dim=-1)


def _unit(vectors: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 3"]:
    return torch.nn.functional.normalize(vectors, dim=-1)


def _dot(a: Float[Tensor, "frames 3"], b: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 1"]:
    return (a * b).sum(-1, keepdim=True)


def _shortest_arc(start: Float[Tensor, "frames 3"], end: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 3 3"]:
    """Rotation that takes one direction to another; they are never opposite in a leg."""
    a, b = _unit(start), _unit(end)
    axis = torch.linalg.cross(a, b, dim=-1)
    cosine = _dot(a, b)[..., None]
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=a.dtype) + skew + skew @ skew / (1 + cosine).clamp_min(1e-9)


def _ankle_within_reach(
    paw: Float[Tensor, "frames 3"],
    metapodial: Float[Tensor, "frames 3"],
    origin: Float[Tensor, "frames 3"],
    reach: Float[Tensor, "frames"],
) -> Float[Tensor, "frames 3"]:
    """Wrist or hock: where the unturned last bone wants it, or the nearest place within reach."""
    ankle = paw - metapodial
    length, reach = _length(metapodial)[:, None], reach[:, None]
    to_paw = paw - origin
    apart = to_paw.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    along = to_paw / apart
    # Circle in which the spheres around origin and paw meet; a straight leg where they do not.
    middle = ((apart**2 + reach**2 - length**2) / (2 * apart)).clamp(max=reach)
    radius = (reach**2 - middle**2).clamp_min(0).sqrt()
    aside = ankle - origin - _dot(ankle - origin, along) * along
    on_edge = origin + middle * along + radius * _unit(aside)
    outside = (ankle - origin).norm(dim=-1, keepdim=True) > reach
    return torch.where(outside, on_edge, ankle)


def _bent(
    upper: Float[Tensor, "frames 3"],
    lower: Float[Tensor, "frames 3"],
    distance: Float[Tensor, "frames"],
    hinge: Float[Tensor, "frames 3"],
) -> Float[Tensor, "frames 3"]:
    """The lower bone with its end at `distance` from the beginning of the upper one, in the plane of both.

    `hinge` is the side to which the leg bends when it is straight."""
    a, b = _length(upper), _length(lower)
    along = upper / a[:, None]
    aside = lower / b[:, None] - _dot(lower / b[:, None], along) * along
    straight = (1 - _length(aside) / _LEAST_BENT).clamp(0, 1)[:, None]
    aside = _unit(aside + straight * _LEAST_BENT * _unit(hinge))
    aside = _unit(aside - _dot(aside, along) * along)
    least = (a - b).abs() * 1.02 + 1e-6
    cosine = ((torch.maximum(distance, least) ** 2 - a**2 - b**2) / (2 * a * b)).clamp(-1, 1)[:, None]
    return b[:, None] * (cosine * along + (1 - cosine**2).clamp_min(0).sqrt() * aside)
