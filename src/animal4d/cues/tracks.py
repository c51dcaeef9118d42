"""Point tracks by pyramidal Lucas-Kanade, on the animal and on what stands behind it.

Points start on a grid (thinned to where there is texture), are followed from frame to frame and back, and end where
the way back does not lead home, where they leave the mask, or where the frame ends. Gaps are filled with new points.
All coordinates are pixels of the ORIGINAL frames, whatever the crop does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from numpy.typing import NDArray

from animal4d.clip import Clip
from animal4d.cues.track_points import (
    Tracks,
    grey_frames,
    kept_tracks,
    new_points,
    regions_for_points,
    spacing_of_points,
    within,
)

__all__ = ["LucasKanadeTracks", "Tracks", "followed"]


@dataclass(frozen=True)
class LucasKanadeTracks:
    """The built-in provider of tracks; on the animal, or with `background` on everything else in the crops."""

    name: ClassVar[str] = "lucas-kanade"
    kind: ClassVar[str] = "builtin"
    version: ClassVar[int] = 1

    background: bool = False
    points: int = 250
    """Wanted number of points at a time."""
    window: int = 15
    """Side in working pixels of the patch that is compared."""
    levels: int = 3
    forward_backward: float = 0.7
    """Largest error of the way forth and back, in working pixels."""
    reseed_every: int = 4
    """Frames after which gaps are filled; sooner when fewer than half of the points are left."""
    least_texture: float = 6e-5
    """Smallest eigenvalue of the gradient matrix at which a point can be followed."""
    least_length: int = 3
    """Frames that a track must last."""

    @property
    def cue(self) -> str:
        return "background_tracks" if self.background else "tracks"

    def config(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, clip: Clip) -> Tracks:
        return _Follower(self, clip).run()


class _Follower:
    """The state of one pass through a clip: where the living points are, and what has been written down."""

    def __init__(self, config: LucasKanadeTracks, clip: Clip) -> None:
        self.config = config
        self.clip = clip
        self.greys = grey_frames(clip)
        self.regions = regions_for_points(clip, config.background)
        self.spacing = spacing_of_points(self.regions, config.points)
        self.places = np.empty((0, 2), np.float32)
        """Living points in working pixels of the current frame, integer-centred as OpenCV counts."""
        self.ids = np.empty(0, np.int64)
        self.seeded = 0
        self.next_id = 0
        self.seen: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

    def run(self) -> Tracks:
        since_seed = 0
        for frame in range(len(self.clip)):
            if frame > 0:
                self._follow(frame)
                since_seed += 1
            if frame == 0 or since_seed >= self.config.reseed_every or len(self.ids) < 0.5 * self.seeded:
                self._seed(frame)
                since_seed = 0
            self.seen.append((self.ids.copy(), self.places.copy()))
        return self._collected()

    def _follow(self, frame: int) -> None:
        if not self.regions[frame].any() or len(self.ids) == 0:
            self.places, self.ids = self.places[:0], self.ids[:0]
            return
        before, after = self.greys[frame - 1], self.greys[frame]
        forth, good = followed(before, after, self.places, self._guess(frame), self.config)
        good &= within(self.regions[frame], forth)
        self.places, self.ids = forth[good], self.ids[good]

    def _guess(self, frame: int) -> NDArray[np.float32]:
        """Where to start looking: the animal stays in its crop, the background in the original frame."""
        if not self.config.background:
            return self.places.copy()
        places = torch.from_numpy(self.places + 0.5)[None]
        original = self.clip.crop[[frame - 1]].to_original(places)
        guess = self.clip.crop[[frame]].from_original(original)[0].numpy() - 0.5
        size = np.array(self.greys[0].shape[::-1], dtype=np.float32)
        return guess.clip(0, size - 1).astype(np.float32)

    def _seed(self, frame: int) -> None:
        config = self.config
        if not self.regions[frame].any():
            return  # and try again in the next frame
        new = new_points(self.greys[frame], self.regions[frame], self.places, self.spacing, config.least_texture)
        self.places = np.concatenate([self.places, new])
        self.ids = np.concatenate([self.ids, np.arange(self.next_id, self.next_id + len(new))])
        self.next_id += len(new)
        self.seeded = len(self.ids)

    def _collected(self) -> Tracks:
        points = np.zeros((len(self.seen), self.next_id, 2), np.float32)
        visible = np.zeros((len(self.seen), self.next_id), bool)
        for frame, (ids, places) in enumerate(self.seen):
            points[frame, ids] = places
            visible[frame, ids] = True
        return kept_tracks(self.clip, points, visible, self.config.least_length)


def followed(
    before: UInt8[ndarray, "height width"],
    after: UInt8[ndarray, "height width"],
    places: Float[ndarray, "points 2"],
    guess: Float[ndarray, "points 2"],
    config: LucasKanadeTracks,
) -> tuple[Float[ndarray, "points 2"], Bool[ndarray, "points"]]:
    """Where points of one grey picture are in the next, and whether the way back leads home. Needs at least one point.

    Places are in pixels, integer-centred; the search starts at `guess`.
    """
    forth, found = _lucas_kanade(before, after, places, guess, config)
    back, returned = _lucas_kanade(after, before, forth, places, config)
    error = np.linalg.norm(back - places, axis=-1)
    return forth, found & returned & (error < config.forward_backward)


def _lucas_kanade(
    before: ndarray,
    after: ndarray,
    places: Float[ndarray, "points 2"],
    guess: Float[ndarray, "points 2"],
    config: LucasKanadeTracks,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        places[:, None],
        guess[:, None].copy(),
        winSize=(config.window, config.window),
        maxLevel=config.levels,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.01),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved, dtype=np.float32)[:, 0], status[:, 0] > 0
