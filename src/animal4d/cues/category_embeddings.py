"""CSE's embeddings of all nine animals on a template.

The nine meshes share one embedding space, in which vertices that correspond lie near each other; so a cat's embeddings
come to the dog's mesh by nearest neighbours there, smoothed by a functional map between the eigenfunctions of both
meshes, which the network's file brings along. From the dog's mesh the published functional map leads to SMAL and to the
template; where nobody has that, the shape of DensePose's dog is laid on the template.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.cues.surface_embeddings import EmbeddingFiles, template_embeddings
from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum, tensor_checksum
from animal4d.geometry.spectral import SpectralBasis, zoom_out
from animal4d.geometry.surface_matching import match_surfaces
from animal4d.pretrained.densepose.heads import Embedder
from animal4d.pretrained.densepose.mesh_file import read_mesh
from animal4d.pretrained.densepose.meshes import MESH_OF, MESH_VERTICES
from animal4d.pretrained.networks import DOG_MESH

DOG_VERTICES = MESH_VERTICES[MESH_OF["dog"]]
_MOST_MISFIT = 0.4
_FIRST_FUNCTIONS = 20
_LAST_FUNCTIONS = 100
_STEPS = 5
_PAIRS = 1 << 22
"""Vertices that are compared at a time."""


@dataclass(frozen=True, eq=False)
class CategoryEmbeddings:
    """The way from the network's meshes to a template."""

    files: EmbeddingFiles
    """Of the external data tree; its own file of embeddings is not needed."""
    model: BodyModel
    """The template."""
    dog_mesh: Path | None = None
    """DensePose's `dog_7466.pkl`, for those who do not have the spectral files."""

    def fingerprint(self) -> list[Any]:
        """Of everything but the network, in plain values."""
        return [
            [file_checksum(path) if path.is_file() else "" for path in self._used()],
            tensor_checksum((self.model.v_template, self.model.faces)),
        ]

    def check(self) -> None:
        """Raises Animal4dError where the files that are needed are not there."""
        missing = [path for path in self._used() if not path.is_file()]
        if not missing:
            return
        several = len(missing) > 1
        raise Animal4dError(
            f"{', '.join(map(str, missing))} of the published data {'are' if several else 'is'} missing, without which "
            "DensePose's surface maps find no way to the template; the mesh of its dog would do as well: run animal4d "
            f"weights get densepose-cse, or put {DOG_MESH.url} "
            f"{'beside the weights' if self.dog_mesh is None else f'to {self.dog_mesh}'}"
        )

    def of(self, category: str, embedder: Embedder) -> Float[Tensor, "vertices 16"]:
        """Unit-length embedding of every vertex of the template, for pixels of a category of `meshes.CATEGORIES`.

        Raises Animal4dError where a file is missing or damaged, or of another mesh.
        """
        self.check()
        embedding = on_dog_mesh(category, embedder)
        if self._spectral_files_are_there():
            return template_embeddings(self.files, self.model, embedding)
        assert self.dog_mesh is not None
        vertices, faces = read_mesh(self.dog_mesh, len(embedding))
        return torch.from_numpy(embedding[laid_on_template(self.dog_mesh, vertices, faces, self.model)]).float()

    def _spectral_files(self) -> tuple[Path, ...]:
        return self.files.lbo_cse, self.files.lbo_smal, self.files.lbo_cse_to_smal

    def _spectral_files_are_there(self) -> bool:
        return all(path.is_file() for path in self._spectral_files())

    def _used(self) -> tuple[Path, ...]:
        mesh_is_there = self.dog_mesh is not None and self.dog_mesh.is_file()
        if self.dog_mesh is not None and mesh_is_there and not self._spectral_files_are_there():
            return (self.dog_mesh,)
        return self._spectral_files()


def laid_on_template(
    path: Path, vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"], model: BodyModel
) -> Int[ndarray, "template_vertices"]:
    """For every vertex of the template its vertex on the mesh that was read from `path`.

    Raises Animal4dError where the mesh is broken or of another shape.
    """
    own = model.v_template.cpu().double().numpy(), model.faces.cpu().numpy()
    try:
        match = match_surfaces(vertices, faces, *own)
    except ValueError as error:
        raise Animal4dError(f"{path}: {error}: download {DOG_MESH.url} again") from error
    if match.misfit > _MOST_MISFIT:
        raise Animal4dError(
            f"{path} is not of the template's shape (misfit {match.misfit:.2f}, at most {_MOST_MISFIT:g}): DensePose's "
            "surface maps find no way to the template; give lbos/ of the published data"
        )
    return match.source_vertex


def on_dog_mesh(category: str, embedder: Embedder) -> Float[ndarray, "dog_vertices 16"]:
    """A category's embeddings on the vertices of CSE's dog."""
    own, dog = MESH_OF[category], MESH_OF["dog"]
    embeddings = embedder.vertex_embeddings(own).double().numpy()
    if own == dog:
        return embeddings
    return embeddings[
        corresponding_vertices(
            embedder.functions(own).double().numpy(),
            embeddings,
            embedder.functions(dog).double().numpy(),
            embedder.vertex_embeddings(dog).double().numpy(),
        )
    ]


def corresponding_vertices(
    functions: Float[ndarray, "vertices k"],
    embeddings: Float[ndarray, "vertices 16"],
    target_functions: Float[ndarray, "target_vertices k"],
    target_embeddings: Float[ndarray, "target_vertices 16"],
) -> ndarray:
    """For every vertex of a target mesh its vertex on another mesh, by the embeddings (unit vectors) of both.

    `functions` are the meshes' eigenfunctions by rising eigenvalue. Areas are not known and taken as equal: the spaces
    that the first functions span stay the same.
    """
    source, target = _even_basis(functions), _even_basis(target_functions)
    nearest = _most_alike(target_embeddings, embeddings)
    k = _FIRST_FUNCTIONS
    matrix = target.functions[:, :k].T @ (target.areas[:, None] * source.functions[nearest, :k])
    sizes = np.unique(np.geomspace(k, source.functions.shape[1], _STEPS).round().astype(int))
    return zoom_out(source, target, matrix, sizes).source_vertex


def _even_basis(functions: Float[ndarray, "vertices k"]) -> SpectralBasis:
    """The first functions, made orthonormal under equal areas that add up to one."""
    count = len(functions)
    orthonormal = np.linalg.qr(functions[:, :_LAST_FUNCTIONS])[0] * count**0.5
    return SpectralBasis(orthonormal, np.full(orthonormal.shape[1], np.nan), np.full(count, 1 / count))


def _most_alike(rows: Float[ndarray, "n 16"], others: Float[ndarray, "m 16"]) -> ndarray:
    """For every unit vector the place of the one with the largest cosine."""
    target = torch.from_numpy(others).T
    pieces = torch.from_numpy(rows).split(max(_PAIRS // len(others), 1))
    return torch.cat([(piece @ target).argmax(1) for piece in pieces]).numpy()
