"""Unit quaternions (w, x, y, z), for what is interpolated between keys."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_NEARLY_ALIKE = 1e-6
"""Half angle, in radians, below which the chord is as good as the arc."""


def matrix_from_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Inverse of `rotations.quaternion_from_matrix`; quaternions of any length but zero."""
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def without_jumps(quaternions: Float[Tensor, "frames *batch 4"]) -> Float[Tensor, "frames *batch 4"]:
    """The same rotations with signs under which each is nearest to the one before: what linear players need."""
    flips = torch.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0).cumprod(dim=0)
    return torch.cat((quaternions[:1], quaternions[1:] * flips[..., None]))


def slerp(
    first: Float[Tensor, "*#batch 4"], second: Float[Tensor, "*#batch 4"], share: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch 4"]:
    """Along the shorter arc from `first` (share 0) to `second` (share 1), as glTF plays keys (Shoemake 1985)."""
    cosine = (first * second).sum(-1, keepdim=True)
    second = torch.where(cosine < 0, -second, second)
    half_angle = torch.atan2((second - first).norm(dim=-1), (second + first).norm(dim=-1))[..., None] * 2
    share = share[..., None]
    sine = half_angle.sin()
    alike = sine < _NEARLY_ALIKE
    safe = torch.where(alike, torch.ones_like(sine), sine)
    from_first = torch.where(alike, 1 - share, ((1 - share) * half_angle).sin() / safe)
    from_second = torch.where(alike, share, (share * half_angle).sin() / safe)
    return torch.nn.functional.normalize(from_first * first + from_second * second, dim=-1)


def angle_of(first: Float[Tensor, "*#batch 4"], second: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch"]:
    """Angle in radians between two rotations; exact for small ones too."""
    apart = torch.minimum((first - second).norm(dim=-1), (first + second).norm(dim=-1))
    return 4 * torch.asin((apart / 2).clamp(max=1.0))
