"""Compiled z-buffer: frames in parallel, one pass over the bounding box of every triangle.

In homogeneous pixel coordinates p = K X, the edge function opposite to the corner a of the triangle (a, b, c) is
(x, y, 1) . (p_b x p_c), linear in the pixel. Divided by det(p_a, p_b, p_c), the three are the perspective-correct
barycentrics over the depth (Olano and Greer 1997): all are positive inside, and their sum is 1 / depth. Both
neighbours of an edge compute it from the same numbers up to sign, so no pixel falls between them.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from animal4d.geometry._rasterize_reference import NEAR


@njit(cache=True, inline="always")
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(cache=True, inline="always")
def _pixel_span(a, b, c, size):
    """First and last pixel (exclusive) whose centre may lie between the least and the greatest of three numbers."""
    low = min(max(min(a, b, c) - 0.5, 0.0), size)
    high = min(max(max(a, b, c) - 0.5, -1.0), size - 1.0)
    return int(np.ceil(low)), int(np.floor(high)) + 1


@njit(cache=True, nogil=True)
def _draw_triangle(a, b, c, index, face_index, barycentrics, depth):
    """`a`, `b`, `c` are homogeneous pixel coordinates."""
    normal_a, normal_b, normal_c = _cross(b, c), _cross(c, a), _cross(a, b)
    determinant = a[0] * normal_a[0] + a[1] * normal_a[1] + a[2] * normal_a[2]
    if not 0.0 < abs(determinant) < np.inf:
        return
    height, width = face_index.shape
    first_column, last_column = _pixel_span(a[0] / a[2], b[0] / b[2], c[0] / c[2], width)
    first_row, last_row = _pixel_span(a[1] / a[2], b[1] / b[2], c[1] / c[2], height)
    scale = 1.0 / determinant
    for row in range(first_row, last_row):
        y = row + 0.5
        start_a = (normal_a[1] * y + normal_a[2]) * scale
        start_b = (normal_b[1] * y + normal_b[2]) * scale
        start_c = (normal_c[1] * y + normal_c[2]) * scale
        for column in range(first_column, last_column):
            x = (column + 0.5) * scale
            weight_a = start_a + normal_a[0] * x
            weight_b = start_b + normal_b[0] * x
            weight_c = start_c + normal_c[0] * x
            if weight_a < 0.0 or weight_b < 0.0 or weight_c < 0.0:
                continue
            z = 1.0 / (weight_a + weight_b + weight_c)
            if face_index[row, column] >= 0 and z >= depth[row, column]:
                continue
            face_index[row, column] = index
            depth[row, column] = z
            barycentrics[row, column, 0] = weight_a * z
            barycentrics[row, column, 1] = weight_b * z
            barycentrics[row, column, 2] = weight_c * z


@njit(cache=True, nogil=True)
def _homogeneous_pixels(vertices, intrinsics):
    points = np.empty(vertices.shape, np.float64)
    for vertex in range(vertices.shape[0]):
        for axis in range(3):
            points[vertex, axis] = 0.0
            for k in range(3):
                points[vertex, axis] += np.float64(intrinsics[axis, k]) * np.float64(vertices[vertex, k])
    return points


@njit(cache=True, parallel=True, nogil=True)
def _draw(vertices, faces, intrinsics, face_index, barycentrics, depth):
    for frame in prange(vertices.shape[0]):
        face_index[frame] = -1
        barycentrics[frame] = 0.0
        depth[frame] = 0.0
        points = _homogeneous_pixels(vertices[frame], intrinsics[frame])
        for face in range(faces.shape[0]):
            i, j, k = faces[face]
            if points[i, 2] > NEAR and points[j, 2] > NEAR and points[k, 2] > NEAR:
                a = (points[i, 0], points[i, 1], points[i, 2])
                b = (points[j, 0], points[j, 1], points[j, 2])
                c = (points[k, 0], points[k, 1], points[k, 2])
                _draw_triangle(a, b, c, face, face_index[frame], barycentrics[frame], depth[frame])


def rasterize_numba(
    vertices: Tensor, faces: Tensor, intrinsics: Tensor, image_size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """A rasteriser backend (see `animal4d.geometry.rasterize.Backend`). Tensors of other devices travel by a copy."""
    shape = (vertices.shape[0], *image_size)
    face_index = torch.empty(shape, dtype=torch.int64)
    barycentrics = torch.empty((*shape, 3), dtype=vertices.dtype)
    depth = torch.empty(shape, dtype=vertices.dtype)
    _draw(
        vertices.cpu().contiguous().numpy(),
        faces.long().cpu().contiguous().numpy(),
        intrinsics.to(vertices.dtype).cpu().contiguous().numpy(),
        face_index.numpy(),
        barycentrics.numpy(),
        depth.numpy(),
    )
    return face_index.to(vertices.device), barycentrics.to(vertices.device), depth.to(vertices.device)
