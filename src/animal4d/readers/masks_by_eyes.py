"""Masks from the pixels alone, by the built-in network.

Some frames are looked through for the animal (`masks_finding.py`). From the first of them on it is followed: what was
seen in the frame before says where to look, what is seen there guides a second, closer look. The network's coarse
foreground takes its edges from the picture by a guided filter (He, Sun and Tang 2010), and neighbouring frames speak
along, carried by optical flow as far as their colours agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from animal4d.eyes.eyes import Eyes
from animal4d.eyes.labels import CROP, MARGIN
from animal4d.readers.crop import Box, Square, square_around
from animal4d.readers.mask_finders import NOWHERE, Place, Point
from animal4d.readers.masks_finding import LEAST_SCORE, LEAST_SIDE, Find, animal_in_samples, box_overlap, look_at
from animal4d.readers.masks_in_windows import (
    FoundMasks,
    MaskInWindow,
    SeenMask,
    Window,
    agreed_mask,
    box_of,
    in_window,
    moved_mask,
    resampled,
    scaled,
)
from animal4d.readers.source import FrameSource, Image, Progress, Selection, numbers_in_words

DESCRIPTION = "found by the built-in eyes"
_FOLLOWING_MARGIN = 0.35
"""Space around where the animal was, in the first look at the next frame."""
_LOST = 0.5 * LEAST_SCORE
_CARRIED_AGREES = 0.5
"""Overlap of the boxes from which on the mask of the frame before leads the closer look."""
_NEIGHBOURHOOD = 0.012
"""Of the window's longer side: further from the carried mask nothing is added to it in one frame."""
_TRUSTED = 0.5
"""A closer look that is so much less sure than the first one is not believed."""
_ELSEWHERE = 0.3
"""Overlap of boxes under which what was followed is not what was found."""
_FILTER_RADIUS = 0.014
"""Of the guided filter, as a fraction of the window's side: two thirds of a pixel of the network's map."""
_FILTER_SOFTNESS = 1e-4
_SHARPENING = 1.5
"""How much of what a blur takes from the network's foreground is added to it: legs thinner than two of its pixels
would fall under one half."""


@dataclass(frozen=True, eq=False)
class EyesMaskFinder:
    """The built-in way to masks."""

    name: ClassVar[str] = "builtin-eyes"
    kind: ClassVar[str] = "builtin"

    eyes: Eyes

    def config(self) -> dict[str, Any]:
        return {"weights": self.eyes.version}

    def __call__(
        self, frames: FrameSource, selection: Selection, place: Place = NOWHERE, progress: Progress | None = None
    ) -> FoundMasks:
        return masks_by_eyes(frames, selection, self.eyes, place.box, progress, place.point)


def masks_by_eyes(
    source: FrameSource,
    selection: Selection,
    eyes: Eyes,
    box: Box | None = None,
    progress: Progress | None = None,
    point: Point | None = None,
) -> FoundMasks:
    """Masks of the chosen frames. `box` and `point` are the animal's place in the first of them, where the user says
    it.

    Raises Animal4dError where no animal is found, and where the place is none.
    """
    place = Place(box, point)
    anchors = animal_in_samples(source, selection.numbers, eyes, place.checked(source.size), progress)
    seen = _followed(source, selection.numbers, eyes, anchors, progress)
    lost = [number for number, mask in zip(selection.numbers, seen, strict=True) if mask is None]
    warnings = ["masks were found by the built-in eyes: masks from a segmenter are better"]
    if lost:
        warnings.append(
            f"the built-in eyes lost the animal in {numbers_in_words(lost)}: give masks, or leave these out"
        )
    return FoundMasks(source.size, [agreed_mask(seen, index) for index in range(len(seen))], DESCRIPTION, warnings)


def _followed(
    source: FrameSource, numbers: Sequence[int], eyes: Eyes, anchors: dict[int, Find], progress: Progress | None
) -> list[SeenMask | None]:
    """The animal in every frame. Frames before the first anchor are looked at around that."""
    last: Box = anchors[min(anchors)].box
    result: list[SeenMask | None] = []
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
            find = _closer(eyes, image, find, result[-1] if result else None)
            last = find.box
            result.append(_refined(image, find))
        if progress is not None:
            progress("following the animal", index + 1, len(numbers))
    return result


def _closer(eyes: Eyes, image: Image, find: Find, before: SeenMask | None) -> Find:
    """A second look, closer around the find and guided by it; the find itself where that sees nothing.

    What leads the look is the mask of the frame before, carried along by optical flow, as long as it agrees with the
    find: another animal that comes into view beside this one is then not taken for a part of it.
    """
    carried = None if before is None else _carried(image, before)
    if carried is not None and box_overlap(box_of(carried), find.box) > _CARRIED_AGREES:
        again = _guided(eyes, image, box_of(carried), _with_neighbourhood(carried, find))
        if again is not None and again.score >= _TRUSTED * find.score:
            return again
    square = square_around(find.box, MARGIN, LEAST_SIDE)
    left, top, right, bottom = window = _filmed(square, image.shape[:2])
    own = MaskInWindow(window, _foreground(find, window, (bottom - top, right - left)) > 0.5)
    again = _guided(eyes, image, find.box, own)
    return find if again is None or again.score < _TRUSTED * find.score else again


def _carried(image: Image, before: SeenMask) -> MaskInWindow | None:
    """The mask of the frame before, as it lies in this one, of zeros and ones; None where nothing is left of it."""
    moved = moved_mask(before.picture, scaled(image, before.window), before.mask) > 0.5
    return MaskInWindow(before.window, moved.astype(np.uint8)) if moved.any() else None


def _with_neighbourhood(carried: MaskInWindow, find: Find) -> MaskInWindow:
    """The carried mask with what the find sees close around it: flow loses thin legs, which must not stay lost."""
    shape = carried.mask.shape
    reach = max(1, round(_NEIGHBOURHOOD * max(shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    near = cv2.dilate(carried.mask, kernel) * (_foreground(find, carried.window, shape) > 0.5)
    return MaskInWindow(carried.window, np.maximum(carried.mask, near).astype(np.uint8))


def _guided(eyes: Eyes, image: Image, box: Box, guide: MaskInWindow) -> Find | None:
    """What is seen around a box by a look that is told where the animal may be."""
    square = square_around(box, MARGIN, LEAST_SIDE)
    left, top, side = square
    told = in_window(guide, (left, top, left + side, top + side), (CROP, CROP)) > 0.5
    return look_at(eyes, image, [square], told[None].astype(np.float32))[0]


def _refined(image: Image, find: Find) -> SeenMask:
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
    return SeenMask(window, picture, np.where(reach > 0.2, sharp, 0.0).clip(0, 1).astype(np.float32))


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
