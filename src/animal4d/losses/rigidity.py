"""Surfaces resist: as-rigid-as-possible energy, edge lengths, and the uniform Laplacian.

Each returns one loss per frame. What depends only on the mesh's connections (and on the shape whose angles weigh the
edges) is prepared once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.body.model import PosedBody
from animal4d.geometry.mesh import SparseOperator, cotangent_weights, difference_operator


@dataclass(frozen=True)
class OneRings:
    """The edges around every vertex, with their weights in the as-rigid-as-possible energy."""

    edges: Int[Tensor, "edges 2"]
    """Each edge once: it belongs to the rings of both its ends, where its vector differs in sign only."""
    weights: Float[Tensor, "edges"]
    """Sum of the absolute cotangents of the two opposite angles."""
    differences: SparseOperator
    """Edge vectors from vertices."""

    @classmethod
    def of(cls, canonical: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]) -> OneRings:
        edges, weights = cotangent_weights(canonical, faces, absolute=True)
        return cls(edges, weights, difference_operator(edges, len(canonical), canonical.dtype))

    def vectors(self, vertices: Float[Tensor, "frames vertices 3"]) -> Float[Tensor, "frames edges 3"]:
        return self.differences @ vertices


def fit_rotations(
    vertices: Float[Tensor, "frames vertices 3"], canonical: Float[Tensor, "vertices 3"], rings: OneRings
) -> Float[Tensor, "frames vertices 3 3"]:
    """The rotation that turns each vertex' canonical ring nearest to its posed one (weighted least squares, by SVD).

    Carries no gradient: the energy is lowered with the rotations held, as in the alternation of Sorkine and Alexa.
    """
    with torch.no_grad():
        posed = rings.weights[:, None] * rings.vectors(vertices)
        products = posed[..., :, None] * rings.vectors(canonical[None])[..., None, :]
        covariance = vertices.new_zeros(*vertices.shape, 3)
        for end in rings.edges.T:
            covariance.index_add_(1, end, products)
        u, _, vt = torch.linalg.svd(covariance)
        signs = torch.ones_like(vertices)
        signs[..., 2] = torch.where(torch.linalg.det(u) * torch.linalg.det(vt) < 0, -1.0, 1.0)
        return (u * signs[..., None, :]) @ vt


def skinning_maps(posed: PosedBody) -> Float[Tensor, "*batch vertices 3 3"]:
    """Each vertex' blend of the joints' rotations (with limb scales): how the skeleton turns its surroundings.

    Stand-ins for `fit_rotations` that cost nothing. Without gradient, like those.
    """
    blended = posed.shaped.model.skinning_weights @ posed.joint_transforms.detach().flatten(-2)
    return blended.unflatten(-1, (3, 3))


def arap(
    vertices: Float[Tensor, "frames vertices 3"],
    canonical: Float[Tensor, "vertices 3"],
    rings: OneRings,
    maps: Float[Tensor, "frames vertices 3 3"] | None = None,
    ceiling: float = 1.0,
) -> Float[Tensor, "frames"]:
    """As-rigid-as-possible energy: how far edges are from their canonical selves, turned with their vertex.

    The weighted sum over a vertex' edges of the length (not squared) of the difference, at most `ceiling`; the mean
    over the vertices. `maps` are the vertices' rotations where they are known (`skinning_maps`); otherwise they are
    fitted.
    """
    maps = fit_rotations(vertices, canonical, rings) if maps is None else maps
    posed, rest = rings.vectors(vertices), rings.vectors(canonical[None])
    per_vertex = vertices.new_zeros(vertices.shape[:2])
    for end in rings.edges.T:
        turned = (maps.index_select(1, end) @ rest[..., None]).squeeze(-1)
        lengths = torch.linalg.vector_norm(posed - turned, dim=-1)
        per_vertex = per_vertex.index_add(1, end, rings.weights * lengths)
    return per_vertex.clamp_max(ceiling).mean(1)


def edge_length_change(
    vertices: Float[Tensor, "frames vertices 3"],
    canonical: Float[Tensor, "vertices 3"],
    differences: SparseOperator,
) -> Float[Tensor, "frames"]:
    """Sum of the absolute changes of edge length. `differences` is `mesh.difference_operator` of the unique edges."""
    lengths = torch.linalg.vector_norm(differences @ vertices, dim=-1)
    canonical_lengths = torch.linalg.vector_norm(differences @ canonical[None], dim=-1)
    return (lengths - canonical_lengths).abs().sum(1)


def laplacian_length(
    vertices: Float[Tensor, "frames vertices 3"], laplacian: SparseOperator
) -> Float[Tensor, "frames"]:
    """Mean distance of a vertex from the mean of its neighbours. `laplacian` is `mesh.uniform_laplacian`."""
    return torch.linalg.vector_norm(laplacian @ vertices, dim=-1).mean(1)
