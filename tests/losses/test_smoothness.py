"""Accelerations over true times."""

from __future__ import annotations

import pytest
import torch

from animal4d.geometry.rotations import rotation_about
from animal4d.losses.smoothness import accelerations, rotation_smoothness, total_variation, translation_smoothness

TIMES = torch.tensor([0.0, 0.1, 0.15, 0.4, 0.5])


def test_steady_motion_is_free_whatever_the_sampling():
    translation = TIMES[:, None] * torch.tensor([3.0, -1.0, 0.5])
    assert translation_smoothness(translation, TIMES).max() < 1e-8


def test_acceleration_of_a_parabola_does_not_depend_on_the_sampling():
    expected = torch.full((3,), 2.0 / 30**2, dtype=torch.float64)
    times = TIMES.double()
    torch.testing.assert_close(accelerations(times**2, times), expected)


def test_at_thirty_frames_per_second_it_is_the_plain_second_difference():
    values = torch.rand(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = values[2:] - 2 * values[1:-1] + values[:-2]
    torch.testing.assert_close(accelerations(values, torch.arange(5).double() / 30), expected)


def test_rotation_smoothness_is_the_squared_angular_acceleration():
    angles = torch.tensor([0.0, 0.0, 0.01, 0.02, 0.02], dtype=torch.float64)
    rotations = rotation_about("z", angles)[:, None]
    loss = rotation_smoothness(rotations, torch.arange(5).double() / 30)
    expected = torch.tensor([0.0, 1e-4, 0.0, 1e-4, 0.0], dtype=torch.float64)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-7)
    weighted = rotation_smoothness(rotations, torch.arange(5).double() / 30, torch.tensor([3.0]))
    torch.testing.assert_close(weighted, 3 * loss)


def test_total_variation_is_the_way_up_and_down():
    values = torch.tensor([[0.0, 5.0], [2.0, 5.0], [-1.0, 4.0], [-1.0, 4.0]])
    assert total_variation(values).tolist() == [0, 2, 4, 0]
    assert total_variation(values[:, 0]).tolist() == [0, 2, 3, 0]
    assert total_variation(values[:, :, None, None]).tolist() == [0, 2, 4, 0]


def test_total_variation_of_a_rise_does_not_depend_on_the_sampling():
    values = torch.rand(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort().values
    for frames in (values, values[::29], values[[0, 3, 29]]):
        assert float(total_variation(frames).sum()) == pytest.approx(float(values[-1] - values[0]))


@pytest.mark.parametrize("frames", [0, 1])
def test_one_frame_does_not_vary(frames):
    values = torch.rand(frames, 2, 3, 3, requires_grad=True)
    loss = total_variation(values)
    loss.sum().backward()
    assert loss.shape == (frames,)
    assert (loss == 0).all()


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_short_clips_have_no_acceleration(frames):
    translation = torch.rand(frames, 3, requires_grad=True)
    rotations = torch.rand(frames, 2, 3, 3, requires_grad=True)
    loss = translation_smoothness(translation, TIMES[:frames]) + rotation_smoothness(rotations, TIMES[:frames])
    loss.sum().backward()
    assert loss.shape == (frames,)
    assert (loss == 0).all()


def test_smoothness_passes_gradcheck():
    generator = torch.Generator().manual_seed(0)
    translation = torch.rand(5, 3, dtype=torch.float64, generator=generator).requires_grad_()
    rotations = torch.rand(5, 2, 3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    times = TIMES.double()
    assert torch.autograd.gradcheck(lambda x: translation_smoothness(x, times), translation)
    assert torch.autograd.gradcheck(lambda x: rotation_smoothness(x, times), rotations)
    assert torch.autograd.gradcheck(total_variation, rotations)
