"""From CSE files to root poses: the whole surface path on a clip whose poses are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animal4d.cues.surface import CsePredictions, SurfacePoints
from animal4d.cues.surface_embeddings import template_embeddings
from animal4d.fit.pnp_start import pnp_path
from animal4d.geometry.cameras import project
from animal4d.geometry.rotations import angle_between, matrix_from_axis_angle
from cues.surface_files import MODEL, rendered_predictions, write_embedding_files
from fit.scenes import SIZE, clip_of_masks, rest_masks, turning_views

FRAMES = 8


def degrees(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(angle_between(a.double(), b.double()))


def truth() -> tuple[torch.Tensor, torch.Tensor]:
    """An animal that turns by 3 degrees a frame and drifts to the side."""
    places = torch.tensor([0.0, 0.0, 3.2]) + torch.arange(FRAMES)[:, None] * torch.tensor([0.01, 0.0, 0.02])
    return turning_views(FRAMES, turn=3.0), places


def vertex_points(R: torch.Tensor, t: torch.Tensor, intrinsics: torch.Tensor, seed: int = 0) -> SurfacePoints:
    """Projections of random vertices with half a pixel of noise; three in ten are of other vertices."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randint(MODEL.n_vertices, (len(R), 200), generator=generator)
    seen = MODEL.v_template[vertices] @ R.transpose(1, 2) + t[:, None]
    pixels = project(seen, intrinsics) + 0.5 * torch.randn(len(R), 200, 2, generator=generator)
    vertices[:, :60] = torch.randint(MODEL.n_vertices, (len(R), 60), generator=generator)
    return SurfacePoints(pixels, vertices, torch.ones(len(R), 200))


def simple_clip(R, t, world_to_camera=None):
    return clip_of_masks(rest_masks(MODEL, R, t), world_to_camera)


def test_root_poses_from_the_files_of_a_network(tmp_path):
    """Rendered embeddings, carried from another mesh by files, with noise: a frame without detection is filled in."""
    R, t = truth()
    clip = simple_clip(R, t)
    files, true = write_embedding_files(tmp_path, smal_is_template=True)
    seen = MODEL.v_template @ R.transpose(1, 2) + t[:, None]
    predictions = rendered_predictions(clip, seen, torch.from_numpy(true).float(), noise=0.02)
    for items in predictions.entries.values():
        items[3] = None
    path = predictions.write(tmp_path / "seq_200_cse_predictions.pk")
    points = CsePredictions(path, template_embeddings(files, MODEL), tuple(range(FRAMES)))(clip)
    true_pixels = project(seen.gather(1, points.vertices[..., None].expand(-1, -1, 3)), clip.intrinsics)
    errors = (true_pixels - points.pixels).norm(dim=-1)[points.confidence > 0]
    found = pnp_path(clip, MODEL.v_template, points)
    assert found is not None
    assert found.valid.tolist() == [frame != 3 for frame in range(FRAMES)]
    assert found.inliers[3] == 0 and (found.inliers[found.valid] >= 100).all()
    turned = degrees(found.R_cam_from_body, R)
    print("median pixel error", errors.median(), "points", (points.confidence > 0).sum(1).tolist(), "turned", turned)
    assert errors.median() < 2.0  # of 96
    assert turned.max() < 5.0
    torch.testing.assert_close(found.t_cam_from_body, t, rtol=0.05, atol=0.08)


def test_a_frame_seen_the_wrong_way_round_is_outvoted():
    R, t = truth()
    clip = simple_clip(R, t)
    points = vertex_points(R, t, clip.intrinsics)
    about = matrix_from_axis_angle(torch.tensor([0.0, 0.0, torch.pi]))
    flipped = vertex_points(R @ about, t, clip.intrinsics)
    for field in ("pixels", "vertices"):
        getattr(points, field)[5] = getattr(flipped, field)[5]
    found = pnp_path(clip, MODEL.v_template, points)
    assert found is not None
    assert found.valid.tolist() == [frame != 5 for frame in range(FRAMES)]
    assert found.inliers[5] > 100
    assert degrees(found.R_cam_from_body, R).max() < 6.0


def test_a_camera_track_of_another_world_is_aligned():
    """The animal stands still; the track's world is turned, shifted and three times as large."""
    R, t = truth()
    spin = matrix_from_axis_angle(torch.tensor([0.4, -1.0, 0.7]))
    shift = torch.tensor([2.0, -1.0, 5.0])
    world_to_camera = torch.eye(4).repeat(FRAMES, 1, 1)
    world_to_camera[:, :3, :3] = R @ spin
    world_to_camera[:, :3, 3] = R @ shift + 3 * t
    clip = simple_clip(R, t, world_to_camera)
    points = vertex_points(R, t, clip.intrinsics)
    points.confidence[2] = 0
    points.vertices[6] = points.vertices[6].flip(0)
    found = pnp_path(clip, MODEL.v_template, points)
    assert found is not None
    assert not found.valid[2] and found.valid.sum() >= FRAMES - 2
    assert degrees(found.R_cam_from_body, R).max() < 1.5
    torch.testing.assert_close(found.t_cam_from_body, t, rtol=0.03, atol=0.05)
    relative = found.R_cam_from_body[1:] @ found.R_cam_from_body[:-1].transpose(1, 2)
    assert degrees(relative, R[1:] @ R[:-1].transpose(1, 2)).max() < 0.1


def test_a_track_that_contradicts_the_poses_is_left_out():
    """Its cameras move the other way: no positive scale brings it to the poses."""
    R, t = truth()
    R = R[:1].repeat(FRAMES, 1, 1)
    world_to_camera = torch.eye(4).repeat(FRAMES, 1, 1)
    world_to_camera[:, :3, :3] = R
    world_to_camera[:, :3, 3] = -5 * (t - t[0])
    clip = simple_clip(R, t, world_to_camera)
    points = vertex_points(R, t, clip.intrinsics)
    with_track = pnp_path(clip, MODEL.v_template, points)
    without = pnp_path(simple_clip(R, t), MODEL.v_template, points)
    assert with_track is not None and without is not None
    torch.testing.assert_close(with_track.t_cam_from_body, without.t_cam_from_body)


@pytest.mark.parametrize("case", ["empty", "no slots", "chance"])
def test_a_clip_without_any_pose_has_no_path(case):
    R, t = truth()
    clip = simple_clip(R, t)
    points = vertex_points(R, t, clip.intrinsics)
    if case == "chance":
        random = np.random.default_rng(0).uniform(-5 * SIZE, 5 * SIZE, size=tuple(points.pixels.shape))
        points = SurfacePoints(torch.from_numpy(random).float(), points.vertices, points.confidence)
    else:
        slots = 0 if case == "no slots" else 200
        points = SurfacePoints(points.pixels[:, :slots], points.vertices[:, :slots], torch.zeros(FRAMES, slots))
    assert pnp_path(clip, MODEL.v_template, points) is None
