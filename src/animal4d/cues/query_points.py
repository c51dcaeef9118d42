"""Points for networks that follow any point: chosen as the built-in tracks choose theirs, and asked in windows.

A network is shown a bounded number of frames at a time. Windows overlap by half; the points of a window start in its
frames, and those that are still seen where the next window begins are asked again there, so that a track goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

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
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.weights import require_weights

FollowPoints = Callable[
    [UInt8[Tensor, "frames height width 3"], Float[Tensor, "points 3"]],
    tuple[Float[Tensor, "frames points 2"], Bool[Tensor, "frames points"]],
]
"""From frames and queries (number of the frame, x, y) to places in all of them and whether the points are seen there.
Pixels are integer-centred."""


@dataclass(frozen=True)
class QuerySettings:
    """Which points are asked for, and how many frames and points a network sees at once."""

    points: int = 250
    """Wanted number of points at a time."""
    seed_every: int = 8
    """Frames after which cells without a living point get a new one."""
    least_texture: float = 6e-5
    """As that of the built-in tracks."""
    least_length: int = 3
    """Frames that a track must last."""
    window: int = 48
    """Frames shown at once: memory grows with it."""
    points_at_once: int = 256
    """Points asked at once: memory grows with it."""


@dataclass(frozen=True)
class QueryTracks(ABC):
    """A provider of tracks by a network that others have trained; `name` is that of its weights too."""

    name: ClassVar[str]
    kind: ClassVar[str] = "pretrained"
    version: ClassVar[int]
    cue: ClassVar[str] = "tracks"

    queries: QuerySettings = field(default_factory=QuerySettings)
    weights: Path | None = None
    """Their file; None: where `animal4d weights` keeps it."""
    device: str = "cpu"

    def config(self) -> dict[str, Any]:
        """Raises Animal4dError where the weights are missing."""
        return {"queries": asdict(self.queries), "weights": file_checksum(self._weights())}

    def __call__(self, clip: Clip) -> Tracks:
        """Raises Animal4dError where code or weights are missing, or do not belong together."""
        with torch.no_grad():
            return tracks_by_queries(clip, self.follower(self._weights()), self.queries)

    @abstractmethod
    def follower(self, weights: Path) -> FollowPoints:
        """The network, loaded and on its device, as a function of a window of frames and points in it."""

    def _weights(self) -> Path:
        return self.weights or require_weights(self.name)


def tracks_by_queries(clip: Clip, follow: FollowPoints, settings: QuerySettings) -> Tracks:
    """Tracks on the animal by a network that follows any point of a video.

    A point that leaves the mask is not visible there, whatever the network says: then it is on something else.
    """
    greys, regions = grey_frames(clip), regions_for_points(clip, background=False)
    spacing = spacing_of_points(regions, settings.points)
    places = np.zeros((len(clip), 0, 2), np.float32)
    visible = np.zeros((len(clip), 0), bool)
    seeded_until = 0
    for start, stop in windows(len(clip), settings.window):
        going_on = visible[start].nonzero()[0] if visible.shape[1] else np.zeros(0, np.int64)
        if start > 0 and len(going_on):
            queries = _queries(start, start, places[start, going_on])
            found, seen = _followed(clip, follow, start, stop, queries, regions, settings.points_at_once)
            # The overlap is known from the window before; what is new goes on from there.
            known = seeded_until - start
            places[seeded_until:stop, going_on] = found[known:]
            visible[seeded_until:stop, going_on] = seen[known:]
        for frame in range(seeded_until, stop, settings.seed_every):
            living = places[frame, visible[frame]]
            new = new_points(greys[frame], regions[frame], living, spacing, settings.least_texture)
            if len(new) == 0:
                continue
            found, seen = _followed(
                clip, follow, start, stop, _queries(start, frame, new), regions, settings.points_at_once
            )
            blank = np.zeros((len(clip), len(new), 2), np.float32)
            blank[start:stop] = found
            shown = np.zeros((len(clip), len(new)), bool)
            shown[start:stop] = seen
            places, visible = np.concatenate((places, blank), axis=1), np.concatenate((visible, shown), axis=1)
        seeded_until = stop
    return kept_tracks(clip, places, visible, settings.least_length)


def windows(frames: int, length: int) -> list[tuple[int, int]]:
    """First frames and ends of windows that cover a clip and overlap by half; a clip that fits has one."""
    step = max(length // 2, 1)
    starts = range(0, max(frames - length, 0) + step, step) if frames > length else (0,)
    return [(start, min(start + length, frames)) for start in starts if start == 0 or start + length - step < frames]


def _queries(window_start: int, frame: int, places: Float[ndarray, "points 2"]) -> Float[Tensor, "points 3"]:
    number = np.full((len(places), 1), frame - window_start, np.float32)
    return torch.from_numpy(np.concatenate((number, places), axis=1))


def _followed(
    clip: Clip,
    follow: FollowPoints,
    start: int,
    stop: int,
    queries: Float[Tensor, "points 3"],
    regions: list[Bool[ndarray, "height width"]],
    points_at_once: int,
) -> tuple[Float[ndarray, "frames points 2"], Bool[ndarray, "frames points"]]:
    parts = [follow(clip.frames[start:stop], part) for part in queries.split(points_at_once)]
    places = torch.cat([part[0] for part in parts], dim=1).float().cpu().numpy()
    seen = torch.cat([part[1] for part in parts], dim=1).cpu().numpy()
    on_animal = np.stack([within(regions[start + row], places[row]) for row in range(len(places))])
    return places, seen & on_animal
