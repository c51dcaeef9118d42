"""What all providers of tracks share: where points may live, which points are worth following, and how they are kept.

Places are in working pixels, integer-centred as OpenCV counts them, unless something else is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip


@dataclass(frozen=True)
class Tracks:
    """Points followed through a clip, in the published layout."""

    points: Float[Tensor, "frames tracks 2"]
    """x, y in pixels of the original frames. Where a point is not visible: its nearest known place."""
    visible: Bool[Tensor, "frames tracks"]

    def __len__(self) -> int:
        return self.points.shape[1]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"points": self.points.numpy(), "visible": self.visible.numpy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Tracks:
        return Tracks(torch.from_numpy(arrays["points"]).float(), torch.from_numpy(arrays["visible"]).bool())


def grey_frames(clip: Clip) -> list[UInt8[ndarray, "height width"]]:
    return [cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY) for frame in clip.frames.cpu()]


def regions_for_points(clip: Clip, background: bool) -> list[Bool[ndarray, "height width"]]:
    """Pixels on which points may live, away from the outline, where patches would mix the two motions.

    Background is plentiful and keeps half a patch away; legs are too thin for that.
    """
    binary = clip.masks.cpu().numpy() > 0.5
    inside = clip.inside_frame().cpu().numpy()
    narrow, wide = np.ones((3, 3), np.uint8), np.ones((21, 21), np.uint8)
    regions = []
    for mask, covered, valid in zip(binary, inside, clip.mask_valid.tolist(), strict=True):
        covered = cv2.erode(covered.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0
        animal = mask.astype(np.uint8)
        allowed = cv2.dilate(animal, wide) == 0 if background else cv2.erode(animal, narrow) > 0
        regions.append(allowed & covered & valid)
    return regions


def spacing_of_points(regions: list[Bool[ndarray, "height width"]], points: int) -> float:
    """Side of a square cell, so that about `points` of them cover the region; at least 4 pixels."""
    area = max(float(np.median([region.sum() for region in regions if region.any()] or [0])), 1.0)
    return max((area / points) ** 0.5, 4.0)


def new_points(
    grey: UInt8[ndarray, "height width"],
    region: Bool[ndarray, "height width"],
    living: Float[ndarray, "points 2"],
    spacing: float,
    least_texture: float,
) -> Float[ndarray, "new 2"]:
    """New points in those cells of the grid that hold no living one, at the best textured pixel of each."""
    texture = cv2.cornerMinEigenVal(grey, 5)
    rows, columns = np.nonzero(region & (texture > least_texture))
    taken = {tuple(cell) for cell in (living // spacing).astype(int)}
    order = np.argsort(-texture[rows, columns], kind="stable")
    new: list[tuple[int, int]] = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        cell = (int(column // spacing), int(row // spacing))
        if cell not in taken:
            taken.add(cell)
            new.append((column, row))
    return np.array(new, dtype=np.float32).reshape(-1, 2)


def within(region: Bool[ndarray, "height width"], places: Float[ndarray, "points 2"]) -> Bool[ndarray, "points"]:
    """Which places lie on a pixel of the region."""
    columns, rows = np.nan_to_num(places, nan=-1, posinf=-1, neginf=-1).round().astype(np.int64).T
    height, width = region.shape
    on_image = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    return on_image & region[rows.clip(0, height - 1), columns.clip(0, width - 1)]


def kept_tracks(
    clip: Clip, places: Float[ndarray, "frames tracks 2"], visible: Bool[ndarray, "frames tracks"], least_length: int
) -> Tracks:
    """Tracks seen in at least `least_length` frames (or in all of a shorter clip), in pixels of the original frames."""
    kept = visible.sum(axis=0) >= min(least_length, len(clip))
    places, visible = places[:, kept] + 0.5, visible[:, kept]
    original = clip.crop.to_original(torch.from_numpy(places)).cpu().numpy()
    return Tracks(torch.from_numpy(_held(original, visible)), torch.from_numpy(visible))


def _held(points: Float[ndarray, "frames tracks 2"], visible: Bool[ndarray, "frames tracks"]) -> NDArray[np.float32]:
    """Fill the places of invisible points with the nearest (earlier, else first) place where they were seen."""
    frames = np.arange(len(points))[:, None]
    last_seen = np.maximum.accumulate(np.where(visible, frames, -1), axis=0)
    source = np.where(last_seen >= 0, last_seen, visible.argmax(axis=0))
    return np.take_along_axis(points, source[..., None], axis=0)
