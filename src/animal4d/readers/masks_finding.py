"""Where in the whole frame is the animal? The built-in network looks through squares of several sizes.

A square is believed where the network sees one compact animal in it, whole and with the parts of one. The best squares
are drawn closer around what was seen and looked at again. Over sampled frames the finds are linked: the animal is where
finds are good in all of them and lie near each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from animal4d.body.model import PART_NAMES
from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Eyes
from animal4d.eyes.labels import CROP, MAP, MARGIN
from animal4d.readers.crop import Box, Square, cut_image, square_around
from animal4d.readers.mask_finders import NOWHERE, Place
from animal4d.readers.source import FrameSource, Image, Progress, numbers_in_words

SQUARES = (1.0, 0.7, 0.5, 0.35)
"""Sides of the squares that are looked through, as fractions of the frame's longer side."""
STRIDE = 0.5
"""Distance between squares of one size, as a fraction of their side."""
LEAST_SCORE = 0.12
"""Score under which there is no animal."""
LEAST_SIDE = 16
"""Of a square, in pixels of the original frame."""
_SAMPLED = 6
"""Frames of a clip that are looked through."""
_KEPT = 3
_CLOSER_LOOKS = 2
_SMALLEST = 0.01
"""Share of a square under which a piece is a speck."""


@dataclass(frozen=True)
class Find:
    """An animal in a frame, as far as the network sees one."""

    box: Box
    score: float
    """In [0, 1]."""
    square: Square
    """What was looked at."""
    foreground: NDArray[np.float32]
    """(MAP, MAP): probability of the animal in the square; of other pieces than this one zero."""


def look_at(
    eyes: Eyes, image: Image, squares: Sequence[Square], guides: NDArray[np.float32] | None = None
) -> list[Find | None]:
    """What the network finds in each square of one frame, guided by masks in the squares (CROP pixels wide) where they
    are given; None where there is nothing."""
    if not squares:
        return []
    pictures = np.stack([cut_image(image, np.array(square[:2]), square[2], CROP) for square in squares])
    look = eyes.look(torch.from_numpy(pictures), None if guides is None else torch.from_numpy(guides))
    foreground, parts, confidence = (
        tensor.float().numpy() for tensor in (look.foreground, look.parts, look.confidence)
    )
    size = image.shape[:2]
    return [_find(*seen, size) for seen in zip(foreground, parts, confidence, squares, strict=True)]


def finds_in(eyes: Eyes, image: Image) -> list[Find]:
    """Up to three animals in a whole frame, best first."""
    finds = _apart(look_at(eyes, image, squares_over(image.shape[:2])))
    for _ in range(_CLOSER_LOOKS):
        finds = _apart(look_at(eyes, image, [square_around(find.box, MARGIN, LEAST_SIDE) for find in finds]))
    return [find for find in finds if find.score >= LEAST_SCORE]


def animal_in_samples(
    source: FrameSource, numbers: Sequence[int], eyes: Eyes, place: Place = NOWHERE, progress: Progress | None = None
) -> dict[int, Find]:
    """The animal in some of the frames with these numbers, by their place among them.

    Of the first of them the user may have said where the animal is. Raises Animal4dError where none is found.
    """
    sampled = sorted(set(np.linspace(0, len(numbers) - 1, min(_SAMPLED, len(numbers))).round().astype(int).tolist()))
    finds: list[list[Find]] = []
    for index, image in enumerate(source.read([numbers[sample] for sample in sampled])):
        finds.append(_told(eyes, image, place) if index == 0 and place else finds_in(eyes, image))
        if progress is not None:
            progress("looking for the animal", index + 1, len(sampled))
    found = {sample: find for sample, find in zip(sampled, linked(finds), strict=True) if find is not None}
    if not found:
        looked_at = numbers_in_words([numbers[sample] for sample in sampled])
        raise Animal4dError(
            f"{source.path}: no animal is found in {looked_at}: give its place in the first frame by --box "
            "x,y,width,height or --point x,y, or masks by --masks"
        )
    return found


def _told(eyes: Eyes, image: Image, place: Place) -> list[Find]:
    """What is where the user says, as the only find: the user knows. Raises Animal4dError where nothing is."""
    if place.box is not None:
        seen = look_at(eyes, image, [square_around(place.box, MARGIN, LEAST_SIDE)])[0]
        if seen is not None:
            return [Find(place.box, 1.0, seen.square, seen.foreground)]
    elif place.point is not None:
        x, y = place.point
        at_point = [
            find
            for find in finds_in(eyes, image)
            if 0 <= x - find.box[0] <= find.box[2] and 0 <= y - find.box[1] <= find.box[3]
        ]
        if at_point:
            smallest = min(at_point, key=lambda find: find.box[2] * find.box[3])
            return [replace(smallest, score=1.0)]
    raise Animal4dError(
        f"{place.in_words()}: the built-in eyes see no animal there: draw --box closer around the animal, give masks "
        "by --masks, or start GrabCut from the box by --no-eyes"
    )


def squares_over(size: tuple[int, int]) -> list[Square]:
    """Squares of all sizes that cover a frame of `size` (height, width)."""
    squares: dict[Square, None] = {}
    for fraction in SQUARES:
        side = max(round(fraction * max(size)), LEAST_SIDE)
        for top in _places(size[0], side):
            for left in _places(size[1], side):
                squares[left, top, side] = None
    return list(squares)


def linked(finds: Sequence[Sequence[Find]]) -> list[Find | None]:
    """One find for every sampled frame, or none: good ones that lie near each other."""
    nothing = math.log(LEAST_SCORE)
    states: list[list[Find | None]] = [[None, *found] for found in finds]
    total = np.array([_worth(state, nothing) for state in states[0]])
    came_from: list[NDArray[np.intp]] = []
    for before, now in pairwise(states):
        steps = total[:, None] - np.array([[_distance(a, b) for b in now] for a in before])
        came_from.append(steps.argmax(0))
        total = steps.max(0) + np.array([_worth(state, nothing) for state in now])
    place = int(total.argmax())
    path = [place]
    for origin in reversed(came_from):
        place = int(origin[place])
        path.append(place)
    return [state[place] for state, place in zip(states, reversed(path), strict=True)]


def _places(extent: int, side: int) -> list[int]:
    """Where squares begin along one direction; one in the middle where it is larger than the frame."""
    room = extent - side
    if room <= 0:
        return [room // 2]
    return np.linspace(0, room, math.ceil(room / (STRIDE * side)) + 1).round().astype(int).tolist()


def _worth(find: Find | None, nothing: float) -> float:
    return nothing if find is None else math.log(max(find.score, 1e-6))


def _distance(a: Find | None, b: Find | None) -> float:
    """What it costs that the animal is here and then there; up to 2, since cameras and animals jump."""
    if a is None or b is None:
        return 0.0
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.box, b.box
    size = math.sqrt(max(aw, ah) * max(bw, bh))
    apart = math.hypot(ax + aw / 2 - bx - bw / 2, ay + ah / 2 - by - bh / 2) / size
    return min(0.3 * apart + 0.5 * abs(math.log(max(aw, ah) / max(bw, bh))), 2.0)


def _find(
    foreground: NDArray[np.float32],
    parts: NDArray[np.float32],
    confidence: NDArray[np.float32],
    square: Square,
    size: tuple[int, int],
) -> Find | None:
    likely = (foreground > 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=8)
    if count < 2:
        return None
    mass = np.bincount(labels.ravel(), foreground.ravel(), minlength=count)
    mass[0] = 0.0
    largest = int(mass.argmax())
    piece = labels == largest
    if piece.mean() < _SMALLEST:
        return None
    sure = 2 * float(foreground[piece].mean()) - 1
    compact = float(mass[largest] / mass.sum())
    cut_off = np.count_nonzero(piece & _open_border(square, size)) / (4 * math.sqrt(piece.sum()))
    score = (
        sure
        * compact
        * math.exp(-4 * cut_off)
        * _plausible(parts[1:, piece])
        * (0.4 + 0.6 * float(confidence[piece].mean()))
    )
    left, top, side = square
    pixel = side / MAP
    x, y, width, height = (float(value) for value in stats[largest, :4])
    near = cv2.dilate(piece.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    # What else is seen nearby belongs to it where it is no piece of its own.
    own = np.where(near | (likely == 0), foreground, 0.0).astype(np.float32)
    return Find((left + x * pixel, top + y * pixel, width * pixel, height * pixel), score, square, own)


def _plausible(parts: NDArray[np.float32]) -> float:
    """From 0.25 to 1: how many of torso, head and legs the piece has. `parts` (7, pixels) are probabilities."""
    shares = parts.mean(axis=1)
    legs = sum(share for name, share in zip(PART_NAMES, shares, strict=True) if name.endswith("leg"))
    torso, head = shares[PART_NAMES.index("torso")], shares[PART_NAMES.index("head")]
    return 0.25 * (1 + int(torso > 0.1) + int(head > 0.03) + int(legs > 0.03))


def _open_border(square: Square, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels along the map's border beyond which the frame goes on: an animal there is cut off by the square."""
    left, top, side = square
    border = np.zeros((MAP, MAP), bool)
    border[0] |= top > 0
    border[-1] |= top + side < size[0]
    border[:, 0] |= left > 0
    border[:, -1] |= left + side < size[1]
    return border


def _apart(finds: Sequence[Find | None]) -> list[Find]:
    """The best finds, none of which lies on a better one."""
    kept: list[Find] = []
    for find in sorted((find for find in finds if find is not None), key=lambda find: -find.score):
        if len(kept) < _KEPT and all(box_overlap(find.box, other.box) < 0.5 for other in kept):
            kept.append(find)
    return kept


def box_overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / max(a[2] * a[3] + b[2] * b[3] - both, 1e-9)
