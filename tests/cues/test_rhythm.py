"""The rhythm of features that repeat, and of some that do not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.cues.rhythm import HARMONICS, find_rhythm, phase_harmonics


def repeating(strides_per_second: float, frames: int, fps: float, noise: float, seed: int = 0) -> tuple:
    """Features of a gait whose outline nearly repeats twice a stride, with a slow drift."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.arange(frames) / fps
    phase = 2 * math.pi * 2 * strides_per_second * times
    waves = torch.stack((phase.cos(), phase.sin(), 0.4 * (phase / 2).cos(), times - times.mean()), dim=1)
    mixing = torch.randn(4, 40, generator=generator)
    return waves @ mixing + noise * torch.randn(frames, 40, generator=generator), times


@settings(max_examples=10, deadline=None)
@given(strides=st.floats(1.5, 3.0))
def test_finds_the_stride_of_a_repeating_outline(strides: float):
    rhythm = find_rhythm(*repeating(strides, frames=48, fps=24.0, noise=0.2))
    assert rhythm is not None
    # Over two seconds, an error of 0.06 strides a second is a phase error of 6 % of a stride at the ends.
    assert rhythm.stride_frequency == pytest.approx(strides, abs=0.06)
    assert rhythm.explained > 0.5


def test_noise_and_short_clips_have_no_rhythm():
    features, times = repeating(2.0, frames=48, fps=24.0, noise=0.0)
    assert find_rhythm(torch.randn(48, 40, generator=torch.Generator().manual_seed(1)), times) is None
    assert find_rhythm(features[:10], times[:10]) is None


def test_harmonics_are_cosines_and_sines_that_fall_off():
    phase = torch.linspace(0, 6, 50)
    harmonics = phase_harmonics(phase)
    assert harmonics.shape == (50, 2 * HARMONICS)
    torch.testing.assert_close(harmonics[:, 1], (2 * phase).cos() / 4)
    torch.testing.assert_close(harmonics[:, HARMONICS + 2], (3 * phase).sin() / 9)
