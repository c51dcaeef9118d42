"""Small tools on signals over frames: runs of frames, hysteresis, smoothing that never falls below what it smooths."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from torch import Tensor


def runs(mask: Bool[Tensor, "frames"]) -> list[tuple[int, int]]:
    """First and last frame of every run of true values."""
    padded = np.concatenate(([False], mask.numpy(), [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def with_hysteresis(
    enter: Bool[Tensor, "frames"], stay: Bool[Tensor, "frames"], shortest: int
) -> Bool[Tensor, "frames"]:
    """Runs of `stay` that hold a frame of `enter`; pauses and then runs shorter than `shortest` frames do not count."""
    result = torch.zeros_like(stay)
    for first, last in runs(stay):
        result[first : last + 1] = enter[first : last + 1].any()
    for first, last in runs(~result):
        inside = first > 0 and last < len(result) - 1
        if inside and last - first + 1 < shortest and bool(stay[first - 1] & stay[last + 1]):
            result[first : last + 1] = True
    for first, last in runs(result):
        cut = first == 0 or last == len(result) - 1  # the clip shows only a part of it
        if last - first + 1 < shortest and not cut:
            result[first : last + 1] = False
    return result


def smooth_cover(values: Float[Tensor, "frames *others"], half_width: int) -> Float[Tensor, "frames *others"]:
    """A smooth curve that is nowhere below `values`, and equal to them where they are constant for long."""
    if half_width < 1:
        return values
    widened = maximum_filter1d(values.numpy(), 2 * half_width + 1, axis=0, mode="nearest")
    smooth = gaussian_filter1d(widened, half_width / 2, axis=0, mode="nearest", radius=half_width)
    return torch.from_numpy(smooth)


def smoothed(values: Float[Tensor, "frames *others"], sigma: float) -> Float[Tensor, "frames *others"]:
    """Gaussian with a standard deviation of `sigma` frames."""
    return torch.from_numpy(gaussian_filter1d(values.numpy(), max(sigma, 1e-3), axis=0, mode="nearest"))
