"""Pixel level over time: what moves together in the video stays on its place of the surface.

Tracks are "frames tracks 2" in pixels with a visibility "frames tracks", for the frames of the batch. Only frames that
are neighbours in time are compared, each pair weighted by how far apart it is. Residuals are fractions of the image's
longer side under a pseudo-Huber cost; every loss is one number per frame, zero where nothing can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.geometry.cameras import project
from animal4d.geometry.mesh import SurfacePoints
from animal4d.geometry.nearest import nearest_2d
from animal4d.geometry.rasterize import Fragments

HUBER_WIDTH = 0.01
"""Residual (fraction of the image) up to which the cost grows like a square; beyond, like the residual."""


@dataclass(frozen=True)
class FramePairs:
    """Ordered pairs of frames of a batch that are neighbours in time, in both directions."""

    first: Int[Tensor, "pairs"]
    """Place in the batch of the frame where a track is tied to the surface."""
    second: Int[Tensor, "pairs"]
    """Place in the batch of the frame where it is compared."""
    weights: Float[Tensor, "pairs"]
    """One over the number of frames between them."""


def neighbour_pairs(frame_numbers: Int[Tensor, "frames"], max_gap: int = 10) -> FramePairs:
    """Each frame of the batch with the next one in time, whatever their order in the batch; no wrapping around.

    Pairs more than `max_gap` frames apart, and repeated frames, are left out.
    """
    order = frame_numbers.argsort()
    gaps = frame_numbers[order].diff()
    near = (gaps > 0) & (gaps <= max_gap)
    earlier, later = order[:-1][near], order[1:][near]
    weights = 1.0 / gaps[near]
    return FramePairs(torch.cat((earlier, later)), torch.cat((later, earlier)), weights.repeat(2))


@dataclass(frozen=True)
class TrackAnchors:
    """For every track and frame the point of the surface that it lies on there."""

    surface: SurfacePoints
    """"frames tracks"."""
    offset: Float[Tensor, "frames tracks 2"]
    """From the point's projection (a pixel centre) to the track, in pixels."""
    valid: Bool[Tensor, "frames tracks"]
    """The track is visible there and lies on the mesh."""


def anchor_tracks(
    fragments: Fragments, tracks: Float[Tensor, "frames tracks 2"], visible: Bool[Tensor, "frames tracks"]
) -> TrackAnchors:
    """Ties every track to the face seen at its pixel, in each frame anew."""
    n_frames, height, width = fragments.face_index.shape
    finite = tracks.isfinite().all(-1)
    column, row = torch.where(finite[..., None], tracks, -1.0).floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    frame = torch.arange(n_frames, device=tracks.device)[:, None]
    face = fragments.face_index[frame, row, column]
    surface = SurfacePoints(face.clamp_min(0), fragments.barycentrics[frame, row, column])
    offset = tracks - (torch.stack((column, row), dim=-1) + 0.5)
    return TrackAnchors(surface, offset, visible & finite & inside & (face >= 0))


def anchored_tracks(
    anchors: TrackAnchors,
    vertices_in_camera: Float[Tensor, "frames vertices 3"],
    faces: Int[Tensor, "faces 3"],
    intrinsics: Float[Tensor, "frames 3 3"],
    image_size: tuple[int, int],
    tracks: Float[Tensor, "frames tracks 2"],
    visible: Bool[Tensor, "frames tracks"],
    pairs: FramePairs,
    face_weights: Float[Tensor, "faces"] | None = None,
) -> Float[Tensor, "frames"]:
    """The surface point under a track in one frame projects to the track's place in the neighbouring frame.

    A point of the surface is finer than a vertex, and its pixel tells it exactly: on a perfect fit the loss is zero.
    """
    first, second = pairs.first, pairs.second
    surface = SurfacePoints(anchors.surface.face_index[first], anchors.surface.barycentrics[first])
    places = project(surface.on(vertices_in_camera[second], faces), intrinsics[second])
    wanted = tracks[second] - anchors.offset[first]
    usable = anchors.valid[first] & visible[second]
    weights = None if face_weights is None else face_weights[surface.face_index]
    return _mean_cost(places, wanted, usable, weights, pairs, len(tracks), image_size)


def nearest_vertex_tracks(
    projected: Float[Tensor, "frames vertices 2"],
    vertex_visible: Bool[Tensor, "frames vertices"],
    image_size: tuple[int, int],
    tracks: Float[Tensor, "frames tracks 2"],
    visible: Bool[Tensor, "frames tracks"],
    pairs: FramePairs,
    vertex_weights: Float[Tensor, "vertices"] | None = None,
) -> Float[Tensor, "frames"]:
    """The published way: the visible vertex nearest to a track stands for it in the neighbouring frame."""
    seen_first = vertex_visible.long().argsort(dim=1, descending=True, stable=True)
    candidates = projected.detach().gather(1, seen_first[..., None].expand(-1, -1, 2))
    nearest = nearest_2d(tracks, candidates, target_lengths=vertex_visible.sum(1))
    vertex = seen_first.gather(1, nearest.clamp_min(0))[pairs.first]
    places = projected[pairs.second].gather(1, vertex[..., None].expand(-1, -1, 2))
    usable = (nearest >= 0)[pairs.first] & visible[pairs.first] & visible[pairs.second]
    weights = None if vertex_weights is None else vertex_weights[vertex]
    return _mean_cost(places, tracks[pairs.second], usable, weights, pairs, len(tracks), image_size)


def _mean_cost(
    places: Float[Tensor, "pairs tracks 2"],
    wanted: Float[Tensor, "pairs tracks 2"],
    usable: Bool[Tensor, "pairs tracks"],
    weights: Float[Tensor, "pairs tracks"] | None,
    pairs: FramePairs,
    n_frames: int,
    image_size: tuple[int, int],
) -> Float[Tensor, "frames"]:
    """Mean over the tracks that can be compared in a frame of cost times weights, assigned to the second frame."""
    # Masked before any arithmetic, so that places that are not finite have no gradient either.
    residual = torch.where(usable[..., None], places - wanted, 0.0) / max(image_size)
    cost = pseudo_huber(residual.square().sum(-1), HUBER_WIDTH) * pairs.weights[:, None]
    if weights is not None:
        cost = cost * weights
    zeros = places.new_zeros(n_frames)
    count = zeros.index_add(0, pairs.second, usable.sum(1).to(places.dtype))
    return zeros.index_add(0, pairs.second, cost.sum(1)) / count.clamp_min(1)


def pseudo_huber(squared: Float[Tensor, "*any"], width: float) -> Float[Tensor, "*any"]:
    """Half the square for residuals below `width`, `width` times the residual far above. Takes the SQUARED residual."""
    return width**2 * ((1 + squared / width**2).sqrt() - 1)
