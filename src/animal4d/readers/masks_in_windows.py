"""Masks that are made in a small window around the animal and carried from frame to frame by optical flow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.readers.crop import Box
from animal4d.readers.source import Image, Mask

WINDOW_PIXELS = 300
"""Longer side to which a window is shrunk."""
CONTEXT = 0.25
"""Space around the animal in its window, as a fraction of its larger extent, on every side."""

_NEIGHBOUR_SAY = 0.5
_MEMORY = 0.9
"""What is left of evidence one frame on."""
_COLOR_ERROR = 30.0
"""Difference of carried and filmed colour (summed over R, G and B in 8 bits) that takes most of a neighbour's say."""

Window = tuple[int, int, int, int]
"""left, top, right, bottom in whole pixels of the original frame; inside of it."""


@dataclass(frozen=True)
class MaskInWindow:
    """A mask in its window, small enough to keep one for every frame."""

    window: Window
    mask: NDArray[Any]
    """0 to 1, in working pixels of the window."""

    def in_frame(self, size: tuple[int, int]) -> Mask:
        """As it lies in the whole frame."""
        left, top, right, bottom = self.window
        full = np.zeros(size, np.float32)
        soft = cv2.resize(self.mask.astype(np.float32), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        full[top:bottom, left:right] = soft
        return full


@dataclass
class FoundMasks:
    """Masks of the chosen frames, made once and kept small."""

    size: tuple[int, int]
    masks: list[MaskInWindow | None]
    """One per chosen frame; None where the animal was lost."""
    description: str
    warnings: list[str] = field(default_factory=list)

    def read(self) -> Iterator[Mask | None]:
        for mask in self.masks:
            yield np.zeros(self.size, np.float32) if mask is None else mask.in_frame(self.size)


@dataclass(frozen=True)
class SeenMask:
    """A frame's mask, and the picture that it lies on."""

    window: Window
    picture: Image
    mask: NDArray[np.float32]


def window_around(box: Box, size: tuple[int, int], context: float = CONTEXT) -> Window:
    """The window around a box of a frame of `size` (height, width)."""
    x, y, width, height = box
    space = context * max(width, height)
    left, top = max(int(x - space), 0), max(int(y - space), 0)
    right, bottom = min(int(x + width + space) + 1, size[1]), min(int(y + height + space) + 1, size[0])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def scaled(image: Image, window: Window, factor: float | None = None) -> Image:
    """The picture in the window, shrunk by `factor`, or to the working size."""
    left, top, right, bottom = window
    part = image[top:bottom, left:right]
    if factor is None:
        factor = min(1.0, WINDOW_PIXELS / max(part.shape[:2]))
    size = max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def in_window(carried: MaskInWindow, window: Window, shape: tuple[int, int]) -> Mask:
    """A mask of one window as it lies in another one of working size `shape`."""
    return resampled(carried.mask.astype(np.float32), carried.window, window, shape)


def resampled(
    array: NDArray[np.float32], old_window: tuple[float, float, float, float], window: Window, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """What covers one window as it lies in another one of working size `shape`; zero where it does not reach."""
    old_left, old_top, old_right, old_bottom = old_window
    left, top, right, bottom = window
    to_old_x = array.shape[1] / (old_right - old_left)
    to_old_y = array.shape[0] / (old_bottom - old_top)
    columns = left + (np.arange(shape[1], dtype=np.float32) + 0.5) * ((right - left) / shape[1])
    rows = top + (np.arange(shape[0], dtype=np.float32) + 0.5) * ((bottom - top) / shape[0])
    map_x, map_y = np.meshgrid((columns - old_left) * to_old_x - 0.5, (rows - old_top) * to_old_y - 0.5)
    soft = cv2.remap(array, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(soft, dtype=np.float32)


def moved_mask(before: Image, after: Image, mask: Mask) -> Mask:
    """The mask of the picture before, moved by the flow: each pixel of `after` looks where it came from."""
    columns, rows = came_from(before, after)
    moved = cv2.remap(mask, columns, rows, cv2.INTER_LINEAR)
    return np.asarray(moved, dtype=np.float32)


def came_from(before: Image, after: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where (column, row) in `before` each pixel of `after` was, by optical flow."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey_before, grey_after = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    shape = grey_before.shape
    back = flow.calc(grey_after, grey_before, np.zeros((*shape, 2), np.float32))
    rows, columns = np.indices(shape, dtype=np.float32)
    return columns + back[..., 0], rows + back[..., 1]


def box_of(carried: MaskInWindow) -> Box:
    """Box of a mask of zeros and ones in pixels of the original frame."""
    left, top, right, bottom = carried.window
    x, y, width, height = cv2.boundingRect(carried.mask)
    scale_x, scale_y = (right - left) / carried.mask.shape[1], (bottom - top) / carried.mask.shape[0]
    return left + x * scale_x, top + y * scale_y, width * scale_x, height * scale_y


def check_box(box: Box, size: tuple[int, int]) -> None:
    """Raises Animal4dError where a user's box is none, or lies outside of a frame of `size` (height, width)."""
    x, y, width, height = box
    inside_x, inside_y = min(x + width, size[1]) - max(x, 0), min(y + height, size[0]) - max(y, 0)
    if not np.isfinite(box).all() or width < 8 or height < 8 or inside_x < 8 or inside_y < 8:
        raise Animal4dError(
            f"--box {x:g},{y:g},{width:g},{height:g} is no box of x,y,width,height in a frame of {size[1]}x{size[0]}"
        )


def agreed_mask(seen: Sequence[SeenMask | None], index: int) -> MaskInWindow | None:
    """A frame's mask, with those of its neighbours carried to it as far as their colours agree; None where the frame
    has none."""
    own = seen[index]
    if own is None:
        return None
    total, weights = own.mask.copy(), np.ones_like(own.mask)
    for other in (seen[place] for place in (index - 1, index + 1) if 0 <= place < len(seen)):
        if other is None:
            continue
        carried, likeness = _carried(other, own, other.mask)
        total += _NEIGHBOUR_SAY * likeness * carried
        weights += _NEIGHBOUR_SAY * likeness
    return MaskInWindow(own.window, (total / weights).astype(np.float16))


def believed(
    seen: Sequence[SeenMask | None], evidence: Sequence[NDArray[np.float16] | None]
) -> list[NDArray[np.float16] | None]:
    """What all frames together say: the mean of evidence (height, width, channels), in working pixels of the windows of
    `seen`, that is carried to each frame along the optical flow from both sides. It fades with every frame on its way,
    and where colours differ. None where a frame has none; nothing is carried across such a frame."""
    before = list(_remembered(seen, evidence))
    result: list[NDArray[np.float16] | None] = []
    for own, after in zip(reversed(evidence), _remembered(seen[::-1], evidence[::-1]), strict=True):
        past = before.pop()
        if own is None or past is None or after is None:
            result.append(None)
        else:
            total = past.astype(np.float32) + after
            result.append(((own + total[..., :-1]) / (1 + total[..., -1:])).astype(np.float16))
    return result[::-1]


def _remembered(
    seen: Sequence[SeenMask | None], evidence: Sequence[NDArray[np.float16] | None]
) -> Iterator[NDArray[np.float16] | None]:
    """For every frame the faded sum of the evidence of those before it, and in a last channel the sum of its
    weights."""
    last: SeenMask | None = None
    with_last = np.zeros(0, np.float32)
    for own, says in zip(seen, evidence, strict=True):
        if own is None or says is None:
            last = None
            yield None
            continue
        memory = np.zeros((*says.shape[:2], says.shape[2] + 1), np.float32)
        if last is not None:
            carried, likeness = _carried(last, own, with_last)
            memory = _MEMORY * likeness[..., None] * carried
        with_last = memory + np.concatenate((says, np.ones_like(says[..., :1])), axis=-1)
        last = own
        yield memory.astype(np.float16)


def _carried(
    other: SeenMask, own: SeenMask, array: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What covers another frame's window, moved to this frame's by the flow; and how alike their colours are, up to
    1."""
    shape = own.mask.shape
    picture = resampled(other.picture.astype(np.float32), other.window, own.window, shape)
    columns, rows = came_from(picture.clip(0, 255).astype(np.uint8), own.picture)
    there = resampled(array, other.window, own.window, shape)
    moved, colors = (cv2.remap(covering, columns, rows, cv2.INTER_LINEAR) for covering in (there, picture))
    error = cv2.GaussianBlur(np.abs(colors - own.picture).sum(axis=2), (0, 0), 2.0)
    return np.asarray(moved, dtype=np.float32), np.exp(-error / _COLOR_ERROR).astype(np.float32)
