"""A stand-in for CSE's dog mesh: the template's surface under another triangulation and other numbers.

The longest edges of the template are halved until there are as many vertices as wanted, and all vertices are numbered
anew at random. Embeddings are low eigenfunctions of the new mesh: smooth, and different everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.body.model import BodyModel
from animal4d.cues.surface_embeddings import EMBEDDING_SIZE, spectral_embedding
from animal4d.geometry.spectral import SpectralBasis, laplace_beltrami


@dataclass(frozen=True)
class CseMesh:
    """The stand-in, how it lies on the template, and what CSE knows of it."""

    faces: Int[ndarray, "faces 3"]
    on_template: scipy.sparse.csr_matrix
    """(vertices, template vertices): each vertex as a weighted mean of template vertices; rows sum to 1."""
    of_template_vertex: Int[ndarray, "template_vertices"]
    """The vertex at the same place as each of the template's."""
    basis: SpectralBasis
    template_basis: SpectralBasis
    to_template: Float[ndarray, "k k"]
    """Functional map from `basis` to `template_basis`, both of unit area."""
    embedding: Float[ndarray, "vertices 16"]
    """Unit vectors."""


def make_cse_mesh(model: BodyModel, n_vertices: int, n_functions: int, seed: int = 0) -> CseMesh:
    """The stand-in of a template. Raises ValueError where it is to have fewer vertices than the template, or fewer
    functions than an embedding needs."""
    if n_vertices < model.n_vertices or n_functions <= EMBEDDING_SIZE:
        raise ValueError(
            f"the mesh needs at least the template's {model.n_vertices} vertices and more than {EMBEDDING_SIZE} "
            f"functions, got {n_vertices} and {n_functions}"
        )
    rest = model.v_template.cpu().double().numpy()
    faces, weights = _split_long_edges(rest, model.faces.cpu().numpy(), n_vertices)
    order = np.random.default_rng([seed, 31]).permutation(n_vertices)
    number = np.argsort(order)
    faces, weights = number[faces], scipy.sparse.csr_matrix(weights[order])
    basis = laplace_beltrami(weights @ rest, faces, n_functions)
    template_basis = laplace_beltrami(rest, model.faces.cpu().numpy(), n_functions)
    of_template_vertex = number[: model.n_vertices]
    unit, unit_template = basis.unit_area, template_basis.unit_area
    pulled = unit.functions[of_template_vertex]
    return CseMesh(
        faces=faces,
        on_template=weights,
        of_template_vertex=of_template_vertex,
        basis=basis,
        template_basis=template_basis,
        to_template=unit_template.functions.T @ (unit_template.areas[:, None] * pulled),
        embedding=spectral_embedding(basis),
    )


def _split_long_edges(
    vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"], wanted: int
) -> tuple[Int[ndarray, "new_faces 3"], scipy.sparse.csr_matrix]:
    """Faces of a mesh of `wanted` vertices, the old ones first, and the weights of each vertex on the old ones."""
    weights = scipy.sparse.csr_matrix(scipy.sparse.identity(len(vertices)))
    count = len(vertices)
    while count < wanted:
        places = weights @ vertices
        half_edges = np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), axis=1)
        edges, edge_of = np.unique(half_edges, axis=0, return_inverse=True)
        edge_of = edge_of.reshape(3, -1).T
        length = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
        # A face loses one edge per round; no more than a tenth, so that new long edges get their turn.
        longest = np.argsort(-length, kind="stable")[: max(len(edges) // 10, 1)]
        faces_at = scipy.sparse.csr_matrix(
            (np.ones(edge_of.size), (edge_of.ravel(), np.repeat(np.arange(len(faces)), 3))), (len(edges), len(faces))
        )
        taken = np.zeros(len(faces), bool)
        split: list[int] = []
        for edge in longest.tolist():
            at = faces_at.indices[faces_at.indptr[edge] : faces_at.indptr[edge + 1]]
            if count + len(split) == wanted:
                break
            if not taken[at].any():
                taken[at] = True
                split.append(edge)
        middle = np.full(len(edges), -1)
        middle[split] = count + np.arange(len(split))
        ends = edges[split]
        halves = scipy.sparse.csr_matrix(0.5 * (weights[ends[:, 0]] + weights[ends[:, 1]]))
        weights = scipy.sparse.csr_matrix(scipy.sparse.vstack((weights, halves)))
        faces = _halved(faces, middle[edge_of])
        count += len(split)
    return faces, weights


def _halved(faces: Int[ndarray, "faces 3"], middle: Int[ndarray, "faces 3"]) -> Int[ndarray, "new_faces 3"]:
    """Faces with a vertex on one edge in two; `middle[:, k]` is the vertex on the edge from corner k on, or -1."""
    whole = (middle < 0).all(axis=1)
    rows = np.flatnonzero(~whole)
    k = middle[rows].argmax(axis=1)
    a, b, c = (faces[rows, (k + shift) % 3] for shift in range(3))
    new = middle[rows, k]
    return np.concatenate((faces[whole], np.stack((a, new, c), axis=1), np.stack((new, b, c), axis=1)))
