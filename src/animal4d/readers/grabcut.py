"""Masks without a segmenter: GrabCut from a box in the first frame, carried on by optical flow.

Every frame is worked on in a window around the animal, scaled to about 300 pixels. The mask of the frame before, moved
by the flow, says where the animal surely is, where it surely is not, and leaves GrabCut a band along the outline to
decide by colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.readers.crop import Box
from animal4d.readers.source import FrameSource, Image, Mask, Progress, Selection, numbers_in_words

_WINDOW_PIXELS = 300
_CONTEXT = 0.25
"""Space around the animal in its window, as a fraction of its larger extent, on every side."""
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

Window = tuple[int, int, int, int]
"""left, top, right, bottom in whole pixels of the original frame; inside of it."""


@dataclass(frozen=True)
class _Carried:
    """A mask in its window, small enough to keep one for every frame."""

    window: Window
    mask: NDArray[np.uint8]
    """0 or 1, in working pixels of the window."""


@dataclass
class GrabCutMasks:
    """Masks of the chosen frames, made once and kept small."""

    size: tuple[int, int]
    numbers: tuple[int, ...]
    carried: list[_Carried | None]
    """One per chosen frame; None from where the animal was lost."""
    warnings: list[str] = field(default_factory=list)
    description: str = "GrabCut from a box"

    def read(self) -> Iterator[Mask | None]:
        for carried in self.carried:
            yield None if carried is None else self._full(carried)

    def _full(self, carried: _Carried) -> Mask:
        left, top, right, bottom = carried.window
        full = np.zeros(self.size, np.float32)
        soft = cv2.resize(carried.mask.astype(np.float32), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        full[top:bottom, left:right] = soft
        return full


def grabcut_masks(
    source: FrameSource, selection: Selection, box: Box, progress: Progress | None = None
) -> GrabCutMasks:
    """Masks of the chosen frames from the animal's box in the first of them."""
    _check_box(box, source.size)
    numbers = _with_steps_between(selection.numbers)
    chosen = set(selection.numbers)
    kept: list[_Carried | None] = []
    unsure: list[int] = []
    previous: _Carried | None = None
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


def _first_mask(image: Image, box: Box) -> _Carried:
    x, y, width, height = box
    window = _window_around(box, image.shape[:2])
    picture = _scaled(image, window)
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
    return _Carried(window, mask)


def _matched_windows(previous_image: Image, image: Image, previous: _Carried) -> tuple[Window, Window]:
    """Windows around the animal in two frames, of one size, apart by the shift of the animal between them.

    Optical flow alone loses an animal that jumps by a large part of its own size, as when the camera is swung round.
    """
    size = image.shape[:2]
    box = _box_of(previous)
    template_window = _window_around(box, size, context=0.0)
    search_window = _window_around(box, size, context=_SEARCH)
    factor = min(1.0, _MATCH_PIXELS / max(box[2], box[3]))
    template = _scaled(previous_image, template_window, factor)
    weight = (_in_window(previous, template_window, template.shape[:2]) > 0.5).astype(np.uint8)
    scores = cv2.matchTemplate(
        _scaled(image, search_window, factor), template, cv2.TM_SQDIFF, mask=np.repeat(weight[..., None], 3, axis=-1)
    )
    _, _, (best_x, best_y), _ = cv2.minMaxLoc(scores)
    shift_x = round(best_x / factor) + search_window[0] - template_window[0]
    shift_y = round(best_y / factor) + search_window[1] - template_window[1]
    left, top, right, bottom = _window_around(box, size)
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


def _next_mask(previous_image: Image, image: Image, previous: _Carried) -> tuple[_Carried | None, bool]:
    """The mask in the next frame, and whether GrabCut's was good; None where nothing is left of the animal."""
    old_window, window = _matched_windows(previous_image, image, previous)
    before, picture = _scaled(previous_image, old_window), _scaled(image, window)
    moved = _moved_mask(before, picture, _in_window(previous, old_window, picture.shape[:2]))
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
    return _Carried(window, mask if sure else likely), sure


def _color_bins(picture: Image) -> NDArray[np.int64]:
    """Number of the coarse Lab colour of every pixel."""
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.int64)
    return (lab[..., 0] // 16 * 32 + lab[..., 1] // 8) * 32 + lab[..., 2] // 8


def _colors(image: Image, carried: _Carried) -> NDArray[np.float64]:
    """Histogram of the animal's colours."""
    return _histogram(_color_bins(_scaled(image, carried.window))[carried.mask > 0])


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


def _moved_mask(before: Image, after: Image, mask: Mask) -> Mask:
    """The mask of the picture before, moved by the flow: each pixel of `after` looks where it came from."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey_before, grey_after = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    back = flow.calc(grey_after, grey_before, np.zeros((*mask.shape, 2), np.float32))
    rows, columns = np.indices(mask.shape, dtype=np.float32)
    moved = cv2.remap(mask, columns + back[..., 0], rows + back[..., 1], cv2.INTER_LINEAR)
    return np.asarray(moved, dtype=np.float32)


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


def _box_of(carried: _Carried) -> Box:
    """Box of a mask in pixels of the original frame."""
    left, top, right, bottom = carried.window
    x, y, width, height = cv2.boundingRect(carried.mask)
    scale_x, scale_y = (right - left) / carried.mask.shape[1], (bottom - top) / carried.mask.shape[0]
    return left + x * scale_x, top + y * scale_y, width * scale_x, height * scale_y


def _window_around(box: Box, size: tuple[int, int], context: float = _CONTEXT) -> Window:
    x, y, width, height = box
    space = context * max(width, height)
    left, top = max(int(x - space), 0), max(int(y - space), 0)
    right, bottom = min(int(x + width + space) + 1, size[1]), min(int(y + height + space) + 1, size[0])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _scaled(image: Image, window: Window, factor: float | None = None) -> Image:
    """The picture in the window, shrunk by `factor`, or to the working size."""
    left, top, right, bottom = window
    part = image[top:bottom, left:right]
    if factor is None:
        factor = min(1.0, _WINDOW_PIXELS / max(part.shape[:2]))
    size = max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _in_window(carried: _Carried, window: Window, shape: tuple[int, int]) -> Mask:
    """A mask of one window as it lies in another one of working size `shape`."""
    old_left, old_top, old_right, old_bottom = carried.window
    left, top, right, bottom = window
    to_old_x = carried.mask.shape[1] / (old_right - old_left)
    to_old_y = carried.mask.shape[0] / (old_bottom - old_top)
    columns = left + (np.arange(shape[1], dtype=np.float32) + 0.5) * ((right - left) / shape[1])
    rows = top + (np.arange(shape[0], dtype=np.float32) + 0.5) * ((bottom - top) / shape[0])
    map_x, map_y = np.meshgrid((columns - old_left) * to_old_x - 0.5, (rows - old_top) * to_old_y - 0.5)
    soft = cv2.remap(
        carried.mask.astype(np.float32), map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR
    )
    return np.asarray(soft, dtype=np.float32)


def _with_steps_between(numbers: Sequence[int]) -> list[int]:
    """The chosen numbers, and as many between them that no step is larger than `_LARGEST_STEP`."""
    result = [numbers[0]]
    for number in numbers[1:]:
        steps = -(-(number - result[-1]) // _LARGEST_STEP)
        start = result[-1]
        result += [start + round((number - start) * step / steps) for step in range(1, steps + 1)]
    return result


def _check_box(box: Box, size: tuple[int, int]) -> None:
    x, y, width, height = box
    inside_x, inside_y = min(x + width, size[1]) - max(x, 0), min(y + height, size[0]) - max(y, 0)
    if not np.isfinite(box).all() or width < 8 or height < 8 or inside_x < 8 or inside_y < 8:
        raise Animal4dError(
            f"--box {x:g},{y:g},{width:g},{height:g} is no box of x,y,width,height in a frame of {size[1]}x{size[0]}"
        )
