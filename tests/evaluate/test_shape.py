"""3D errors on surfaces whose distance is known."""

from __future__ import annotations

import math

import pytest
import torch

from animal4d.evaluate import shape
from animal4d.geometry.alignment import Similarity
from animal4d.geometry.rotations import matrix_from_axis_angle
from export.toy import toy_animal, toy_reconstruction


@pytest.fixture(scope="module")
def model():
    return toy_animal()


@pytest.fixture(scope="module")
def vertices(model):
    return toy_reconstruction(model, frames=4).posed(model).vertices


@pytest.fixture(scope="module")
def moved_by() -> Similarity:
    rotation = matrix_from_axis_angle(torch.tensor([0.3, -0.2, 0.4], dtype=torch.float64))
    return Similarity(torch.tensor(1.7, dtype=torch.float64), rotation, torch.tensor([1.0, 2.0, -3.0]).double())


def test_one_similarity_over_the_clip_costs_nothing(vertices, moved_by):
    moved = shape.apply_to_clip(moved_by, vertices)
    assert shape.vertex_errors(vertices, moved).max() < 1e-5


def test_a_similarity_in_each_frame_does_cost(vertices):
    drifting = vertices + torch.arange(4.0)[:, None, None] * 0.2
    assert shape.vertex_errors(drifting, vertices).mean() > 0.05
    assert shape.procrustes_joint_errors(drifting, vertices).max() < 1e-5


def turning(points: torch.Tensor, frames: int) -> torch.Tensor:
    """A stiff set of points that turns and wanders through the world."""
    angles = torch.linspace(0, 2.0, frames)[:, None] * torch.tensor([0.4, -0.3, 1.0])
    return points @ matrix_from_axis_angle(angles).transpose(1, 2) + torch.arange(frames)[:, None, None] * 0.3


def test_joints_that_mean_another_place_do_not_count_as_motion():
    """Beside their counterparts by vectors that are fixed in the animal: up to what Procrustes' own turn makes of them.
    One joint that swings by 0.2 in sine, and nothing else, costs 2 / pi * 0.2 over the number of joints and less, since
    Procrustes gives way."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(12, 3, generator=generator)
    beside = points + 0.3 * torch.randn(12, 3, generator=generator)
    truth, ours = turning(points, 30), 1.3 * turning(beside, 30)
    assert shape.procrustes_joint_errors(ours, truth).mean() > 0.2
    assert shape.joint_motion_errors(ours, truth).max() < 1e-4

    swing = torch.zeros(30, 12, 3)
    swing[:, 4, 2] = 0.2 * torch.sin(torch.linspace(0, 4 * torch.pi, 31)[:-1])
    error = shape.joint_motion_errors(turning(points, 30) + swing, truth).mean()
    alone = 2 / math.pi * 0.2 / 12
    assert 0.8 * alone < error < 2.5 * alone


def test_chamfer_of_the_same_surface_is_only_sampling(model, vertices):
    distances = shape.chamfer_distances(vertices, model.faces, vertices, model.faces)
    assert (distances / shape.bounding_diagonals(vertices)).max() < 0.004


def test_chamfer_of_parallel_squares_is_their_distance():
    square = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    shifted = square + torch.tensor([0.0, 0.0, 0.3])
    assert shape.chamfer_distances(square, faces, shifted, faces)[0] == pytest.approx(0.3, rel=2e-3)


def test_surfaces_of_different_topology_find_together(model, vertices, moved_by):
    keep = model.faces[::2]
    sparse = shape.apply_to_clip(moved_by, vertices)
    start = shape.align_extents(vertices, sparse)
    aligned = shape.apply_to_clip(shape.align_surfaces(vertices, model.faces, sparse, keep, start), vertices)
    error = shape.chamfer_distances(aligned, model.faces, sparse, keep) / shape.bounding_diagonals(sparse)
    assert error.max() < 0.015


@pytest.mark.parametrize(("angle", "right"), [(0, True), (80, True), (100, False), (180, False)])
def test_right_way_round_is_a_matter_of_90_degrees(angle, right):
    tail, radians = torch.zeros(1, 3), math.radians(angle)
    true_head, head = torch.tensor([[1.0, 0, 0]]), torch.tensor([[math.cos(radians), 0, math.sin(radians)]])
    assert bool(shape.faces_right_way(tail, head, tail, true_head)[0]) is right


def test_accelerations_of_steady_and_of_trembling_motion():
    time = torch.arange(6.0)[:, None, None]
    steady = time * torch.tensor([1.0, 2.0, 3.0]) + torch.zeros(6, 5, 3)
    assert shape.mean_accelerations(steady).max() < 1e-5
    trembling = steady + 0.1 * (-1.0) ** time * torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(shape.mean_accelerations(trembling), torch.full((4,), 0.4), atol=1e-4, rtol=0)
