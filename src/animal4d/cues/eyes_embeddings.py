"""The built-in network's vertex embeddings on the template that is fitted."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from animal4d.body.model import PART_NAMES, BodyModel
from animal4d.body.template import load_builtin_template
from animal4d.cues.surface_embeddings import transferred
from animal4d.geometry.spectral import functional_map, laplace_beltrami, region_functions

FUNCTIONS = 100
"""Eigenfunctions of each template between which embeddings are carried."""


def on_template(embeddings: Float[Tensor, "builtin_vertices 16"], model: BodyModel) -> Float[Tensor, "vertices 16"]:
    """Unit-length embeddings of a template's vertices from those of the built-in template.

    On another template they come by a functional map, whose landmarks are what all body models name: keypoint vertices
    and parts.
    """
    if model.name == "builtin":
        return embeddings
    source = load_builtin_template()
    k = min(FUNCTIONS, model.n_vertices - 2)
    own, theirs = (
        laplace_beltrami(body.v_template.cpu().double().numpy(), body.faces.cpu().numpy(), k=k)
        for body in (source, model)
    )
    regions, their_regions = _regions(source), _regions(model)
    both = regions.any(0) & their_regions.any(0)
    found = functional_map(own, theirs, regions[:, both], their_regions[:, both], k_start=min(20, k))
    mass, their_mass = (csr_array(diags_array(basis.areas)) for basis in (own, theirs))
    carried = transferred(embeddings.double().numpy(), own.functions, mass, found.matrix, theirs.functions, their_mass)
    return torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(carried)), dim=-1).float()


def _regions(model: BodyModel) -> Float[np.ndarray, "vertices regions"]:
    points = [[vertex] for vertex in model.keypoint_vertices.tolist()]
    labels = model.part_labels.cpu().numpy()
    parts = [np.flatnonzero(labels == part) for part in range(len(PART_NAMES))]
    return region_functions(model.n_vertices, [*points, *parts])
