"""Priors: what they punish, what they leave alone, and that they are differentiable where they are zero."""

from __future__ import annotations

import torch

from animal4d.geometry.rotations import matrix_from_axis_angle, rotation_about
from animal4d.losses.priors import joint_limits, lasting_bend, mean_square, rest_pose

LIMITS = torch.tensor([-0.5, 0.5]).expand(3, 3, 2)


def rotations(vectors: torch.Tensor) -> torch.Tensor:
    return matrix_from_axis_angle(vectors)


def test_mean_square():
    assert mean_square(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).tolist() == [5.0, 0.0]


def test_within_the_limits_is_free_and_beyond_costs_the_square():
    vectors = torch.zeros(3, 3, 3)
    vectors[1, 1, 0] = 0.4
    vectors[2, 2, 1] = -0.8
    loss = joint_limits(rotations(vectors), LIMITS)
    torch.testing.assert_close(loss, torch.tensor([0.0, 0.0, 0.09]), rtol=1e-4, atol=1e-6)


def test_the_root_may_turn_anywhere():
    vectors = torch.zeros(1, 3, 3)
    vectors[0, 0] = torch.tensor([0.0, 0.0, 3.0])
    assert joint_limits(rotations(vectors), LIMITS) == 0
    assert rest_pose(rotations(vectors)) == 0


def test_rest_pose_is_the_squared_angle_near_rest():
    vectors = torch.zeros(1, 3, 3)
    vectors[0, 1, 0], vectors[0, 2, 2] = 0.1, -0.2
    torch.testing.assert_close(rest_pose(rotations(vectors)), torch.tensor([0.05]), rtol=1e-2, atol=0)


def test_priors_pass_gradcheck_and_are_finite_at_rest():
    vectors = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    limits = LIMITS.double()
    assert torch.autograd.gradcheck(lambda v: joint_limits(rotations(v), limits), vectors)
    assert torch.autograd.gradcheck(lambda v: rest_pose(rotations(v)), vectors)

    matrices = torch.eye(3).repeat(2, 3, 1, 1).requires_grad_()
    (joint_limits(matrices, LIMITS) + joint_limits(matrices, LIMITS - 1)).sum().backward()
    assert matrices.grad is not None
    assert matrices.grad.isfinite().all()


def test_a_bend_that_lasts_costs_and_one_that_passes_does_not():
    midline = [1, 2]
    aside = rotation_about("z", torch.tensor(0.3))
    turned = torch.eye(3).repeat(4, 3, 1, 1)
    turned[:, 1] = aside
    torch.testing.assert_close(lasting_bend(turned, midline), torch.tensor(0.09), atol=1e-5, rtol=0)
    turned[2:, 1] = aside.T
    torch.testing.assert_close(lasting_bend(turned, midline), torch.tensor(0.0), atol=1e-6, rtol=0)
    turned[:, 1] = rotation_about("y", torch.tensor(0.3))  # a lowered neck is no bend
    torch.testing.assert_close(lasting_bend(turned, midline), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_gradient_of_the_lasting_bend():
    vectors = (0.3 * torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: lasting_bend(matrix_from_axis_angle(v), [0, 1]), (vectors,))
