"""Alignment recovers what was applied, obeys the laws of a group, and survives outliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.geometry.alignment import (
    Similarity,
    align_camera_tracks,
    fit_similarity,
    fit_similarity_robust,
    procrustes_aligned,
)
from animal4d.geometry.cameras import Cameras, cameras_from_pytorch3d, cameras_to_pytorch3d
from animal4d.geometry.rotations import matrix_from_axis_angle

seeds = st.integers(0, 2**31 - 1)


def random_similarity(generator: torch.Generator, batch: tuple[int, ...] = (), with_scale: bool = True) -> Similarity:
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn((*batch, *shape), dtype=torch.float64, generator=generator)

    scale = normal().exp() if with_scale else torch.ones(batch, dtype=torch.float64)
    return Similarity(scale, matrix_from_axis_angle(2 * normal(3)), 5 * normal(3))


@given(seed=seeds, n_points=st.integers(3, 30), with_scale=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_applied_motion_is_recovered(seed, n_points, with_scale):
    generator = torch.Generator().manual_seed(seed)
    motion = random_similarity(generator, (2, 3), with_scale)
    points = torch.randn(2, 3, n_points, 3, dtype=torch.float64, generator=generator)
    found = fit_similarity(points, motion.apply(points), with_scale=with_scale)
    torch.testing.assert_close(found.apply(points), motion.apply(points), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(torch.linalg.det(found.rotation), torch.ones(2, 3, dtype=torch.float64))


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_no_nearby_similarity_is_better(seed):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(10, 3, dtype=torch.float64, generator=generator)
    target = torch.randn(10, 3, dtype=torch.float64, generator=generator)
    weights = torch.rand(10, dtype=torch.float64, generator=generator)

    def cost(motion: Similarity) -> torch.Tensor:
        return (weights * (motion.apply(source) - target).square().sum(-1)).sum()

    best = fit_similarity(source, target, weights)
    for _ in range(10):
        nudge = 0.01 * torch.randn(7, dtype=torch.float64, generator=generator)
        other = Similarity(
            best.scale * nudge[0].exp(),
            matrix_from_axis_angle(nudge[1:4]) @ best.rotation,
            best.translation + nudge[4:],
        )
        assert cost(other) >= cost(best) - 1e-12


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_inverse_and_composition(seed):
    generator = torch.Generator().manual_seed(seed)
    first, second = random_similarity(generator), random_similarity(generator)
    points = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(second.compose(first).apply(points), second.apply(first.apply(points)))
    torch.testing.assert_close(first.inverse().apply(first.apply(points)), points)


def test_a_mirror_image_is_not_matched_by_a_reflection():
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    found = fit_similarity(points, points * torch.tensor([1.0, -1.0, 1.0]))
    assert torch.linalg.det(found.rotation) == pytest.approx(1.0, abs=1e-5)


def test_points_of_weight_zero_do_not_count():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    target = points + 1
    target[5] = 1e4
    found = fit_similarity(points, target, torch.tensor([1.0, 1, 1, 1, 1, 0]))
    torch.testing.assert_close(found.apply(points[:5]), target[:5], rtol=1e-4, atol=1e-4)


def test_coinciding_points_are_only_moved():
    found = fit_similarity(torch.zeros(4, 3), torch.ones(4, 3))
    assert found.scale == 1
    torch.testing.assert_close(found.apply(torch.zeros(4, 3)), torch.ones(4, 3))


@pytest.mark.parametrize("seed", range(5))
def test_robust_fit_ignores_a_third_of_wrong_pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    motion = random_similarity(generator)
    points = torch.randn(60, 3, dtype=torch.float64, generator=generator)
    target = motion.apply(points)
    target[:20] = target.mean(0) + 3 * motion.scale * torch.randn(20, 3, dtype=torch.float64, generator=generator)
    found = fit_similarity_robust(points, target)
    error = (found.apply(points[20:]) - motion.apply(points[20:])).norm(dim=-1).max() / motion.scale
    assert error < 0.01


def test_procrustes_removes_every_similarity():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4, 9, 3, dtype=torch.float64, generator=generator)
    moved = random_similarity(generator, (4,)).apply(points)
    torch.testing.assert_close(procrustes_aligned(moved, points), points)


@pytest.mark.golden
def test_golden_camera_alignment(golden_dir):
    golden = np.load(golden_dir / "camera_alignment.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    focal, middle = torch.ones(len(tensors["R_source"]), 2), torch.zeros(len(tensors["R_source"]), 2)
    source, target = (
        cameras_from_pytorch3d(tensors[f"R_{name}"], tensors[f"T_{name}"], focal, middle, (2, 2))
        for name in ("source", "target")
    )
    aligned = cameras_to_pytorch3d(align_camera_tracks(source, target))
    torch.testing.assert_close(aligned["R"], tensors["R_aligned"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(aligned["T"], tensors["T_aligned"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 6])
def test_camera_tracks_that_differ_by_a_similarity_are_brought_together(frames):
    """The same pictures from a world that was turned, shifted and scaled."""
    generator = torch.Generator().manual_seed(0)
    world_to_camera = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    vectors = torch.randn(frames, 6, dtype=torch.float64, generator=generator)
    world_to_camera[:, :3, :3], world_to_camera[:, :3, 3] = matrix_from_axis_angle(vectors[:, :3]), vectors[:, 3:]
    source = Cameras(torch.eye(3, dtype=torch.float64).repeat(frames, 1, 1), world_to_camera, (2, 2))
    rotation, shift, scale = matrix_from_axis_angle(vectors[0, :3] * 2), vectors[0, 3:] + 1, 1.0 if frames == 1 else 2.5
    changed = world_to_camera.clone()
    changed[:, :3, :3] = source.R_cam_from_world @ rotation
    changed[:, :3, 3] = source.R_cam_from_world @ shift + scale * source.t_cam_from_world
    target = Cameras(source.intrinsics, changed, (2, 2))
    torch.testing.assert_close(align_camera_tracks(source, target).world_to_camera, changed)
