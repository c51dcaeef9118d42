"""Seeded procedural noise in space, compiled: the raw material of coats, ground and plants."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray


@njit(cache=True, inline="always")
def _hash(x, y, z, seed):
    """A number in [0, 1) that belongs to a lattice point."""
    h = (x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


@njit(cache=True, inline="always")
def _value_noise(x, y, z, seed):
    """Smooth random values in [-1, 1] with one lattice point per unit."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    u, v, w = x - i, y - j, z - k
    u = u * u * u * (u * (u * 6 - 15) + 10)
    v = v * v * v * (v * (v * 6 - 15) + 10)
    w = w * w * w * (w * (w * 6 - 15) + 10)
    total = 0.0
    for c in range(2):
        low = _hash(i, j, k + c, seed) * (1 - u) + _hash(i + 1, j, k + c, seed) * u
        high = _hash(i, j + 1, k + c, seed) * (1 - u) + _hash(i + 1, j + 1, k + c, seed) * u
        total += (low * (1 - v) + high * v) * (w if c else 1 - w)
    return 2 * total - 1


@njit(cache=True, nogil=True)
def _fractal(points, footprint, frequency, octaves, seed, out):
    for n in range(points.shape[0]):
        scale, weight, total, norm = frequency, 1.0, 0.0, 0.0
        for octave in range(octaves):
            # An octave finer than the pixel averages out to zero.
            visible = min(1.0, max(0.0, 2.0 - 3.0 * footprint[n] * scale))
            norm += weight
            if visible > 0:
                total += (
                    weight
                    * visible
                    * _value_noise(
                        points[n, 0] * scale + 17.3 * octave,
                        points[n, 1] * scale - 9.1 * octave,
                        points[n, 2] * scale + 4.7 * octave,
                        seed + octave,
                    )
                )
            scale *= 2.03
            weight *= 0.55
        out[n] = total / norm


@njit(cache=True, nogil=True)
def _speckles(points, cell, density, seed, distance, identity):
    for n in range(points.shape[0]):
        x, y = points[n, 0] / cell, points[n, 1] / cell
        i, j = int(np.floor(x)), int(np.floor(y))
        best, name = 9.0, 0.0
        for di in range(-1, 2):
            for dj in range(-1, 2):
                a, b = i + di, j + dj
                if _hash(a, b, 3, seed) > density:
                    continue
                dx = x - a - _hash(a, b, 0, seed)
                dy = y - b - _hash(a, b, 1, seed)
                angle = 3.14159 * _hash(a, b, 4, seed)
                along = dx * np.cos(angle) + dy * np.sin(angle)
                across = dy * np.cos(angle) - dx * np.sin(angle)
                radius = 0.12 + 0.3 * _hash(a, b, 2, seed)
                d = np.sqrt(along * along + 2.2 * across * across) / radius
                if d < best:
                    best, name = d, _hash(a, b, 5, seed)
        distance[n], identity[n] = best, name


def fractal_noise(
    points: Float[ndarray, "points 3"],
    frequency: float,
    octaves: int = 3,
    seed: int = 0,
    footprint: Float[ndarray, "points"] | None = None,
) -> Float[ndarray, "points"]:
    """Value noise summed over octaves, about in [-1, 1], zero on average.

    `frequency` is in features per unit. `footprint` is the size of a pixel at each point: octaves that are finer fade
    out, so that distance does not alias.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    size = np.zeros(len(points), np.float32) if footprint is None else np.asarray(footprint, np.float32)
    result = np.empty(len(points), np.float32)
    _fractal(points, size, float(frequency), octaves, seed, result)
    return result


def speckles(
    points: Float[ndarray, "points 2"], cell: float, density: float, seed: int = 0
) -> tuple[Float[ndarray, "points"], Float[ndarray, "points"]]:
    """Scattered ellipses on the plane: the distance to the nearest in units of its radius (below 1 inside), and a
    random number in [0, 1) that belongs to it. At most one per cell of side `cell`, with probability `density`."""
    points = np.ascontiguousarray(points, dtype=np.float32)
    distance, identity = np.empty(len(points), np.float32), np.empty(len(points), np.float32)
    _speckles(points, float(cell), float(density), seed, distance, identity)
    return distance, identity


def smoothstep(low: float, high: float, values: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch"]:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)
