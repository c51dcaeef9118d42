"""Samples that cost nothing: a box for an animal, whose head is a bright end and whose legs hang from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from animal4d.body.model import PART_NAMES
from animal4d.body.template import load_builtin_template


def fake_sample(seed: int, index: int) -> Any:
    """With the fields of `animal4d.eyes.training.samples.Sample`; heads right or left, as its view says."""
    rng = np.random.default_rng([seed, index])
    parts = np.zeros((48, 48), np.uint8)
    left, top = rng.integers(2, 14, 2)
    heads_left = bool(rng.random() < 0.5)
    parts[top : top + 12, left : left + 24] = 1 + PART_NAMES.index("torso")
    parts[top : top + 8, left + 24 : left + 32] = 1 + PART_NAMES.index("head")
    parts[top + 12 : top + 24, left : left + 4] = 1 + PART_NAMES.index("back_right_leg")
    parts[top + 12 : top + 24, left + 20 : left + 24] = 1 + PART_NAMES.index("front_right_leg")
    if heads_left:
        right_to_left = np.array([0, 1, 2, 3, 5, 4, 7, 6], np.uint8)
        parts = right_to_left[parts][:, ::-1].copy()
    labels = load_builtin_template().part_labels.numpy()
    vertex = np.full((48, 48), -1, np.int16)
    for part in range(len(PART_NAMES)):
        vertex[parts == part + 1] = np.flatnonzero(labels == part)[0]
    shade = np.array([40, 90, 60, 30, 120, 120, 150, 150], float) + rng.normal(0, 5, 8)
    image = np.kron(shade[parts], np.ones((4, 4)))[..., None] * rng.uniform(0.7, 1.0, 3)
    mask = np.full((192, 192), 128, np.uint8)
    if rng.random() < 0.6:
        mask = np.kron((parts > 0) * 255, np.ones((4, 4))).astype(np.uint8)
    return SimpleNamespace(
        image=(image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8),
        mask_input=mask,
        parts=parts,
        foreground=(parts > 0).astype(np.float16),
        vertex=vertex,
        view=np.array([0.1, 0.9 if heads_left else -0.9, 0.2], np.float32) / np.linalg.norm([0.1, 0.9, 0.2]),
    )
