"""How well pictures and silhouettes agree, frame by frame."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

WORST_SHARE = 0.05
_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5
_SSIM_STABILISERS = (0.01**2, 0.03**2)
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


def ssim(
    a: Float[Tensor, "frames height width 3"], b: Float[Tensor, "frames height width 3"]
) -> Float[Tensor, "frames"]:
    """Structural similarity (Wang et al. 2004) for values in [0, 1]: Gaussian window of 11 x 11 pixels, mean over the
    windows that lie inside of the picture. Pictures must be at least 11 x 11 pixels."""
    a, b = a.permute(0, 3, 1, 2).contiguous(), b.permute(0, 3, 1, 2).contiguous()
    # All five local means in one pass.
    means = _blur(torch.stack((a, b, a * a, b * b, a * b))).unbind(0)
    mean_a, mean_b = means[:2]
    variance_a, variance_b = means[2] - mean_a**2, means[3] - mean_b**2
    covariance = means[4] - mean_a * mean_b
    c1, c2 = _SSIM_STABILISERS
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return similarity.flatten(1).mean(1)


def _blur(images: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch rows columns"]:
    """Gaussian means of the windows inside of the pictures: one dimension after the other.

    Weighted slices are added up: a convolution with so few channels unfolds its input to eleven times the size.
    """
    place = torch.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1, dtype=images.dtype)
    weights = torch.exp(-0.5 * (place / _SSIM_SIGMA) ** 2)
    weights = (weights / weights.sum()).tolist()
    for dimension in (-2, -1):
        length = images.shape[dimension] - 2 * _SSIM_RADIUS
        blurred = weights[0] * images.narrow(dimension, 0, length)
        for offset, weight in enumerate(weights[1:], start=1):
            blurred.add_(images.narrow(dimension, offset, length), alpha=weight)
        images = blurred
    return images
