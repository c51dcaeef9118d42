"""Coarse foreground takes its edges from the picture, by a guided filter (He, Sun and Tang 2010)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from animal4d.readers.source import Image

_SOFTNESS = 1e-4
_SHARPENING = 1.5
"""How much of what a blur takes from the network's foreground is added to it: legs thinner than two of its pixels
would fall under one half."""


def with_edges(picture: Image, coarse: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Foreground in [0, 1] with the edges of the picture that it lies on. `radius` in pixels is that of the filter."""
    fine = coarse + _SHARPENING * (coarse - cv2.GaussianBlur(coarse, (0, 0), 2.0 * radius))
    sharp = guided_filter(np.divide(picture, 255, dtype=np.float32), fine.clip(0, 1), radius, _SOFTNESS)
    # Colours alike far from the animal are not the animal.
    reach = cv2.dilate(coarse, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    return np.where(reach > 0.2, sharp, 0.0).clip(0, 1).astype(np.float32)


def guided_filter(
    guide: NDArray[np.float32], values: NDArray[np.float32], radius: int, softness: float
) -> NDArray[np.float32]:
    """Values that follow the edges of a colour guide in [0, 1]: in every window of `2 radius + 1` pixels the linear
    function of the colour that is nearest to the values; the means of all windows that hold a pixel.

    `softness` is the variance of a colour below which it is no edge.
    """

    def mean(array: NDArray[np.float32]) -> NDArray[np.float32]:
        side = 2 * radius + 1
        return np.asarray(cv2.blur(array, (side, side), borderType=cv2.BORDER_REFLECT), dtype=np.float32)

    mean_guide, mean_values = mean(guide), mean(values)
    products = np.stack([mean(guide * guide[..., channel : channel + 1]) for channel in range(3)], axis=-1)
    covariance = products - mean_guide[..., :, None] * mean_guide[..., None, :] + softness * np.eye(3, dtype=np.float32)
    with_values = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    slope = np.linalg.solve(covariance, with_values[..., None])[..., 0].astype(np.float32)
    offset = mean_values - (slope * mean_guide).sum(-1)
    return np.asarray((mean(slope) * guide).sum(-1) + mean(offset), dtype=np.float32)
