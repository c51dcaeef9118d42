"""Harmonics of a stride: what repeats with it is a sum of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

HARMONICS = 4


def phase_harmonics(phase: Float[Tensor, "frames"]) -> Float[Tensor, "frames harmonics"]:
    """cos, then sin, of the first multiples of a phase in radians, the k-th scaled by 1 / k^2: legs swing smoothly, and
    what optimises the coefficients finds the slow harmonics first."""
    multiples = torch.arange(1, HARMONICS + 1, dtype=phase.dtype, device=phase.device)
    angles = phase[:, None] * multiples
    return torch.cat((angles.cos() / multiples**2, angles.sin() / multiples**2), dim=1)
