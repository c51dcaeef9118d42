"""How far points are in the image from where they should be: what all losses on single points share."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def image_distances(
    places: Float[Tensor, "frames points 2"],
    wanted: Float[Tensor, "frames points 2"],
    usable: Bool[Tensor, "frames points"],
    image_size: tuple[int, int],
) -> Float[Tensor, "frames points"]:
    """Distance of `places` from `wanted` (both in pixels) in fractions of the image's longer side.

    Zero, with zero gradient, where a point is not usable (it may hold anything) or exactly in its place.
    """
    # Masked before any arithmetic, so that places that are not finite have no gradient either.
    difference = torch.where(usable[..., None], places - wanted, 0.0) / max(image_size)
    return torch.linalg.vector_norm(difference, dim=-1)


def mean_over_usable(
    values: Float[Tensor, "frames points"], usable: Bool[Tensor, "frames points"]
) -> Float[Tensor, "frames"]:
    """Mean over the usable points of each frame; zero in frames that have none."""
    return torch.where(usable, values, 0.0).sum(1) / usable.sum(1).clamp_min(1)


def vertices_at(
    projected: Float[Tensor, "frames vertices 2"], index: Int[Tensor, "frames points"]
) -> Float[Tensor, "frames points 2"]:
    """The projections of the given vertices, each frame its own."""
    return projected.gather(1, index[..., None].expand(-1, -1, 2))
