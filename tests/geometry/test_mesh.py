"""Mesh operators against closed forms and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from tests.geometry.shapes import bumpy_sphere, icosphere

from animal4d.geometry.mesh import (
    corners_in_frames,
    cotangent_weights,
    difference_operator,
    face_areas,
    sample_surface,
    signed_volume,
    uniform_laplacian,
    unique_edges,
    vertex_normals,
)


def test_sphere_has_the_area_volume_and_normals_of_a_sphere():
    vertices, faces = icosphere(4)
    assert face_areas(vertices, faces).sum() == pytest.approx(4 * math.pi, rel=5e-3)
    assert signed_volume(vertices, faces) == pytest.approx(4 / 3 * math.pi, rel=5e-3)
    assert signed_volume(vertices, faces.flip(1)) == pytest.approx(-4 / 3 * math.pi, rel=5e-3)
    torch.testing.assert_close(vertex_normals(vertices, faces), vertices, rtol=0, atol=0.02)


def test_vertex_without_a_face_has_a_zero_normal():
    vertices = torch.cat((torch.eye(3), torch.ones(1, 3)))
    assert (vertex_normals(vertices, torch.tensor([[0, 1, 2]]))[3] == 0).all()


def test_unique_edges_obey_eulers_formula():
    vertices, faces = icosphere(2)
    edges = unique_edges(faces)
    assert len(vertices) - len(edges) + len(faces) == 2
    assert (edges[:, 0] < edges[:, 1]).all()


def test_uniform_laplacian_is_the_mean_of_the_neighbours_minus_the_vertex():
    vertices, faces = bumpy_sphere(0, 1)
    values = torch.stack((vertices, vertices.flip(0)))
    result = uniform_laplacian(faces, len(vertices)) @ values
    for vertex in range(len(vertices)):
        around = {int(j) for face in faces.tolist() if vertex in face for j in face} - {vertex}
        expected = values[:, sorted(around)].mean(1) - values[:, vertex]
        torch.testing.assert_close(result[:, vertex], expected, rtol=1e-5, atol=1e-6)


def test_sparse_operators_pass_gradcheck():
    vertices, faces = bumpy_sphere(0, 0)
    values = torch.stack((vertices, vertices.flip(0))).double().requires_grad_()
    laplacian = uniform_laplacian(faces, len(vertices), torch.float64)
    difference = difference_operator(unique_edges(faces), len(vertices), torch.float64)
    assert torch.autograd.gradcheck(lambda x: laplacian @ x, values)
    assert torch.autograd.gradcheck(lambda x: difference @ x, values)


def test_isolated_vertex_has_no_laplacian():
    laplacian = uniform_laplacian(torch.tensor([[0, 1, 2]]), 4)
    assert ((laplacian @ torch.rand(1, 4, 3))[0, 3] == 0).all()


def test_cotangent_weights_of_an_equilateral_pair_of_triangles():
    height = math.sqrt(3) / 2
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, height, 0], [0.5, -height, 0]])
    edges, weights = cotangent_weights(vertices, torch.tensor([[0, 1, 2], [1, 0, 3]]))
    expected = {(0, 1): 2 / math.sqrt(3)}
    for edge, weight in zip(edges.tolist(), weights.tolist(), strict=True):
        assert weight == pytest.approx(expected.get(tuple(edge), 1 / math.sqrt(3)), rel=1e-5)


def test_samples_are_spread_by_area_and_reproducible():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [3, 0, 1], [3, 3, 1], [0, 3, 1]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    samples = sample_surface(vertices, faces, 20_000, torch.Generator().manual_seed(3))
    share = (samples.face_index == 1).float().mean()
    assert share == pytest.approx(0.9, abs=0.01)
    places = samples.on(vertices[None], faces)[0]
    centroid = places[samples.face_index == 1].mean(0)
    torch.testing.assert_close(centroid, vertices[3:].mean(0), rtol=0, atol=0.03)
    again = sample_surface(vertices, faces, 20_000, torch.Generator().manual_seed(3))
    assert torch.equal(samples.face_index, again.face_index)
    assert torch.equal(samples.barycentrics, again.barycentrics)


@pytest.mark.parametrize("per_frame", [False, True])
def test_surface_points_ride_on_the_mesh_and_carry_gradients(per_frame):
    first, faces = bumpy_sphere(0, 1)
    vertices = torch.stack((first, first * 2)).double().requires_grad_()
    samples = sample_surface(vertices if per_frame else vertices[0], faces, 50, torch.Generator().manual_seed(0))
    places = samples.on(vertices, faces)
    assert places.shape == (2, 50, 3)
    if not per_frame:
        torch.testing.assert_close(places[1], 2 * places[0])
    (gradient,) = torch.autograd.grad(places.sum(), vertices)
    torch.testing.assert_close(gradient.sum(), torch.tensor(300.0, dtype=torch.float64))


def test_gradient_of_corners_is_the_same_every_time():
    """Many points on few vertices and two threads: added up in any order, ten gradients would be ten different ones."""
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(4, 60, 3, generator=generator, requires_grad=True)
    frame = torch.randint(4, (100_000,), generator=generator)
    corners = torch.randint(60, (100_000, 3), generator=generator)
    weights = torch.randn(100_000, 3, 3, generator=generator)
    torch.testing.assert_close(corners_in_frames(vertices, frame, corners), vertices[frame[:, None], corners])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(10):
            loss = (corners_in_frames(vertices, frame, corners) * weights).sum()
            gradients.append(torch.autograd.grad(loss, vertices)[0])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
