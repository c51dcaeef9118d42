"""Rigid and similarity alignment of point sets in least squares (Umeyama 1991), weighted, batched and robust."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """`y = scale * rotation @ x + translation`."""

    scale: Float[Tensor, "*batch"]
    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]

    def apply(self, points: Float[Tensor, "*batch points 3"]) -> Float[Tensor, "*batch points 3"]:
        turned = points @ self.rotation.transpose(-1, -2)
        return self.scale[..., None, None] * turned + self.translation[..., None, :]

    def inverse(self) -> Similarity:
        back = self.rotation.transpose(-1, -2)
        moved = (back @ self.translation[..., None]).squeeze(-1)
        return Similarity(1 / self.scale, back, -moved / self.scale[..., None])

    def compose(self, first: Similarity) -> Similarity:
        """The transform that does `first`, then this one."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.apply(first.translation[..., None, :]).squeeze(-2),
        )


def fit_similarity(
    source: Float[Tensor, "*batch points 3"],
    target: Float[Tensor, "*batch points 3"],
    weights: Float[Tensor, "*#batch points"] | None = None,
    with_scale: bool = True,
) -> Similarity:
    """The similarity (or, without scale, the rigid motion) that brings `source` nearest to `target`, point by point.

    Never a reflection. Where all source points coincide the scale is 1. Points of weight zero may hold any finite
    number.
    """
    weights = torch.ones_like(source[..., 0]) if weights is None else weights.expand(source.shape[:-1])
    share = (weights / weights.sum(-1, keepdim=True).clamp_min(1e-12))[..., None]
    source_mean, target_mean = ((share * points).sum(-2, keepdim=True) for points in (source, target))
    source_centred, target_centred = source - source_mean, target - target_mean

    covariance = (share * target_centred).transpose(-1, -2) @ source_centred
    u, singular, vt = torch.linalg.svd(covariance)
    handedness = torch.where(torch.linalg.det(u) * torch.linalg.det(vt) < 0, -1.0, 1.0).to(source.dtype)
    signs = torch.stack((torch.ones_like(handedness), torch.ones_like(handedness), handedness), dim=-1)
    rotation = (u * signs[..., None, :]) @ vt
    scale = torch.ones_like(handedness)
    if with_scale:
        variance = (share * source_centred.square()).sum((-1, -2))
        best = (singular * signs).sum(-1) / variance.clamp_min(1e-20)
        scale = torch.where(variance > 1e-20, best, scale)
    moved = scale[..., None] * (rotation @ source_mean.transpose(-1, -2)).squeeze(-1)
    return Similarity(scale, rotation, target_mean.squeeze(-2) - moved)


def fit_similarity_robust(
    source: Float[Tensor, "*batch points 3"],
    target: Float[Tensor, "*batch points 3"],
    with_scale: bool = True,
    iterations: int = 30,
) -> Similarity:
    """Like `fit_similarity`, but a minority of wrong pairs does not spoil it.

    Iteratively reweighted least squares with Geman-McClure weights. Their width shrinks from a generous multiple of the
    median residual to a small one, so that the first, spoilt estimate can still recover (graduated non-convexity).
    """
    weights = torch.ones_like(source[..., 0])
    fitted = fit_similarity(source, target, weights, with_scale)
    floor = 1e-6 * (target - target.mean(-2, keepdim=True)).norm(dim=-1).amax(-1, keepdim=True).clamp_min(1e-12)
    for iteration in range(iterations):
        residual = (fitted.apply(source) - target).norm(dim=-1)
        multiple = max(8.0 * 0.8**iteration, 2.0)
        width = (multiple * residual.median(-1, keepdim=True).values).maximum(floor)
        weights = (1 + (residual / width).square()).pow(-2)
        fitted = fit_similarity(source, target, weights, with_scale)
    return fitted


def procrustes_aligned(
    points: Float[Tensor, "*batch points 3"], target: Float[Tensor, "*batch points 3"]
) -> Float[Tensor, "*batch points 3"]:
    """`points` after the similarity that brings them nearest to `target`."""
    return fit_similarity(points, target).apply(points)
