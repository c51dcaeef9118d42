"""How well pictures and silhouettes agree, frame by frame."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.geometry.images import ssim as ssim

WORST_SHARE = 0.05
_RMSE_FLOOR = 1e-6
"""Added to the error as in the published implementation: two equal pictures have 120 dB."""


def intersection_over_union(
    a: Bool[Tensor, "frames height width"], b: Bool[Tensor, "frames height width"]
) -> Float[Tensor, "frames"]:
    """1 where both are empty."""
    intersection = (a & b).flatten(1).sum(1).float()
    union = (a | b).flatten(1).sum(1).float()
    return torch.where(union > 0, intersection / union.clamp_min(1), torch.ones_like(union))


def mean_of_worst(values: Float[Tensor, "frames"], share: float = WORST_SHARE) -> float:
    """Mean of the lowest `share` of the values, of at least one."""
    count = max(1, int(share * len(values)))
    return float(values.sort().values[:count].mean())


def psnr(
    a: Float[Tensor, "frames height width 3"],
    b: Float[Tensor, "frames height width 3"],
    mask: Bool[Tensor, "frames height width"] | None = None,
) -> Float[Tensor, "frames"]:
    """Peak signal-to-noise ratio in dB for values in [0, 1], over the whole picture or inside of the mask only."""
    squared = (a - b).square().mean(-1).flatten(1)
    if mask is None:
        mean = squared.mean(1)
    else:
        weight = mask.flatten(1).to(squared)
        mean = (squared * weight).sum(1) / weight.sum(1).clamp_min(1)
    return -20 * torch.log10(mean.sqrt() + _RMSE_FLOOR)
