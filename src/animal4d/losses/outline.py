"""Object level, finer: the outline of the projected mesh lies on the outline of the mask.

The chamfer brings the two shapes together up to the spacing of its samples and leaves a rim of about a pixel; here the
rim itself is compared. Both outlines are pixels, so the loss is blind to limbs that are missing altogether: it
follows the chamfer, it does not replace it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from animal4d.geometry.cameras import project
from animal4d.geometry.distance import signed_distance
from animal4d.geometry.mesh import corners_in_frames
from animal4d.geometry.rasterize import Fragments
from animal4d.losses.tracks import pseudo_huber

HUBER_PIXELS = 3.0
"""Distance up to which the cost grows like a square."""


@dataclass(frozen=True)
class OutlineTarget:
    """How far every pixel is from where the outermost pixels of a drawing with that outline lie, prepared once."""

    offset: Float[Tensor, "frames height width"]
    """Signed pixels: positive too far out, negative too far in."""
    direction: Float[Tensor, "frames height width 2"]
    """Gradient of the signed distance to the outline by x and y."""
    usable: Bool[Tensor, "frames height width"]
    """Pixels that were filmed, in frames that have a mask."""

    @classmethod
    def from_masks(
        cls,
        masks: Shaped[Tensor, "frames height width"],
        filmed: Bool[Tensor, "frames height width"],
        distances: Float[Tensor, "frames height width"] | None = None,
    ) -> OutlineTarget:
        """From masks whose values above 0.5 (or True) are the animal, and their `signed_distance` where it is known.
        Within two pixels of the frame's border nothing is known of the outline."""
        distance = (signed_distance(masks) if distances is None else distances).nan_to_num(posinf=0.0, neginf=-1.0)
        down, right = torch.gradient(distance, dim=(1, 2))
        direction = torch.stack((right, down), dim=-1)
        # A pixel is outermost when its centre is nearer to the outline than a pixel's step across it: its centre lies
        # half such a step inside on average, whatever way the outline runs.
        step = torch.nn.functional.normalize(direction, dim=-1).abs().amax(-1)
        offset = distance + 0.5 * step
        hidden = torch.nn.functional.max_pool2d((~filmed)[:, None].float(), 5, 1, 2)[:, 0] > 0
        height, width = masks.shape[1:]
        border = torch.ones(height, width, dtype=torch.bool, device=masks.device)
        border[2 : height - 2, 2 : width - 2] = False
        usable = ~hidden & ~border & (masks > 0.5).flatten(1).any(1)[:, None, None]
        return cls(offset, direction, usable)

    def to(self, device: torch.device | str) -> OutlineTarget:
        return OutlineTarget(self.offset.to(device), self.direction.to(device), self.usable.to(device))

    def __getitem__(self, frames: Tensor | slice | list[int]) -> OutlineTarget:
        return OutlineTarget(self.offset[frames], self.direction[frames], self.usable[frames])


def outline_distance(
    fragments: Fragments,
    vertices_in_camera: Float[Tensor, "frames vertices 3"],
    faces: Int[Tensor, "faces 3"],
    intrinsics: Float[Tensor, "frames 3 3"],
    target: OutlineTarget,
) -> Float[Tensor, "frames"]:
    """Mean pseudo-Huber cost of the distance between outlines, in squared units of half the image's shorter side.

    The surface points behind the outermost pixels of the drawn mesh are moved; the distance is taken to first order.
    Zero in frames where no outline is drawn or none is known.
    """
    covered = fragments.covered
    outermost = covered & _beside(~covered)
    frame, row, column = (outermost & target.usable).nonzero(as_tuple=True)
    corners = faces[fragments.face_index[frame, row, column]]
    at_corners = corners_in_frames(vertices_in_camera, frame, corners)
    points = (fragments.barycentrics[frame, row, column][..., None] * at_corners).sum(1)
    pixels = project(points[:, None], intrinsics[frame])[:, 0]
    centers = torch.stack((column, row), dim=-1) + 0.5
    moved = ((pixels - centers) * target.direction[frame, row, column]).sum(-1)
    cost = 2 * pseudo_huber((target.offset[frame, row, column] + moved).square(), HUBER_PIXELS)
    zeros = vertices_in_camera.new_zeros(len(covered))
    count = zeros.index_add(0, frame, torch.ones_like(cost)).clamp_min(1)
    height, width = covered.shape[1:]
    return (2.0 / min(height, width)) ** 2 * zeros.index_add(0, frame, cost) / count


def _beside(pixels: Bool[Tensor, "frames height width"]) -> Bool[Tensor, "frames height width"]:
    """Pixels with one of these above, below, left or right of them."""
    beside = torch.zeros_like(pixels)
    beside[:, 1:] |= pixels[:, :-1]
    beside[:, :-1] |= pixels[:, 1:]
    beside[:, :, 1:] |= pixels[:, :, :-1]
    beside[:, :, :-1] |= pixels[:, :, 1:]
    return beside
