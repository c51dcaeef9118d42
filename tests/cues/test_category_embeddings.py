"""Embeddings of all nine animals find their way to the template."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from animal4d.cues import category_embeddings
from animal4d.cues.category_embeddings import CategoryEmbeddings, corresponding_vertices
from animal4d.cues.surface_embeddings import EmbeddingFiles
from animal4d.errors import Animal4dError
from animal4d.geometry.spectral import laplace_beltrami
from animal4d.geometry.surface_matching import SurfaceMatch
from cues.surface_files import FACES, MODEL, VERTICES, other_body, true_embeddings, write_embedding_files, write_pickle


class Meshes:
    """An embedder of a few meshes."""

    def __init__(self, rows: dict[str, np.ndarray], functions: dict[str, np.ndarray]) -> None:
        self.rows, self.eigenfunctions = rows, functions

    def vertex_embeddings(self, mesh: str) -> torch.Tensor:
        return torch.from_numpy(self.rows[mesh]).float()

    def functions(self, mesh: str) -> torch.Tensor:
        return torch.from_numpy(self.eigenfunctions[mesh]).float()


@pytest.fixture(scope="module")
def meshes() -> tuple[Meshes, np.ndarray]:
    """The template as the dog, and a cat's body numbered at random whose embeddings are a bit off, as trained ones
    are; and the dog's vertex that each of the cat's is."""
    dog = laplace_beltrami(VERTICES, FACES, 60)
    cat, dog_vertex = other_body([], 5)
    embeddings = true_embeddings(dog)
    unit = cat.unit_area
    coefficients = unit.functions.T @ (unit.areas[:, None] * embeddings[dog_vertex])
    noise = np.random.default_rng(1).normal(size=coefficients.shape)
    on_cat = unit.functions @ (coefficients + 0.3 * noise * np.abs(coefficients).mean(0))
    on_cat /= np.linalg.norm(on_cat, axis=1, keepdims=True)
    rows = {"dog_7466": embeddings, "cat_7466": on_cat}
    # Of any scale, as a file might have them.
    return Meshes(rows, {"dog_7466": 3 * dog.functions, "cat_7466": cat.functions}), dog_vertex


def test_a_cats_vertices_are_found_on_the_dog(meshes):
    """Better than by nearest neighbours alone, which every wrong embedding leads astray."""
    embedder, dog_vertex = meshes
    rows, functions = embedder.rows, embedder.eigenfunctions
    found = corresponding_vertices(functions["cat_7466"], rows["cat_7466"], functions["dog_7466"], rows["dog_7466"])

    def error(cat_vertex: np.ndarray) -> float:
        return float(np.linalg.norm(VERTICES[dog_vertex[cat_vertex]] - VERTICES, axis=1).mean() / MODEL.body_length)

    nearest = (rows["dog_7466"] @ rows["cat_7466"].T).argmax(1)
    print("nearest", error(nearest), "functional map", error(found))
    assert error(found) < 0.015 < error(nearest)


def test_the_dog_takes_the_published_way_and_the_cat_goes_along(meshes, tmp_path):
    files, truth = write_embedding_files(tmp_path, smal_is_template=True)
    embedder, dog_vertex = meshes
    # The files' dog is numbered otherwise than this one.
    _, cse_vertex = other_body([], 4)
    numbered = Meshes(
        {name: rows[cse_vertex] if "dog" in name else rows for name, rows in embedder.rows.items()},
        {name: rows[cse_vertex] if "dog" in name else rows for name, rows in embedder.eigenfunctions.items()},
    )
    way = CategoryEmbeddings(files, MODEL)
    way.check()
    dog = way.of("dog", numbered)  # pyright: ignore[reportArgumentType]
    seen = (torch.from_numpy(truth).float() @ dog.T).argmax(1).numpy()
    assert np.linalg.norm(VERTICES[seen] - VERTICES, axis=1).mean() / MODEL.body_length < 0.015
    cat = way.of("cat", numbered)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(cat.norm(dim=1), torch.ones(len(cat)))
    own = torch.from_numpy(embedder.rows["cat_7466"]).float()
    found = dog_vertex[(cat @ own.T).argmax(1).numpy()]
    assert np.linalg.norm(VERTICES[found] - VERTICES, axis=1).mean() / MODEL.body_length < 0.03


def mesh_file(path: Path, **changes: Any) -> Path:
    write_pickle(path, {"vertices": VERTICES.astype(np.float32), "faces": FACES} | changes)
    return path


def test_the_dogs_mesh_is_laid_on_the_template_where_nobody_has_the_map(meshes, tmp_path, monkeypatch):
    embedder, _ = meshes
    turned = np.random.default_rng(0).permutation(len(VERTICES))
    way = CategoryEmbeddings(EmbeddingFiles.in_tree(tmp_path), MODEL, mesh_file(tmp_path / "dog_7466.pkl"))
    way.check()
    monkeypatch.setattr(category_embeddings, "match_surfaces", lambda *meshes: SurfaceMatch(turned, 0.2))
    found = way.of("dog", embedder)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(found, torch.from_numpy(embedder.rows["dog_7466"][turned]).float())
    before = way.fingerprint()
    mesh_file(way.dog_mesh or tmp_path, faces=FACES[:-1])
    assert way.fingerprint() != before
    monkeypatch.setattr(category_embeddings, "match_surfaces", lambda *meshes: SurfaceMatch(turned, 0.5))
    with pytest.raises(Animal4dError, match="not of the template's shape"):
        way.of("dog", embedder)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("fault", ["no mesh", "other size", "NaN", "faces beyond", "no faces", "lonely vertex"])
def test_broken_meshes_are_named(meshes, tmp_path, fault):
    changes = {
        "no mesh": {"vertices": None},
        "other size": {"vertices": VERTICES[:-1]},
        "NaN": {"vertices": np.where(np.arange(len(VERTICES))[:, None] == 5, np.nan, VERTICES)},
        "faces beyond": {"faces": FACES + 1},
        "no faces": {"faces": FACES[:0]},
        "lonely vertex": {"faces": FACES[(FACES != 7).all(1)]},
    }[fault]
    path = mesh_file(tmp_path / "dog_7466.pkl", **changes)
    way = CategoryEmbeddings(EmbeddingFiles.in_tree(tmp_path), MODEL, path)
    with pytest.raises(Animal4dError, match=r"dog_7466\.pkl") as caught:
        way.of("dog", meshes[0])
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named_in_one_line(meshes, tmp_path):
    files = EmbeddingFiles.in_tree(tmp_path)
    mesh = tmp_path / "weights" / "dog_7466.pkl"
    for way, where in (
        (CategoryEmbeddings(files, MODEL), "weights"),
        (CategoryEmbeddings(files, MODEL, mesh), str(mesh)),
    ):
        with pytest.raises(Animal4dError) as caught:
            way.of("dog", SimpleNamespace())  # pyright: ignore[reportArgumentType]
        message = str(caught.value)
        assert all(name in message for name in ("lbo_cse.pk", "lbo_smal.pk", "lbo_cse_to_smal.pk", where))
        assert "\n" not in message
    # The files of a template that stood for CSE's mesh are of another size.
    made, _ = write_embedding_files(tmp_path / "tree", smal_is_template=True)
    embedder = Meshes({"dog_7466": meshes[0].rows["dog_7466"][:-1]}, {})
    with pytest.raises(Animal4dError, match="CSE's dog has 3888"):
        CategoryEmbeddings(replace(made), MODEL).of("dog", embedder)  # pyright: ignore[reportArgumentType]
