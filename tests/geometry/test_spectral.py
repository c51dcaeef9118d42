"""Eigenfunctions against the sphere's, and functional maps against correspondences that are known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import diags
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from animal4d.body.keypoints import KEYPOINT_VERTICES, VERTEX_GROUPS
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.geometry.spectral import (
    functional_map,
    laplace_beltrami,
    region_functions,
    roughness,
)
from geometry.shapes import bumpy_sphere, icosphere

MODEL = load_builtin_template()
VERTICES, FACES = MODEL.v_template.double().numpy(), MODEL.faces.numpy()
PLACES = [[vertex] for vertex in KEYPOINT_VERTICES.values()] + [list(group) for group in VERTEX_GROUPS.values()]
K = 60


@pytest.fixture(scope="module")
def template_basis():
    return laplace_beltrami(VERTICES, FACES, K)


def test_eigenvalues_of_the_sphere():
    """l (l + 1), 2 l + 1 times each. Linear elements of width h err by h^2 l (l + 1) / 12, 0.9 % at l = 4."""
    vertices, faces = icosphere(4)
    basis = laplace_beltrami(vertices.numpy(), faces.numpy(), 25)
    expected = np.repeat([0, 2, 6, 12, 20], [1, 3, 5, 7, 9])
    np.testing.assert_allclose(basis.eigenvalues, expected, rtol=0.01, atol=1e-6)
    np.testing.assert_allclose(basis.area, 4 * np.pi, rtol=0.005)


def test_eigenfunctions_are_orthonormal_and_solve_the_equation(template_basis):
    import robust_laplacian

    stiffness, mass = robust_laplacian.mesh_laplacian(VERTICES, FACES)
    functions = template_basis.functions
    np.testing.assert_allclose(functions.T @ (mass @ functions), np.eye(K), atol=1e-8)
    residual = stiffness @ functions - mass @ functions @ diags(template_basis.eigenvalues)
    assert np.abs(residual).max() < 1e-6
    np.testing.assert_allclose(functions[:, 0], template_basis.area**-0.5, rtol=1e-6)


@settings(max_examples=8, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_size_only_scales_the_basis(scale, seed):
    vertices, faces = bumpy_sphere(seed, 2, 0.1)
    once = laplace_beltrami(vertices.numpy(), faces.numpy(), 12)
    scaled = laplace_beltrami(scale * vertices.double().numpy(), faces.numpy(), 12)
    np.testing.assert_allclose(scaled.eigenvalues * scale**2, once.eigenvalues, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scaled.unit_area.functions, once.unit_area.functions, rtol=1e-4, atol=1e-5)


def test_signs_are_the_same_in_every_run(template_basis):
    again = laplace_beltrami(VERTICES, FACES, K)
    np.testing.assert_array_equal(again.functions, template_basis.functions)


@pytest.mark.parametrize("fault", ["too many functions", "a vertex without face", "a vertex that is not finite"])
def test_broken_meshes_are_refused(fault):
    vertices, faces = (tensor.numpy() for tensor in icosphere(1))
    k = 5
    if fault == "too many functions":
        k = len(vertices)
    elif fault == "a vertex without face":
        vertices = np.concatenate([vertices, vertices[:1]])
    else:
        vertices = vertices.copy()
        vertices[0, 0] = np.nan
    with pytest.raises(ValueError):
        laplace_beltrami(vertices, faces, k)


def test_roughness_is_the_eigenvalue_and_tells_another_numbering(template_basis):
    eigenvalues = template_basis.unit_area.eigenvalues
    rough = roughness(template_basis.functions, VERTICES, FACES)
    np.testing.assert_allclose(rough, eigenvalues, rtol=1e-6, atol=1e-6)
    shuffled = np.random.default_rng(0).permutation(len(VERTICES))
    assert roughness(template_basis.functions[shuffled, 1:], VERTICES, FACES).min() > 5 * eigenvalues[-1]


@pytest.mark.parametrize(("species", "largest"), [("dog", 0.002), ("cat", 0.025)])
def test_the_map_to_another_body_finds_the_true_vertices(template_basis, species, largest):
    """Another shape, vertices in another order. Errors are distances on the template in body lengths; its mesh is 0.02
    wide, and a basis of 60 functions tells places on a body about as far apart."""
    shuffled = np.random.default_rng(1).permutation(len(VERTICES))
    new_number = np.argsort(shuffled)
    body = VERTICES if species == "dog" else MODEL.with_shape(load_species_betas()[species]).vertices.double().numpy()
    other = laplace_beltrami(body[shuffled], new_number[FACES], K)
    found = functional_map(
        template_basis,
        other,
        region_functions(len(VERTICES), PLACES),
        region_functions(len(VERTICES), [new_number[place] for place in PLACES]),
    )
    errors = np.linalg.norm(VERTICES[found.source_vertex] - VERTICES[shuffled], axis=1) / MODEL.body_length
    print(species, "mean error", errors.mean(), "largest", errors.max())
    assert errors.mean() < largest
    assert np.quantile(errors, 0.95) < 3 * largest
    size = other.functions.shape[1]
    assert found.matrix.shape == (size, size)


def test_the_map_to_a_finer_mesh_finds_the_true_places(template_basis):
    """The same surface with other vertices: each face cut into four, turned, and shuffled."""
    vertices, faces = trimesh.remesh.subdivide(VERTICES, FACES)
    shuffled = np.random.default_rng(2).permutation(len(vertices))
    vertices, faces = vertices[shuffled], np.argsort(shuffled)[faces]
    other = laplace_beltrami(vertices @ Rotation.random(random_state=0).as_matrix(), faces, K)
    parts = [np.flatnonzero(MODEL.part_labels.numpy() == part) for part in range(7)]
    keypoints = list(KEYPOINT_VERTICES.values())
    nearest = KDTree(VERTICES).query(vertices)[1]
    found = functional_map(
        template_basis,
        other,
        region_functions(len(VERTICES), [*([vertex] for vertex in keypoints), *parts]),
        region_functions(
            len(vertices),
            [
                *([int(KDTree(vertices).query(VERTICES[vertex])[1])] for vertex in keypoints),
                *(np.flatnonzero(np.isin(nearest, part)) for part in parts),
            ],
        ),
    )
    errors = np.linalg.norm(VERTICES[found.source_vertex] - vertices, axis=1) / MODEL.body_length
    print("finer mesh, mean error", errors.mean())
    assert errors.mean() < 0.015


def test_regions_must_correspond(template_basis):
    with pytest.raises(ValueError, match="as many regions"):
        functional_map(template_basis, template_basis, region_functions(len(VERTICES), PLACES), np.zeros((3889, 2)))
