"""Distance to a mask as a precomputed image: the cheap side of the silhouette loss.

The mask never changes during a fit, so the distance of every pixel to it is computed once; asking for the distance of
a projected point is a bilinear lookup, whose gradient points straight at the mask. Fits are measured from the outline
itself, not from the centres of the outermost pixels, which would draw every outline half a pixel inwards.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from scipy.ndimage import distance_transform_edt
from torch import Tensor

_FINE = 3
"""Fine pixels along a pixel's side, for outlines to a fraction of a pixel; odd, so that centres fall on centres."""
_NEAR = 8
"""Pixels about the mask's box in which the distance is taken from the fine outline."""


def distance_transform(masks: Shaped[Tensor, "frames height width"]) -> Float[Tensor, "frames height width"]:
    """Distance in pixels from every pixel centre to the nearest pixel centre of the mask (values above 0.5).

    Zero inside the mask, and everywhere in a frame whose mask is empty. By SciPy, which is exact; OpenCV's transform is
    several times faster, but differs in the fourth decimal from run to run, and with it every fit.
    """
    fields = np.zeros(tuple(masks.shape), dtype=np.float32)
    for field, mask in zip(fields, (masks > 0.5).cpu().numpy(), strict=True):
        if mask.any():
            field[:] = distance_transform_edt(~mask)
    return torch.from_numpy(fields).to(masks.device)


def signed_distance(masks: Shaped[Tensor, "frames height width"]) -> Float[Tensor, "frames height width"]:
    """Distance in pixels from every pixel centre to the mask's outline: negative inside, positive outside.

    The outline runs where the mask, interpolated between pixel centres, falls below 0.5, so that soft masks give it to
    a fraction of a pixel; between the pixels of a binary mask it lies halfway. Infinite in frames whose mask is empty.
    """
    soft = masks.float().cpu()
    height, width = soft.shape[1:]
    fields = np.full(tuple(soft.shape), np.inf, dtype=np.float32)
    for field, mask in zip(fields, soft, strict=True):
        animal = (mask > 0.5).numpy()
        if not animal.any():
            continue
        field[:] = _between_centers(animal)
        rows, columns = (np.flatnonzero(animal.any(axis)) for axis in (1, 0))
        top, bottom = max(rows[0] - _NEAR, 0), min(rows[-1] + _NEAR + 1, height)
        left, right = max(columns[0] - _NEAR, 0), min(columns[-1] + _NEAR + 1, width)
        fine = torch.nn.functional.interpolate(
            mask[None, None, top:bottom, left:right], scale_factor=_FINE, mode="bilinear", align_corners=False
        )[0, 0]
        center = slice(_FINE // 2, None, _FINE)
        field[top:bottom, left:right] = _between_centers((fine > 0.5).numpy())[center, center] / _FINE
    return torch.from_numpy(fields).to(masks.device)


def _between_centers(animal: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Signed distance to an outline halfway between the centres of pixels on its two sides; minus infinity where there
    is no outside."""
    outside = np.asarray(distance_transform_edt(~animal))
    inside = np.asarray(distance_transform_edt(animal)) if not animal.all() else np.full(animal.shape, np.inf)
    return np.where(animal, 0.5 - inside, outside - 0.5).astype(np.float32)


def sample_image(
    images: Float[Tensor, "frames height width"], pixels: Float[Tensor, "frames points 2"]
) -> Float[Tensor, "frames points"]:
    """`sample_channels` of one channel."""
    return sample_channels(images[:, None], pixels)[..., 0]


def sample_channels(
    images: Float[Tensor, "frames channels height width"], pixels: Float[Tensor, "frames points 2"]
) -> Float[Tensor, "frames points channels"]:
    """Bilinear lookup at continuous pixel places, differentiable in both. Outside, the border continues."""
    height, width = images.shape[2:]
    grid = pixels * pixels.new_tensor([2 / width, 2 / height]) - 1
    sampled = torch.nn.functional.grid_sample(
        images.to(pixels.dtype), grid[:, None], padding_mode="border", align_corners=False
    )
    return sampled[:, :, 0].transpose(1, 2)


def squared_distance_to_mask(
    distances: Float[Tensor, "frames height width"], pixels: Float[Tensor, "frames points 2"]
) -> Float[Tensor, "frames points"]:
    """Squared distance in pixels of points to the mask, from its `distance_transform`, or its `signed_distance`, in
    which the inside counts as zero.

    Beyond the image the squared distance to the image is added, so that points far outside are drawn back.
    """
    height, width = distances.shape[1:]
    border = pixels.new_tensor([width - 0.5, height - 0.5])
    inside = torch.minimum(pixels.clamp_min(0.5), border)
    outside = (pixels - inside).square().sum(-1)
    return sample_image(distances, inside).clamp_min(0).square() + outside
