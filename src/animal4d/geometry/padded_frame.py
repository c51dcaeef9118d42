"""The padded square of the published files: the frame in its top-left corner, scaled so that it fits.

Places in it are continuous pixels as everywhere here: whole numbers are corners of pixels, not centres.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PADDED_SIZE = 800
"""Side of the square in pixels."""


def padded_to_original(
    points: Float[Tensor, "*any 2"], original_size: tuple[int, int], padded_size: float = PADDED_SIZE
) -> Float[Tensor, "*any 2"]:
    """Places in the square as pixels of the original frame (height, width).

    `padded_size` 1 takes fractions of the square's side.
    """
    return points * (max(original_size) / padded_size)
