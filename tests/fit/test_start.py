"""A start puts the animal where the masks show it, before anything is optimised."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.body.template import load_builtin_template
from animal4d.fit.start import load_start, rotation_to_ray, search_views
from animal4d.geometry.rasterize import rasterize
from animal4d.geometry.rotations import matrix_from_axis_angle
from fit.scenes import clip_of_masks, rest_clip, rest_masks, start_at, turning_views

MODEL = load_builtin_template()
FRAMES = 6

slopes = st.floats(-3.0, 3.0, allow_nan=False, width=32)


@settings(deadline=None)
@given(x=slopes, y=slopes)
def test_rotation_to_ray_is_a_rotation_that_takes_the_axis_to_the_ray(x, y):
    ray = torch.tensor([[x, y, 1.0]], dtype=torch.float64)
    rotation = rotation_to_ray(ray)[0]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(rotation[:, 2], ray[0] / ray[0].norm())


@settings(deadline=None)
@given(x=slopes, y=slopes)
def test_rotation_to_ray_is_the_smallest_such(x, y):
    ray = torch.tensor([[x, y, 1.0]], dtype=torch.float64)
    cosine = 1 / ray.norm()
    trace = rotation_to_ray(ray)[0].trace()
    torch.testing.assert_close((trace - 1) / 2, cosine)


@pytest.fixture(scope="module")
def truth() -> tuple[torch.Tensor, torch.Tensor]:
    """Rotations and places of an animal that walks to the right and turns a little."""
    origins = torch.stack((torch.linspace(-0.4, 0.4, FRAMES), torch.zeros(FRAMES), torch.full((FRAMES,), 3.2)), dim=1)
    return turning_views(FRAMES), origins


@pytest.fixture(scope="module")
def starts(truth):
    clip = clip_of_masks(rest_masks(MODEL, *truth))
    motion = torch.full((FRAMES,), 1.0)
    return clip, search_views(clip, MODEL, {"mean": torch.zeros(MODEL.n_betas)}, motion).starts(4)


def test_the_best_start_overlaps_with_the_masks(starts):
    clip, (best, *_) = starts
    rays = torch.cat((best.pixels, torch.ones(FRAMES, 1)), dim=1)
    origins = (torch.linalg.inv(clip.intrinsics) @ rays[..., None]).squeeze(-1) * best.log_depth.exp()[:, None]
    vertices = MODEL.v_template @ best.R_cam_from_body.transpose(1, 2) + origins[:, None]
    drawn = rasterize(vertices, MODEL.faces, clip.intrinsics, clip.image_size).covered
    mask = clip.masks > 0.5
    iou = (drawn & mask).sum((1, 2)) / (drawn | mask).sum((1, 2))
    assert iou.min() > 0.6, iou.tolist()


def test_the_best_start_heads_where_the_animal_does(starts, truth):
    _, (best, *_) = starts
    ours, theirs = best.R_cam_from_body[:, 0, 0], truth[0][:, 0, 0]
    assert (ours * theirs > 0).all()
    assert "right" in best.heading


def test_depth_is_found(starts, truth):
    _, (best, *_) = starts
    torch.testing.assert_close(best.log_depth.exp(), truth[1][:, 2], rtol=0.1, atol=0)


def test_rivals_are_other_views(starts):
    _, candidates = starts
    assert candidates[0].name == "best"
    assert 1 < len(candidates) <= 4
    assert len({start.name for start in candidates}) == len(candidates)
    turned = next((start for start in candidates if start.name == "turned round"), None)
    if turned is not None:
        assert (turned.yaw - candidates[0].yaw).cos().mean() < 0


def test_a_start_survives_a_checkpoint(starts, tmp_path):
    _, (best, *_) = starts
    torch.save({"start": best.to_dict(), "notes": {"why": "test"}}, tmp_path / "last.pt")
    loaded, notes = load_start(tmp_path / "last.pt")
    assert notes == {"why": "test"}
    torch.testing.assert_close(loaded.R_cam_from_body, best.R_cam_from_body)
    assert loaded.name == best.name


def test_frames_without_a_mask_are_bridged(truth):
    masks = rest_masks(MODEL, *truth)
    masks[2] = 0
    clip = clip_of_masks(masks)
    best, *_ = search_views(clip, MODEL, {"mean": torch.zeros(MODEL.n_betas)}, torch.zeros(FRAMES)).starts(1)
    assert torch.isfinite(best.pixels).all()
    between = 0.5 * (best.pixels[1] + best.pixels[3])
    assert float((best.pixels[2] - between).norm()) < 4


def test_a_single_frame_has_a_start(truth):
    rotations, origins = truth
    clip = clip_of_masks(rest_masks(MODEL, rotations[:1], origins[:1]))
    best, *_ = search_views(clip, MODEL, {"mean": torch.zeros(MODEL.n_betas)}, torch.zeros(1)).starts(2)
    torch.testing.assert_close(best.log_depth.exp(), origins[:1, 2], rtol=0.15, atol=0)
    true_pixels = (clip.intrinsics[0] @ origins[0])[:2] / origins[0, 2]
    assert float((best.pixels[0] - true_pixels).norm()) < 6


def test_starts_head_the_same_way_only_where_they_are_less_than_half_a_right_angle_apart():
    clip, _ = rest_clip(MODEL, FRAMES)
    views, origins = turning_views(FRAMES), torch.tensor([0.0, 0.0, 3.2]).repeat(FRAMES, 1)
    start = start_at(clip, views, origins, torch.zeros(MODEL.n_betas))
    for degrees, alike in ((0.0, True), (30.0, True), (60.0, False), (180.0, False)):
        # The vertical of the body: a turn of the animal, not of the camera.
        turn = matrix_from_axis_angle(torch.deg2rad(torch.tensor([[0.0, 0.0, degrees]])))[0]
        assert start.heads_as(start_at(clip, views @ turn, origins, torch.zeros(MODEL.n_betas))) is alike
