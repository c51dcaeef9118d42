"""The one change of axes between our world and the exported files.

glTF: y up, the asset looks along +z, its left is +x. Our world and body: z up, the body looks along +x, its left
is +y. A cyclic permutation takes one to the other, so that scales along axes stay scales along axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_AXIS_ORDER = (1, 2, 0)
"""Asset x, y, z are our y, z, x."""


def asset_from_world() -> NDArray[np.float64]:
    """Rotation (3, 3) from our world to the world of asset.glb and cameras.json."""
    return np.eye(3)[list(_AXIS_ORDER)]


def vectors_to_asset(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points, directions or scales along the axes (..., 3) in the asset's axes."""
    return vectors[..., list(_AXIS_ORDER)]
