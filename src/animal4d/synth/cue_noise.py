"""What 2D models get wrong, drawn at random: the noise on the cues of a synthetic clip (`CueNoise`)."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.special import expit

from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.synth.external_config import CueNoise


def chosen_frames(share: float, n_frames: int, rng: np.random.Generator) -> Bool[ndarray, "frames"]:
    """A share of the frames drawn at random: at least one of three or more, unless the share is 0."""
    chosen = np.zeros(n_frames, bool)
    if share > 0 and n_frames > 2:
        count = min(max(round(share * n_frames), 1), n_frames)
        chosen[rng.choice(n_frames, count, replace=False)] = True
    return chosen


def smooth_noise(
    shape: tuple[int, int], width: float, rng: np.random.Generator, channels: int = 1
) -> Float[ndarray, "height width channels"]:
    """Noise of standard deviation 1 that neighbours within `width` pixels share."""
    # Drawn on a coarse grid, which is as good and far cheaper than a wide blur.
    step = max(width / 2, 1.0)
    rows, columns = (int(np.ceil(side / step)) + 8 for side in shape)
    coarse = rng.standard_normal((rows, columns, channels)).astype(np.float32)
    coarse = np.asarray(cv2.GaussianBlur(coarse, (0, 0), max(width / step, 0.3)), np.float32)
    coarse /= max(float(coarse.std()), 1e-6)
    size = (int(columns * step) + 1, int(rows * step) + 1)
    wide = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR))
    return wide.reshape(size[1], size[0], channels)[: shape[0], : shape[1]]


def signed_distance(animal: Bool[ndarray, "height width"]) -> Float[ndarray, "height width"]:
    """Distance to the outline in pixels, positive on the animal."""
    inside, outside = (
        cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for region in (animal, ~animal)
    )
    return np.where(animal, inside - 0.5, 0.5 - outside).astype(np.float32)


def noisy_mask(
    animal: Bool[ndarray, "height width"], noise: CueNoise, rng: np.random.Generator
) -> Float[ndarray, "height width"]:
    """Probability of the animal, as a segmenter gives it."""
    pixel = max(animal.shape) / PADDED_SIZE
    if not animal.any() or animal.all():
        return animal.astype(np.float32)
    distance = signed_distance(animal)
    if noise.mask_boundary > 0:
        distance += noise.mask_boundary * pixel * smooth_noise(animal.shape, 30 * pixel, rng)[..., 0]
    softness = noise.mask_softness * pixel
    return expit(distance / softness) if softness > 0 else (distance > 0).astype(np.float32)


def noisy_parts(
    labels: UInt8[ndarray, "height width"], noise: CueNoise, rng: np.random.Generator
) -> UInt8[ndarray, "height width"]:
    """Labels (0 is none) with borders that stray, some of them lost."""
    strength = noise.part_boundary * max(labels.shape) / PADDED_SIZE
    if strength > 0:
        height, width = labels.shape
        moved = strength * smooth_noise(labels.shape, 6 * strength, rng, 2)
        column = np.rint(np.arange(width) + moved[..., 0]).astype(int).clip(0, width - 1)
        row = np.rint(np.arange(height)[:, None] + moved[..., 1]).astype(int).clip(0, height - 1)
        labels = labels[row, column]
    found = rng.random(int(labels.max(initial=0)) + 1) >= noise.part_lost
    return np.where(found[labels], labels, 0).astype(np.uint8)


def noisy_tracks(
    points: Float[ndarray, "frames tracks 2"],
    visible: Bool[ndarray, "frames tracks"],
    image_size: tuple[int, int],
    noise: CueNoise,
    rng: np.random.Generator,
) -> tuple[Float[ndarray, "frames tracks 2"], Bool[ndarray, "frames tracks"]]:
    """Tracks in pixels of the frames that jitter, drift, and are now and then wrong about what is visible."""
    pixel = max(image_size) / PADDED_SIZE
    jitter = noise.track_jitter * rng.standard_normal(points.shape)
    drift = (noise.track_drift * rng.standard_normal(points.shape)).cumsum(axis=0)
    wrong = rng.random(visible.shape) < noise.track_wrong
    inside = (points >= 0).all(-1) & (points < np.array(image_size[::-1])).all(-1)
    return points + pixel * (jitter + drift), np.where(wrong, ~visible & inside, visible)
