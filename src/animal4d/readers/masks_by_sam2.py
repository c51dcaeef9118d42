"""Masks by SAM 2, prompted where the user or the built-in network says that the animal is.

The user's box or point is in the first frame. Without one the built-in network looks through some frames
(`masks_finding.py`), and the animal is followed from the frame in which it is seen best, to the end and then to the
beginning. Where SAM 2 loses it and the built-in network had seen it, it is prompted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Eyes
from animal4d.pretrained.sam2 import Prompt, Sam2, read_sam2
from animal4d.pretrained.transformers_folder import folder_checksum
from animal4d.readers.mask_finders import NOWHERE, Place
from animal4d.readers.masks_finding import animal_in_samples
from animal4d.readers.source import FrameSource, Image, Mask, Progress, Selection, numbers_in_words

DESCRIPTION = "found by SAM 2"
_CHUNK = 16
"""Frames that are held at once on the way back: sources read forwards only."""


@dataclass
class Sam2Masks:
    """Masks of the chosen frames, kept at the network's resolution."""

    size: tuple[int, int]
    logits: list[NDArray[np.float16] | None]
    """One per chosen frame, over the whole of it; None where the animal was not seen."""
    warnings: list[str] = field(default_factory=list)
    description: str = DESCRIPTION

    def read(self) -> Iterator[Mask | None]:
        for logits in self.logits:
            yield np.zeros(self.size, np.float32) if logits is None else _probabilities(logits, self.size)


@dataclass(frozen=True, eq=False)
class Sam2MaskFinder:
    """Masks by the network in a folder as `transformers` keeps it (`config.json`, `model.safetensors`)."""

    name: ClassVar[str] = "sam2"
    kind: ClassVar[str] = "pretrained"

    folder: Path
    eyes: Eyes | None = None
    """Finds the animal where the user does not say where it is."""
    device: torch.device | str = "cpu"

    def config(self) -> dict[str, Any]:
        return {"weights": folder_checksum(self.folder), "eyes": None if self.eyes is None else self.eyes.version}

    def __call__(
        self, frames: FrameSource, selection: Selection, place: Place = NOWHERE, progress: Progress | None = None
    ) -> Sam2Masks:
        """Raises Animal4dError where nobody knows where the animal is, where it is not seen in any frame, and where the
        network or `transformers` is missing."""
        place.checked(frames.size)
        sam2 = read_sam2(self.folder, self.device)
        numbers = selection.numbers
        start, prompts = self._prompts(frames, numbers, place, progress)
        logits: list[NDArray[np.float16] | None] = [None] * len(numbers)
        done = 0
        for order in (range(start, len(numbers)), range(start, -1, -1)):
            for index, found in _followed(sam2, frames, numbers, order, prompts):
                logits[index] = found
                done += index != start or order.step > 0
                if progress is not None:
                    progress("following the animal by SAM 2", done, len(numbers))
        lost = [number for number, found in zip(numbers, logits, strict=True) if found is None]
        if len(lost) == len(numbers):
            raise Animal4dError(
                f"{frames.path}: SAM 2 sees no object {place.in_words() or 'where the animal was found'}: draw --box "
                "closer around the animal in the first frame, or give masks by --masks"
            )
        warnings = (
            [f"SAM 2 lost the animal in {numbers_in_words(lost)}: give masks, or leave these out"] if lost else []
        )
        return Sam2Masks(frames.size, logits, warnings)

    def _prompts(
        self, frames: FrameSource, numbers: Sequence[int], place: Place, progress: Progress | None
    ) -> tuple[int, Mapping[int, Prompt]]:
        """Where to start, and what is known of some frames, by their place among the chosen ones."""
        if place:
            points = () if place.point is None else (place.point,)
            return 0, {0: Prompt(place.box, points)}
        if self.eyes is None:
            raise Animal4dError(
                f"{frames.path}: SAM 2 needs to know which animal: give its place in the first frame by --box "
                "x,y,width,height or --point x,y, or let the built-in eyes find it (without --no-eyes)"
            )
        finds = animal_in_samples(frames, numbers, self.eyes, progress=progress)
        best = max(finds, key=lambda index: finds[index].score)
        return best, {index: Prompt(find.box) for index, find in finds.items()}


def _followed(
    sam2: Sam2, frames: FrameSource, numbers: Sequence[int], order: range, prompts: Mapping[int, Prompt]
) -> Iterator[tuple[int, NDArray[np.float16] | None]]:
    """The logits of every frame of an order that starts at a prompted frame."""
    if len(order) < 2 and order.step < 0:
        return
    track = sam2.follow()
    for index, image in _images(frames, numbers, order):
        found = track.see(image, prompts[index] if index == order.start else None)
        if found is None and index != order.start and index in prompts:
            found = track.correct(image, prompts[index])
        yield index, None if found is None else found.numpy().astype(np.float16)


def _images(frames: FrameSource, numbers: Sequence[int], order: range) -> Iterator[tuple[int, Image]]:
    """Frames by their place among the chosen ones, a few in memory at once."""
    if order.step > 0:
        yield from zip(order, frames.read([numbers[index] for index in order]), strict=True)
        return
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        images = list(frames.read([numbers[index] for index in reversed(chunk)]))
        yield from zip(chunk, reversed(images), strict=True)


def _probabilities(logits: NDArray[np.float16], size: tuple[int, int]) -> Mask:
    """In the frame: interpolated before the sigmoid, so that outlines lie where the network says."""
    full = cv2.resize(logits.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + np.exp(-full)), dtype=np.float32)
