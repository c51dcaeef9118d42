"""Exact nearest neighbours in the image plane and the chamfer distance built on them. No all-pairs matrix anywhere.

Sets of different size in one batch are padded; `lengths` says how many points of each frame count.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.geometry._nearest_numba import nearest_on_grid


def nearest_2d(
    queries: Float[Tensor, "frames queries 2"],
    targets: Float[Tensor, "frames targets 2"],
    query_lengths: Int[Tensor, "frames"] | None = None,
    target_lengths: Int[Tensor, "frames"] | None = None,
    backend: str = "numba",
) -> Int[Tensor, "frames queries"]:
    """Index of the nearest target of the same frame; -1 for padding, and in frames that have no target or one that is
    not finite (a diverged fit must not bring the process down).

    Computed on the CPU, frames in parallel; tensors of other devices travel by a copy. `backend` "scipy" is the
    reference, a k-d tree.
    """
    n_frames, n_queries = queries.shape[:2]
    lengths = [
        _lengths_or_all(query_lengths, n_frames, n_queries),
        _lengths_or_all(target_lengths, n_frames, targets.shape[1]),
    ]
    points = [tensor.detach().cpu().contiguous().numpy() for tensor in (queries, targets)]
    result = torch.empty(n_frames, n_queries, dtype=torch.int64)
    if backend == "numba":
        nearest_on_grid(points[0], lengths[0], points[1], lengths[1], result.numpy())
    elif backend == "scipy":
        _nearest_reference(points[0], lengths[0], points[1], lengths[1], result.numpy())
    else:
        raise ValueError(f'backend must be "numba" or "scipy", got "{backend}"')
    return result.to(queries.device)


def _lengths_or_all(lengths: Tensor | None, n_frames: int, n_points: int) -> np.ndarray:
    if lengths is None:
        return np.full(n_frames, n_points, dtype=np.int64)
    if lengths.shape != (n_frames,):
        raise ValueError(f"expected one length per frame ({n_frames}), got shape {tuple(lengths.shape)}")
    return lengths.detach().cpu().clamp(0, n_points).long().numpy()


def _nearest_reference(
    queries: np.ndarray, query_lengths: np.ndarray, targets: np.ndarray, target_lengths: np.ndarray, result: np.ndarray
) -> None:
    from scipy.spatial import KDTree

    result[:] = -1
    for frame, (n, m) in enumerate(zip(query_lengths, target_lengths, strict=True)):
        if n > 0 and m > 0 and np.isfinite(targets[frame, :m]).all():
            result[frame, :n] = KDTree(targets[frame, :m]).query(queries[frame, :n])[1]


def squared_distances_to_nearest(
    queries: Float[Tensor, "frames queries 2"],
    targets: Float[Tensor, "frames targets 2"],
    query_lengths: Int[Tensor, "frames"] | None = None,
    target_lengths: Int[Tensor, "frames"] | None = None,
    backend: str = "numba",
) -> Float[Tensor, "frames queries"]:
    """Squared distance of every query to its nearest target, with gradients to both; zero for padding and where a
    frame has no target."""
    index = nearest_2d(queries, targets, query_lengths, target_lengths, backend)
    found = index >= 0
    if targets.shape[1] == 0:
        return queries.new_zeros(index.shape)
    nearest = targets.gather(1, index.clamp_min(0)[..., None].expand(-1, -1, 2))
    # Masked before the square, so that padding (which may hold anything) has no gradient either.
    difference = torch.where(found[..., None], queries - nearest, 0.0)
    return difference.square().sum(-1)


def chamfer_2d(
    points: Float[Tensor, "frames points 2"],
    target: Float[Tensor, "frames targets 2"],
    target_lengths: Int[Tensor, "frames"] | None = None,
    weights: Float[Tensor, "frames points"] | None = None,
    backend: str = "numba",
) -> Float[Tensor, "frames"]:
    """Two-sided squared chamfer distance of each frame, exact, with gradients to `points` and `target`.

    The weighted mean over `points` (weights divided by their sum) of the squared distance to the nearest target, plus
    the plain mean over the targets of the squared distance to the nearest point. A frame without targets gives zero.
    """
    to_target = squared_distances_to_nearest(points, target, None, target_lengths, backend)
    to_points = squared_distances_to_nearest(target, points, target_lengths, None, backend)
    if weights is None:
        from_points = to_target.sum(1) / max(points.shape[1], 1)
    else:
        from_points = (weights * to_target).sum(1) / weights.sum(1).clamp_min(1e-12)
    if target_lengths is None:
        return from_points + to_points.sum(1) / max(target.shape[1], 1)
    return from_points + to_points.sum(1) / target_lengths.clamp_min(1)
