"""Comparison of pictures that losses and metrics share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
_SSIM_STABILISERS = (0.01**2, 0.03**2)


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
    place = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=images.dtype)
    weights = torch.exp(-0.5 * (place / _SSIM_SIGMA) ** 2)
    weights = (weights / weights.sum()).tolist()
    for dimension in (-2, -1):
        length = images.shape[dimension] - 2 * SSIM_RADIUS
        blurred = weights[0] * images.narrow(dimension, 0, length)
        for offset, weight in enumerate(weights[1:], start=1):
            blurred.add_(images.narrow(dimension, offset, length), alpha=weight)
        images = blurred
    return images
