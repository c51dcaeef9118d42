"""Pixel level: a pixel that is known to show a vertex lies where that vertex projects to.

The dense surface map of a frame (continuous surface embeddings, arXiv 2011.12438) names a vertex for its pixels; where
it is sure enough, pixel and vertex make a 2D keypoint. Source: 4D-Animal (arXiv 2507.10437), pixel level.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.losses.image_distance import image_distances, mean_over_usable, vertices_at

HEAD_WEIGHT = 0.5
"""Published weight of vertices of the head, against 1 for all others (see `parts.head_weights`)."""


@dataclass(frozen=True)
class SurfaceTarget:
    """Pixels with the vertices that they show, in a fixed number of slots per frame."""

    pixels: Float[Tensor, "frames slots 2"]
    """x, y in pixels of the working images."""
    vertices: Int[Tensor, "frames slots"]
    confidence: Float[Tensor, "frames slots"]
    """In [0, 1]; zero marks an empty slot, which may hold anything."""

    def __getitem__(self, frames: Tensor | slice | list[int]) -> SurfaceTarget:
        return SurfaceTarget(self.pixels[frames], self.vertices[frames], self.confidence[frames])

    def to(self, device: torch.device | str) -> SurfaceTarget:
        return SurfaceTarget(self.pixels.to(device), self.vertices.to(device), self.confidence.to(device))


def surface_keypoints(
    projected: Float[Tensor, "frames vertices 2"],
    target: SurfaceTarget,
    image_size: tuple[int, int],
    vertex_weights: Float[Tensor, "vertices"] | None = None,
) -> Float[Tensor, "frames"]:
    """Mean over a frame's filled slots of the distance between pixel and projected vertex, in fractions of the image's
    longer side, times confidence and the vertex' weight.

    Weights do not divide the mean: a frame of guesses counts less than one of certainties. With a confidence of 1
    everywhere it is the published loss. Zero in frames without a filled slot.
    """
    usable = target.confidence > 0
    vertex = torch.where(usable, target.vertices, 0)
    distances = image_distances(vertices_at(projected, vertex), target.pixels, usable, image_size)
    weights = target.confidence if vertex_weights is None else target.confidence * vertex_weights[vertex]
    return mean_over_usable(distances * weights, usable)
