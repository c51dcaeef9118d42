"""How the animal moves over the ground, as the picture shows it: its own motion without the camera's."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.silhouette import silhouettes
from animal4d.cues.tracks import Tracks

_LEAST_POINTS = 6
_RANSAC_PIXELS = 2.0


@dataclass(frozen=True)
class GroundMotion:
    """Apparent motion of the animal relative to its surroundings, for each pair of neighbouring frames."""

    relative: Float[Tensor, "pairs 2"]
    """x, y in pixels of the original frames, from the first frame of the pair to the second; 0 where not valid."""
    valid: Bool[Tensor, "pairs"]
    """Pairs with both masks and enough points on the background."""
    background: Float[Tensor, "pairs 2 3"]
    """Similarity of the image plane that carries the background from the first frame to the second."""
    inliers: Int[Tensor, "pairs"]
    """Background points that agree with it."""
    animal_size: Float[Tensor, "pairs"]
    """Square root of the mask's area in pixels of the original frames: the yardstick for `relative`."""

    def total(self) -> Float[Tensor, "2"]:
        """Motion over the whole clip in units of the animal's size."""
        return (self.relative / self.animal_size.clamp_min(1.0)[:, None])[self.valid].sum(dim=0)


def ground_motion(clip: Clip, tracks: Tracks, background_tracks: Tracks) -> GroundMotion:
    """Motion of the animal relative to the background.

    The animal's place is the centroid of its mask; where the border of the frame cuts the animal, and the centroid
    with it, the median motion of its tracks is taken instead. The background is judged by points below the animal's
    middle where there are enough: ground near its feet stands as far from the camera as the animal does.
    """
    shapes = silhouettes(clip)
    count = max(len(clip) - 1, 0)
    centroids, sizes = _centroids(clip)
    relative = np.zeros((count, 2), np.float32)
    similarities = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    inliers = np.zeros(count, np.int64)
    valid = np.zeros(count, bool)
    for pair in range(count):
        if not (clip.mask_valid[pair] and clip.mask_valid[pair + 1]):
            continue
        before, after = _pair(background_tracks, pair)
        near_feet = before[:, 1] > centroids[pair, 1]
        if near_feet.sum() >= 2 * _LEAST_POINTS:
            before, after = before[near_feet], after[near_feet]
        fitted = _similarity(before, after)
        if fitted is None:
            continue
        similarities[pair], inliers[pair] = fitted
        here, there = centroids[pair : pair + 1], centroids[pair + 1 : pair + 2]
        if shapes.cut[pair] or shapes.cut[pair + 1]:
            here, there = _pair(tracks, pair)
            if len(here) < _LEAST_POINTS:
                continue
        carried = here @ similarities[pair, :, :2].T + similarities[pair, :, 2]
        relative[pair] = np.median(there - carried, axis=0)
        valid[pair] = True
    return GroundMotion(
        relative=torch.from_numpy(relative),
        valid=torch.from_numpy(valid),
        background=torch.from_numpy(similarities),
        inliers=torch.from_numpy(inliers),
        animal_size=torch.from_numpy(sizes[:count]),
    )


def _centroids(clip: Clip) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centroid and square root of the area of every mask, in pixels of the original frames."""
    masks = clip.masks.cpu().double()
    height, width = clip.image_size
    area = masks.sum(dim=(1, 2))
    x = (masks.sum(dim=1) * (torch.arange(width) + 0.5)).sum(dim=1)
    y = (masks.sum(dim=2) * (torch.arange(height) + 0.5)).sum(dim=1)
    working = torch.stack([x, y], dim=-1) / area.clamp_min(1e-6)[:, None]
    original = clip.crop.to_original(working.float()[:, None])[:, 0]
    return original.numpy(), (area.sqrt().float() * clip.crop.scale).numpy()


def _pair(tracks: Tracks, pair: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points seen in both frames of a pair."""
    both = tracks.visible[pair] & tracks.visible[pair + 1]
    return tracks.points[pair, both].numpy(), tracks.points[pair + 1, both].numpy()


def _similarity(before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[NDArray[np.float32], int] | None:
    if len(before) < _LEAST_POINTS:
        return None
    cv2.setRNGSeed(0)
    matrix, agree = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=_RANSAC_PIXELS)
    if matrix is None or int(agree.sum()) < _LEAST_POINTS:
        return None
    return matrix.astype(np.float32), int(agree.sum())
