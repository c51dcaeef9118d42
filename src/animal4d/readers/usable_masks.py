"""Which masks can be used, and in words why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animal4d.errors import Animal4dError
from animal4d.readers.crop import Box, mask_box
from animal4d.readers.masks import MaskSource
from animal4d.readers.source import Progress, numbers_in_words

_LEAST_PIXELS = 16
"""Masks with fewer pixels are called empty."""
_FULL_FRAME = 0.995


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
    for index, (number, mask) in enumerate(zip(numbers, masks.read(), strict=True)):
        kind = None if mask is not None else absent
        if mask is not None:
            covered = np.count_nonzero(mask > 0.5)
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
    return boxes
