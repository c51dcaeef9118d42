"""Masks for frames that are held out: those of the nearest other frames, carried there by optical flow.

What judges a fit must not teach it. But the pictures of held-out frames may be seen (the published network sees them
too), and where the animal is in a picture can be told from its neighbours. So held-out masks are forgotten and made
anew before anything else looks at the clip: carried by the flow, which loses thin legs that move fast, and then mended
by what this clip's own known frames teach about colours and about how far the flow can be trusted
(`pixel_classifier.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.pixel_classifier import ColorEvidence, PixelClassifier, describe_pixels

_SOURCES_PER_SIDE = 2
"""Frames before, and as many after, whose masks are carried."""
_FARTHEST = 20
"""Frames over which a mask is carried."""
_COLOR_ERROR = 20.0
"""Difference of carried and filmed colour (summed over L, a and b in 8 bits) that takes most of a mask's say."""
_FADING = 0.3
"""How much of its say a mask loses with every frame that it is carried, as a logarithm."""
_REHEARSAL = 5
"""Frames in a stretch that is hidden to learn from: as many as are held out in a row."""
_REHEARSALS = 6

Picture = NDArray[np.float32]


def carry_masks(clip: Clip, hidden: Int[Tensor, "hidden"]) -> Clip:
    """The clip with the masks of the `hidden` frames forgotten, and made anew from the masks of all others.

    A hidden frame that no other mask reaches has no valid mask afterwards.
    """
    masks, valid = clip.masks.cpu().clone(), clip.mask_valid.cpu().clone()
    masks[hidden], valid[hidden] = 0.0, False
    known = valid.tolist()
    if len(hidden) == 0 or not any(known):
        return replace(clip, masks=masks.to(clip.masks), mask_valid=valid.to(clip.mask_valid))
    flows = _Flows(clip)
    colors = ColorEvidence.of(
        [flows.colors(frame) for frame, is_known in enumerate(known) if is_known], masks[valid].numpy()
    )
    classifier = _rehearsed(flows, masks, known, colors)
    for frame in hidden.tolist():
        carried = _carried(flows, masks, known, frame)
        if carried is None:
            continue
        mask = classifier.mend(carried.mask, carried.describe(colors)) if classifier else carried.mask
        masks[frame] = torch.from_numpy(mask)
        valid[frame] = bool((mask > 0.5).any())
    return replace(clip, masks=masks.to(clip.masks), mask_valid=valid.to(clip.mask_valid))


@dataclass(frozen=True)
class _CarriedMask:
    """A mask as the flow brings it, and what it was brought to."""

    mask: Picture
    """Probability of the animal."""
    picture: Picture
    """Colours of the frame."""
    distance: int
    """Frames to the nearest known mask."""

    def describe(self, colors: ColorEvidence) -> Float[Tensor, "pixels features"]:
        return describe_pixels(self.mask, self.picture, colors, self.distance)


def _rehearsed(flows: _Flows, masks: Tensor, known: Sequence[bool], colors: ColorEvidence) -> PixelClassifier | None:
    """What is learnt from known frames that are hidden for a while, as the held-out ones are: in stretches, with
    known frames on both sides, and on one side only. None where there are too few known frames."""
    descriptions, truths = [], []
    for kept, frame in _rehearsals(known):
        carried = _carried(flows, masks, kept, frame)
        if carried is not None:
            descriptions.append((carried.mask, carried.describe(colors)))
            truths.append(masks[frame].numpy())
    return PixelClassifier.learn(descriptions, truths) if descriptions else None


def _rehearsals(known: Sequence[bool]) -> Iterator[tuple[list[bool], int]]:
    """Which frames stay known, and a frame to be guessed from them."""
    places = [frame for frame, is_known in enumerate(known) if is_known]
    stretches = [places[start : start + _REHEARSAL] for start in range(0, len(places), _REHEARSAL)]
    if len(stretches) < 2:
        return
    for choice in sorted(set(np.linspace(0, len(stretches) - 1, _REHEARSALS).round().astype(int).tolist())):
        stretch = stretches[choice]
        first, last, middle = stretch[0], stretch[-1], stretch[len(stretch) // 2]
        elsewhere = [is_known and not first <= frame <= last for frame, is_known in enumerate(known)]
        yield elsewhere, middle
        yield [is_known and frame != middle for frame, is_known in enumerate(known)], middle
        before = [is_known and frame < first for frame, is_known in enumerate(elsewhere)]
        after = [is_known and frame > last for frame, is_known in enumerate(elsewhere)]
        yield before, middle
        yield before, last
        yield after, first


def _carried(flows: _Flows, masks: Tensor, known: Sequence[bool], frame: int) -> _CarriedMask | None:
    """Mean of the carried masks of the nearest known frames on both sides, weighted by how well the colours that came
    along agree with those that are there. None where no known frame is near."""
    total = np.zeros(masks.shape[1:], np.float32)
    weights = np.zeros(masks.shape[1:], np.float32)
    nearest = _FARTHEST + 1
    for direction in (-1, 1):
        place, found = flows.still(), 0
        for distance in range(1, _FARTHEST + 1):
            source = frame + direction * distance
            if not 0 <= source < len(known) or found == _SOURCES_PER_SIDE:
                break
            place = flows.follow(place, source - direction, source)
            if not known[source]:
                continue
            found += 1
            nearest = min(nearest, distance)
            mask = masks[source].numpy()
            # Straight from frame to source, errors do not add up; over the steps between, fast legs are not lost.
            for way in (place, flows.improve(place, frame, source)):
                error = np.abs(_looked_up(flows.colors(source), way) - flows.colors(frame)).sum(axis=2)
                likeness = np.exp(-cv2.GaussianBlur(error, (0, 0), 2.0) / _COLOR_ERROR) + 1e-4
                weight = likeness * np.exp(-_FADING * distance)
                total += weight * _looked_up(mask, way)
                weights += weight
    if nearest > _FARTHEST:
        return None
    return _CarriedMask(total / weights, flows.colors(frame), nearest)


class _Flows:
    """Optical flow between the working images of a clip, each computed once. Places are x, y of every pixel."""

    def __init__(self, clip: Clip) -> None:
        self.images = clip.frames.cpu().numpy()
        self.matcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.matcher.setFinestScale(0)  # thin legs are a few pixels wide
        self._steps: dict[tuple[int, int], Picture] = {}
        self._colors: dict[int, Picture] = {}

    def still(self) -> Picture:
        """The place of every pixel in its own frame."""
        rows, columns = np.indices(self.images.shape[1:3], dtype=np.float32)
        return np.stack((columns, rows), axis=-1)

    def follow(self, place: Picture, start: int, end: int) -> Picture:
        """Where the places in one frame are in its neighbour."""
        if (start, end) not in self._steps:
            self._steps[start, end] = self._flow(start, end, np.zeros_like(place))
        return place + _looked_up(self._steps[start, end], place)

    def improve(self, place: Picture, start: int, end: int) -> Picture:
        """The places in `end` of all pixels of `start`, matched anew from where they are thought to be."""
        return self.still() + self._flow(start, end, place - self.still())

    def colors(self, frame: int) -> Picture:
        """L, a and b in 8 bits, blurred a little."""
        if frame not in self._colors:
            blurred = cv2.GaussianBlur(self.images[frame], (3, 3), 0)
            self._colors[frame] = cv2.cvtColor(blurred, cv2.COLOR_RGB2LAB).astype(np.float32)
        return self._colors[frame]

    def _flow(self, start: int, end: int, guess: Picture) -> Picture:
        greys = [cv2.cvtColor(self.images[frame], cv2.COLOR_RGB2GRAY) for frame in (start, end)]
        return np.asarray(self.matcher.calc(greys[0], greys[1], guess.copy()), dtype=np.float32)


def _looked_up(picture: Picture, place: Picture) -> Picture:
    """Bilinear; zero outside of the picture."""
    found = cv2.remap(picture, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(found, dtype=np.float32)
