"""Harmonics of a stride."""

from __future__ import annotations

import torch

from animal4d.fit.harmonics import HARMONICS, phase_harmonics


def test_harmonics_are_cosines_and_sines_that_fall_off():
    phase = torch.linspace(0, 6, 50)
    harmonics = phase_harmonics(phase)
    assert harmonics.shape == (50, 2 * HARMONICS)
    torch.testing.assert_close(harmonics[:, 1], (2 * phase).cos() / 4)
    torch.testing.assert_close(harmonics[:, HARMONICS + 2], (3 * phase).sin() / 9)
