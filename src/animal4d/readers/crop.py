"""The square window that follows the animal, and the working images cut out by it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, median_filter

from animal4d.clip import Crop
from animal4d.readers.source import Image, Mask

MARGIN = 0.18
"""Wanted space on every side, as a fraction of the animal's larger extent."""
LEAST_MARGIN = 0.05
"""Space that every frame has at least, as a fraction of the window."""
SMOOTHING_SECONDS = 0.07
"""Standard deviation of the smoothing over time."""
_LEAST_SIDE = 16

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the original frame."""
Square = tuple[int, int, int]
"""left, top, side in whole pixels; may reach beyond the frame."""


def mask_box(mask: Mask) -> Box | None:
    """Box around the animal; specks of less than a hundredth of the largest piece are left out. None if empty."""
    binary = (mask > 0.5).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    if count < 2:
        return None
    pieces = stats[1:]
    pieces = pieces[pieces[:, cv2.CC_STAT_AREA] >= 0.01 * pieces[:, cv2.CC_STAT_AREA].max()]
    left, top = pieces[:, :2].min(axis=0)
    right, bottom = (pieces[:, :2] + pieces[:, 2:4]).max(axis=0)
    return float(left), float(top), float(right - left), float(bottom - top)


def square_around(box: Box, margin: float, least_side: int) -> Square:
    """The square with the box in its middle, and `margin` times the box's larger extent around that."""
    x, y, width, height = box
    side = max(math.ceil((1 + 2 * margin) * max(width, height)), least_side)
    return round(x + (width - side) / 2), round(y + (height - side) / 2), side


def crop_track(
    boxes: Sequence[Box | None], original_size: tuple[int, int], working_size: int, fps: float = 30.0
) -> Crop:
    """Square windows around the boxes, smooth over time; frames without box lie between their neighbours.

    Every box that is given lies inside of its window with at least `LEAST_MARGIN` of the window to spare. Windows
    start and end at whole pixels, so that resampling them is exact; they may reach beyond the frame.
    """
    sigma = min(SMOOTHING_SECONDS * fps, 4.0)
    radius = math.ceil(3 * sigma)
    known = np.array([index for index, box in enumerate(boxes) if box is not None])
    if known.size == 0:
        raise ValueError("crop_track needs at least one box")
    x, y, width, height = np.array([box for box in boxes if box is not None], dtype=np.float64).T
    every = np.arange(len(boxes))
    centers = np.stack([np.interp(every, known, x + width / 2), np.interp(every, known, y + height / 2)], axis=-1)
    extents = np.interp(every, known, np.maximum(width, height))
    centers = np.stack([_smooth(centers[:, axis], sigma) for axis in (0, 1)], axis=-1)
    centers = centers.clip(0, [original_size[1], original_size[0]])  # so that every window meets the frame
    half_sides = _smooth(extents, sigma) * (0.5 + MARGIN)

    needed = np.zeros(len(boxes))
    reach_x = np.maximum(np.abs(x - centers[known, 0]), np.abs(x + width - centers[known, 0]))
    reach_y = np.maximum(np.abs(y - centers[known, 1]), np.abs(y + height - centers[known, 1]))
    # Two pixels more than needed, because the window is rounded to whole pixels.
    needed[known] = (np.maximum(reach_x, reach_y) + 2) / (1 - 2 * LEAST_MARGIN)
    # Smoothing the running maximum over the same reach stays above what every frame needs, and has no jumps.
    needed = maximum_filter1d(needed, 2 * radius + 1, mode="nearest")
    half_sides = np.maximum(half_sides, gaussian_filter1d(needed, sigma, mode="nearest", radius=radius))

    sides = np.maximum(np.ceil(2 * half_sides), _LEAST_SIDE)
    origins = np.round(centers - sides[:, None] / 2)
    return Crop(
        origin=torch.from_numpy(origins).float(),
        scale=torch.from_numpy(sides / working_size).float(),
        original_size=original_size,
    )


def cut_image(image: Image, origin: NDArray[np.floating], side: int, working_size: int) -> Image:
    """The window, resampled with antialiasing; beyond the frame its border pixels are repeated."""
    return _resize(_window(image, origin, side, cv2.BORDER_REPLICATE), working_size)


def cut_mask(mask: Mask, origin: NDArray[np.floating], side: int, working_size: int) -> Mask:
    """As `cut_image`; beyond the frame the mask is zero."""
    return _resize(_window(mask, origin, side, cv2.BORDER_CONSTANT), working_size).clip(0, 1)


def _window(array: NDArray, origin: NDArray[np.floating], side: int, border: int) -> NDArray:
    height, width = array.shape[:2]
    left, top = int(origin[0]), int(origin[1])
    inside = array[max(top, 0) : top + side, max(left, 0) : left + side]
    before = max(-top, 0), max(-left, 0)
    after = max(top + side - height, 0), max(left + side - width, 0)
    if not any(before + after):
        return inside
    return cv2.copyMakeBorder(inside, before[0], after[0], before[1], after[1], border, value=0)


def _resize(array: NDArray, working_size: int) -> NDArray:
    if array.shape[0] == working_size:
        return np.ascontiguousarray(array)
    shrinks = array.shape[0] > working_size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(array, (working_size, working_size), interpolation=interpolation)


def _smooth(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Median (against single bad masks), then Gaussian; straight motion stays straight up to the ends."""
    pad = min(math.ceil(3 * sigma) + 2, len(values) - 1)
    if pad < 2:
        return values
    padded = np.pad(values, pad, mode="reflect", reflect_type="odd")
    return gaussian_filter1d(median_filter(padded, 5), sigma, mode="nearest", truncate=3)[pad:-pad]
