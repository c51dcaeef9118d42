"""Masks from the pixels alone, by the built-in network.

Some frames are looked through for the animal (`masks_finding.py`). From the first of them on it is followed: what was
seen in the frame before says where to look, what is seen there guides a second, closer look. The network's coarse
foreground takes its edges from the picture by a guided filter (He, Sun and Tang 2010), and neighbouring frames speak
along, carried by optical flow as far as their colours agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Eyes
from animal4d.eyes.labels import CROP, MARGIN
from animal4d.readers.crop import Box, Square, cut_mask, square_around
from animal4d.readers.masks_finding import (
    LEAST_SCORE,
    LEAST_SIDE,
    Find,
    box_overlap,
    finds_in,
    linked,
    look_at,
)
from animal4d.readers.masks_in_windows import MaskInWindow, Window, came_from, check_box, in_window, resampled, scaled
from animal4d.readers.source import FrameSource, Image, Mask, Progress, Selection, numbers_in_words

DESCRIPTION = "found by the built-in eyes"
_SAMPLED = 6
"""Frames that are looked through."""
_FOLLOWING_MARGIN = 0.35
"""Space around where the animal was, in the first look at the next frame."""
_LOST = 0.5 * LEAST_SCORE
_ELSEWHERE = 0.3
"""Overlap of boxes under which what was followed is not what was found."""
_FILTER_RADIUS = 0.014
"""Of the guided filter, as a fraction of the window's side: two thirds of a pixel of the network's map."""
_FILTER_SOFTNESS = 1e-4
_SHARPENING = 1.5
"""How much of what a blur takes from the network's foreground is added to it: legs thinner than two of its pixels
would fall under one half."""
_NEIGHBOUR_SAY = 0.5
_COLOR_ERROR = 30.0
"""Difference of carried and filmed colour (summed over R, G and B in 8 bits) that takes most of a neighbour's say."""


@dataclass(frozen=True)
class _Seen:
    """A frame's mask, and the picture that it lies on."""

    window: Window
    picture: Image
    mask: NDArray[np.float32]


@dataclass
class EyesMasks:
    """Masks of the chosen frames, made once and kept small."""

    size: tuple[int, int]
    masks: list[MaskInWindow | None]
    """One per chosen frame; None where the animal was lost."""
    warnings: list[str] = field(default_factory=list)
    description: str = DESCRIPTION

    def read(self) -> Iterator[Mask | None]:
        for mask in self.masks:
            yield np.zeros(self.size, np.float32) if mask is None else mask.in_frame(self.size)


def masks_by_eyes(
    source: FrameSource, selection: Selection, eyes: Eyes, box: Box | None = None, progress: Progress | None = None
) -> EyesMasks:
    """Masks of the chosen frames. `box` is the animal's place in the first of them, where the user says it.

    Raises Animal4dError where no animal is found, and where the box is none.
    """
    if box is not None:
        check_box(box, source.size)
    anchors = _anchors(source, selection.numbers, eyes, box, progress)
    seen = _followed(source, selection.numbers, eyes, anchors, progress)
    lost = [number for number, mask in zip(selection.numbers, seen, strict=True) if mask is None]
    warnings = ["masks were found by the built-in eyes: masks from a segmenter are better"]
    if lost:
        warnings.append(
            f"the built-in eyes lost the animal in {numbers_in_words(lost)}: give masks, or leave these out"
        )
    return EyesMasks(source.size, [_agreed(seen, index) for index in range(len(seen))], warnings)


def _anchors(
    source: FrameSource, numbers: Sequence[int], eyes: Eyes, box: Box | None, progress: Progress | None
) -> dict[int, Find]:
    """The animal in some frames, by their place among the chosen ones."""
    places = sorted(set(np.linspace(0, len(numbers) - 1, min(_SAMPLED, len(numbers))).round().astype(int).tolist()))
    finds: list[list[Find]] = []
    for index, image in enumerate(source.read([numbers[place] for place in places])):
        if index == 0 and box is not None:
            finds.append(_told(eyes, image, box))
        else:
            finds.append(finds_in(eyes, image))
        if progress is not None:
            progress("looking for the animal", index + 1, len(places))
    anchors = {place: find for place, find in zip(places, linked(finds), strict=True) if find is not None}
    if not anchors:
        looked_at = numbers_in_words([numbers[place] for place in places])
        raise Animal4dError(
            f"{source.path}: no animal is found in {looked_at}: give its place in the first frame by --box "
            "x,y,width,height, or masks by --masks"
        )
    return anchors


def _told(eyes: Eyes, image: Image, box: Box) -> list[Find]:
    """What is in the user's box, as the only find: the user knows. Raises Animal4dError where nothing is."""
    seen = look_at(eyes, image, [square_around(box, MARGIN, LEAST_SIDE)])[0]
    if seen is None:
        raise Animal4dError(
            f"--box {box[0]:g},{box[1]:g},{box[2]:g},{box[3]:g}: the built-in eyes see no animal there: draw it closer "
            "around the animal, give masks by --masks, or start GrabCut from the box by --no-eyes"
        )
    return [Find(box, 1.0, seen.square, seen.foreground)]


def _followed(
    source: FrameSource, numbers: Sequence[int], eyes: Eyes, anchors: dict[int, Find], progress: Progress | None
) -> list[_Seen | None]:
    """The animal in every frame. Frames before the first anchor are looked at around that."""
    last: Box = anchors[min(anchors)].box
    result: list[_Seen | None] = []
    for index, image in enumerate(source.read(numbers)):
        find = look_at(eyes, image, [square_around(last, _FOLLOWING_MARGIN, LEAST_SIDE)])[0]
        anchor = anchors.get(index)
        if anchor is not None and (
            find is None or (box_overlap(find.box, anchor.box) < _ELSEWHERE and anchor.score > find.score)
        ):
            find = anchor
        if find is None or find.score < _LOST:
            result.append(None)
        else:
            find = _closer(eyes, image, find)
            last = find.box
            result.append(_refined(image, find))
        if progress is not None:
            progress("following the animal", index + 1, len(numbers))
    return result


def _closer(eyes: Eyes, image: Image, find: Find) -> Find:
    """A second look, closer around the find and guided by it; the find itself where that sees nothing."""
    square = square_around(find.box, MARGIN, LEAST_SIDE)
    left, top, right, bottom = window = _filmed(square, image.shape[:2])
    mask = _foreground(find, window, (bottom - top, right - left)) > 0.5
    guide = cut_mask(mask.astype(np.float32), np.array((square[0] - left, square[1] - top)), square[2], CROP)
    again = look_at(eyes, image, [square], guide[None])[0]
    return find if again is None or again.score < 0.5 * find.score else again


def _refined(image: Image, find: Find) -> _Seen:
    """The find's foreground in a window of the frame, with the edges of the picture."""
    window = _filmed(find.square, image.shape[:2])
    picture = scaled(image, window)
    shape = picture.shape[:2]
    coarse = _foreground(find, window, shape)
    radius = max(2, round(_FILTER_RADIUS * find.square[2] * shape[1] / (window[2] - window[0])))
    fine = coarse + _SHARPENING * (coarse - cv2.GaussianBlur(coarse, (0, 0), 2.0 * radius))
    sharp = guided_filter(np.divide(picture, 255, dtype=np.float32), fine.clip(0, 1), radius, _FILTER_SOFTNESS)
    # Colours alike far from the animal are not the animal.
    reach = cv2.dilate(coarse, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    return _Seen(window, picture, np.where(reach > 0.2, sharp, 0.0).clip(0, 1).astype(np.float32))


def _filmed(square: Square, size: tuple[int, int]) -> Window:
    """What of a square lies in a frame of `size` (height, width)."""
    left, top, side = square
    return max(left, 0), max(top, 0), min(left + side, size[1]), min(top + side, size[0])


def _foreground(find: Find, window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The find's foreground as it lies in a window of working size `shape`."""
    left, top, side = find.square
    return resampled(find.foreground, (left, top, left + side, top + side), window, shape)


def guided_filter(
    guide: NDArray[np.float32], values: NDArray[np.float32], radius: int, softness: float
) -> NDArray[np.float32]:
    """Values that follow the edges of a colour guide in [0, 1]: in every window of `2 radius + 1` pixels the linear
    function of the colour that is nearest to the values; the means of all windows that hold a pixel.

    `softness` is the variance of a colour below which it is no edge.
    """

    def mean(array: NDArray[np.float32]) -> NDArray[np.float32]:
        side = 2 * radius + 1
        return np.asarray(cv2.blur(array, (side, side), borderType=cv2.BORDER_REFLECT), dtype=np.float32)

    mean_guide, mean_values = mean(guide), mean(values)
    products = np.stack([mean(guide * guide[..., channel : channel + 1]) for channel in range(3)], axis=-1)
    covariance = products - mean_guide[..., :, None] * mean_guide[..., None, :] + softness * np.eye(3, dtype=np.float32)
    with_values = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    slope = np.linalg.solve(covariance, with_values[..., None])[..., 0].astype(np.float32)
    offset = mean_values - (slope * mean_guide).sum(-1)
    return np.asarray((mean(slope) * guide).sum(-1) + mean(offset), dtype=np.float32)


def _agreed(seen: Sequence[_Seen | None], index: int) -> MaskInWindow | None:
    """A frame's mask, with those of its neighbours carried to it."""
    own = seen[index]
    if own is None:
        return None
    total, weights = own.mask.copy(), np.ones_like(own.mask)
    shape = own.mask.shape
    for other in (seen[place] for place in (index - 1, index + 1) if 0 <= place < len(seen)):
        if other is None:
            continue
        picture = resampled(other.picture.astype(np.float32), other.window, own.window, shape)
        mask = in_window(MaskInWindow(other.window, other.mask), own.window, shape)
        columns, rows = came_from(picture.clip(0, 255).astype(np.uint8), own.picture)
        carried, colors = (cv2.remap(array, columns, rows, cv2.INTER_LINEAR) for array in (mask, picture))
        error = cv2.GaussianBlur(np.abs(colors - own.picture).sum(axis=2), (0, 0), 2.0)
        weight = _NEIGHBOUR_SAY * np.exp(-error / _COLOR_ERROR)
        total += weight * carried
        weights += weight
    return MaskInWindow(own.window, (total / weights).astype(np.float16))
