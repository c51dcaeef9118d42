"""Renders of the template are found again where they were taken from."""

from __future__ import annotations

import math

import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.fit.view_search import (
    PLACEMENTS,
    R_CAM_FROM_LEVEL,
    WINDOW,
    ViewBank,
    ViewGrid,
    best_path,
    build_view_bank,
    mask_moments,
    normalized_windows,
    score_views,
    view_rotation,
)
from animal4d.geometry.rotations import rotation_about
from fit.scenes import SIZE, rest_masks

MODEL = load_builtin_template()
DISTANCE = 3.2


@pytest.fixture(scope="module")
def bank() -> ViewBank:
    rest = torch.eye(3).expand(MODEL.n_joints, 3, 3)
    return build_view_bank([[MODEL.with_shape().with_pose(rest)]], ViewGrid.default(), angular_size=0.25)


def masks_from(yaws: list[float], elevations: list[float]) -> torch.Tensor:
    rotations = view_rotation(torch.deg2rad(torch.tensor(yaws)), torch.deg2rad(torch.tensor(elevations)))
    return rest_masks(MODEL, rotations, torch.tensor([0.15, -0.1, DISTANCE]).repeat(len(yaws), 1))


def degrees_apart(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def no_evidence(frames: int, bank: ViewBank) -> torch.Tensor:
    return torch.zeros(frames, len(bank.grid.yaws))


def test_yaw_zero_heads_right_and_ninety_away():
    forward, left, up = (torch.eye(3)[axis] for axis in range(3))
    level = torch.tensor(0.0)
    torch.testing.assert_close(view_rotation(level, level) @ forward, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(view_rotation(level, level) @ up, torch.tensor([0.0, -1.0, 0.0]))
    away = view_rotation(torch.tensor(math.pi / 2), level)
    torch.testing.assert_close(away @ forward, torch.tensor([0.0, 0.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(R_CAM_FROM_LEVEL @ left, torch.tensor([0.0, 0.0, 1.0]))


def test_looking_down_shows_the_back():
    up_in_camera = view_rotation(torch.tensor(0.3), torch.tensor(0.5)) @ torch.tensor([0.0, 0.0, 1.0])
    assert up_in_camera[2] < 0, "the back turns towards the camera"


@pytest.mark.parametrize(("yaw", "elevation"), [(0, 2), (35, 12), (100, 12), (158, 2), (214, 24), (275, 12), (321, -8)])
def test_the_view_of_a_render_is_found_within_one_cell(bank, yaw, elevation):
    masks = masks_from([yaw], [elevation])
    path = best_path(score_views(masks, bank).overlap, torch.tensor([True]), no_evidence(1, bank))
    found_yaw = math.degrees(float(bank.grid.yaws[path.yaw_index[0]]))
    # From afar a silhouette and that of the body mirrored in depth are nearly the same: both are right.
    assert min(degrees_apart(found_yaw, yaw), degrees_apart(found_yaw, -yaw)) <= 10
    assert path.mean_iou > 0.7, "half a cell away, and seen off the image's middle"


def test_place_and_scale_drop_out_of_the_windows():
    rotation = view_rotation(torch.tensor([0.4]), torch.tensor([0.2]))
    near = rest_masks(MODEL, rotation, torch.tensor([[0.3, 0.2, 3.0]]), 2 * SIZE)
    far = rest_masks(MODEL, rotation, torch.tensor([[0.0, 0.0, 3.5]]), 2 * SIZE)
    a, b = (normalized_windows(mask, mask_moments(mask)) for mask in (near, far))
    assert float(torch.minimum(a, b).sum() / torch.maximum(a, b).sum()) > 0.85


def test_moments_of_a_rectangle_and_of_nothing():
    masks = torch.zeros(2, 40, 60)
    masks[0, 10:20, 30:50] = 1
    moments = mask_moments(masks)
    torch.testing.assert_close(moments.centroids, torch.tensor([[40.0, 15.0], [30.0, 20.0]]))
    torch.testing.assert_close(moments.root_areas, torch.tensor([math.sqrt(200), 1.0]))


def test_the_path_passes_through_frames_without_a_mask(bank):
    yaws = [20.0, 30.0, 40.0, 50.0, 60.0, 70.0]
    masks = masks_from(yaws, [12.0] * len(yaws))
    valid = torch.tensor([True, True, False, False, True, True])
    masks[~valid] = 0
    evidence = no_evidence(len(yaws), bank) + 0.3 * bank.grid.yaws.sin()  # away rather than mirrored in depth
    path = best_path(score_views(masks, bank).overlap, valid, evidence)
    found = torch.rad2deg(bank.grid.yaws[path.yaw_index]).tolist()
    for usable, ours, theirs in zip(valid.tolist(), found, yaws, strict=True):
        assert degrees_apart(ours, theirs) <= (11 if usable else 21), found
    assert math.isfinite(path.mean_iou)


def test_a_turn_is_at_most_thirty_degrees_a_frame(bank):
    masks = masks_from([0.0, 180.0], [12.0, 12.0])
    path = best_path(score_views(masks, bank).overlap, torch.tensor([True, True]), no_evidence(2, bank))
    a, b = (math.degrees(float(bank.grid.yaws[index])) for index in path.yaw_index)
    assert degrees_apart(a, b) <= 30 + 1e-3


def test_evidence_decides_between_equals_and_allowed_yaws_bind(bank):
    frames = 3
    flat = torch.zeros(frames, 1, len(bank.grid.elevations), len(bank.grid.yaws))
    valid = torch.ones(frames, dtype=torch.bool)
    towards_left = -bank.grid.yaws.cos().expand(frames, -1)
    path = best_path(flat, valid, towards_left)
    assert bank.grid.yaws[path.yaw_index].cos().max() < -0.9
    only_right = (bank.grid.yaws.cos() > 0.5).expand(frames, -1)
    bound = best_path(flat, valid, towards_left, allowed_yaws=only_right)
    assert bank.grid.yaws[bound.yaw_index].cos().min() > 0.5


def test_a_neck_that_is_stretched_does_not_shift_the_view():
    """Centroid and area of a mask move with the neck; placements make up for it."""
    rest = torch.eye(3).repeat(MODEL.n_joints, 1, 1)
    bank = build_view_bank([[MODEL.with_shape().with_pose(rest)]], ViewGrid.default(), angular_size=0.25)
    view = view_rotation(torch.tensor([0.0]), torch.deg2rad(torch.tensor([12.0])))
    mask = rest_masks(MODEL, view, torch.tensor([[0.0, 0.0, DISTANCE]]))
    top, right = int(torch.nonzero(mask[0].sum(1))[0]), int(torch.nonzero(mask[0].sum(0))[-1])
    stretched = mask.clone()
    stretched[0, top - 10 : top + 4, right - 12 : right + 6] = 1.0  # something large above the head
    scores = score_views(stretched, bank)
    moments = mask_moments(stretched)
    chosen = PLACEMENTS[scores.placement[0, 0, 2, 0]]
    placed = moments.placed(chosen[None])
    truth = mask_moments(mask)
    assert (placed.centroids - truth.centroids).norm() < (moments.centroids - truth.centroids).norm()


def test_the_pose_that_suits_the_mask_is_chosen():
    rest = torch.eye(3).repeat(MODEL.n_joints, 1, 1)
    lowered = rest.clone()
    lowered[MODEL.joint_names.index("neck")] = rotation_about("y", torch.tensor(0.8))
    body = MODEL.with_shape()
    poses = [body.with_pose(rest), body.with_pose(lowered)]
    bank = build_view_bank([poses], ViewGrid.default(), angular_size=0.25)
    windows = bank.windows[0, :, 2, 0].unflatten(1, (WINDOW, WINDOW))
    scores = score_views(windows, bank)
    assert scores.pose[:, 0, 2, 0].tolist() == [0, 1]
    assert scores.overlap[:, 0, 2, 0].min() > 0.8, "a window that is resampled loses half a pixel of outline"
