"""What frames tell of the colours of a texture's texels: for every texel its best views.

A frame sees a texel where the texel's face looks at the camera and nothing lies before it. A view is worth the more the
straighter it is and the more pixels the frame spends on a texel, and nothing near the outline of the mask or of the
drawn mesh, or near an edge inside of it, where a pose that is a little off shows the background or another limb.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from torch import Tensor

from animal4d.geometry.mesh import facing_cosines
from animal4d.geometry.rasterize import rasterize, visible_faces
from animal4d.texture._observations_numba import keep_better, seen_texels
from animal4d.texture.atlas import Texels
from animal4d.texture.fit import TextureFootage

BEST_VIEWS = 24
"""Views that are kept of a texel."""
FACING_POWER = 3.0
"""Of the cosine between normal and view: one for the pixels that a texel gets, the others for its trustworthiness."""
LEAST_FACING = 0.15
MARGIN = (1.0, 4.0)
"""Pixels from the outline up to which a view is worth nothing, and from which it is worth all."""
_LAST_RESORT = 0.02
"""Worth of a view in that margin: it says that the texel was seen, and its colour hardly counts beside others."""
_FINER = 2
"""Depths are drawn in as many times the frames' resolution."""
_EDGE = 0.03
"""Jump of depth, in units of the template, that is an edge inside of the drawn mesh."""

Originals = Callable[[int], ndarray]
"""The original picture (height, width, 3; sRGB as uint8) of a frame of the footage."""


@dataclass(frozen=True)
class Views:
    """The best views of every texel, in no order; a weight of zero is no view."""

    color: ndarray
    """(views, texels, 3), uint8, sRGB."""
    weight: ndarray
    """(views, texels), float32."""
    frame: ndarray
    """(views, texels), int32: position in the footage."""


@torch.no_grad()
def observe(
    texels: Texels,
    faces: Int[Tensor, "faces 3"],
    footage: TextureFootage,
    frames: Sequence[int],
    picture_of: Callable[[int], tuple[ndarray, ndarray]],
    views: int = BEST_VIEWS,
) -> Views:
    """Look at the given frames (positions in the footage), and at no others.

    `picture_of` gives a frame's picture (uint8) and the 2 x 3 matrix that takes working pixels to its own.
    """
    n = len(texels)
    kept = Views(np.zeros((views, n, 3), np.uint8), np.zeros((views, n), np.float32), np.zeros((views, n), np.int32))
    scales = _pixels_per_unit(footage, frames)
    for frame, scale in zip(frames, scales, strict=True):
        seen = _seen_texels(texels, faces, footage, frame)
        if seen is None:
            continue
        index, pixels, weight = seen
        picture, placed = picture_of(frame)
        where = pixels @ placed[:, :2].T + placed[:, 2]
        color = look_up(picture, where, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        keep_better(kept.color, kept.weight, kept.frame, index, color, weight * np.float32(scale**2), frame)
    return kept


def _pixels_per_unit(footage: TextureFootage, frames: Sequence[int]) -> ndarray:
    """Of the animal's middle in each frame, as shares of the largest."""
    chosen = list(frames)
    depth = footage.cameras[chosen].transform(footage.posed[chosen])[..., 2].mean(1)
    scale = (footage.cameras.intrinsics[chosen][:, 0, 0] / depth.clamp_min(1e-6)).numpy()
    return scale / scale.max() if len(scale) else scale


def _seen_texels(
    texels: Texels, faces: Tensor, footage: TextureFootage, frame: int
) -> tuple[ndarray, ndarray, ndarray] | None:
    """Numbers of the texels that a frame sees, their working pixels, and the views' weights; None for none."""
    camera = footage.cameras[[frame]]
    height, width = camera.image_size
    fine = camera.resized((height * _FINER, width * _FINER))
    vertices = camera.transform(footage.posed[[frame]])
    drawn = rasterize(vertices, faces, fine.intrinsics, fine.image_size)
    mask = footage.masks[frame] > 0.5
    filmed = torch.ones_like(mask) if footage.filmed is None else footage.filmed[frame]
    if not bool((mask & filmed).any()) or not bool(drawn.covered.any()):
        return None
    facing = facing_cosines(vertices, faces)[0]
    facing = torch.where((facing > LEAST_FACING) & _near_visible(drawn, faces), facing, 0.0)
    depth = drawn.depth[0].numpy()
    # Beyond the picture the mask says nothing: the animal may go on there.
    margin = _margin(depth, (mask | ~filmed).numpy()) * filmed.numpy()
    return seen_texels(
        texels.face_index.numpy(),
        texels.barycentrics.numpy(),
        faces.numpy(),
        vertices[0].numpy(),
        facing.numpy(),
        depth,
        _FINER,
        camera.intrinsics[0].numpy(),
        margin.astype(np.float32),
        FACING_POWER,
    )


def _near_visible(drawn, faces: Tensor) -> Bool[Tensor, "faces"]:
    """Faces that share a vertex with one that is drawn: small ones may lie between the pixels' centres."""
    of_vertex = torch.zeros(int(faces.max()) + 1, dtype=torch.bool)
    of_vertex[faces[visible_faces(drawn, len(faces))[0]]] = True
    return of_vertex[faces].any(1)


def _margin(depth: ndarray, mask: ndarray) -> ndarray:
    """(height, width): from 0 outside of mask and mesh over little along their outlines and along edges within the mesh
    to 1 inside."""
    inside = (depth > 0).astype(np.uint8)
    for axis in (0, 1):
        jump = np.abs(np.diff(depth, axis=axis)) > _EDGE
        low = [slice(None)] * 2
        high = [slice(None)] * 2
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        inside[tuple(low)][jump] = 0
        inside[tuple(high)][jump] = 0
    covered = cv2.resize((depth > 0).astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_AREA)
    of_mesh = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / _FINER
    of_mesh = cv2.resize(of_mesh, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    of_mask = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    nearest = np.minimum(of_mesh, of_mask)
    worth = np.clip((nearest - MARGIN[0]) / (MARGIN[1] - MARGIN[0]), _LAST_RESORT, 1) * mask * (covered > 0)
    return worth.astype(np.float32)


def without_background(picture: ndarray, mask: ndarray) -> ndarray:
    """The picture with every pixel outside of the mask, and of its last pixel, in the colour of the nearest inside.

    So that no interpolation across the outline brings in background.
    """
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    if not inside.any():
        return picture
    _, labels = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    label = np.asarray(labels, np.int64)
    color_of = np.zeros((int(label.max()) + 1, 3), np.uint8)
    color_of[label[inside > 0]] = picture[inside > 0]
    return np.where((inside > 0)[..., None], picture, color_of[label])


def look_up(picture: ndarray, pixels: ndarray, interpolation: int, border: int) -> ndarray:
    """Values at places (points, 2), where the centre of the first pixel is (0.5, 0.5), as OpenCV interpolates."""
    n, side = len(pixels), 4096
    padded = np.zeros((-(-n // side) * side, 2), np.float32)
    padded[:n] = pixels - 0.5
    places = padded.reshape(-1, side, 2)
    result = cv2.remap(picture, places[..., 0], places[..., 1], interpolation, borderMode=border)
    return result.reshape(-1, picture.shape[2])[:n]
