"""Distances on the template's surface: what the surface embedding is taught, and how its errors are measured."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from animal4d.body.template import load_builtin_template

ANCHORS = 400
SPREAD = 0.04
"""Standard deviation of the targets over the anchors, in body lengths: about the anchors' distance from each other."""


@dataclass(frozen=True)
class SurfaceTargets:
    """Anchors spread over the built-in template, and how far every vertex is from them."""

    anchors: Int[Tensor, "anchors"]
    """Vertex numbers."""
    distances: Float[Tensor, "vertices anchors"]
    """Along the surface, in body lengths (nose to tail base in the rest pose)."""
    targets: Float[Tensor, "vertices anchors"]
    """Rows that add up to one: a Gaussian around every vertex."""
    mirror: Int[Tensor, "vertices"]
    """For every vertex that on the animal's other side."""

    def to(self, device: torch.device) -> SurfaceTargets:
        return SurfaceTargets(*(getattr(self, field.name).to(device) for field in fields(self)))


def surface_graph(vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"]) -> csr_array:
    """Lengths between neighbours: along edges, and across the edge between two faces, so that paths zigzag less.

    Across a fold the straight line is shorter than the way over the edge; on a fine mesh by little.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    edges = np.sort(edges, axis=1)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    edges, opposite = edges[order], opposite[order]
    shared = (edges[1:] == edges[:-1]).all(axis=1)
    across = np.stack((opposite[1:][shared], opposite[:-1][shared]), axis=1)
    pairs = np.unique(np.sort(np.concatenate([edges, across]), axis=1), axis=0)
    lengths = np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1)
    return csr_array((lengths, (pairs[:, 0], pairs[:, 1])), shape=(len(vertices), len(vertices)))


def farthest_points(graph: csr_array, count: int, first: int = 0) -> tuple[Int[ndarray, "count"], ndarray]:
    """Vertices each as far as possible from those before it, and distances "count vertices" from them."""
    chosen, rows = [first], [dijkstra(graph, directed=False, indices=first)]
    nearest = rows[0].copy()
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        rows.append(dijkstra(graph, directed=False, indices=chosen[-1]))
        nearest = np.minimum(nearest, rows[-1])
    return np.array(chosen), np.stack(rows)


@lru_cache(maxsize=1)
def surface_targets() -> SurfaceTargets:
    """Of the built-in template."""
    model = load_builtin_template()
    vertices = model.v_template.double().numpy()
    anchors, distances = farthest_points(surface_graph(vertices, model.faces.numpy()), ANCHORS)
    joints = model.joint_regressor.double().numpy() @ vertices
    nose = vertices[model.keypoint_vertices.numpy()][:, 0].max()
    length = nose - joints[list(model.joint_names).index("tail_1"), 0]
    away = torch.from_numpy(distances.T / length).float()
    mirror = torch.arange(len(vertices))
    mirror[model.left_indices], mirror[model.right_indices] = model.right_indices, model.left_indices
    return SurfaceTargets(
        anchors=torch.from_numpy(anchors),
        distances=away,
        targets=(-0.5 * (away / SPREAD) ** 2).softmax(dim=1),
        mirror=mirror,
    )
