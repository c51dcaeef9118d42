"""The 24 keypoints against a slow reference, and those that were not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animal4d.body.keypoints import KEYPOINT_NAMES
from animal4d.losses.sparse_keypoints import sparse_keypoints

SIZE = (24, 32)


@pytest.fixture
def projected() -> torch.Tensor:
    shape = (2, len(KEYPOINT_NAMES), 2)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 24


@pytest.fixture
def keypoints() -> torch.Tensor:
    shape = (2, len(KEYPOINT_NAMES), 3)
    keypoints = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    keypoints[..., :2] *= 24
    keypoints[0, 5:, 2] = 0
    return keypoints


def test_it_is_the_mean_over_the_keypoints_seen(projected, keypoints):
    distances = np.linalg.norm((projected - keypoints[..., :2]).numpy(), axis=-1) / 32
    costs = distances * keypoints[..., 2].numpy()
    expected = [costs[0, :5].mean(), costs[1].mean()]
    np.testing.assert_allclose(sparse_keypoints(projected, keypoints, SIZE).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("column", [0, 2])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_was_not_seen(projected, keypoints, column, value):
    unseen = keypoints.clone()
    unseen[1, 3, 2] = 0
    keypoints[1, 3, column] = value
    projected.requires_grad_()
    loss = sparse_keypoints(projected, keypoints, SIZE)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), sparse_keypoints(projected.detach(), unseen, SIZE))
    assert projected.grad is not None
    assert projected.grad.isfinite().all()
    assert (projected.grad[1, 3] == 0).all()


def test_frame_without_keypoints_is_zero(projected, keypoints):
    keypoints[0, :, 2] = 0
    projected.requires_grad_()
    loss = sparse_keypoints(projected, keypoints, SIZE)
    loss.sum().backward()
    assert loss[0] == 0 < loss[1]
    assert projected.grad is not None
    assert (projected.grad[0] == 0).all()


def test_sparse_keypoints_pass_gradcheck(projected, keypoints):
    projected.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: sparse_keypoints(p, keypoints, SIZE), projected)
