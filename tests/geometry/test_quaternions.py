"""Quaternions against scipy's rotations."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from animal4d.geometry.quaternions import angle_of, matrix_from_quaternion, slerp, without_jumps
from animal4d.geometry.rotations import quaternion_from_matrix

seeds = st.integers(0, 2**31 - 1)


def pair(seed: int, angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rotations `angle` apart, with either sign."""
    rng = np.random.default_rng(seed)
    first = Rotation.random(random_state=rng)
    axis = rng.standard_normal(3)
    second = first * Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))
    signs = rng.choice([-1, 1], 2)
    quaternions = (np.roll(rotation.as_quat(), 1) for rotation in (first, second))
    return tuple(torch.tensor(sign * quaternion) for sign, quaternion in zip(signs, quaternions, strict=True))


@settings(deadline=None)
@given(seeds, st.floats(0, 3.1), st.floats(0, 1))
def test_slerp_is_scipys(seed, angle, share):
    first, second = pair(seed, angle)
    both = Rotation.from_quat(np.roll(torch.stack((first, second)).numpy(), -1, axis=1))
    wanted = Slerp([0, 1], both)(share).as_matrix()
    found = matrix_from_quaternion(slerp(first, second, torch.tensor(share, dtype=torch.float64)))
    np.testing.assert_allclose(found, wanted, atol=1e-7)


@settings(deadline=None)
@given(seeds, st.floats(0, 3.14))
def test_angle(seed, angle):
    assert abs(float(angle_of(*pair(seed, angle))) - angle) < 1e-7


@settings(deadline=None)
@given(seeds)
def test_matrices_and_back(seed):
    matrix = torch.tensor(Rotation.random(5, random_state=seed).as_matrix())
    torch.testing.assert_close(matrix_from_quaternion(quaternion_from_matrix(matrix)), matrix)


@settings(deadline=None)
@given(seeds)
def test_without_jumps_are_the_same_rotations_and_neighbours(seed):
    random = torch.randn(20, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    smooth = without_jumps(random)
    torch.testing.assert_close(matrix_from_quaternion(smooth), matrix_from_quaternion(random))
    assert bool(((smooth[1:] * smooth[:-1]).sum(-1) >= 0).all())
