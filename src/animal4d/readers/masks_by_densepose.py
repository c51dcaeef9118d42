"""Masks by the segmentation of DensePose CSE (arXiv 2011.12438), for those who have its weights and nothing better.

All animals of every frame are seen one by one. From the frame in which one is seen most surely, or in the first where
the user says, it is followed to both ends of the clip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.densepose.load import load_densepose
from animal4d.pretrained.densepose.network import AnimalSurface, DensePoseCse
from animal4d.readers.mask_finders import NOWHERE, Place
from animal4d.readers.masks_in_windows import FoundMasks, SeenMask, Window, agreed_mask, resampled, scaled
from animal4d.readers.source import FrameSource, Image, Progress, Selection, numbers_in_words

DESCRIPTION = "found by DensePose"
LEAST_SCORE = 0.5
_MOST = 4
"""Animals of a frame that are looked at."""
_LEAST_OVERLAP = 0.2
"""Intersection over union of boxes, of one frame and the next one in which an animal is seen, that an animal keeps."""
_SPACE = 0.03
"""Space around a box in its window, as a fraction of its larger side."""

_Corners = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the frame."""


@dataclass(frozen=True)
class _Seen:
    box: _Corners
    score: float
    mask: SeenMask


@dataclass(frozen=True, eq=False)
class DensePoseMaskFinder:
    """Masks of the nine kinds of animals that the network knows."""

    name: ClassVar[str] = "densepose-cse"
    kind: ClassVar[str] = "pretrained"

    weights: Path
    """`model_final_8c9d99.pkl`."""
    device: str = "cpu"

    def config(self) -> dict[str, Any]:
        return {"weights": file_checksum(self.weights) if self.weights.is_file() else ""}

    def __call__(
        self, frames: FrameSource, selection: Selection, place: Place = NOWHERE, progress: Progress | None = None
    ) -> FoundMasks:
        """Masks of the chosen frames.

        Raises Animal4dError where the weights are missing or damaged, the place is none, or no animal is seen (there).
        """
        place.checked(frames.size)
        network = load_densepose(self.weights, self.device)
        candidates: list[list[_Seen]] = []
        for index, image in enumerate(frames.read(selection.numbers)):
            candidates.append(_animals(network, image))
            if progress is not None:
                progress("looking for the animal", index + 1, len(selection))
        chosen = _followed(candidates, place, str(frames.path))
        lost = [number for number, seen in zip(selection.numbers, chosen, strict=True) if seen is None]
        warnings = ["masks were found by DensePose, whose outlines are coarse: masks from a segmenter are better"]
        if lost:
            warnings.append(f"DensePose lost the animal in {numbers_in_words(lost)}: give masks, or leave these out")
        masks = [None if seen is None else seen.mask for seen in chosen]
        return FoundMasks(frames.size, [agreed_mask(masks, i) for i in range(len(masks))], DESCRIPTION, warnings)


def _animals(network: DensePoseCse, image: Image) -> list[_Seen]:
    glance = network.glance(image, LEAST_SCORE)
    animals = network.surfaces(glance, range(min(_MOST, len(glance.boxes))))
    return [_Seen(_corners(animal), animal.score, _mask(animal, image)) for animal in animals]


def _corners(animal: AnimalSurface) -> _Corners:
    left, top, right, bottom = animal.box.tolist()
    return left, top, right, bottom


def _mask(animal: AnimalSurface, image: Image) -> SeenMask:
    """The probability of the animal in a window around its box."""
    left, top, right, bottom = box = _corners(animal)
    space = _SPACE * max(right - left, bottom - top) + 1
    height, width = image.shape[:2]
    window: Window = (
        max(math.floor(left - space), 0),
        max(math.floor(top - space), 0),
        min(math.ceil(right + space), width),
        min(math.ceil(bottom + space), height),
    )
    picture = scaled(image, window)
    probability = animal.segmentation.softmax(0)[1].numpy()
    return SeenMask(window, picture, resampled(probability, box, window, picture.shape[:2]))


def _followed(candidates: Sequence[Sequence[_Seen]], place: Place, path: str) -> list[_Seen | None]:
    """One animal, in every frame where it is seen."""
    result: list[_Seen | None] = [None] * len(candidates)
    if place:
        anchor, start = 0, _told(candidates[0], place)
    else:
        seen = [(found.score, -index, found) for index, finds in enumerate(candidates) for found in finds]
        if not seen:
            raise Animal4dError(
                f"{path}: DensePose sees no animal in any frame: give its place in the first frame by --box "
                "x,y,width,height, or masks by --masks"
            )
        _, index, start = max(seen, key=lambda one: one[:2])
        anchor = -index
    result[anchor] = start
    for frames in (range(anchor + 1, len(candidates)), range(anchor - 1, -1, -1)):
        last = start
        for index in frames:
            near = [(_overlap(found.box, last.box), found) for found in candidates[index]]
            near = [(overlap, found) for overlap, found in near if overlap > _LEAST_OVERLAP]
            if near:
                last = max(near, key=lambda one: one[0] * one[1].score)[1]
                result[index] = last
    return result


def _told(finds: Sequence[_Seen], place: Place) -> _Seen:
    """The animal where the user says that one is."""
    if place.box is not None:
        x, y, width, height = place.box
        box = (x, y, x + width, y + height)
        best = max(finds, key=lambda found: _overlap(found.box, box), default=None)
        if best is not None and _overlap(best.box, box) > _LEAST_OVERLAP:
            return best
    elif place.point is not None:
        x, y = place.point
        around = [found for found in finds if found.box[0] <= x <= found.box[2] and found.box[1] <= y <= found.box[3]]
        if around:
            return min(around, key=lambda found: _size(found.box))
    raise Animal4dError(
        f"{place.in_words()}: DensePose sees no animal there: draw --box closer around the animal, or give masks by "
        "--masks"
    )


def _size(box: _Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(box: _Corners, other: _Corners) -> float:
    """Intersection over union."""
    sides: NDArray[np.float64] = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    inner = float(sides.clip(0).prod())
    return inner / max(_size(box) + _size(other) - inner, 1e-9)
