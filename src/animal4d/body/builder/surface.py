"""From the implicit dog to the left half of its surface, and from there to the whole."""

from __future__ import annotations

import numpy as np
from skimage.measure import marching_cubes

from animal4d.body.builder.implicit import Solid
from animal4d.body.builder.skeleton import GROUND, joint_places
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
    """Relative edge length wanted at points: finer on head, ears, paws and thin legs, coarser on the trunk."""
    head = joint_places()[JOINT_NAMES.index("head")]
    muzzle = head + [0.13, 0.0, 0.03]
    near_head = np.exp(-((np.linalg.norm((points - muzzle) / [0.24, 0.2, 0.22], axis=1)) ** 4))
    near_ground = 1 / (1 + np.exp((points[:, 2] - (GROUND + 0.08)) / 0.03))
    on_leg = 1 / (1 + np.exp((points[:, 2] + 0.24) / 0.05))
    on_tail = 1 / (1 + np.exp((points[:, 0] + 0.50) / 0.03))
    return np.minimum.reduce(
        [1.35 - 0.72 * near_head, 1.35 - 0.50 * on_leg, 1.35 - 0.72 * near_ground, 1.35 - 0.45 * on_tail]
    )


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
