"""Camera poses from points of which many are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from animal4d.geometry.pnp import PnpSettings, solve_pnp

INTRINSICS = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


def scene(seed: int, count: int = 300, noise: float = 1.0, outliers: float = 0.4):
    """Points of a long body before a camera: points, pixels, rotation, translation, which pairs are right."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(count, 3)) * [0.5, 0.15, 0.25]
    rotation = Rotation.random(random_state=seed).as_matrix()
    translation = random.uniform([-0.5, -0.4, 3.0], [0.5, 0.4, 5.0])
    seen = points @ rotation.T + translation
    pixels = (seen / seen[:, 2:]) @ INTRINSICS.T[:, :2] + noise * random.normal(size=(count, 2))
    wrong = np.arange(count) < outliers * count
    pixels[wrong] = random.uniform([0, 0], [640, 480], size=(wrong.sum(), 2))
    return points, pixels, rotation, translation, ~wrong


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_pose_is_found_among_noise_and_two_fifths_of_wrong_pairs(seed):
    """With 180 right pairs and 1 pixel of noise the least-squares pose itself is off by up to 0.5 degrees."""
    points, pixels, rotation, translation, right = scene(seed)
    pose = solve_pnp(points, pixels, INTRINSICS, threshold=6.0)
    assert pose is not None
    assert np.degrees(Rotation.from_matrix(pose.R_cam_from_body @ rotation.T).magnitude()) < 1.0
    np.testing.assert_allclose(pose.t_cam_from_body, translation, rtol=0.02, atol=0.01)
    assert (pose.inliers & right).sum() > 0.95 * right.sum()
    assert (pose.inliers & ~right).sum() < 0.05 * right.sum()


@pytest.mark.parametrize("seed", [32, 50, 125, 189])
def test_the_pose_has_the_smallest_error_of_its_inliers(seed):
    """Against SciPy's least squares from the truth."""
    points, pixels, rotation, translation, _ = scene(seed)
    pose = solve_pnp(points, pixels, INTRINSICS, threshold=6.0)
    assert pose is not None

    def residuals(parameters):
        turned = points[pose.inliers] @ Rotation.from_rotvec(parameters[:3]).as_matrix().T + parameters[3:]
        return ((turned / turned[:, 2:]) @ INTRINSICS.T[:, :2] - pixels[pose.inliers]).ravel()

    start = np.concatenate([Rotation.from_matrix(rotation).as_rotvec(), translation])
    best = np.linalg.norm(least_squares(residuals, start).fun)
    found = np.concatenate([Rotation.from_matrix(pose.R_cam_from_body).as_rotvec(), pose.t_cam_from_body])
    assert np.linalg.norm(residuals(found)) < 1.001 * best


def test_without_noise_the_pose_is_exact():
    points, pixels, rotation, translation, right = scene(3, noise=0.0, outliers=0.2)
    pose = solve_pnp(points, pixels, INTRINSICS, threshold=1.0)
    assert pose is not None
    np.testing.assert_allclose(pose.R_cam_from_body, rotation, atol=1e-5)
    np.testing.assert_allclose(pose.t_cam_from_body, translation, atol=1e-4)
    assert (pose.inliers >= right).all()


def test_the_same_input_gives_the_same_pose():
    points, pixels, *_ = scene(5)
    first, second = (solve_pnp(points, pixels, INTRINSICS, 6.0) for _ in range(2))
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.R_cam_from_body, second.R_cam_from_body)
    np.testing.assert_array_equal(first.inliers, second.inliers)


def test_pairs_that_are_not_finite_are_left_out():
    points, pixels, rotation, *_ = scene(6, outliers=0.0)
    points[:20], pixels[20:40] = np.nan, np.inf
    pose = solve_pnp(points, pixels, INTRINSICS, 6.0)
    assert pose is not None and not pose.inliers[:40].any()
    assert np.degrees(Rotation.from_matrix(pose.R_cam_from_body @ rotation.T).magnitude()) < 1.0


@pytest.mark.parametrize("case", ["no points", "three points", "one place", "chance", "on a line"])
def test_there_is_no_pose_where_nothing_determines_one(case):
    points, pixels, *_ = scene(7, outliers=1.0 if case == "chance" else 0.0)
    if case == "no points":
        points, pixels = points[:0], pixels[:0]
    elif case == "three points":
        points, pixels = points[:3], pixels[:3]
    elif case == "one place":
        points = np.repeat(points[:1], len(points), axis=0)
    elif case == "on a line":
        points = points * [1, 0, 0]
        pixels = np.random.default_rng(0).uniform(0, 480, size=pixels.shape)
    settings_used = PnpSettings(least_inliers=0.3)
    assert solve_pnp(points, pixels, INTRINSICS, 4.0, settings_used) is None
