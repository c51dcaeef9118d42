"""A picture of many samples with their labels, for eyes to judge."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from animal4d.eyes.labels import CROP
from animal4d.eyes.training.samples import Sample, make_sample
from animal4d.files.atomic import atomic_path

PART_COLORS = np.array(
    [
        (0, 0, 0),
        (250, 210, 60),  # head
        (150, 150, 150),  # torso
        (200, 90, 220),  # tail
        (230, 60, 50),  # front left leg
        (60, 200, 80),  # front right leg
        (255, 150, 90),  # back left leg
        (60, 120, 255),  # back right leg
    ],
    np.uint8,
)


def draw_sample(sample: Sample) -> UInt8[ndarray, "CROP 2*CROP 3"]:
    """The crop, and beside it the parts over it, the mask's outline in white, and a dial: the dot is the camera seen
    from above the animal, which heads to the right; below the dial's middle is the animal's right."""
    parts = cv2.resize(PART_COLORS[sample.parts], (CROP, CROP), interpolation=cv2.INTER_NEAREST)
    inside = cv2.resize(sample.parts, (CROP, CROP), interpolation=cv2.INTER_NEAREST) > 0
    labelled = np.where(inside[..., None], 0.35 * sample.image + 0.65 * parts, 0.6 * sample.image).astype(np.uint8)
    outlines, _ = cv2.findContours((sample.mask_input > 200).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(labelled, outlines, -1, (255, 255, 255), 1)
    middle, radius = (22, 22), 18
    cv2.circle(labelled, middle, radius, (255, 255, 255), 1, cv2.LINE_AA)
    cv2.line(labelled, middle, (middle[0] + 8, middle[1]), (255, 255, 255), 1, cv2.LINE_AA)
    dot = (round(middle[0] + radius * float(sample.view[0])), round(middle[1] - radius * float(sample.view[1])))
    cv2.circle(labelled, dot, 4, (255, 80, 80), -1, cv2.LINE_AA)
    return np.concatenate((sample.image, labelled), axis=1)


def write_contact_sheet(path: Path, seed: int, count: int = 100, columns: int = 5) -> None:
    """Writes a PNG of the first `count` samples of a seed."""
    cells = [draw_sample(make_sample(seed, index)) for index in range(count)]
    cells += [np.zeros_like(cells[0])] * (-count % columns)
    rows = [np.concatenate(cells[start : start + columns], axis=1) for start in range(0, len(cells), columns)]
    with atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary)
