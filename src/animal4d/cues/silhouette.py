"""Silhouettes: where the animal is and is not, and where the picture ends before we can tell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.clip import Clip


@dataclass(frozen=True)
class Silhouettes:
    """Binary masks of a clip's working images, and what losses need to know about them."""

    binary: Bool[Tensor, "frames height width"]
    """The animal; all False in frames without a usable mask."""
    valid: Bool[Tensor, "frames"]
    """Frames whose silhouette can be used."""
    inside: Bool[Tensor, "frames height width"]
    """Pixels that the original frame covers. Beyond, a missing mask is no evidence against the animal."""
    boundary: Bool[Tensor, "frames height width"]
    """Mask pixels along the true outline: where the border of the frame cuts the animal there is no outline."""
    cut: Bool[Tensor, "frames"]
    """Frames in which the border of the frame cuts the animal."""

    def __len__(self) -> int:
        return self.binary.shape[0]

    def distance_to_mask(self) -> Float[Tensor, "frames height width"]:
        """Distance in working pixels from every pixel to the nearest mask pixel, 0 inside; 0 where not valid."""
        return _distances(~self.binary, self.valid)

    def distance_to_background(self) -> Float[Tensor, "frames height width"]:
        """Distance in working pixels from every mask pixel to the nearest that is none; 0 where not valid."""
        return _distances(self.binary, self.valid)

    def sample_boundary(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "frames count 2"]:
        """Points x, y of the outline in working pixels, spread over all of it; NaN where not valid.

        Without a generator every call gives the same points.
        """
        return _sample(self.boundary, count, generator)

    def sample_mask(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "frames count 2"]:
        """The same for all pixels of the mask."""
        return _sample(self.binary, count, generator)


def silhouettes(clip: Clip) -> Silhouettes:
    """The silhouettes of a clip."""
    binary = (clip.masks > 0.5) & clip.mask_valid[:, None, None]
    inside = clip.inside_frame()
    near_border = ~_eroded(inside, radius=2) & inside
    outline = binary & ~_eroded(binary, radius=1)
    touches = binary & near_border
    # Some pixels at the border may be the tip of a paw; a cut goes through the animal for a while.
    cut = touches.sum(dim=(1, 2)) > 0.02 * clip.image_size[0]
    return Silhouettes(binary, clip.mask_valid, inside, outline & ~near_border, cut)


def _eroded(mask: Bool[Tensor, "frames height width"], radius: int) -> Bool[Tensor, "frames height width"]:
    """Pixels whose square neighbourhood is all True; what lies outside of the working image counts as False."""
    outside = torch.nn.functional.pad(~mask, (radius,) * 4, value=True)[:, None].float()
    return torch.nn.functional.max_pool2d(outside, 2 * radius + 1, stride=1)[:, 0] < 0.5


def _distances(
    far: Bool[Tensor, "frames height width"], valid: Bool[Tensor, "frames"]
) -> Float[Tensor, "frames height width"]:
    result = torch.zeros(far.shape, dtype=torch.float32)
    for index in valid.nonzero().flatten().tolist():
        picture = far[index].cpu().numpy().astype(np.uint8)
        result[index] = torch.from_numpy(cv2.distanceTransform(picture, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    return result.to(far.device)


def _sample(
    pixels: Bool[Tensor, "frames height width"], count: int, generator: torch.Generator | None
) -> Float[Tensor, "frames count 2"]:
    """One pixel drawn from each of `count` equal parts of the pixels, row by row."""
    generator = generator or torch.Generator().manual_seed(0)
    result = torch.full((pixels.shape[0], count, 2), torch.nan, device=pixels.device)
    for index, frame in enumerate(pixels):
        centers = frame.nonzero().flip(-1) + 0.5
        if len(centers) == 0:
            continue
        places = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        result[index] = centers[(places * len(centers)).long().clamp_max(len(centers) - 1).to(centers.device)]
    return result
