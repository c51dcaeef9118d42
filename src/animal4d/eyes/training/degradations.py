"""What cameras do to pictures, and segmenters to masks."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from animal4d.eyes.labels import CROP
from animal4d.eyes.training.backgrounds import Image, thing_mask
from animal4d.eyes.training.textures import octaves

UNKNOWN = 128
"""The value of a mask that nobody made."""


def photograph(rng: np.random.Generator, image: Image, harm: float) -> UInt8[ndarray, "CROP CROP 3"]:
    """The picture as a camera and its encoder deliver it, from a good one (`harm` 0) to a bad one (1)."""
    image = _colors(rng, image, harm)
    if rng.random() < 0.1 + 0.15 * harm:
        image = cv2.filter2D(image, -1, _motion_kernel(rng, 3 + 10 * harm))
    if rng.random() < 0.28:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.8 + 1.6 * harm))
    if rng.random() < 0.25:
        small = int(CROP * rng.uniform(0.75 - 0.5 * harm, 0.9))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        kind = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[rng.choice(3, p=[0.6, 0.3, 0.1])]
        image = cv2.resize(image, (CROP, CROP), interpolation=kind)
    elif rng.random() < 0.15:
        soft = cv2.GaussianBlur(image, (0, 0), 1.2)
        image = image + rng.uniform(0.3, 1.2) * (image - soft)
    if rng.random() < 0.5:
        channels = 3 if rng.random() < 0.6 else 1
        grain = rng.standard_normal((CROP, CROP, channels), dtype=np.float32)
        image = image + np.float32((0.006 + 0.03 * harm) * rng.exponential()) * grain
    encoded = np.clip(255 * image + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.uniform(70 - 55 * harm, 96))
        _, stream = cv2.imencode(".jpg", encoded, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(stream, cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.asarray(decoded, np.uint8)
    return encoded


def _colors(rng: np.random.Generator, image: Image, harm: float) -> Image:
    image = np.clip(image, 0, 1)
    if rng.random() < 0.7:
        gain = np.exp(rng.normal(0, 0.1 + 0.2 * harm) + rng.normal(0, 0.02 + 0.1 * harm, 3))
        image = image * gain.astype(np.float32)
    if rng.random() < 0.5:
        mean = image.mean()
        image = (image - mean) * np.float32(1 + rng.uniform(-0.5, 0.5) * harm) + mean
    if rng.random() < 0.4:
        image = np.power(np.clip(image, 0, 1), np.float32(np.exp(rng.normal(0, 0.08 + 0.3 * harm))))
    if rng.random() < 0.4:
        grey = (image[..., :1] + image[..., 1:2] + image[..., 2:]) / 3
        image = grey + (image - grey) * np.float32(rng.uniform(0.2, 1.6) if rng.random() < 0.85 else 0.0)
    if rng.random() < 0.15 * harm:  # haze
        veil = np.float32(rng.uniform(0.05, 0.4))
        image = image * (1 - veil) + veil * np.float32(rng.uniform(0.5, 1.0))
    return image.astype(np.float32)


def _motion_kernel(rng: np.random.Generator, longest: float) -> Float[ndarray, "size size"]:
    length = rng.uniform(2, longest)
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), np.float32)
    angle = rng.normal(0, 0.4) if rng.random() < 0.6 else rng.uniform(0, np.pi)
    middle = size // 2
    reach = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
    ends = [(round(middle + sign * reach[0]), round(middle + sign * reach[1])) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA)
    return kernel / kernel.sum()


def degrade_mask(
    rng: np.random.Generator,
    animal: Bool[ndarray, "CROP CROP"],
    label: UInt8[ndarray, "CROP CROP"],
    bait: Bool[ndarray, "CROP CROP"],
) -> UInt8[ndarray, "CROP CROP"]:
    """0 and 255 as a segmenter says it, or `UNKNOWN` everywhere.

    `label` names the part at every pixel, for parts that get lost; `bait` is what a segmenter may take for the animal:
    other animals, its shadow.
    """
    if rng.random() < 0.4:
        return np.full((CROP, CROP), UNKNOWN, np.uint8)
    mask = animal.astype(np.uint8)
    if rng.random() < 0.25:
        return 255 * mask
    harm = rng.uniform(0.1, 1)
    if rng.random() < 0.3 * harm:  # a leg or the tail is lost, wholly or its lower end
        part = rng.choice([3, 4, 5, 6, 7])
        lost = (label == part) & animal
        if rng.random() < 0.5 and lost.any():
            rows = np.flatnonzero(lost.any(1))
            lost[: int(rows[0] + rng.uniform(0.2, 0.8) * np.ptp(rows))] = False
        mask[lost] = 0
    if rng.random() < 0.35 * harm:  # holes
        mask[thing_mask(rng) > 0.5 if rng.random() < 0.4 else octaves(rng, CROP, 8, 0.5)[..., 0] > 0.75] = 0
    if rng.random() < 0.4 * harm:  # bleeding, where the background touches the animal
        near = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=int(rng.uniform(3, 4 + 10 * harm))) > 0
        mask |= (near & (octaves(rng, CROP, 6, 0.5)[..., 0] > rng.uniform(0.0, 0.5))).astype(np.uint8)
    if rng.random() < 0.2 * harm:
        mask |= (thing_mask(rng) > 0.5).astype(np.uint8)
    if rng.random() < 0.4 * harm:
        mask |= bait.astype(np.uint8)
    if rng.random() < 0.5:
        steps = int(rng.uniform(1, 1.5 + 3 * harm))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * steps + 1, 2 * steps + 1))
        mask = (cv2.dilate if rng.random() < 0.6 else cv2.erode)(mask, kernel)
    if rng.random() < 0.4:  # smooth outline, or that of a coarse grid
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.8, 1.5 + 3 * harm))
        if rng.random() < 0.4:
            cells = int(rng.integers(32, 96))
            soft = cv2.resize(cv2.resize(soft, (cells, cells)), (CROP, CROP), interpolation=cv2.INTER_LINEAR)
        mask = (soft > 0.5).astype(np.uint8)
    if rng.random() < 0.25 * harm:
        shift = np.array([[1, 0, rng.normal(0, 2)], [0, 1, rng.normal(0, 2)]], np.float32)
        mask = cv2.warpAffine(mask, shift, (CROP, CROP), flags=cv2.INTER_NEAREST)
    return 255 * mask
