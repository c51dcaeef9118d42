"""The published numbers, read from the table of the method, and that they fit our configuration."""

from __future__ import annotations

from dataclasses import fields

import pytest

from animal4d.config import FitConfig, LossWeights
from animal4d.fit.presets import PAPER_FIT, PAPER_STEPS, PAPER_TEXTURE, PAPER_WEIGHTS

PUBLISHED = {
    "silhouette": {0: 1, 299: 1, 300: 100, 999: 100, 1000: 500, 5999: 500, 6000: 800, 9999: 800},
    "part_chamfer": {0: 5, 9999: 5},
    "part_keypoints": {299: 5e-5, 300: 5e-8},
    "surface": {999: 5, 1000: 0.1, 5999: 0.1, 6000: 0.01},
    "eyes_parts": {0: 5, 9999: 5},
    "eyes_surface": {999: 5, 1000: 0.1, 5999: 0.1, 6000: 0.01},
    "published_tracks": {299: 5e-4, 300: 5e-2},
    "color": {0: 10},
    "arap": {9949: 1, 9950: 5},
    "edge_length": {9949: 0.01, 9950: 0.05},
    "laplacian": {9949: 10, 9950: 100},
    "parameters": {0: 0.01},
    "sparse_keypoints": {0: 0},
    "total_variation": {0: 0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_the_published_ones(name):
    for step, weight in PUBLISHED[name].items():
        assert PAPER_WEIGHTS[name].at(step / PAPER_STEPS) == weight


def test_every_loss_has_a_weight_and_ours_have_none():
    names = {field.name for field in fields(LossWeights)}
    assert names <= PAPER_WEIGHTS.keys()
    assert all(PAPER_WEIGHTS[name].values == (0.0,) for name in names - PUBLISHED.keys())


def test_settings_are_fields_of_the_configuration():
    assert PAPER_FIT.keys() <= {field.name for field in fields(FitConfig)}


def test_learning_rates_are_the_published_ones():
    offsets = {0: 0, 2999: 0, 3000: 2.5e-5, 4999: 2.5e-5, 5000: 5e-5, 8999: 5e-5, 9000: 7.5e-5}
    for step, rate in offsets.items():
        assert PAPER_FIT["learning_rate_offsets"].at(step / PAPER_STEPS) == rate
    for name, first in (("learning_rate_grid", 0.1), ("learning_rate_decoder", 0.01)):
        rates = [PAPER_TEXTURE[name].at(step / PAPER_STEPS) for step in (0, 8999, 9000, 9500)]
        assert rates == pytest.approx([first, first, first / 2, first / 4])
