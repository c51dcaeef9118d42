"""What cameras from any file must be: pinholes of the frames at hand, and rigid transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.errors import Animal4dError

_ASPECT = 0.01
"""Share by which the proportions of a camera's picture may differ from the frame's."""

_LARGEST_SIDE = 1_000_000
"""Pixels; no picture has so many in a row."""
_REMEDY = "export the cameras again, choose other frames by --start, --stop and --stride, or leave --cameras away"


def checked_matrix(values: Any, name: str, shape: tuple[int, int], where: str) -> Float[ndarray, "rows columns"]:
    """Finite numbers of a shape. Raises Animal4dError otherwise."""
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape != shape:
        raise Animal4dError(
            f"{where}: {name} must be a {shape[0]}x{shape[1]} matrix of numbers, as in docs/conventions.md"
        )
    if not np.isfinite(matrix).all():
        raise Animal4dError(f"{where}: {name} holds NaN or infinity: {_REMEDY}")
    return matrix


def checked_intrinsics(values: Any, name: str, where: str) -> Float[ndarray, "3 3"]:
    """Focal lengths and principal point in pixels. Raises Animal4dError where they are no camera's, or have skew."""
    matrix = checked_matrix(values, name, (3, 3), where)
    bottom_row_wrong = not np.allclose(matrix[2], [0, 0, 1])
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or bottom_row_wrong or not np.allclose(matrix[1, 0], 0):
        raise Animal4dError(
            f"{where}: {name} must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy in pixels: "
            f"{_REMEDY}"
        )
    if abs(matrix[0, 1]) > 1e-3 * matrix[0, 0]:
        raise Animal4dError(f"{where}: {name} has skew {matrix[0, 1]:g}; undistort the frames first")
    return matrix


def checked_transform(values: Any, name: str, where: str) -> Float[ndarray, "4 4"]:
    """A rigid transform with its rotation made exact. Raises Animal4dError where it is none."""
    matrix = checked_matrix(values, name, (4, 4), where)
    rotation = matrix[:3, :3]
    is_rotation = np.allclose(rotation @ rotation.T, np.eye(3), atol=2e-3) and np.linalg.det(rotation) > 0
    if not is_rotation or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise Animal4dError(
            f"{where}: {name} must be a rigid transform, [R t; 0 0 0 1] with a rotation R (OpenCV axes): {_REMEDY}"
        )
    u, _, vt = np.linalg.svd(rotation)
    matrix[:3, :3] = u @ vt
    return matrix


def resized_intrinsics(
    matrix: Float[ndarray, "3 3"], size: tuple[int, int], image_size: tuple[int, int], name: str, where: str
) -> Float[ndarray, "3 3"]:
    """Intrinsics of a picture of `size` as those of the frame, of which it is a smaller or larger copy.

    Sizes are (height, width). Raises Animal4dError where the two have other proportions.
    """
    if not all(0 < side < _LARGEST_SIDE for side in size):
        raise Animal4dError(f"{where}: {name} must be height and width of a picture in pixels: {_REMEDY}")
    scale_y, scale_x = image_size[0] / size[0], image_size[1] / size[1]
    if abs(scale_x / scale_y - 1) > _ASPECT:
        raise Animal4dError(
            f"{where}: {name} is [height {size[0]}, width {size[1]}] but the frame is [{image_size[0]}, "
            f"{image_size[1]}]: cameras must belong to these frames"
        )
    return matrix * np.array([[scale_x], [scale_y], [1.0]])
