"""Distance to a mask as a precomputed image: the cheap side of the silhouette loss.

The mask never changes during a fit, so the distance of every pixel to it is computed once; asking for the distance of
a projected point is a bilinear lookup, whose gradient points straight at the mask.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.ndimage import distance_transform_edt
from torch import Tensor


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


def sample_image(
    images: Float[Tensor, "frames height width"], pixels: Float[Tensor, "frames points 2"]
) -> Float[Tensor, "frames points"]:
    """Bilinear lookup at continuous pixel places, differentiable in both. Outside, the border continues."""
    height, width = images.shape[1:]
    grid = pixels * pixels.new_tensor([2 / width, 2 / height]) - 1
    return (
        torch.nn.functional.grid_sample(
            images[:, None].to(pixels.dtype), grid[:, None], padding_mode="border", align_corners=False
        )
        .squeeze(1)
        .squeeze(1)
    )


def squared_distance_to_mask(
    distances: Float[Tensor, "frames height width"], pixels: Float[Tensor, "frames points 2"]
) -> Float[Tensor, "frames points"]:
    """Squared distance in pixels of points to the mask, from its `distance_transform`.

    Beyond the image the squared distance to the image is added, so that points far outside are drawn back.
    """
    height, width = distances.shape[1:]
    border = pixels.new_tensor([width - 0.5, height - 0.5])
    inside = torch.minimum(pixels.clamp_min(0.5), border)
    outside = (pixels - inside).square().sum(-1)
    return sample_image(distances, inside).square() + outside
