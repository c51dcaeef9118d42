"""Which masks can be used, and in words why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animal4d.errors import Animal4dError
from animal4d.readers.crop import Box, mask_box
from animal4d.readers.masks import MaskSource
from animal4d.readers.source import FrameSource, Mask, Progress, Selection, numbers_in_words

_LEAST_PIXELS = 16
"""Masks with fewer pixels are called empty."""
_FULL_FRAME = 0.995
_GREY = (0.1, 0.9)
"""Between these a value says neither animal nor background."""
_MOSTLY = 0.5
"""Share of a picture; soft masks, as those of matting, are grey at the outline and in fur alone."""
_SAME = 2 / 255
"""Mean difference of a picture to itself, where it was compressed once more."""
_LEAST_GREY = 0.05


def measure_masks(
    masks: MaskSource, numbers: Sequence[int], notes: list[str], progress: Progress | None
) -> list[Box | None]:
    """The animal's box in every frame; None, with a note, where the mask cannot be used.

    Raises Animal4dError where no frame has a usable mask.
    """
    boxes: list[Box | None] = []
    absent: list[int] = []
    empty: list[int] = []
    full: list[int] = []
    grey: list[int] = []
    for index, (number, mask) in enumerate(zip(numbers, masks.read(), strict=True)):
        kind = None if mask is not None else absent
        if mask is not None:
            covered = np.count_nonzero(mask > 0.5)
            if _grey_share(mask) > _MOSTLY:
                grey.append(number)
            kind = empty if covered < _LEAST_PIXELS else full if covered > _FULL_FRAME * mask.size else None
        if kind is not None:
            kind.append(number)
        boxes.append(mask_box(mask) if mask is not None and kind is None else None)
        if progress is not None:
            progress("reading masks", index + 1, len(numbers))
    if not any(boxes):
        reason = "are missing" if absent else "fill the frame" if full and not empty else "are empty"
        raise Animal4dError(f"no frame has a usable mask ({masks.description}): all masks {reason}")
    for kind, what in ((absent, "is missing"), (empty, "is empty"), (full, "fills the frame")):
        if kind:
            notes.append(f"the mask {what} in {numbers_in_words(kind)}: no silhouette is used there")
    if grey:
        notes.append(
            f"the masks are grey in most pixels in {numbers_in_words(grey)}: masks tell the animal (white) from the "
            "background (black); are they pictures?"
        )
    return boxes


def check_no_frames(masks: MaskSource, frames: FrameSource, selection: Selection) -> None:
    """Raises Animal4dError where the first mask is its frame: someone gave the frames in the place of the masks.

    Frames that are black and white may well be their own masks.
    """
    found = next(((place, mask) for place, mask in enumerate(masks.read()) if mask is not None), None)
    if found is None or _grey_share(found[1]) < _LEAST_GREY:
        return
    number = selection.numbers[found[0]]
    image = next(iter(frames.read([number])))
    if np.abs(found[1] - image.max(axis=-1) / np.float32(255)).mean() < _SAME:
        raise Animal4dError(
            f"the masks are the frames themselves, as frame {number} shows ({masks.description}): give --masks "
            "pictures that are white on the animal and black elsewhere, or leave it away, to have the animal found"
        )


def _grey_share(mask: Mask) -> float:
    return np.count_nonzero((mask > _GREY[0]) & (mask < _GREY[1])) / mask.size
