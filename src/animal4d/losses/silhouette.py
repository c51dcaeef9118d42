"""Object level: the projected mesh and the mask cover each other.

All distances are squared and in units of half the image's shorter side (PyTorch3D's NDC). Every function returns one
loss per frame; frames whose mask is empty give zero and no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from animal4d.geometry.distance import signed_distance, squared_distance_to_mask
from animal4d.geometry.mesh import SurfacePoints
from animal4d.geometry.nearest import chamfer_2d, squared_distances_to_nearest

HIDDEN_WEIGHT = 0.05
"""Weight of points of the mesh that cannot be seen, against 1 for those that can."""


@dataclass(frozen=True)
class SilhouetteTarget:
    """Masks, prepared once for the losses."""

    pixels: Float[Tensor, "frames pixels 2"]
    """Centres of the mask's pixels, padded with zeros to the same number in every frame."""
    lengths: Int[Tensor, "frames"]
    """How many of them count; zero where the mask is empty."""
    distances: Float[Tensor, "frames height width"]
    """Signed distance of every pixel to the mask's outline, negative inside; zero where the mask is empty."""

    @classmethod
    def from_masks(
        cls,
        masks: Shaped[Tensor, "frames height width"],
        distances: Float[Tensor, "frames height width"] | None = None,
    ) -> SilhouetteTarget:
        """From masks whose values above 0.5 (or True) are the animal, and their `signed_distance` where it is known."""
        inside = masks > 0.5
        lengths = inside.flatten(1).sum(1)
        pixels = torch.zeros(len(masks), max(int(lengths.max()), 1), 2, device=masks.device)
        for frame, mask in enumerate(inside):
            row, column = mask.nonzero(as_tuple=True)
            pixels[frame, : len(row)] = torch.stack((column, row), dim=1) + 0.5
        distances = signed_distance(masks) if distances is None else distances
        return cls(pixels, lengths, distances.nan_to_num(posinf=0.0, neginf=-1.0))

    def __getitem__(self, frames: Tensor | slice | list[int]) -> SilhouetteTarget:
        return SilhouetteTarget(self.pixels[frames], self.lengths[frames], self.distances[frames])

    def to(self, device: torch.device | str) -> SilhouetteTarget:
        return SilhouetteTarget(self.pixels.to(device), self.lengths.to(device), self.distances.to(device))

    def drawn(self, n_pixels: int, generator: torch.Generator | None = None) -> SilhouetteTarget:
        """With `n_pixels` pixels of every mask, drawn at random with replacement, instead of all."""
        device = self.pixels.device if generator is None else generator.device
        uniform = torch.rand(len(self.pixels), n_pixels, device=device, generator=generator)
        index = (uniform.to(self.pixels.device) * self.lengths[:, None]).long().clamp_max(self.pixels.shape[1] - 1)
        pixels = self.pixels.gather(1, index[..., None].expand(-1, -1, 2))
        lengths = torch.where(self.lengths > 0, n_pixels, 0)
        return SilhouetteTarget(pixels, lengths, self.distances)

    @property
    def ndc_per_pixel(self) -> float:
        return 2.0 / min(self.distances.shape[1:])


def visibility_weights(
    visible: Bool[Tensor, "frames points"], hidden: float = HIDDEN_WEIGHT
) -> Float[Tensor, "frames points"]:
    """1 for what is seen, `hidden` for what is not."""
    return torch.where(visible, 1.0, hidden)


def surface_weights(
    points: SurfacePoints, face_visible: Bool[Tensor, "frames faces"]
) -> Float[Tensor, "frames points"]:
    """`visibility_weights` of points sampled on the mesh: those of the faces they lie on (`visible_faces`)."""
    return visibility_weights(face_visible.gather(1, points.face_index.expand(len(face_visible), -1)))


def silhouette_chamfer(
    points: Float[Tensor, "frames points 2"],
    target: SilhouetteTarget,
    weights: Float[Tensor, "frames points"] | None = None,
) -> Float[Tensor, "frames"]:
    """Exact two-sided chamfer between projected points of the mesh (in pixels) and the pixels of the mask.

    With 10,000 points sampled by area, their `surface_weights` and all pixels of the mask it is the published loss
    (4D-Animal, arXiv 2507.10437).
    """
    scale = target.ndc_per_pixel
    return chamfer_2d(points * scale, target.pixels * scale, target.lengths, weights)


def silhouette_distance(
    points: Float[Tensor, "frames points 2"],
    target: SilhouetteTarget,
    weights: Float[Tensor, "frames points"] | None = None,
) -> Float[Tensor, "frames"]:
    """Nearly the same for a fraction of the cost.

    From the mesh to the mask by a lookup in the distance image, from the mask to the mesh by exact nearest neighbours.
    Up to the mask's outline the first is zero, where `silhouette_chamfer` has the distance to the nearest pixel centre
    and draws outlines half a pixel inwards.
    """
    to_mask = squared_distance_to_mask(target.distances, points)
    weights = torch.ones_like(to_mask) if weights is None else weights
    from_points = (weights * to_mask).sum(1) / weights.sum(1).clamp_min(1e-12)
    to_points = squared_distances_to_nearest(target.pixels, points, target.lengths)
    from_mask = to_points.sum(1) / target.lengths.clamp_min(1)
    return target.ndc_per_pixel**2 * torch.where(target.lengths > 0, from_points + from_mask, 0.0)
