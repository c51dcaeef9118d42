"""Sparse keypoints: named places of the body (`body/keypoints.py`) lie where a keypoint detector saw them.

Off by default; Animal Avatars (arXiv 2403.17103) uses the 24 that BITE detects.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from animal4d.losses.image_distance import image_distances, mean_over_usable


def sparse_keypoints(
    projected: Float[Tensor, "frames 24 2"],
    keypoints: Float[Tensor, "frames 24 3"],
    image_size: tuple[int, int],
) -> Float[Tensor, "frames"]:
    """Mean over the keypoints seen in a frame of the distance, in fractions of the image's longer side, times score.

    `projected` are the projections of `PosedBody.keypoints` in pixels; `keypoints` holds x and y in pixels of the
    working images, and a score in [0, 1]. Those with a score of zero, or with anything not finite, are not seen.
    """
    usable = (keypoints[..., 2] > 0) & keypoints.isfinite().all(-1)
    distances = image_distances(projected, keypoints[..., :2], usable, image_size)
    return mean_over_usable(distances * keypoints[..., 2], usable)
