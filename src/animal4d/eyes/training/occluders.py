"""What stands in front of the animal."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from animal4d.eyes.labels import CROP
from animal4d.eyes.training.backgrounds import Image, fill_of_thing, lay, thing_mask

_MOST_HIDDEN = 0.45
"""Occluders that would hide a larger share of the animal are left out."""


def occlude(
    rng: np.random.Generator, seed: int, image: Image, animal: Bool[ndarray, "CROP CROP"], wild: bool
) -> Float[ndarray, "CROP CROP"]:
    """Draws occluders into the image, in two of five samples, and returns how much of each pixel they cover."""
    masks = []
    if rng.random() < 0.2:
        masks += [thing_mask(rng) for _ in range(int(rng.integers(1, 3)))]
    if rng.random() < 0.11:
        masks.append(_blades(rng, animal))
    if rng.random() < 0.10:
        masks.append(_leash(rng))
    covered = np.zeros((CROP, CROP), np.float32)
    for mask in masks:
        union = np.maximum(covered, mask)
        if (union * animal).sum() < _MOST_HIDDEN * animal.sum():
            lay(image, mask, fill_of_thing(rng, seed, mask, wild))
            covered = union
    return covered


def _leash(rng: np.random.Generator) -> Float[ndarray, "CROP CROP"]:
    mask = np.zeros((CROP, CROP), np.uint8)
    ends = rng.uniform(-0.2, 1.2, (2, 2)) * CROP
    sag = np.array([0, rng.uniform(0, 30)])
    share = np.linspace(0, 1, 12)[:, None]
    line = ends[0] * (1 - share) + ends[1] * share + 4 * share * (1 - share) * sag
    cv2.polylines(mask, [(line * 16).astype(np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def _blades(rng: np.random.Generator, animal: Bool[ndarray, "CROP CROP"]) -> Float[ndarray, "CROP CROP"]:
    """Grass about the feet."""
    mask = np.zeros((CROP, CROP), np.uint8)
    rows = np.flatnonzero(animal.any(1))
    foot = rows[-1] + rng.uniform(-4, 10) if len(rows) else 0.8 * CROP
    height = rng.uniform(6, 45)
    for x in rng.uniform(0, CROP, int(rng.integers(40, 260))):
        root = foot + rng.uniform(0, 12)
        tip = (int(x + rng.normal(0, 0.3) * height), int(root - height * rng.uniform(0.3, 1.1)))
        cv2.line(mask, (int(x), int(root)), tip, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
    return mask.astype(np.float32) / 255
