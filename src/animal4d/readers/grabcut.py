"""Masks without a segmenter: GrabCut from a box in the first frame, carried on by optical flow.

Every frame is worked on in a window around the animal, scaled to about 300 pixels. The mask of the frame before, moved
by the flow, says where the animal surely is, where it surely is not, and leaves GrabCut a band along the outline to
decide by colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.readers.crop import Box
from animal4d.readers.mask_finders import NOWHERE, Place
from animal4d.readers.masks_in_windows import (
    MaskInWindow,
    Window,
    box_of,
    check_box,
    in_window,
    moved_mask,
    scaled,
    window_around,
)
from animal4d.readers.source import FrameSource, Image, Mask, Progress, Selection, numbers_in_words

_SEARCH = 0.5
"""How far the animal may jump between two frames, as a fraction of its larger extent."""
_MATCH_PIXELS = 64
_LARGEST_STEP = 3
"""Frames from one carried mask to the next; frames in between are used even if they were not chosen."""
_BAND = 0.09
"""Half-width of the undecided band along the outline, as a fraction of the square root of the animal's area."""
_BINS = 16 * 32 * 32
_LEAST_LIKENESS = 0.3
"""Part of the colour histogram shared with the first frame's below which the mask has drifted off the animal."""
_AREA_JUMP = 0.3
"""Relative change of area by GrabCut beyond which the moved mask is trusted instead."""


@dataclass
class GrabCutMasks:
    """Masks of the chosen frames, made once and kept small."""

    size: tuple[int, int]
    numbers: tuple[int, ...]
    carried: list[MaskInWindow | None]
    """One per chosen frame; None from where the animal was lost."""
    warnings: list[str] = field(default_factory=list)
    description: str = "GrabCut from a box"

    def read(self) -> Iterator[Mask | None]:
        for carried in self.carried:
            yield None if carried is None else carried.in_frame(self.size)


@dataclass(frozen=True)
class GrabCutMaskFinder:
    """The way to masks without any network, from the user's box."""

    name: ClassVar[str] = "builtin-grabcut"
    kind: ClassVar[str] = "builtin"

    def config(self) -> dict[str, Any]:
        return {}

    def __call__(
        self, frames: FrameSource, selection: Selection, place: Place = NOWHERE, progress: Progress | None = None
    ) -> GrabCutMasks:
        if place.box is None:
            raise Animal4dError(
                f"{frames.path}: GrabCut needs the animal's place in the first frame: --box x,y,width,height"
            )
        return grabcut_masks(frames, selection, place.box, progress)


def grabcut_masks(
    source: FrameSource, selection: Selection, box: Box, progress: Progress | None = None
) -> GrabCutMasks:
    """Masks of the chosen frames from the animal's box in the first of them."""
    check_box(box, source.size)
    numbers = _with_steps_between(selection.numbers)
    chosen = set(selection.numbers)
    kept: list[MaskInWindow | None] = []
    unsure: list[int] = []
    previous: MaskInWindow | None = None
    colors = np.empty(0)
    previous_image: Image | None = None
    for index, (number, image) in enumerate(zip(numbers, source.read(numbers), strict=True)):
        if previous_image is None:
            current, sure = _first_mask(image, box), True
        elif previous is None:
            current, sure = None, True
        else:
            current, sure = _next_mask(previous_image, image, previous)
        if index == 0 and current is not None:
            colors = _colors(image, current)
        drifted = current is None or np.minimum(colors, _colors(image, current)).sum() < _LEAST_LIKENESS
        if number in chosen:
            kept.append(None if drifted else current)
            if not sure:
                unsure.append(number)
        previous, previous_image = current, image
        if progress is not None:
            progress("cutting out the animal", index + 1, len(numbers))
    warnings = [
        "masks were made by GrabCut from the box and carried by optical flow: masks from a segmenter are better"
    ]
    if unsure:
        warnings.append(
            f"GrabCut and optical flow disagree in {numbers_in_words(unsure)}: the mask moved by the flow is used there"
        )
    lost = [number for number, carried in zip(selection.numbers, kept, strict=True) if carried is None]
    if lost:
        warnings.append(f"GrabCut lost the animal in {numbers_in_words(lost)}: stop earlier, or give masks")
    return GrabCutMasks(source.size, selection.numbers, kept, warnings)


def _first_mask(image: Image, box: Box) -> MaskInWindow:
    x, y, width, height = box
    window = window_around(box, image.shape[:2])
    picture = scaled(image, window)
    scale = picture.shape[1] / (window[2] - window[0])
    left, top = max(round((x - window[0]) * scale), 0), max(round((y - window[1]) * scale), 0)
    right, bottom = round((x + width - window[0]) * scale), round((y + height - window[1]) * scale)
    trimap = _trimap_of_box(picture, (left, top, right, bottom))
    mask = _largest_piece(_grabcut(picture, trimap, iterations=2))
    mask = _without_background_pieces(picture, trimap, mask)
    if mask.sum() < 0.1 * (right - left) * (bottom - top):
        raise Animal4dError(
            "GrabCut finds no animal in the box: draw --box closer around it, or give masks from a segmenter by --masks"
        )
    return MaskInWindow(window, mask)


def _matched_windows(previous_image: Image, image: Image, previous: MaskInWindow) -> tuple[Window, Window]:
    """Windows around the animal in two frames, of one size, apart by the shift of the animal between them.

    Optical flow alone loses an animal that jumps by a large part of its own size, as when the camera is swung round.
    """
    size = image.shape[:2]
    box = box_of(previous)
    template_window = window_around(box, size, context=0.0)
    search_window = window_around(box, size, context=_SEARCH)
    factor = min(1.0, _MATCH_PIXELS / max(box[2], box[3]))
    template = scaled(previous_image, template_window, factor)
    weight = (in_window(previous, template_window, template.shape[:2]) > 0.5).astype(np.uint8)
    scores = cv2.matchTemplate(
        scaled(image, search_window, factor), template, cv2.TM_SQDIFF, mask=np.repeat(weight[..., None], 3, axis=-1)
    )
    _, _, (best_x, best_y), _ = cv2.minMaxLoc(scores)
    shift_x = round(best_x / factor) + search_window[0] - template_window[0]
    shift_y = round(best_y / factor) + search_window[1] - template_window[1]
    left, top, right, bottom = window_around(box, size)
    # Both windows must lie inside of their frames.
    left, right = max(left, -shift_x, 0), min(right, size[1] - shift_x, size[1])
    top, bottom = max(top, -shift_y, 0), min(bottom, size[0] - shift_y, size[0])
    return (left, top, right, bottom), (left + shift_x, top + shift_y, right + shift_x, bottom + shift_y)


def _trimap_of_box(picture: Image, box: Window) -> NDArray[np.uint8]:
    """Surely background outside of the box; inside of it, probably background where the colour is common outside."""
    left, top, right, bottom = box
    trimap = np.full(picture.shape[:2], cv2.GC_BGD, np.uint8)
    trimap[top:bottom, left:right] = cv2.GC_PR_FGD
    inside = trimap == cv2.GC_PR_FGD
    if inside.all():
        raise Animal4dError("--box must leave some background around the animal")
    bins = _color_bins(picture)
    trimap[inside & (_log_ratio(bins, ~inside, inside) > np.log(0.5))] = cv2.GC_PR_BGD
    rows, columns = np.indices(trimap.shape)
    x, y = (columns + 0.5 - left) / (right - left), (rows + 0.5 - top) / (bottom - top)
    trimap[np.hypot(x - 0.5, y - 0.4) < 0.07] = cv2.GC_FGD  # the trunk of nearly every animal in a box
    return trimap


def _without_background_pieces(picture: Image, trimap: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask after a second look at its larger pieces whose colours are more common outside of it.

    Most often that is the wall seen between the legs.
    """
    outside_colors = _log_ratio(_color_bins(picture), mask == 0, mask > 0) > np.log(1.5)
    doubtful = cv2.morphologyEx(
        (outside_colors & (mask > 0)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    count, labels, stats, _ = cv2.connectedComponentsWithStats(doubtful, connectivity=4)
    large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] > 0.02 * mask.sum()]
    if not large:
        return mask
    again = np.where(mask > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    fixed = (trimap == cv2.GC_BGD) | (trimap == cv2.GC_FGD)
    again[fixed] = trimap[fixed]
    again[np.isin(labels, large)] = cv2.GC_BGD
    return _largest_piece(_grabcut(picture, again, iterations=1))


def _next_mask(previous_image: Image, image: Image, previous: MaskInWindow) -> tuple[MaskInWindow | None, bool]:
    """The mask in the next frame, and whether GrabCut's was good; None where nothing is left of the animal."""
    old_window, window = _matched_windows(previous_image, image, previous)
    before, picture = scaled(previous_image, old_window), scaled(image, window)
    moved = moved_mask(before, picture, in_window(previous, old_window, picture.shape[:2]))
    likely = (moved > 0.5).astype(np.uint8)
    area = int(likely.sum())
    if area < 30:
        return None, False
    radius = max(2, round(_BAND * area**0.5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    core, outside = cv2.erode(likely, kernel) > 0, cv2.dilate(likely, kernel) == 0
    bins = _color_bins(picture)
    ratio = (_histogram(bins[likely > 0]) / np.maximum(_histogram(bins[outside]), 1e-9))[bins]
    probable = np.where(likely > 0, ratio > 0.5, ratio > 2)
    trimap = np.where(probable, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[core] = cv2.GC_FGD
    trimap[outside] = cv2.GC_BGD
    mask = _largest_piece(_grabcut(picture, trimap, iterations=2))
    sure = abs(int(mask.sum()) / area - 1) <= _AREA_JUMP
    return MaskInWindow(window, mask if sure else likely), sure


def _color_bins(picture: Image) -> NDArray[np.int64]:
    """Number of the coarse Lab colour of every pixel."""
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.int64)
    return (lab[..., 0] // 16 * 32 + lab[..., 1] // 8) * 32 + lab[..., 2] // 8


def _colors(image: Image, carried: MaskInWindow) -> NDArray[np.float64]:
    """Histogram of the animal's colours."""
    return _histogram(_color_bins(scaled(image, carried.window))[carried.mask > 0])


def _histogram(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.bincount(bins, minlength=_BINS) / max(len(bins), 1)


def _log_ratio(
    bins: NDArray[np.int64], numerator: NDArray[np.bool_], denominator: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How much more common each pixel's colour is in one region than in another, smoothed a little."""
    ratio = np.log((_histogram(bins[numerator]) + 1e-7) / (_histogram(bins[denominator]) + 1e-7))[bins]
    return np.asarray(cv2.GaussianBlur(ratio, (0, 0), 2.0), dtype=np.float64)


def _grabcut(picture: Image, trimap: NDArray[np.uint8], iterations: int) -> NDArray[np.uint8]:
    if not ((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)).any() or not (trimap == cv2.GC_BGD).any():
        return np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    cv2.setRNGSeed(0)  # GrabCut starts its colour clusters at random
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    trimap = trimap.copy()
    cv2.grabCut(picture, trimap, (0, 0, 1, 1), background, foreground, iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _largest_piece(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest piece without thin threads, and with its small holes closed."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count < 2:
        return np.zeros_like(mask)
    piece = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - piece, connectivity=4)
    small = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] < 0.005 * piece.sum()]
    return piece | np.isin(labels, small).astype(np.uint8)


def _with_steps_between(numbers: Sequence[int]) -> list[int]:
    """The chosen numbers, and as many between them that no step is larger than `_LARGEST_STEP`."""
    result = [numbers[0]]
    for number in numbers[1:]:
        steps = -(-(number - result[-1]) // _LARGEST_STEP)
        start = result[-1]
        result += [start + round((number - start) * step / steps) for step in range(1, steps + 1)]
    return result
