"""Rotations: group laws, inverses of each other, gradients, and the published 6D convention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from animal4d.geometry.rotations import (
    angle_between,
    axis_angle_from_matrix,
    matrix_from_6d,
    matrix_from_axis_angle,
    matrix_to_6d,
    quaternion_from_matrix,
    rotation_about,
)

vectors = st.tuples(*[st.floats(-3, 3) for _ in range(3)]).map(lambda v: torch.tensor(v, dtype=torch.float64))


@pytest.mark.golden
def test_golden_rotation_6d(golden_dir):
    golden = np.load(golden_dir / "rotation_6d.npz")
    torch.testing.assert_close(
        matrix_from_6d(torch.from_numpy(golden["d6"])), torch.from_numpy(golden["matrix"]), rtol=1e-4, atol=1e-6
    )


@given(vector=vectors)
@settings(max_examples=100, deadline=None)
def test_rodrigues_agrees_with_scipy(vector):
    expected = torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix())
    torch.testing.assert_close(matrix_from_axis_angle(vector), expected, rtol=0, atol=1e-8)


@given(vector=vectors)
@settings(max_examples=100, deadline=None)
def test_quaternion_agrees_with_scipy(vector):
    expected = Rotation.from_rotvec(vector.numpy()).as_quat(canonical=True)[[3, 0, 1, 2]]
    found = quaternion_from_matrix(matrix_from_axis_angle(vector))
    assert abs(float(found @ torch.from_numpy(expected))) == pytest.approx(1, abs=1e-8)
    assert found[0] >= 0


@given(vector=vectors)
@settings(max_examples=100, deadline=None)
def test_matrix_comes_back_from_each_representation(vector):
    matrix = matrix_from_axis_angle(vector)
    torch.testing.assert_close(matrix_from_axis_angle(axis_angle_from_matrix(matrix)), matrix, rtol=0, atol=1e-6)
    torch.testing.assert_close(matrix_from_6d(matrix_to_6d(matrix)), matrix, rtol=0, atol=1e-8)
    assert axis_angle_from_matrix(matrix).norm() <= math.pi + 1e-6


@given(a=vectors, b=vectors)
@settings(max_examples=50, deadline=None)
def test_angle_between_is_symmetric_and_does_not_see_a_common_turn(a, b):
    first, second = matrix_from_axis_angle(a), matrix_from_axis_angle(b)
    angle = angle_between(first, second)
    torch.testing.assert_close(angle, angle_between(second, first), rtol=0, atol=1e-6)
    torch.testing.assert_close(angle, angle_between(second @ first, second @ second), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", "xyz")
def test_rotation_about_an_axis_is_right_handed(axis):
    quarter = rotation_about(axis, torch.tensor(math.pi / 2))
    index = "xyz".index(axis)
    turned = quarter @ torch.eye(3)[(index + 1) % 3]
    torch.testing.assert_close(turned, torch.eye(3)[(index + 2) % 3], rtol=0, atol=1e-6)


def test_6d_vectors_of_any_length_give_rotations():
    matrix = matrix_from_6d(100 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(matrix @ matrix.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(50, dtype=torch.float64))


def test_gradients_at_random_places_and_at_zero():
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_()
    six = torch.randn(4, 6, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(matrix_from_axis_angle, vector)
    assert torch.autograd.gradcheck(matrix_from_6d, six)
    assert torch.autograd.gradcheck(lambda v: axis_angle_from_matrix(matrix_from_axis_angle(v)), vector)
    zero = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(matrix_from_axis_angle, zero)
