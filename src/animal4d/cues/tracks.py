"""Point tracks by pyramidal Lucas-Kanade, on the animal and on what stands behind it.

Points start on a grid (thinned to where there is texture), are followed from frame to frame and back, and end where
the way back does not lead home, where they leave the mask, or where the frame ends. Gaps are filled with new points.
All coordinates are pixels of the ORIGINAL frames, whatever the crop does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip


@dataclass(frozen=True)
class Tracks:
    """Points followed through a clip, in the published layout."""

    points: Float[Tensor, "frames tracks 2"]
    """x, y in pixels of the original frames. Where a point is not visible: its nearest known place."""
    visible: Bool[Tensor, "frames tracks"]

    def __len__(self) -> int:
        return self.points.shape[1]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"points": self.points.numpy(), "visible": self.visible.numpy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Tracks:
        return Tracks(torch.from_numpy(arrays["points"]).float(), torch.from_numpy(arrays["visible"]).bool())


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
        self.greys = [cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY) for frame in clip.frames.cpu()]
        self.regions = _regions(clip, config.background)
        area = max(float(np.median([region.sum() for region in self.regions if region.any()] or [0])), 1.0)
        self.spacing = max((area / config.points) ** 0.5, 4.0)
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
        guess = self._guess(frame)
        forth, found = self._lucas_kanade(before, after, self.places, guess)
        back, returned = self._lucas_kanade(after, before, forth, self.places)
        error = np.linalg.norm(back - self.places, axis=-1)
        good = found & returned & (error < self.config.forward_backward) & _within(self.regions[frame], forth)
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

    def _lucas_kanade(
        self, before: NDArray, after: NDArray, places: NDArray[np.float32], guess: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            before,
            after,
            places[:, None],
            guess[:, None].copy(),
            winSize=(self.config.window, self.config.window),
            maxLevel=self.config.levels,
            criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.01),
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        return np.asarray(moved, dtype=np.float32)[:, 0], status[:, 0] > 0

    def _seed(self, frame: int) -> None:
        """New points in those cells of the grid that hold none, at the best textured pixel of each."""
        region = self.regions[frame]
        texture = cv2.cornerMinEigenVal(self.greys[frame], 5)
        rows, columns = np.nonzero(region & (texture > self.config.least_texture))
        if len(rows) == 0:
            return
        taken = {tuple(cell) for cell in (self.places // self.spacing).astype(int)}
        order = np.argsort(-texture[rows, columns], kind="stable")
        new: list[tuple[int, int]] = []
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            cell = (int(column // self.spacing), int(row // self.spacing))
            if cell not in taken:
                taken.add(cell)
                new.append((column, row))
        if new:
            self.places = np.concatenate([self.places, np.array(new, dtype=np.float32)])
            self.ids = np.concatenate([self.ids, np.arange(self.next_id, self.next_id + len(new))])
            self.next_id += len(new)
        self.seeded = len(self.ids)

    def _collected(self) -> Tracks:
        points = np.zeros((len(self.seen), self.next_id, 2), np.float32)
        visible = np.zeros((len(self.seen), self.next_id), bool)
        for frame, (ids, places) in enumerate(self.seen):
            points[frame, ids] = places + 0.5
            visible[frame, ids] = True
        kept = visible.sum(axis=0) >= min(self.config.least_length, len(self.seen))
        points, visible = points[:, kept], visible[:, kept]
        original = self.clip.crop.to_original(torch.from_numpy(points)).cpu().numpy()
        return Tracks(torch.from_numpy(_held(original, visible)), torch.from_numpy(visible))


def _regions(clip: Clip, background: bool) -> list[NDArray[np.bool_]]:
    """Pixels on which points may live, away from the outline, where patches would mix the two motions.

    Background is plentiful and keeps half a patch away; legs are too thin for that.
    """
    binary = clip.masks.cpu().numpy() > 0.5
    inside = clip.inside_frame().cpu().numpy()
    narrow, wide = np.ones((3, 3), np.uint8), np.ones((21, 21), np.uint8)
    regions = []
    for mask, covered, valid in zip(binary, inside, clip.mask_valid.tolist(), strict=True):
        covered = cv2.erode(covered.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0
        animal = mask.astype(np.uint8)
        allowed = cv2.dilate(animal, wide) == 0 if background else cv2.erode(animal, narrow) > 0
        regions.append(allowed & covered & valid)
    return regions


def _within(region: NDArray[np.bool_], places: NDArray[np.float32]) -> NDArray[np.bool_]:
    columns, rows = np.nan_to_num(places, nan=-1, posinf=-1, neginf=-1).round().astype(np.int64).T
    height, width = region.shape
    on_image = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    return on_image & region[rows.clip(0, height - 1), columns.clip(0, width - 1)]


def _held(points: NDArray[np.float32], visible: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the places of invisible points with the nearest (earlier, else first) place where they were seen."""
    frames = np.arange(len(points))[:, None]
    last_seen = np.maximum.accumulate(np.where(visible, frames, -1), axis=0)
    source = np.where(last_seen >= 0, last_seen, visible.argmax(axis=0))
    return np.take_along_axis(points, source[..., None], axis=0)
