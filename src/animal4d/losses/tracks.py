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
from animal4d.losses.image_distance import image_distances, vertices_at

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
    back = pairs_with_frame_before(frame_numbers, max_gap)
    return FramePairs(
        torch.cat((back.second, back.first)), torch.cat((back.first, back.second)), back.weights.repeat(2)
    )


def pairs_with_frame_before(frame_numbers: Int[Tensor, "frames"], max_gap: int = 10) -> FramePairs:
    """Each frame of the batch (the first of a pair) with the one before it in time only (the second)."""
    order = frame_numbers.argsort()
    gaps = frame_numbers[order].diff()
    near = (gaps > 0) & (gaps <= max_gap)
    return FramePairs(order[1:][near], order[:-1][near], 1.0 / gaps[near])


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


def drawn_tracks(
    visible: Bool[Tensor, "frames tracks"],
    pairs: FramePairs,
    n_tracks: int = 50,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "chosen"]:
    """Indices of at most `n_tracks` random tracks among those that are visible in both frames of some pair."""
    comparable = (visible[pairs.first] & visible[pairs.second]).any(0).nonzero().squeeze(1)
    device = visible.device if generator is None else generator.device
    order = torch.randperm(len(comparable), generator=generator, device=device)
    return comparable[order[:n_tracks].to(visible.device)]


def published_tracks(
    projected: Float[Tensor, "frames vertices 2"],
    vertex_visible: Bool[Tensor, "frames vertices"],
    image_size: tuple[int, int],
    tracks: Float[Tensor, "frames tracks 2"],
    visible: Bool[Tensor, "frames tracks"],
    pairs: FramePairs,
    vertex_weights: Float[Tensor, "vertices"] | None = None,
) -> Float[Tensor, "frames"]:
    """4D-Animal's temporal loss (arXiv 2507.10437): the visible vertex that projects nearest to a track in one frame
    must project to the track's place in the frame before it.

    `tracks` are 50 at random (`drawn_tracks`), `pairs` those of `pairs_with_frame_before`; vertices of the head weigh
    50 (`parts.head_weights`). It differs from `anchored_tracks` in that the distance itself is the cost, in fractions
    of the image's longer side, SUMMED over the tracks like the part keypoints, and that only the way back in time is
    compared. The published one also pairs the first frame of a batch with the last, and all
    pairs count alike: a fault that this does not copy.
    """
    nearest = _nearest_visible_vertex(projected, vertex_visible, tracks)
    vertex = nearest.clamp_min(0)[pairs.first]
    usable = (nearest >= 0)[pairs.first] & visible[pairs.first] & visible[pairs.second]
    places = vertices_at(projected[pairs.second], vertex)
    cost = image_distances(places, tracks[pairs.second], usable, image_size) * pairs.weights[:, None]
    if vertex_weights is not None:
        cost = cost * vertex_weights[vertex]
    return projected.new_zeros(len(tracks)).index_add(0, pairs.second, cost.sum(1).to(projected.dtype))


def _nearest_visible_vertex(
    projected: Float[Tensor, "frames vertices 2"],
    vertex_visible: Bool[Tensor, "frames vertices"],
    tracks: Float[Tensor, "frames tracks 2"],
) -> Int[Tensor, "frames tracks"]:
    """Index of the visible vertex that projects nearest to each track, -1 in frames where no vertex is visible."""
    seen_first = vertex_visible.long().argsort(dim=1, descending=True, stable=True)
    candidates = vertices_at(projected.detach(), seen_first)
    nearest = nearest_2d(tracks, candidates, target_lengths=vertex_visible.sum(1))
    return torch.where(nearest >= 0, seen_first.gather(1, nearest.clamp_min(0)), -1)


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
