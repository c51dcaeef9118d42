"""A clip whose every motion is known: an elliptic animal that turns and walks before a background that drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animal4d.clip import Clip
from animal4d.readers.load import load_clip

HEIGHT, WIDTH = 180, 260
CENTER = np.array([90.0, 95.0])
"""Of the animal in frame 0, in continuous pixels."""
VELOCITY = np.array([2.3, 0.4])
"""Of the animal in the picture, in pixels per frame."""
DRIFT = np.array([-1.4, 0.6])
"""Of the background."""
TURN = math.radians(0.8)
"""Of the animal, per frame."""


@dataclass(frozen=True)
class MovingPicture:
    clip: Clip
    animal: list[NDArray[np.float64]]
    """2x3 matrices that carry continuous pixels of frame 0 to each frame, on the animal."""
    background: list[NDArray[np.float64]]


def moving_picture(folder: Path, count: int = 12, shift: tuple[float, float] = (0.0, 0.0)) -> MovingPicture:
    """Written to files and read again, so that the crop moves; `shift` places the animal elsewhere in the frame."""
    rng = np.random.default_rng(0)
    cloth, fur = (_texture(rng, low, high) for low, high in ((20, 140), (100, 250)))
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    start = CENTER + shift
    body = (((columns - start[0]) / 55) ** 2 + ((rows - start[1]) / 32) ** 2 < 1).astype(np.uint8)
    animal, background = [], []
    for name in ("frames", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        cosine, sine = math.cos(TURN * index), math.sin(TURN * index)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        animal.append(np.column_stack([turn, start + VELOCITY * index - turn @ start]))
        background.append(np.column_stack([np.eye(2), DRIFT * index]))
        mask = _warp(body * 255, animal[-1]) > 127
        picture = np.where(mask[..., None], _warp(fur, animal[-1]), _warp(cloth, background[-1]))
        Image.fromarray(picture).save(folder / "frames" / f"{index:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{index:03d}.png")
    return MovingPicture(load_clip(folder, working_size=192), animal, background)


def carried(points: NDArray, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where points of one frame lie in another one."""
    there = (points - before[:, 2]) @ np.linalg.inv(before[:, :2]).T
    return there @ after[:, :2].T + after[:, 2]


def _texture(rng: np.random.Generator, low: int, high: int) -> NDArray[np.uint8]:
    noise = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH, 3)), (0, 0), 2.5)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    return (low + (high - low) * noise).astype(np.uint8)


def _warp(image: NDArray, matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    # OpenCV counts pixel centres as integers.
    integer = matrix.copy()
    integer[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    warped = cv2.warpAffine(image, integer, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, dtype=np.uint8)
