"""From the implicit dog to the left half of its surface, and from there to the whole."""

from __future__ import annotations

import numpy as np
from skimage.measure import marching_cubes

from animal4d.body.builder.anatomy import head_point
from animal4d.body.builder.implicit import Solid
from animal4d.body.builder.skeleton import GROUND, TAIL_TIP, joint_places
from animal4d.body.joint_names import JOINT_NAMES

Array = np.ndarray
N_CENTER, N_SIDE = 135, 1877
"""SMAL's counts: vertices on the plane of symmetry, and pairs."""


def extract_half(solid: Solid, step: float = 0.007) -> tuple[Array, Array]:
    """Fine mesh of the half y >= 0: a disc whose boundary lies exactly on y = 0, faces outward."""
    low, high = np.array([-0.98, 0.0, -0.66]), np.array([0.90, 0.26, 0.62])
    counts = np.ceil((high - low) / step).astype(int) + 1
    axes = [low[i] + step * np.arange(counts[i]) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    distance = solid.distance(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    # A corner that lies exactly on the surface would give triangles without area.
    distance = np.where(np.abs(distance) < 1e-7, 1e-7, distance)
    vertices, faces, _, _ = marching_cubes(distance, 0.0, spacing=(step,) * 3)
    vertices = vertices + low
    vertices[vertices[:, 1] < 1e-9, 1] = 0.0
    return vertices, faces


def edge_size(points: Array) -> Array:
    """Relative edge length wanted at points: finer on head, ears, paws, thin legs and the tip of the tail."""
    places = joint_places()
    muzzle = places[JOINT_NAMES.index("head")] + [0.15, 0.0, 0.03]
    ear = places[JOINT_NAMES.index("left_ear")] + [0.0, 0.03, 0.07]
    eye = head_point(0.165, 0.058, 0.033)

    def near(centre: Array, radii: tuple[float, float, float]) -> Array:
        return np.exp(-(np.linalg.norm((points - centre) / radii, axis=1) ** 4))

    low = _below(points[:, 2], GROUND + 0.08, 0.03)
    on_leg = _below(points[:, 2], -0.24, 0.05)
    on_tail, at_tip = _below(points[:, 0], -0.50, 0.03), _below(points[:, 0], -0.86, 0.02)
    return np.minimum.reduce(
        [
            1.5 - 0.85 * near(muzzle, (0.25, 0.2, 0.22)) - 0.20 * near(eye, (0.035, 0.035, 0.035)),
            1.5 - 0.97 * near(ear, (0.10, 0.10, 0.11)),
            1.5 - 0.62 * on_leg,
            1.5 - 0.87 * low,
            1.5 - 0.62 * on_tail - 0.30 * at_tip,
        ]
    )


def rim_size(points: Array) -> Array:
    """Relative edge length along the plane of symmetry: its vertices are scarce, and head and tail need them most."""
    in_front = 1 - _below(points[:, 0], 0.50, 0.04)
    ends = [np.linalg.norm(points - end, axis=1) for end in (head_point(0.31, 0.0, 0.0), TAIL_TIP)]
    finer = 1 - 0.35 * np.exp(-((np.minimum(*ends) / 0.06) ** 4))
    return finer * edge_size(points) * (1.45 - 0.70 * in_front - 0.25 * _below(points[:, 0], -0.50, 0.03))


def _below(values: Array, level: float, width: float) -> Array:
    """A soft step from 1 below ``level`` to 0 above."""
    return 1 / (1 + np.exp((values - level) / width))


def mirror(half_vertices: Array, half_faces: Array) -> tuple[Array, Array, Array]:
    """The whole animal in the order [centre | left | right], with the order of the half's vertices within it."""
    center = np.flatnonzero(half_vertices[:, 1] == 0.0)
    left = np.flatnonzero(half_vertices[:, 1] != 0.0)
    order = np.concatenate([center, left])
    place = np.argsort(order)
    faces = place[half_faces]
    across = np.where(faces < len(center), faces, faces + len(left))
    vertices = half_vertices[order]
    whole = np.concatenate([vertices, vertices[len(center) :] * [1, -1, 1]])
    return whole, np.concatenate([faces, across[:, ::-1]]), order
