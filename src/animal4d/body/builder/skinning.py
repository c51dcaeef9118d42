"""Skinning weights: ownership from the implicit shapes, softened by heat that flows over the surface."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu

from animal4d.body.builder import anatomy
from animal4d.body.builder.implicit import Solid
from animal4d.body.builder.skeleton import bone_ends, joint_places, mirrored_joints
from animal4d.body.builder.surface import N_CENTER, N_SIDE
from animal4d.body.joint_names import JOINT_NAMES

Array = np.ndarray
MAX_INFLUENCES = 4

_CHAINS: dict[str, tuple[str, ...]] = {
    "torso": ("root", *(f"spine_{number}" for number in range(1, 7))),
    "neck": ("neck",),
    "head": ("head",),
    "jaw": ("jaw",),
    "ear": ("left_ear",),
    "front_leg": ("front_left_shoulder", "front_left_elbow", "front_left_wrist", "front_left_paw"),
    "hind_leg": ("back_left_hip", "back_left_knee", "back_left_hock", "back_left_paw"),
    "tail": tuple(f"tail_{number}" for number in range(1, 8)),
}
_REACH: dict[str, float] = {
    "torso": 0.055,
    "neck": 0.055,
    "head": 0.020,
    "jaw": 0.012,
    "ear": 0.010,
    "front_leg": 0.019,
    "hind_leg": 0.021,
    "tail": 0.018,
}
"""How far heat carries a part's ownership over the surface."""


def mirror_order() -> Array:
    """For every vertex in the order [centre | left | right] its mirror image."""
    left = np.arange(N_CENTER, N_CENTER + N_SIDE)
    return np.concatenate([np.arange(N_CENTER), left + N_SIDE, left])


def _distance_to_segment(points: Array, start: Array, end: Array) -> Array:
    axis = end - start
    along = np.clip((points - start) @ axis / max(axis @ axis, 1e-12), 0, 1)
    return np.linalg.norm(points - start - along[:, None] * axis, axis=1)


def part_shares(half: Array) -> dict[str, Array]:
    """How far each part of the body owns vertices of the half animal, from the distance to its implicit shape."""
    distances = {name: Solid(shapes).distance(half) for name, shapes in anatomy.parts().items()}
    scores = np.stack([distances[name] / max(0.6 * _REACH[name], 0.008) for name in _CHAINS])
    shares = np.exp(-(scores - scores.min(0)))
    shares /= shares.sum(0)
    return dict(zip(_CHAINS, shares, strict=True))


def _along_chain(points: Array, chain: tuple[str, ...], width: float) -> Array:
    """Shares (N, chain) of a chain's bones by the distance to them."""
    starts = joint_places()
    ends = bone_ends(starts)
    ends[JOINT_NAMES.index("jaw")] = anatomy.rotate_about_jaw(ends[[JOINT_NAMES.index("jaw")]], anatomy.MOUTH_OPENING)[
        0
    ]
    flat = points * [1, 0, 0] if chain[0] == "root" else points
    bones = [JOINT_NAMES.index(name) for name in chain]
    squash = np.array([1.0, 0.0, 0.0]) if chain[0] == "root" else np.ones(3)
    distance = np.stack([_distance_to_segment(flat, starts[b] * squash, ends[b] * squash) for b in bones])
    shares = np.exp(-(distance - distance.min(0)) / width)
    return (shares / shares.sum(0)).T


def heat_operator(vertices: Array, faces: Array, reach: Array) -> csc_matrix:
    """Stiffness matrix with conductivity ``reach ** 2`` per face (cotangent weights, clipped at zero)."""
    rows, columns, values = [], [], []
    corners = vertices[faces]
    for corner in range(3):
        a, b, c = (corners[:, (corner + shift) % 3] for shift in range(3))
        u, v = b - a, c - a
        cotangent = (u * v).sum(1) / np.linalg.norm(np.cross(u, v), axis=1)
        rows.append(faces[:, (corner + 1) % 3])
        columns.append(faces[:, (corner + 2) % 3])
        values.append(0.5 * reach**2 * np.maximum(cotangent, 0.02))
    i, j, w = (np.concatenate(part) for part in (rows, columns, values))
    n = len(vertices)
    weights = coo_matrix(
        (np.concatenate([w, w]), (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(n, n)
    ).tocsc()
    return csc_matrix(diags(np.asarray(weights.sum(1)).ravel()) - weights)


def vertex_areas(vertices: Array, faces: Array) -> Array:
    """A third of the area of the faces around each vertex."""
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 6
    total = np.zeros(len(vertices))
    for corner in range(3):
        np.add.at(total, faces[:, corner], area)
    return total


def diffuse(vertices: Array, faces: Array, reach: Array, values: Array) -> Array:
    """Let per-vertex values (V, C) flow over the surface for a distance of about ``reach`` (V,)."""
    mass = diags(vertex_areas(vertices, faces))
    operator = csc_matrix(mass + heat_operator(vertices, faces, reach[faces].mean(1)))
    return splu(operator).solve(np.ascontiguousarray(mass @ values))


def skinning_weights(vertices: Array, faces: Array) -> Array:
    """Weights (V, 35) of the animal with its mouth open, vertices in the order [centre | left | right].

    Symmetric, rows sum to 1, at most four influences.
    """
    half = vertices[: N_CENTER + N_SIDE]
    shares = part_shares(half)
    owned = np.zeros((len(half), len(JOINT_NAMES)))
    reach = np.zeros(len(half))
    for part, chain in _CHAINS.items():
        bones = [JOINT_NAMES.index(name) for name in chain]
        owned[:, bones] += shares[part][:, None] * _along_chain(half, chain, 0.35 * _REACH[part])
        reach += shares[part] * _REACH[part]
    swap = mirrored_joints()
    whole = np.concatenate([owned, owned[N_CENTER:][:, swap]])
    whole[:N_CENTER] = (whole[:N_CENTER] + whole[:N_CENTER][:, swap]) / 2
    whole_reach = np.concatenate([reach, reach[N_CENTER:]])
    weights = np.clip(diffuse(vertices, faces, whole_reach, whole), 0, None)
    weights = (weights + weights[mirror_order()][:, swap]) / 2
    return prune(weights)


def prune(weights: Array) -> Array:
    """Keep at most four influences per vertex; on the plane of symmetry both of a pair, or none."""
    swap = mirrored_joints()
    kept = np.zeros_like(weights)
    for vertex, row in enumerate(weights):
        room = MAX_INFLUENCES
        for joint in np.argsort(-row, kind="stable"):
            if row[joint] < 0.01 or room == 0:
                break
            pair = {int(joint), int(swap[joint])} if vertex < N_CENTER else {int(joint)}
            if kept[vertex, joint] > 0 or len(pair) > room:
                continue
            kept[vertex, list(pair)] = row[joint]
            room -= len(pair)
    return kept / kept.sum(1, keepdims=True)


def close_mouth(vertices: Array, weights: Array) -> Array:
    """The rest pose: the jaw turned shut by its own weights.

    Towards the sides they are sharpened, so that the corners of the mouth close too; in the middle, where nobody looks,
    that would crush the back of the mouth.
    """
    aside = np.clip((np.abs(vertices[:, [1]]) - 0.008) / 0.02, 0, 1)
    jaw = np.clip(weights[:, [JOINT_NAMES.index("jaw")]] / (1 - 0.3 * aside), 0, 1)
    return (1 - jaw) * vertices + jaw * anatomy.rotate_about_jaw(vertices, -anatomy.MOUTH_CLOSING)
