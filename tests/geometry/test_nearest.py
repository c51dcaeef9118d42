"""Nearest neighbours on the grid against brute force and the k-d tree, and the chamfer distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from animal4d.geometry.nearest import chamfer_2d, nearest_2d

coordinates = st.floats(-100, 100, width=32) | st.integers(-3, 3).map(float)


def point_sets(low: int):
    return st.integers(low, 40).flatmap(lambda n: arrays.arrays(np.float32, (1, n, 2), elements=coordinates))


@given(queries=point_sets(1), targets=point_sets(1))
@settings(max_examples=200, deadline=None)
def test_found_distance_is_the_least_of_all(queries, targets):
    """Also for coincident points, points on a line, on a lattice, and queries far outside."""
    queries, targets = torch.from_numpy(queries), torch.from_numpy(targets)
    index = nearest_2d(queries, targets)
    found = (queries - targets[0][index]).square().sum(-1)
    least = (queries[:, :, None] - targets[:, None]).square().sum(-1).amin(-1)
    torch.testing.assert_close(found, least, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_grid_equals_the_kd_tree_on_large_uneven_sets(scale):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(3, 3000, 2, generator=generator) * torch.tensor([1.0, 0.05]) * scale
    targets[1, 0] = 50 * scale
    queries = torch.randn(3, 2000, 2, generator=generator) * scale * 2
    lengths = torch.tensor([3000, 1700, 1])
    fast = nearest_2d(queries, targets, target_lengths=lengths)
    reference = nearest_2d(queries, targets, target_lengths=lengths, backend="scipy")
    frame = torch.arange(3)[:, None]
    torch.testing.assert_close(
        (queries - targets[frame, fast]).norm(dim=-1), (queries - targets[frame, reference]).norm(dim=-1)
    )


def test_padding_and_empty_frames_give_minus_one():
    queries, targets = torch.rand(2, 3, 2), torch.rand(2, 4, 2)
    index = nearest_2d(queries, targets, torch.tensor([2, 3]), torch.tensor([4, 0]))
    assert (index[0, :2] >= 0).all()
    assert index[0, 2] == -1
    assert (index[1] == -1).all()


def test_a_query_that_is_not_finite_does_no_harm():
    queries = torch.tensor([[[float("nan"), 0.0], [float("inf"), 1.0], [0.2, 0.2]]])
    index = nearest_2d(queries, torch.rand(1, 5, 2))
    assert ((index >= 0) & (index < 5)).all()


@pytest.mark.parametrize("backend", ["numba", "scipy"])
def test_targets_that_are_not_finite_count_as_none(backend):
    targets = torch.rand(2, 4, 2)
    targets[1, 2, 0] = float("nan")
    index = nearest_2d(torch.rand(2, 3, 2), targets, backend=backend)
    assert (index[0] >= 0).all()
    assert (index[1] == -1).all()


@pytest.mark.golden
@pytest.mark.parametrize("backend", ["numba", "scipy"])
def test_golden_chamfer(golden_dir, backend):
    golden = np.load(golden_dir / "chamfer.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    points = tensors["points"].requires_grad_()
    loss = chamfer_2d(points, tensors["target"], tensors["target_length"], tensors["weights"], backend)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), tensors["loss"], rtol=1e-4, atol=0)
    torch.testing.assert_close(points.grad, tensors["gradient"], rtol=1e-4, atol=1e-8)


def test_chamfer_passes_gradcheck_on_both_sides():
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(2, 12, 2, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.rand(2, 9, 2, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.rand(2, 12, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([9, 5])
    assert torch.autograd.gradcheck(lambda p, t: chamfer_2d(p, t, lengths, weights), (points, target))


def test_frame_without_targets_gives_zero_loss_and_gradient():
    points = torch.rand(2, 5, 2).requires_grad_()
    loss = chamfer_2d(points, torch.full((2, 3, 2), float("nan")), torch.tensor([0, 0]))
    loss.sum().backward()
    assert (loss == 0).all()
    assert points.grad is not None
    assert (points.grad == 0).all()
    assert (chamfer_2d(points, torch.zeros(2, 0, 2)) == 0).all()
