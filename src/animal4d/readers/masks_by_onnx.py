"""Masks by an ONNX network that sees what stands out: U2-Net, IS-Net and their like.

What stands out need not be the animal. So the network looks at a window around where the animal is believed: where the
user or the built-in network says, then where it was in the frame before. Of what it sees there, the pieces that lie
where the animal was are kept. Neighbouring frames speak along, carried by optical flow as far as their colours agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Eyes
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.onnx_segmenter import OnnxSegmenter, read_onnx
from animal4d.readers.crop import Box, mask_box
from animal4d.readers.mask_finders import NOWHERE, Place, Point
from animal4d.readers.masks_finding import animal_in_samples, box_overlap
from animal4d.readers.masks_in_windows import (
    FoundMasks,
    MaskInWindow,
    SeenMask,
    Window,
    agreed_mask,
    in_window,
    resampled,
    scaled,
    window_around,
)
from animal4d.readers.source import FrameSource, Image, Progress, Selection, numbers_in_words

_CONTEXT = 0.3
"""Space around the animal in the window that is looked at, as a fraction of its larger extent."""
_ELSEWHERE = 0.3
"""Overlap of boxes under which what was followed is not what the built-in network found."""
_LEAST_SHARE = 0.002
"""Of the window, under which there is no animal."""
_REACH = 0.06
"""How far the animal may have moved out of its mask of the frame before, as a fraction of the window."""
_LEAST_WEIGHT = 1.0
"""Pixels that must lie where the animal may be."""
_AT_POINT = 0.02
"""How far from the user's point the animal may be, as a fraction of the window."""
_MOSTLY = 0.5
"""Share of a piece that must lie where the animal was, unless it is the largest there."""


@dataclass(frozen=True, eq=False)
class OnnxMaskFinder:
    """Masks by the network in an ONNX file."""

    name: ClassVar[str] = "onnx"
    kind: ClassVar[str] = "pretrained"

    file: Path
    eyes: Eyes | None = None
    """Finds the animal where the user does not say where it is; without it, what stands out in the whole frame is
    taken for the animal."""
    family: str | None = None
    """Name of the normalisation (`onnx_segmenter.FAMILIES`); by the file where it is not said."""
    size: int | None = None
    """Side of the network's input in pixels, where the file leaves it open."""
    device: torch.device | str = "cpu"

    def config(self) -> dict[str, Any]:
        if not self.file.is_file():
            raise Animal4dError(f"{self.file}: no such file; an ONNX file of a network like U2-Net or IS-Net is needed")
        return {
            "weights": file_checksum(self.file),
            "eyes": None if self.eyes is None else self.eyes.version,
            "family": self.family,
            "size": self.size,
        }

    def __call__(
        self, frames: FrameSource, selection: Selection, place: Place = NOWHERE, progress: Progress | None = None
    ) -> FoundMasks:
        """Raises Animal4dError where nothing is seen in any frame, and where the network or `onnxruntime` is missing
        or broken."""
        place.checked(frames.size)
        network = read_onnx(self.file, self.family, self.size, self.device)
        numbers = selection.numbers
        boxes: Mapping[int, Box] = {}
        if place.box is not None:
            boxes = {0: place.box}  # with a point beside it, the box says more
        elif place.point is None and self.eyes is not None:
            finds = animal_in_samples(frames, numbers, self.eyes, progress=progress)
            boxes = {index: find.box for index, find in finds.items()}
        seen = _followed(network, frames, numbers, boxes, None if boxes else place.point, progress)
        if place and seen[0] is None:
            raise Animal4dError(
                f"{place.in_words()}: {self.file.name} sees nothing there that stands out: give another place in the "
                "first frame, or masks by --masks"
            )
        lost = [number for number, mask in zip(numbers, seen, strict=True) if mask is None]
        if len(lost) == len(numbers):
            raise Animal4dError(
                f"{frames.path}: {self.file.name} sees nothing that stands out: give the animal's place in the first "
                "frame by --box x,y,width,height, or masks by --masks"
            )
        warnings = []
        if not place and self.eyes is None:
            warnings.append(f"{self.file.name} took what stands out for the animal: say by --box which it is")
        if lost:
            warnings.append(
                f"{self.file.name} lost the animal in {numbers_in_words(lost)}: give masks, or leave these out"
            )
        agreed = [agreed_mask(seen, index) for index in range(len(seen))]
        return FoundMasks(frames.size, agreed, f"found by {self.file.name}", warnings)


def _followed(
    network: OnnxSegmenter,
    frames: FrameSource,
    numbers: Sequence[int],
    boxes: Mapping[int, Box],
    point: Point | None,
    progress: Progress | None,
) -> list[SeenMask | None]:
    """The animal in every frame. Frames before the first box are looked at around that."""
    last: Box | None = boxes[min(boxes)] if boxes else None
    before: MaskInWindow | None = None
    result: list[SeenMask | None] = []
    for index, image in enumerate(frames.read(numbers)):
        told = boxes.get(index)
        seen = _look(network, image, last, before, point if index == 0 else None)
        box = None if seen is None else _box_in_frame(seen)
        if told is not None and (box is None or box_overlap(box, told) < _ELSEWHERE):
            again = _look(network, image, told, None, None)
            seen, box = (seen, box) if again is None else (again, _box_in_frame(again))
        if seen is not None and box is not None:
            last, before = box, MaskInWindow(seen.window, seen.mask)
        else:
            before = None
        result.append(seen)
        if progress is not None:
            progress("cutting out the animal", index + 1, len(numbers))
    return result


def _look(
    network: OnnxSegmenter, image: Image, box: Box | None, before: MaskInWindow | None, point: Point | None
) -> SeenMask | None:
    """The animal in a window around a box, or in the whole frame; None where nothing is seen.

    `before` is where it was in the frame before, `point` a point on it.
    """
    size = image.shape[:2]
    whole = (0.0, 0.0, float(size[1]), float(size[0]))
    window = window_around(whole if box is None else box, size, _CONTEXT)
    picture = scaled(image, window)
    shape = picture.shape[:2]
    left, top, right, bottom = window
    seen = network.foreground(image[top:bottom, left:right])
    foreground = resampled(seen, (left, top, right, bottom), window, shape)
    expected = _expected(window, shape, box, before, point)
    likely = (foreground > 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=8)
    if count < 2:
        return None
    where = np.bincount(labels.ravel(), (foreground * expected).ravel(), minlength=count)
    where[0] = 0.0
    largest = int(where.argmax())
    if where[largest] < _LEAST_WEIGHT or stats[largest, cv2.CC_STAT_AREA] < _LEAST_SHARE * likely.size:
        return None
    inside = np.bincount(labels.ravel(), (expected > 0.5).ravel(), minlength=count) / stats[:, cv2.CC_STAT_AREA]
    known = point is None and (box is not None or before is not None)
    kept = [largest, *(np.nonzero(inside[1:] > _MOSTLY)[0] + 1)] if known else [largest]
    piece = np.isin(labels, kept).astype(np.uint8)
    near = cv2.dilate(piece, np.ones((3, 3), np.uint8)) > 0
    # Doubt where the animal may be is kept for the neighbouring frames to decide; other pieces are not.
    mask = np.where((near | (expected > 0.5)) & ((likely == 0) | (piece > 0)), foreground, 0.0)
    return SeenMask(window, picture, mask.clip(0, 1).astype(np.float32))


def _expected(
    window: Window, shape: tuple[int, int], box: Box | None, before: MaskInWindow | None, point: Point | None
) -> NDArray[np.float32]:
    """Where in a window the animal may be, in [0, 1]."""
    left, top, right, bottom = window
    scale_x, scale_y = shape[1] / (right - left), shape[0] / (bottom - top)
    if point is not None:
        column, row = (point[0] - left) * scale_x - 0.5, (point[1] - top) * scale_y - 0.5
        columns, rows = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
        away = np.hypot(columns - column, rows - row) / max(shape)
        return np.exp(-((away / _AT_POINT) ** 2)).astype(np.float32)
    if before is not None:
        reach = max(1, round(_REACH * max(shape)))
        was = (in_window(before, window, shape) > 0.5).astype(np.uint8)
        return cv2.dilate(was, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)).astype(np.float32)
    expected = np.ones(shape, np.float32)
    if box is not None:
        x, y, width, height = box
        expected[:] = 0.0
        first_row, first_column = max(round((y - top) * scale_y), 0), max(round((x - left) * scale_x), 0)
        last_row, last_column = round((y + height - top) * scale_y), round((x + width - left) * scale_x)
        expected[first_row : last_row + 1, first_column : last_column + 1] = 1.0
    return expected


def _box_in_frame(seen: SeenMask) -> Box | None:
    found = mask_box(seen.mask)
    if found is None:
        return None
    left, top, right, bottom = seen.window
    scale_x, scale_y = (right - left) / seen.mask.shape[1], (bottom - top) / seen.mask.shape[0]
    x, y, width, height = found
    return left + x * scale_x, top + y * scale_y, width * scale_x, height * scale_y
