"""Embeddings of the template's vertices: smooth functions on its surface, with which pixels are compared."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animal4d.body.model import BodyModel
from animal4d.eyes.labels import EMBEDDING_SIZE
from animal4d.geometry.spectral import laplace_beltrami

FUNCTIONS = 64
"""Eigenfunctions that an embedding is made of, the constant one left out."""


class VertexEmbedding(nn.Module):
    """`normalise(Phi W)`: Laplace-Beltrami eigenfunctions Phi of the template, and weights W that are learnt.

    So an embedding is smooth on the surface, and functional maps carry it to other templates. Continuous surface
    embeddings (Neverova et al. 2020, arXiv 2011.12438) regularise theirs in the same way.
    """

    functions: Float[Tensor, "vertices functions"]

    def __init__(self, model: BodyModel) -> None:
        super().__init__()
        basis = laplace_beltrami(model.v_template.numpy(), model.faces.numpy(), FUNCTIONS + 1).unit_area
        functions = torch.from_numpy(basis.functions[:, 1:]).float()
        self.register_buffer("functions", functions)
        # Diffusion distances at the start: near vertices are alike, and every function finds a channel.
        values = torch.from_numpy(basis.eigenvalues[1:]).float()
        weights = torch.randn(FUNCTIONS, EMBEDDING_SIZE) / EMBEDDING_SIZE**0.5
        weights[:EMBEDDING_SIZE] += torch.eye(EMBEDDING_SIZE)
        self.weights = nn.Parameter(weights * (-values / values[EMBEDDING_SIZE]).exp()[:, None])

    def forward(self) -> Float[Tensor, "vertices 16"]:
        return F.normalize(self.functions @ self.weights, dim=-1)
