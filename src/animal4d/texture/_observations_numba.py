"""Compiled loops over the texels of one frame."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def seen_texels(face_index, barycentrics, faces, vertices, facing, depth, finer, intrinsics, margin, power):
    """Texels that a frame sees: their numbers (int64), working pixels (n, 2) and weights (n,).

    `facing` is the cosine of each face, 0 for those that are not to be looked at; `depth` is drawn in `finer` times
    the resolution of `margin`, which says what a view is worth in every pixel.
    """
    n = len(face_index)
    index = np.empty(n, np.int64)
    pixels = np.empty((n, 2), np.float32)
    weights = np.empty(n, np.float32)
    rows, columns = depth.shape
    found = 0
    for texel in range(n):
        face = face_index[texel]
        cosine = facing[face]
        if cosine <= 0:
            continue
        x = y = z = np.float32(0)
        for corner in range(3):
            share = barycentrics[texel, corner]
            vertex = faces[face, corner]
            x += share * vertices[vertex, 0]
            y += share * vertices[vertex, 1]
            z += share * vertices[vertex, 2]
        if z <= 1e-4:
            continue
        u = x / z * intrinsics[0, 0] + intrinsics[0, 2]
        v = y / z * intrinsics[1, 1] + intrinsics[1, 2]
        column, row = int(np.floor(u * finer)), int(np.floor(v * finer))
        if column < 0 or row < 0 or column >= columns or row >= rows:
            continue
        nearest = depth[row, column]
        # Depth changes within a pixel by the slope of the face.
        slack = z / intrinsics[0, 0] / finer * (1 + 1 / cosine)
        if nearest > 0 and z > nearest + slack:
            continue
        weight = cosine**power * _linear(margin, u - 0.5, v - 0.5)
        if weight > 1e-5:
            index[found] = texel
            pixels[found, 0], pixels[found, 1] = u, v
            weights[found] = weight
            found += 1
    return index[:found], pixels[:found], weights[:found]


@njit(cache=True)
def _linear(image, x, y):
    """Between the four pixels around; beyond the border as at it."""
    height, width = image.shape
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    right, down = x - x0, y - y0
    left, top = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    x1, y1 = min(max(x0 + 1, 0), width - 1), min(max(y0 + 1, 0), height - 1)
    above = (1 - right) * image[top, left] + right * image[top, x1]
    below = (1 - right) * image[y1, left] + right * image[y1, x1]
    return (1 - down) * above + down * below


@njit(cache=True)
def keep_better(color, weight, frame, index, new_color, new_weight, new_frame):
    """Put the views of one frame in the place of the worst ones that are kept, where they are better."""
    views = len(weight)
    for row in range(len(index)):
        texel = index[row]
        worst = 0
        for view in range(1, views):
            if weight[view, texel] < weight[worst, texel]:
                worst = view
        if new_weight[row] > weight[worst, texel]:
            weight[worst, texel] = new_weight[row]
            frame[worst, texel] = new_frame
            for channel in range(3):
                color[worst, texel, channel] = new_color[row, channel]
