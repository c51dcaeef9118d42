"""Vertex embeddings of continuous surface embeddings (CSE, arXiv 2011.12438) on any template.

The network's embeddings live on CSE's own dog mesh. Functional maps carry them to SMAL, and from there to a template
that is numbered otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_array, diags_array, issparse
from torch import Tensor

from animal4d.body.keypoints import KEYPOINT_VERTICES, VERTEX_GROUPS
from animal4d.body.model import BodyModel
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle
from animal4d.geometry.spectral import (
    SpectralBasis,
    functional_map,
    laplace_beltrami,
    region_functions,
    roughness,
)

EMBEDDING_SIZE = 16
_SAME_NUMBERING = 5.0
"""Up to this factor may SMAL's functions be rougher on a template than the template's own: other breeds and animals
with the same numbering come to 1.1, another numbering to 60."""
_TESTED_FUNCTIONS = 40


@dataclass(frozen=True)
class EmbeddingFiles:
    """Where the spectral bases, the functional map and the embeddings lie."""

    lbo_cse: Path
    lbo_smal: Path
    lbo_cse_to_smal: Path
    embedding: Path
    """`cse_embedding.pk`, or the weights of DensePose, which hold the same."""

    @classmethod
    def in_tree(cls, root: Path) -> EmbeddingFiles:
        """Their places in the external data tree."""
        embedding, weights = root / "cse" / "cse_embedding.pk", root / "cse" / "model_final_8c9d99.pkl"
        return cls(
            lbo_cse=root / "lbos" / "lbo_cse.pk",
            lbo_smal=root / "lbos" / "lbo_smal.pk",
            lbo_cse_to_smal=root / "lbos" / "lbo_cse_to_smal.pk",
            embedding=weights if weights.is_file() and not embedding.is_file() else embedding,
        )


def transferred(
    source_values: Float[ndarray, "source_vertices channels"],
    source_functions: Float[ndarray, "source_vertices k_source"],
    source_mass: csr_array,
    matrix: Float[ndarray, "k_target k_source"],
    target_functions: Float[ndarray, "target_vertices k_target"],
    target_mass: csr_array,
) -> Float[ndarray, "target_vertices channels"]:
    """Functions on a source mesh carried to a target mesh by a functional map between bases of unit area.

    `sqrt(area_target / area_source) * target_functions @ matrix @ source_functions^T @ source_mass @ source_values`;
    the masses are matrices "vertices vertices", diagonal where areas are lumped.
    """
    scale = (target_mass.sum() / source_mass.sum()) ** 0.5
    return scale * target_functions @ (matrix @ (source_functions.T @ (source_mass @ source_values)))


def spectral_embedding(basis: SpectralBasis) -> Float[ndarray, "vertices 16"]:
    """The first functions that are not constant, scaled to unit vectors at every vertex: a stand-in for CSE's
    own."""
    waves = basis.functions[:, 1 : EMBEDDING_SIZE + 1]
    return waves / np.linalg.norm(waves, axis=1, keepdims=True)


def template_embeddings(
    files: EmbeddingFiles, model: BodyModel, embedding: Float[ndarray, "cse_vertices 16"] | None = None
) -> Float[Tensor, "vertices 16"]:
    """Unit-length CSE embedding of every vertex of a template.

    `embedding` is that of CSE's dog mesh, from `files.embedding` where it is not given.

    SMAL's embeddings are taken vertex by vertex where the template is numbered as SMAL is, as any SMAL file is. That is
    seen from SMAL's eigenfunctions, which are smooth on such a template and on no other. The built-in template has as
    many vertices, but only those with a name (`body/keypoints.py`) lie where SMAL's do: they are the landmarks of a
    functional map from SMAL to it, for which SMAL's basis is enough and no SMAL file is needed.

    Raises Animal4dError where a file is missing, damaged or of another mesh, or the template is neither.
    """
    smal_functions, smal_mass = _read_basis(files.lbo_smal)
    smal = _smal_embeddings(files, smal_functions, smal_mass, embedding)
    vertices, faces = model.v_template.cpu().double().numpy(), model.faces.cpu().numpy()
    if len(smal) == len(vertices) and _numbered_alike(smal_functions, vertices, faces):
        return _unit_rows(smal)
    if model.n_vertices != len(smal_functions):
        raise Animal4dError(
            f"{files.lbo_smal} is for a template of {len(smal_functions)} vertices, the template {model.name} has "
            f"{model.n_vertices}: give the template that the file was made for, or the built-in one"
        )
    if model.name != "builtin":
        raise Animal4dError(
            f"{files.lbo_smal} does not belong to the template {model.name}, whose vertices are numbered otherwise: "
            "give the template that the file was made for, or the built-in one"
        )
    own = laplace_beltrami(vertices, faces, k=smal_functions.shape[1])
    areas = smal_mass @ np.ones(len(smal_functions))
    # The file has no eigenvalues. Those of another dog are near enough for the first guess, which ZoomOut refines.
    basis = SpectralBasis(smal_functions, own.eigenvalues * own.area / areas.sum(), areas)
    regions = region_functions(model.n_vertices, [[v] for v in KEYPOINT_VERTICES.values()] + [*VERTEX_GROUPS.values()])
    found = functional_map(basis, own, regions, regions)
    return _unit_rows(transferred(smal, smal_functions, smal_mass, found.matrix, own.functions, _diagonal(own.areas)))


def _smal_embeddings(
    files: EmbeddingFiles, smal_functions: ndarray, smal_mass: csr_array, embedding: ndarray | None
) -> Float[ndarray, "smal_vertices 16"]:
    functions, mass = _read_basis(files.lbo_cse)
    if embedding is None:
        embedding = _read_embedding(files.embedding, len(functions))
    if len(functions) != len(embedding):
        raise Animal4dError(
            f"{files.lbo_cse} is for a mesh of {len(functions)} vertices, CSE's dog has {len(embedding)}: give the "
            "file that was made for it"
        )
    shape = (smal_functions.shape[1], functions.shape[1])
    where = f"{files.lbo_cse_to_smal}: C, between the functions of {files.lbo_smal.name} and {files.lbo_cse.name},"
    matrix = checked_array(_entry(files.lbo_cse_to_smal, "C"), shape, where)
    return transferred(embedding, functions, mass, matrix, smal_functions, smal_mass)


def _read_basis(path: Path) -> tuple[Float[ndarray, "vertices k"], csr_array]:
    """Eigenfunctions, and areas or (where it is not diagonal) mass matrix of a `lbo_*.pk`."""
    functions = checked_array(_entry(path, "lbo_basis"), (None, None), f"{path}: lbo_basis")
    mass = _entry(path, "lbo_areas")
    n_vertices, k = functions.shape
    if not 1 < k < n_vertices:
        raise Animal4dError(
            f"{path}: lbo_basis must be vertices x functions, got {n_vertices}x{k}: make the file again"
        )
    where = f"{path}: lbo_areas"
    if isinstance(mass, Tensor) and mass.layout == torch.strided:
        mass = mass.numpy()
    if not issparse(mass) and getattr(mass, "ndim", None) == 1:
        mass = _diagonal(checked_array(mass, (n_vertices,), where))
    shape = getattr(mass, "shape", None)
    if shape != (n_vertices, n_vertices) or getattr(mass.dtype, "kind", "O") not in "biuf":
        raise Animal4dError(f"{where} must be numbers, {n_vertices}x{n_vertices}, got {shape}: make the file again")
    # Dense ones are mostly zeros and large: made sparse before anything else.
    mass = csr_array(mass, dtype=np.float64)
    if not np.isfinite(mass.data).all():
        raise Animal4dError(f"{where} holds NaN or infinity: make the file again")
    if not mass.sum() > 0:
        raise Animal4dError(f"{where} must add up to the area of the surface, got {mass.sum():g}: make the file again")
    return functions, mass


def _read_embedding(path: Path, n_vertices: int) -> Float[ndarray, "cse_vertices 16"]:
    content = load_pickle(path)
    if isinstance(content, Mapping) and "cse_dog" in content:
        return checked_array(content["cse_dog"], (n_vertices, EMBEDDING_SIZE), f"{path}: cse_dog")
    weights = content.get("model") if isinstance(content, Mapping) else None
    name = "roi_heads.embedder.embedder_dog_7466"
    if not isinstance(weights, Mapping) or f"{name}.features" not in weights or f"{name}.embeddings" not in weights:
        raise Animal4dError(f"{path} holds neither cse_dog nor the weights {name} of DensePose: download it again")
    features = checked_array(weights[f"{name}.features"], (n_vertices, None), f"{path}: {name}.features")
    embeddings = checked_array(
        weights[f"{name}.embeddings"], (features.shape[1], EMBEDDING_SIZE), f"{path}: {name}.embeddings"
    )
    product = features @ embeddings
    return product / np.linalg.norm(product, axis=1, keepdims=True).clip(1e-12)


def _entry(path: Path, key: str) -> Any:
    content = load_pickle(path)
    if not isinstance(content, Mapping) or key not in content:
        raise Animal4dError(f'{path} has no entry "{key}": download it again')
    return content[key]


def _numbered_alike(
    functions: Float[ndarray, "vertices k"], vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"]
) -> bool:
    tested = functions[:, 1 : 1 + _TESTED_FUNCTIONS]
    own = laplace_beltrami(vertices, faces, k=tested.shape[1] + 1)
    return roughness(tested, vertices, faces).sum() < _SAME_NUMBERING * own.eigenvalues.sum() * own.area


def _diagonal(areas: Float[ndarray, "vertices"]) -> csr_array:
    return csr_array(diags_array(areas))


def _unit_rows(rows: Float[ndarray, "vertices 16"]) -> Float[Tensor, "vertices 16"]:
    return torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(rows)), dim=-1).float()
