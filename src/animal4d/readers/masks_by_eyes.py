"""Masks from the pixels alone, by the built-in network.

Some frames are looked through for the animal (`masks_finding.py`). From the first of them on it is followed: what was
seen in the frame before says where to look, what is seen there guides a second, closer look.

A guided look finds little more than its guide: a thin leg that is lost once would stay lost. So every frame is also
looked at in tiles (`masks_in_tiles.py`) by eyes that are told nothing, and what is seen now and then in the frames on
both sides is carried along by optical flow. All of this together guides the last looks, in tiles again. Their
foreground takes its edges from the picture (`masks_with_edges.py`), and the two neighbouring frames speak along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from animal4d.eyes.eyes import Eyes
from animal4d.eyes.labels import CROP, MARGIN
from animal4d.readers.crop import Box, Square, square_around
from animal4d.readers.mask_finders import NOWHERE, Place, Point
from animal4d.readers.masks_finding import LEAST_SCORE, LEAST_SIDE, Find, animal_in_samples, box_overlap, look_at
from animal4d.readers.masks_in_tiles import pieces_near, seen_in_tiles, tiles_over, without_others
from animal4d.readers.masks_in_windows import (
    FoundMasks,
    MaskInWindow,
    SeenMask,
    Window,
    agreed_mask,
    believed,
    box_of,
    in_window,
    moved_mask,
    resampled,
    scaled,
)
from animal4d.readers.masks_with_edges import with_edges
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
"""Of the guided filter, as a fraction of the side of what was looked at: two thirds of a pixel of the network's map."""
_FOLLOWED_SAY = 0.4
"""Of the mask that was followed, beside what is seen in tiles by eyes that are told nothing."""
_UNTOLD_AGREES = (0.3, 0.7)
"""Overlap with the mask that was followed under which eyes that are told nothing have no say, and from which on they
have all of it: an animal that they hardly see at all is not to fall to pieces."""
_BELIEVED = 0.35
"""Of what all frames say together: from here on the last looks are told that the animal may be there."""


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
    seen, evidence = _followed(source, selection.numbers, eyes, anchors, progress)
    seen = _looked_at_again(source, selection.numbers, eyes, seen, believed(seen, evidence), progress)
    lost = [number for number, mask in zip(selection.numbers, seen, strict=True) if mask is None]
    warnings = ["masks were found by the built-in eyes: masks from a segmenter are better"]
    if lost:
        warnings.append(
            f"the built-in eyes lost the animal in {numbers_in_words(lost)}: give masks, or leave these out"
        )
    return FoundMasks(source.size, [agreed_mask(seen, index) for index in range(len(seen))], DESCRIPTION, warnings)


def _followed(
    source: FrameSource, numbers: Sequence[int], eyes: Eyes, anchors: dict[int, Find], progress: Progress | None
) -> tuple[list[SeenMask | None], list[NDArray[np.float16] | None]]:
    """The animal in every frame, and the evidence for it. Frames before the first anchor are looked at around that."""
    last: Box = anchors[min(anchors)].box
    masks: list[SeenMask | None] = []
    evidence: list[NDArray[np.float16] | None] = []
    for index, image in enumerate(source.read(numbers)):
        find = look_at(eyes, image, [square_around(last, _FOLLOWING_MARGIN, LEAST_SIDE)])[0]
        anchor = anchors.get(index)
        if anchor is not None and (
            find is None or (box_overlap(find.box, anchor.box) < _ELSEWHERE and anchor.score > find.score)
        ):
            find = anchor
        if find is None or find.score < _LOST:
            masks.append(None)
            evidence.append(None)
        else:
            find = _closer(eyes, image, find, masks[-1] if masks else None)
            last = find.box
            mask = _refined(image, find)
            masks.append(mask)
            evidence.append(_evidence(eyes, image, mask, find.box))
        if progress is not None:
            progress("following the animal", index + 1, len(numbers))
    return masks, evidence


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
    coarse = _foreground(find, window, picture.shape[:2])
    return SeenMask(window, picture, with_edges(picture, coarse, _radius(find.square[2], window, picture)))


def _radius(side: float, window: Window, picture: Image) -> int:
    """Of the guided filter for what was seen in a square of this side, in working pixels of the window."""
    return max(2, round(_FILTER_RADIUS * side * picture.shape[1] / (window[2] - window[0])))


def _evidence(eyes: Eyes, image: Image, followed: SeenMask, box: Box) -> NDArray[np.float16]:
    """What one frame says of the animal and of its limbs (height, width, 2): what is seen in tiles by eyes that are
    told nothing, and beside it the mask that was followed."""
    says = pieces_near(seen_in_tiles(eyes, image, box, followed), followed.mask)
    untold, mask = says[..., 0] > 0.5, followed.mask > 0.5
    overlap = np.count_nonzero(untold & mask) / max(np.count_nonzero(untold | mask), 1)
    trust = float(np.interp(overlap, _UNTOLD_AGREES, (0.0, 1.0)))
    says[..., 0] = (trust * says[..., 0] + _FOLLOWED_SAY * followed.mask) / (trust + _FOLLOWED_SAY)
    return says.astype(np.float16)


def _looked_at_again(
    source: FrameSource,
    numbers: Sequence[int],
    eyes: Eyes,
    seen: Sequence[SeenMask | None],
    beliefs: Sequence[NDArray[np.float16] | None],
    progress: Progress | None,
) -> list[SeenMask | None]:
    """The animal in tiles, by looks that are told what all frames say together."""
    result: list[SeenMask | None] = []
    for index, image in enumerate(source.read(numbers)):
        before, belief = seen[index], beliefs[index]
        if before is not None and belief is not None:
            told = without_others(belief[..., 0] > _BELIEVED, belief, before.mask)
            guide = MaskInWindow(before.window, told.astype(np.uint8))
            if guide.mask.any():
                box = box_of(guide)
                coarse = seen_in_tiles(eyes, image, box, before, guide)[..., 0]
                radius = _radius(tiles_over(box)[0][2], before.window, before.picture)
                before = replace(before, mask=with_edges(before.picture, coarse, radius))
        result.append(before)
        if progress is not None:
            progress("looking at the animal again", index + 1, len(numbers))
    return result


def _filmed(square: Square, size: tuple[int, int]) -> Window:
    """What of a square lies in a frame of `size` (height, width)."""
    left, top, side = square
    return max(left, 0), max(top, 0), min(left + side, size[1]), min(top + side, size[0])


def _foreground(find: Find, window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The find's foreground as it lies in a window of working size `shape`."""
    left, top, side = find.square
    return resampled(find.foreground, (left, top, left + side, top + side), window, shape)
