"""CSE's vertex embeddings reach the template, however it is numbered; damaged files are named."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from animal4d.cues.surface_embeddings import template_embeddings, transferred
from animal4d.errors import Animal4dError
from cues.surface_files import MODEL, VERTICES, write_embedding_files, write_pickle


def vertex_errors(found: torch.Tensor, truth: np.ndarray) -> np.ndarray:
    """How far, in body lengths, the vertex lies that a pixel with a true embedding would be given."""
    nearest = KDTree(found.numpy()).query(truth)[1]
    return np.linalg.norm(VERTICES[nearest] - VERTICES, axis=1) / MODEL.body_length


@pytest.mark.golden
def test_golden_transfer(golden_dir):
    from scipy.sparse import csr_array, diags_array

    golden = np.load(golden_dir / "surface_embedding.npz")
    masses = [csr_array(diags_array(golden[f"areas_{side}"])) for side in ("source", "target")]
    found = transferred(
        golden["embedding_source"],
        golden["basis_source"],
        masses[0],
        golden["functional_map"],
        golden["basis_target"],
        masses[1],
    )
    expected = golden["embedding_target"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def smal_tree(tmp_path_factory):
    return write_embedding_files(tmp_path_factory.mktemp("smal"), smal_is_template=True)


def test_a_template_numbered_as_smal_takes_its_embeddings_vertex_by_vertex(smal_tree):
    """The map between the bodies is exact; 60 functions carry nearly all of an embedding made of 30."""
    files, truth = smal_tree
    found = template_embeddings(files, MODEL)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)))
    errors = vertex_errors(found, truth)
    print("same numbering: mean error", errors.mean())
    assert errors.mean() < 0.015


def test_the_built_in_template_is_reached_over_named_vertices(tmp_path):
    """SMAL is another body, and numbered otherwise but for the vertices with a name. Taken vertex by vertex, embeddings
    would be off by half a body."""
    files, truth = write_embedding_files(tmp_path, smal_is_template=False)
    errors = vertex_errors(template_embeddings(files, MODEL), truth)
    print("other numbering: mean error", errors.mean())
    assert errors.mean() < 0.04
    with pytest.raises(Animal4dError, match="numbered otherwise"):
        template_embeddings(files, replace(MODEL, name="dog.pkl"))


def test_a_dense_mass_matrix_and_the_networks_weights_give_the_same(smal_tree, tmp_path):
    files, _ = smal_tree
    cse = pickle.loads(files.lbo_cse.read_bytes())
    write_pickle(tmp_path / "lbo_cse.pk", {**cse, "lbo_areas": cse["lbo_areas"].toarray().astype(np.float32)})
    embedding = pickle.loads(files.embedding.read_bytes())["cse_dog"]
    name = "roi_heads.embedder.embedder_dog_7466"
    features = np.concatenate([2 * embedding, np.zeros((len(embedding), 240), np.float32)], axis=1)
    weights = {f"{name}.features": features, f"{name}.embeddings": np.eye(256, 16, dtype=np.float32)}
    write_pickle(tmp_path / "weights.pkl", {"model": weights})
    others = replace(files, lbo_cse=tmp_path / "lbo_cse.pk", embedding=tmp_path / "weights.pkl")
    expected = template_embeddings(files, MODEL)
    torch.testing.assert_close(template_embeddings(others, MODEL), expected, rtol=1e-4, atol=1e-5)


def test_a_template_of_another_size_is_refused(smal_tree):
    files, _ = smal_tree
    smaller = replace(MODEL, v_template=MODEL.v_template[:-1])
    with pytest.raises(Animal4dError, match="3888"):
        template_embeddings(files, smaller)


@pytest.mark.parametrize("field", ["lbo_cse", "lbo_smal", "lbo_cse_to_smal", "embedding"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "wrong shape", "NaN", "wrong type", "not a dict"])
def test_broken_files_are_named_in_one_line(smal_tree, tmp_path, field, fault):
    files, _ = smal_tree
    whole = getattr(files, field)
    broken = tmp_path / whole.name
    content = pickle.loads(whole.read_bytes())
    key = {"lbo_cse_to_smal": "C", "embedding": "cse_dog"}.get(field, "lbo_basis")
    if fault == "truncated":
        broken.write_bytes(whole.read_bytes()[:5000])
    elif fault == "not a dict":
        write_pickle(broken, [1, 2])
    elif fault != "missing":
        array = np.array(content[key])
        if fault == "NaN":
            array[3, 1] = np.nan
        changed = {"wrong shape": array[:-1], "NaN": array, "wrong type": "basis"}[fault]
        write_pickle(broken, {**content, key: changed})
    with pytest.raises(Animal4dError) as caught:
        template_embeddings(replace(files, **{field: broken}), MODEL)
    assert broken.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("areas", ["NaN", "wrong shape", "text", "zero"])
def test_broken_masses_are_named(smal_tree, tmp_path, areas):
    files, _ = smal_tree
    content = pickle.loads(files.lbo_cse.read_bytes())
    mass = content["lbo_areas"].copy()
    if areas == "NaN":
        mass.data[5] = np.nan
    mass = {"NaN": mass, "wrong shape": mass[:-1], "text": "areas", "zero": 0 * mass}[areas]
    write_pickle(tmp_path / "lbo_cse.pk", {**content, "lbo_areas": mass})
    with pytest.raises(Animal4dError, match=r"lbo_cse\.pk: lbo_areas"):
        template_embeddings(replace(files, lbo_cse=tmp_path / "lbo_cse.pk"), MODEL)
