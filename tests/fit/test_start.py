"""A start puts the animal where the masks show it, before anything is optimised."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.body.template import load_builtin_template
from animal4d.fit.start import candidate_starts, load_start, rotation_to_ray
from animal4d.geometry.rasterize import rasterize
from fit.scenes import clip_of_masks, rest_masks, turning_views

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
    return clip, candidate_starts(clip, MODEL, {"mean": torch.zeros(MODEL.n_betas)}, motion, count=4)


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
    best, *_ = candidate_starts(clip, MODEL, {"mean": torch.zeros(MODEL.n_betas)}, torch.zeros(FRAMES), count=1)
    assert torch.isfinite(best.pixels).all()
    between = 0.5 * (best.pixels[1] + best.pixels[3])
    assert float((best.pixels[2] - between).norm()) < 4


def test_a_single_frame_has_a_start(truth):
    rotations, origins = truth
    clip = clip_of_masks(rest_masks(MODEL, rotations[:1], origins[:1]))
    best, *_ = candidate_starts(clip, MODEL, {"mean": torch.zeros(MODEL.n_betas)}, torch.zeros(1), count=2)
    torch.testing.assert_close(best.log_depth.exp(), origins[:1, 2], rtol=0.15, atol=0)
    true_pixels = (clip.intrinsics[0] @ origins[0])[:2] / origins[0, 2]
    assert float((best.pixels[0] - true_pixels).norm()) < 6
