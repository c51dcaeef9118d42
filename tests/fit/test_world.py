"""The world around a reconstruction: turning it must not change what any camera sees."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.view_search import view_rotation
from animal4d.fit.world import camera_track_scale, fit_cameras, put_on_ground
from animal4d.geometry.rotations import matrix_from_axis_angle
from fit.scenes import clip_of_masks, start_at

MODEL = load_builtin_template()
FRAMES = 5


@pytest.fixture
def tilted() -> Reconstruction:
    """An animal in a world that leans, with a shape, limb scales and poses that exercise everything."""
    generator = torch.Generator().manual_seed(0)
    axis_angles = 0.2 * torch.randn(FRAMES, MODEL.n_joints, 3, generator=generator)
    rotations = matrix_from_axis_angle(axis_angles)
    lean = matrix_from_axis_angle(torch.tensor([0.5, -0.3, 0.2]))
    rotations[:, 0] = lean @ rotations[:, 0]
    world_to_camera = torch.eye(4).repeat(FRAMES, 1, 1)
    world_to_camera[:, :3, :3] = matrix_from_axis_angle(0.1 * torch.randn(FRAMES, 3, generator=generator))
    world_to_camera[:, :3, 3] = torch.tensor([0.1, -0.2, 3.5])
    clip = clip_of_masks(torch.ones(FRAMES, 32, 32))
    return Reconstruction(
        betas=0.5 * torch.randn(MODEL.n_betas, generator=generator),
        limb_scales=0.1 * torch.randn(7, generator=generator),
        vertex_offsets=torch.zeros(MODEL.n_vertices, 3),
        joint_rotations=rotations,
        translation=0.3 * torch.randn(FRAMES, 3, generator=generator) + torch.tensor([5.0, 2.0, -1.0]),
        intrinsics=clip.intrinsics,
        world_to_camera=world_to_camera,
        image_size=clip.image_size,
        crop=clip.crop,
        frame_numbers=clip.frame_numbers,
        times=clip.times,
        fps=clip.fps,
    )


def test_cameras_see_the_same(tilted):
    grounded = put_on_ground(tilted, MODEL)
    before = tilted.cameras.transform(tilted.posed(MODEL).vertices)
    after = grounded.cameras.transform(grounded.posed(MODEL).vertices)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


def test_up_is_z_and_the_ground_is_zero(tilted):
    grounded = put_on_ground(tilted, MODEL)
    up = torch.nn.functional.normalize(grounded.joint_rotations[:, 0, :, 2].mean(0), dim=0)
    torch.testing.assert_close(up, torch.tensor([0.0, 0.0, 1.0]), atol=1e-5, rtol=0)
    lowest = grounded.posed(MODEL).vertices[..., 2].amin(1)
    assert abs(float(torch.quantile(lowest, 0.2))) < 1e-4
    # Where the root joint is, not `translation`: the two differ by the turn about that joint.
    assert float(grounded.posed(MODEL).joints[:, 0, :2].mean(0).norm()) < 1e-4


def test_an_animal_on_its_head_is_put_on_its_feet(tilted):
    upside_down = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotations = torch.eye(3).repeat(FRAMES, MODEL.n_joints, 1, 1)
    rotations[:, 0] = upside_down
    grounded = put_on_ground(replace(tilted, joint_rotations=rotations), MODEL)
    assert float(grounded.joint_rotations[:, 0, 2, 2].min()) > 0.999
    assert torch.isfinite(grounded.translation).all()


def test_grounding_twice_changes_nothing(tilted):
    once = put_on_ground(tilted, MODEL)
    twice = put_on_ground(once, MODEL)
    torch.testing.assert_close(twice.posed(MODEL).vertices, once.posed(MODEL).vertices, atol=1e-3, rtol=0)


def moving_cameras(frames: int) -> torch.Tensor:
    """A camera that swings to and fro beside a standing animal, in the template's units."""
    ticks = torch.linspace(0, 2 * torch.pi, frames)
    world_to_camera = torch.eye(4).repeat(frames, 1, 1)
    world_to_camera[:, :3, :3] = view_rotation(torch.tensor(0.2), torch.tensor(0.1))
    world_to_camera[:, 0, 3] = 0.5 * ticks.sin()
    world_to_camera[:, 2, 3] = 3.0 + 0.3 * ticks.cos()
    return world_to_camera


@pytest.mark.parametrize("scale", [0.02, 1.0, 37.0])
def test_the_scale_of_a_camera_track_is_recovered(scale):
    frames = 12
    true = moving_cameras(frames)
    given = true.clone()
    given[:, :3, 3] /= scale
    clip = clip_of_masks(torch.ones(frames, 32, 32), world_to_camera=given)
    start = start_at(clip, true[:, :3, :3], true[:, :3, 3], torch.zeros(MODEL.n_betas))
    assert camera_track_scale(clip, start) == pytest.approx(scale, rel=1e-3)
    torch.testing.assert_close(fit_cameras(clip, start), true, rtol=1e-3, atol=1e-4)


def test_cameras_that_stand_still_keep_their_scale():
    frames = 4
    still = moving_cameras(frames)[:1].repeat(frames, 1, 1)
    clip = clip_of_masks(torch.ones(frames, 32, 32), world_to_camera=still)
    places = torch.tensor([0.0, 0.0, 3.0]) + torch.rand(frames, 3, generator=torch.Generator().manual_seed(0))
    start = start_at(clip, still[:, :3, :3], places, torch.zeros(MODEL.n_betas))
    assert camera_track_scale(clip, start) == 1.0


def test_without_a_track_there_is_one_level_camera():
    clip = clip_of_masks(torch.ones(3, 32, 32))
    start = start_at(clip, torch.eye(3).repeat(3, 1, 1), torch.tensor([[0.0, 0.0, 3.0]] * 3), torch.zeros(30))
    cameras = fit_cameras(clip, start)
    assert (cameras == cameras[0]).all()
    torch.testing.assert_close(cameras[0, :3, :3] @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, -1.0, 0.0]))


def test_the_scale_is_found_for_an_animal_that_walks_through_the_world():
    """A camera that goes round beside a walking animal hardly sees it move: it must not be taken to stand still."""
    frames, true_scale = 60, 0.18
    ticks = torch.linspace(0, 1, frames)
    places = torch.stack((4.0 * ticks, torch.zeros(frames), 0.6 + 0.02 * (40 * ticks).sin()), dim=1)
    angle = torch.deg2rad(60 * ticks)
    centers = places + 3 * torch.stack((angle.sin(), -angle.cos(), torch.full((frames,), 0.1)), dim=1)
    R_cam_from_world = view_rotation(-angle, torch.zeros(frames))
    in_camera = (R_cam_from_world @ (places - centers)[..., None]).squeeze(-1)
    world_to_camera = torch.eye(4).repeat(frames, 1, 1)
    world_to_camera[:, :3, :3] = R_cam_from_world
    world_to_camera[:, :3, 3] = -(R_cam_from_world @ centers[..., None]).squeeze(-1) / true_scale
    clip = clip_of_masks(torch.ones(frames, 32, 32), world_to_camera=world_to_camera)
    noisy = in_camera * (1 + 0.01 * torch.randn(frames, 1, generator=torch.Generator().manual_seed(0)))
    start = start_at(clip, R_cam_from_world, noisy, torch.zeros(MODEL.n_betas))
    # One per cent of noise on the depth: 3 cm a frame, against a bend of the track of some 25 cm within 0.6 s.
    assert camera_track_scale(clip, start) == pytest.approx(true_scale, rel=0.1)
