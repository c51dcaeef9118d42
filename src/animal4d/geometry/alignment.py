"""Rigid and similarity alignment in least squares: point sets (Umeyama 1991; weighted, batched, robust) and camera
tracks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.geometry.cameras import Cameras


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


def align_camera_tracks(source: Cameras, target: Cameras) -> Cameras:
    """The source cameras after ONE similarity of their world that brings them nearest to the target's, frame by frame.

    The rotation is the mean of the relative rotations; scale and shift fit the translations in least squares. Relative
    poses within the source stay as they are (as `corresponding_cameras_alignment` of PyTorch3D, mode "extrinsics").
    """
    R, R_target = source.R_cam_from_world, target.R_cam_from_world
    u, _, vt = torch.linalg.svd((R.transpose(1, 2) @ R_target).mean(0))
    signs = u.new_tensor([1.0, 1.0, 1.0])
    signs[2] = torch.where(torch.linalg.det(u) * torch.linalg.det(vt) < 0, -1.0, 1.0)
    rotation = (u * signs) @ vt

    # Translations seen in the source's world axes, where they are comparable between frames.
    shifts = (R.transpose(1, 2) @ source.t_cam_from_world[..., None]).squeeze(-1)
    shifts_target = (R.transpose(1, 2) @ target.t_cam_from_world[..., None]).squeeze(-1)
    centred = shifts - shifts.mean(0)
    scale = torch.ones_like(centred[0, 0])
    spread = centred.square().sum()
    if spread > 1e-12:
        scale = (centred * (shifts_target - shifts_target.mean(0))).sum() / spread
    shift = shifts_target.mean(0) - scale * shifts.mean(0)

    world_to_camera = source.world_to_camera.clone()
    world_to_camera[:, :3, :3] = R @ rotation
    world_to_camera[:, :3, 3] = R @ shift + scale * source.t_cam_from_world
    return replace(source, world_to_camera=world_to_camera)
