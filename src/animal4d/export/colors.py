"""Vertex colours from the video: the average of the frames where a vertex is seen.

Every pixel well inside of both mesh and mask gives its colour to the three corners of the face that it shows, by
barycentric coordinates and the more the straighter the face looks at the camera. What no frame shows is taken from
the mirrored vertex, and what neither shows spreads over the edges of the mesh.
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.mesh import facing_cosines, unique_edges
from animal4d.geometry.rasterize import rasterize

_FRAMES_PER_BLOCK = 8
_ENOUGH = 2.0
"""Weight, in pixels looked at straight, from which a vertex's own observations suffice."""
_MIRROR_WEIGHT = 0.5
"""Of the other side's observations, where a vertex's own do not suffice."""
_DIFFUSION = 0.05
"""Pull towards the neighbours' mean, against the weight of the observations."""
_NEUTRAL = 0.6


def linear_from_srgb(color: Tensor) -> Tensor:
    """Linear light from sRGB values in [0, 1]."""
    return torch.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(color: Tensor) -> Tensor:
    """Inverse of `linear_from_srgb`."""
    return torch.where(color <= 0.0031308, color * 12.92, 1.055 * color.clamp_min(1e-12) ** (1 / 2.4) - 0.055)


def vertex_colors(
    reconstruction: Reconstruction, model: BodyModel, clip: Clip, frames: list[int] | None = None
) -> Float[Tensor, "vertices 3"]:
    """sRGB colours in [0, 1], from all frames with a usable mask or from the given ones (positions in the clip).

    Leave the test frames out where the colours are to be judged on them.
    """
    chosen = range(len(clip)) if frames is None else frames
    usable = [frame for frame in chosen if bool(clip.mask_valid[frame])]
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    total = torch.zeros(model.n_vertices, 4, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, len(usable), _FRAMES_PER_BLOCK):
            block = usable[start : start + _FRAMES_PER_BLOCK]
            total += _observe(reconstruction, model, clip.frames[block].cpu(), clip.masks[block].cpu(), block)
    return _complete(total[:, :3].numpy(), total[:, 3].numpy(), model)


def _observe(
    reconstruction: Reconstruction,
    model: BodyModel,
    images: UInt8[Tensor, "frames height width 3"],
    masks: Float[Tensor, "frames height width"],
    block: list[int],
) -> Float[Tensor, "vertices 4"]:
    """Weighted sums of colour, and of weight in the last column, per vertex."""
    cameras = reconstruction.cameras[block]
    vertices = cameras.transform(reconstruction.posed(model, block).vertices)
    fragments = rasterize(vertices, model.faces, cameras.intrinsics, cameras.image_size)
    weight = facing_cosines(vertices, model.faces)
    inside = _eroded(masks) & (fragments.face_index >= 0)
    frame, row, column = inside.nonzero(as_tuple=True)
    face = fragments.face_index[frame, row, column]
    pixel_weight = (weight[frame, face] ** 2).double()
    colors = images[frame, row, column].double() / 255
    values = torch.cat((colors, torch.ones_like(colors[:, :1])), dim=1) * pixel_weight[:, None]
    barycentrics = fragments.barycentrics[frame, row, column].double()
    total = torch.zeros(model.n_vertices, 4, dtype=torch.float64)
    for corner in range(3):
        total.index_add_(0, model.faces[face, corner], values * barycentrics[:, corner, None])
    return total


def _eroded(masks: Float[Tensor, "frames height width"]) -> Tensor:
    """Where a mask holds with a margin of two pixels, so that no background bleeds in."""
    kernel = np.ones((5, 5), np.uint8)
    binary = (masks > 0.5).to(torch.uint8).numpy()
    return torch.from_numpy(np.stack([cv2.erode(mask, kernel) for mask in binary])).bool()


def _complete(sums: np.ndarray, weights: np.ndarray, model: BodyModel) -> Float[Tensor, "vertices 3"]:
    """Colours of all vertices from what was seen of some."""
    if weights.sum() <= 0:
        return torch.full((model.n_vertices, 3), _NEUTRAL)
    mean = sums.sum(0) / weights.sum()
    left, right = model.left_indices.numpy(), model.right_indices.numpy()
    mirror = np.arange(model.n_vertices)
    mirror[left], mirror[right] = right, left
    lacking = np.clip(1 - weights / _ENOUGH, 0, 1) * _MIRROR_WEIGHT
    sums = sums + lacking[:, None] * sums[mirror]
    weights = weights + lacking * weights[mirror]
    system = scipy.sparse.diags(weights + 1e-6) + _DIFFUSION * _graph_laplacian(model)
    solve = scipy.sparse.linalg.factorized(system.tocsc())
    colors = np.stack([solve(sums[:, channel] + 1e-6 * mean[channel]) for channel in range(3)], axis=1)
    return torch.from_numpy(np.clip(colors, 0, 1).astype(np.float32))


def _graph_laplacian(model: BodyModel) -> scipy.sparse.csr_matrix:
    """Degrees minus adjacency of the mesh."""
    first, second = unique_edges(model.faces).numpy().T
    rows, columns = np.concatenate((first, second)), np.concatenate((second, first))
    shape = (model.n_vertices, model.n_vertices)
    adjacency = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    return scipy.sparse.diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency
