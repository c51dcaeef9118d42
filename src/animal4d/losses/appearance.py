"""Pixel level over time, without tracks: a vertex has the same colour wherever it is seen.

The pictures are looked up where visible vertices project. Nobody says what colour a vertex has: the frames of a batch
that see it agree on it. Tracks follow few points through neighbouring frames; this ties all of the coat, marks and
edges of markings, through the whole clip, and does not drift. The published method has colour reach the texture only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from animal4d.geometry.distance import sample_channels
from animal4d.losses.tracks import pseudo_huber

COLOR_WIDTH = 0.15
"""Difference of colours in [0, 1] up to which the cost grows like a square."""
_BLUR = 1.0
"""Standard deviation in pixels: markings pull over a few pixels, and noise is gone."""
_MARGIN = 1.0
"""Pixels inside of the outline that count: on the outline itself the surface runs along the ray."""
_LEAST_FRAMES = 3
"""Of a batch that must see a vertex."""


@dataclass(frozen=True)
class AppearanceTarget:
    """Pictures, prepared once for the loss."""

    pictures: UInt8[Tensor, "frames 3 height width"]
    """sRGB of the animal, blurred without what is around it."""
    usable: Bool[Tensor, "frames height width"]
    """Pixels well inside of the mask."""

    @classmethod
    def from_clip(
        cls,
        frames: UInt8[Tensor, "frames height width 3"],
        masks: Float[Tensor, "frames height width"],
        distances: Float[Tensor, "frames height width"],
    ) -> AppearanceTarget:
        """Of pictures with masks (above 0.5 the animal is) and their `signed_distance`."""
        pictures = torch.stack([_blurred(frame, mask > 0.5) for frame, mask in zip(frames, masks, strict=True)])
        return cls(pictures, distances < -_MARGIN)

    def to(self, device: torch.device | str) -> AppearanceTarget:
        return AppearanceTarget(self.pictures.to(device), self.usable.to(device))

    def __getitem__(self, frames: Tensor | slice | list[int]) -> AppearanceTarget:
        return AppearanceTarget(self.pictures[frames], self.usable[frames])


def color_constancy(
    projected: Float[Tensor, "frames vertices 2"], visible: Bool[Tensor, "frames vertices"], target: AppearanceTarget
) -> Float[Tensor, "frames"]:
    """Mean pseudo-Huber cost of the differences between a vertex' colour in a frame and its mean over the frames of the
    batch, for vertices at `projected` pixels. What all vertices of a frame differ by is light and does not count.

    Zero in frames that see no vertex which enough others see.
    """
    _, height, width = target.usable.shape
    colors = sample_channels(target.pictures.to(projected.dtype) / 255, projected)
    with torch.no_grad():
        column = projected[..., 0].long().clamp(0, width - 1)
        row = projected[..., 1].long().clamp(0, height - 1)
        frame = torch.arange(len(projected), device=projected.device)[:, None]
        seen = visible & target.usable[frame, row, column]
        seen = (seen & (seen.sum(0) >= _LEAST_FRAMES))[..., None].to(colors.dtype)
        count = seen.sum(1).clamp_min(1)
        own = (seen * colors).sum(0) / seen.sum(0).clamp_min(1)
        light = (seen * (colors - own)).sum(1) / count
        wanted = own + light[:, None]
    cost = 2 * pseudo_huber((colors - wanted).square().sum(-1), COLOR_WIDTH)
    return (seen[..., 0] * cost).sum(1) / count[:, 0]


def _blurred(
    frame: UInt8[Tensor, "height width 3"], animal: Bool[Tensor, "height width"]
) -> UInt8[Tensor, "3 height width"]:
    reach = torch.arange(-3, 4, device=frame.device)
    kernel = torch.exp(-0.5 * (reach / _BLUR).square())
    inside = animal[None].float()
    layers = torch.cat((frame.permute(2, 0, 1).float() * inside, inside))[:, None]
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        layers = torch.nn.functional.conv2d(layers, kernel.view(shape), padding="same")
    values = layers[:3, 0] / layers[3:, 0].clamp_min(1e-6)
    return values.round().clamp(0, 255).to(torch.uint8)
