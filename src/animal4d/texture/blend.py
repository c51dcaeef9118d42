"""One colour per texel from its views: frames are brought to one exposure, and views that disagree are outvoted."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.sparse import csr_matrix, diags

from animal4d.texture.observations import Views

_TEXELS_PER_BLOCK = 1 << 16
_TEXELS_FOR_GAINS = 20_000
_DARK = 6.0
"""Added to colours (of 255) before their logarithm: dark ones say little of the exposure."""
_TYPICAL_GAIN = 0.1
"""Deviation of a frame's log gain from 0 that is expected anyway, against `_TYPICAL_NOISE` of a texel's."""
_TYPICAL_NOISE = 0.15
_OUTLIERS = (0.6, 0.3, 0.15)
"""Distances of a view's colour from the mean's (of 1) where it loses most of its say, step by step."""
_STEPS = 4


def frame_gains(views: Views, n_frames: int) -> Float[ndarray, "frames 3"]:
    """Exposure and white balance of every frame: by how much its colours are brighter than the mean frame's.

    Log gains of frames and log colours of texels, in least squares over the texels that several frames see, with
    weights that let go of outliers (Cauchy). Frames without a view have a gain of 1.
    """
    every = max(1, views.weight.shape[1] // _TEXELS_FOR_GAINS)
    weight = views.weight[:, ::every].astype(np.float64)
    frame = views.frame[:, ::every]
    color = views.color[:, ::every].astype(np.float64)
    common = (weight > 0).sum(0) > 1
    weight, frame, color = weight[:, common], frame[:, common], color[:, common]
    gains = np.zeros((n_frames, 3))
    if not common.any():
        return np.exp(gains)
    weight /= weight.max()
    n_texels = weight.shape[1]
    rows = np.broadcast_to(np.arange(n_texels), weight.shape).ravel()
    for channel in range(3):
        level = np.log((color[..., channel] + _DARK) / 255)
        for _ in range(_STEPS):
            residual = level - gains[frame, channel]
            mean = (weight * residual).sum(0) / weight.sum(0)
            trust = weight / (1 + ((residual - mean) / _TYPICAL_NOISE) ** 2)
            seen = csr_matrix((trust.ravel(), (rows, frame.ravel())), shape=(n_texels, n_frames))
            per_texel = trust.sum(0)
            # The texels' own levels drop out of the normal equations.
            share = diags(1 / per_texel) @ seen
            per_frame = np.asarray(seen.sum(0)).ravel()
            matrix = np.diag(per_frame) - (seen.T @ share).toarray()
            right = np.bincount(frame.ravel(), (trust * level).ravel(), n_frames) - share.T @ (trust * level).sum(0)
            prior = (_TYPICAL_NOISE / _TYPICAL_GAIN) ** 2 * per_frame.mean() / 100
            gains[:, channel] = np.linalg.solve(matrix + prior * np.eye(n_frames), right)
            gains[:, channel] -= np.average(gains[:, channel], weights=per_frame)
    return np.exp(gains)


def blend(views: Views, gains: Float[ndarray, "frames 3"]) -> tuple[ndarray, ndarray]:
    """Colours (texels, 3) in [0, 1] and the weight (texels,) behind them; 0 where nothing was seen.

    Iteratively reweighted means: views far from the mean lose their say, and what counts as far shrinks (graduated
    non-convexity, Blake and Zisserman 1987).
    """
    n = views.weight.shape[1]
    colors = np.zeros((n, 3), np.float32)
    for start in range(0, n, _TEXELS_PER_BLOCK):
        block = slice(start, start + _TEXELS_PER_BLOCK)
        weight = views.weight[:, block]
        color = views.color[:, block] / np.float32(255) / gains.astype(np.float32)[views.frame[:, block]]
        center = _weighted_mean(color, weight)
        for outlier in _OUTLIERS:
            difference = color - center
            distance = np.einsum("vtc,vtc->vt", difference, difference)
            center = _weighted_mean(color, weight / np.square(1 + distance / outlier**2))
        colors[block] = center
    return np.clip(colors, 0, 1), views.weight.sum(0)


def _weighted_mean(color: ndarray, weight: ndarray) -> ndarray:
    """Over the views; 0 where all weights are."""
    return np.einsum("vt,vtc->tc", weight, color) / np.maximum(weight.sum(0), 1e-12)[:, None]
