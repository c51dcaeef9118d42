"""What is optimised: at zero it is the start, and frames that nobody teaches lean on their neighbours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.body.template import load_builtin_template
from animal4d.fit.parameters import AnimalParameters, interpolation_weights
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rotations import matrix_from_axis_angle
from fit.scenes import clip_of_masks, start_at, turning_views

MODEL = load_builtin_template()
FRAMES = 5


@settings(deadline=None)
@given(known=st.lists(st.booleans(), min_size=1, max_size=30), seed=st.integers(0, 100))
def test_rows_of_the_interpolation_sum_to_one(known, seed):
    flags = torch.tensor(known)
    times = torch.rand(len(known), generator=torch.Generator().manual_seed(seed)).add(0.01).cumsum(0)
    weights = interpolation_weights(flags, times)
    expected = torch.full((len(known),), 1.0 if any(known) else 0.0)
    torch.testing.assert_close(weights.sum(1), expected)
    assert (weights >= 0).all()
    assert (weights[:, ~flags] == 0).all(), "nothing is taken from frames that are not known"
    torch.testing.assert_close(weights[flags], torch.eye(len(known))[flags])


@settings(deadline=None)
@given(known=st.lists(st.booleans(), min_size=2, max_size=30), slope=st.floats(-5, 5))
def test_interpolation_is_linear_in_time(known, slope):
    flags = torch.tensor(known)
    if not flags.any():
        return
    times = torch.rand(len(known), generator=torch.Generator().manual_seed(1)).add(0.05).cumsum(0)
    values = slope * times + 1
    filled = interpolation_weights(flags, times) @ values
    places = torch.nonzero(flags).squeeze(1)
    clamped = times.clamp(float(times[places[0]]), float(times[places[-1]]))
    torch.testing.assert_close(filled, slope * clamped + 1, atol=1e-4, rtol=1e-4)


def zeroed(rhythm: bool, world_to_camera: torch.Tensor) -> AnimalParameters:
    """Parameters whose network and residuals say nothing."""
    clip = clip_of_masks(torch.ones(FRAMES, 64, 64))
    origins = torch.stack(
        (torch.linspace(-0.3, 0.3, FRAMES), torch.full((FRAMES,), 0.1), torch.full((FRAMES,), 3.0)), 1
    )
    start = start_at(clip, turning_views(FRAMES), origins, 0.3 * torch.ones(MODEL.n_betas))
    parameters = AnimalParameters(
        MODEL,
        start,
        torch.rand(FRAMES, 6),
        torch.arange(FRAMES) / 10.0,
        Cameras(clip.intrinsics, world_to_camera, clip.image_size),
        torch.ones(FRAMES, dtype=torch.bool),
    )
    with torch.no_grad():
        parameters.stride_frequency.fill_(1.1 if rhythm else 0.0)
        for parameter in parameters.parameters():
            parameter.zero_()
    return parameters


def some_cameras() -> torch.Tensor:
    cameras = torch.eye(4).repeat(FRAMES, 1, 1)
    cameras[:, :3, :3] = matrix_from_axis_angle(
        0.3 * torch.randn(FRAMES, 3, generator=torch.Generator().manual_seed(0))
    )
    cameras[:, :3, 3] = torch.rand(FRAMES, 3, generator=torch.Generator().manual_seed(1))
    return cameras


@pytest.mark.parametrize("rhythm", [False, True])
def test_at_zero_the_state_is_the_start(rhythm):
    world_to_camera = some_cameras()
    parameters = zeroed(rhythm, world_to_camera)
    state, start = parameters(), parameters.start
    cameras = Cameras(torch.linalg.inv(parameters.inverse_intrinsics), world_to_camera, (64, 64))
    torch.testing.assert_close(state.betas, start.betas)
    R_cam_from_body = cameras.R_cam_from_world @ state.joint_rotations[:, 0]
    torch.testing.assert_close(R_cam_from_body, start.R_cam_from_body, atol=1e-5, rtol=0)
    # The body's origin in the world: the body turns about its root joint.
    root = state.shaped.joints[0]
    origin = state.translation + root - (state.joint_rotations[:, 0] @ root)
    pixels = cameras.project(origin[:, None])[:, 0]
    torch.testing.assert_close(pixels, start.pixels, atol=1e-2, rtol=0)
    torch.testing.assert_close(cameras.transform(origin[:, None])[:, 0, 2].log(), start.log_depth, atol=1e-4, rtol=0)


def test_at_zero_the_vertices_are_those_of_the_start():
    parameters = zeroed(False, torch.eye(4).repeat(FRAMES, 1, 1))
    state, start = parameters(), parameters.start
    rays = torch.cat((start.pixels, torch.ones(FRAMES, 1)), dim=1)
    origins = (parameters.inverse_intrinsics @ rays[..., None]).squeeze(-1) * start.log_depth.exp()[:, None]
    expected = state.shaped.vertices @ start.R_cam_from_body.transpose(1, 2) + origins[:, None]
    torch.testing.assert_close(state.posed(torch.arange(FRAMES)).vertices, expected, atol=1e-4, rtol=0)


def test_withheld_frames_take_their_neighbours_residual():
    parameters = zeroed(False, torch.eye(4).repeat(FRAMES, 1, 1))
    with torch.no_grad():
        parameters.joint_residuals[:, 61] = torch.arange(FRAMES) * 0.1
        parameters.joint_residuals[2, 61] = 9.0
    hidden = torch.arange(FRAMES) == 2
    bridged = parameters(hidden).joint_rotations
    own = parameters().joint_rotations
    torch.testing.assert_close(bridged[[0, 1, 3, 4]], own[[0, 1, 3, 4]])
    with torch.no_grad():
        parameters.joint_residuals[2, 61] = 0.2
    torch.testing.assert_close(bridged[2], parameters().joint_rotations[2])
    assert not torch.allclose(bridged[2], own[2])


def test_gradients_reach_everything_that_is_optimised():
    parameters = zeroed(True, torch.eye(4).repeat(FRAMES, 1, 1))
    with torch.no_grad():
        for parameter in parameters.parameters():
            parameter.normal_(std=0.01)
    state = parameters()
    weights = torch.rand(state.posed(torch.arange(FRAMES)).vertices.shape)
    (state.posed(torch.arange(FRAMES)).vertices * weights).sum().backward()
    silent = [name for name, value in parameters.named_parameters() if value.grad is None or not bool(value.grad.any())]
    assert not silent
