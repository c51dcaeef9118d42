"""`Cues`: all that 2D models say about a clip, gathered for the fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animal4d.clip import Clip
from animal4d.cues.cache import Notify, Provider, cached
from animal4d.cues.features import BuiltinFeatures, PatchFeatures
from animal4d.cues.ground import GroundMotion, ground_motion
from animal4d.cues.silhouette import Silhouettes, silhouettes
from animal4d.cues.tracks import LucasKanadeTracks, Tracks


@dataclass(frozen=True)
class Cues:
    """The cues of one clip."""

    silhouettes: Silhouettes
    tracks: Tracks
    """On the animal."""
    background_tracks: Tracks
    features: PatchFeatures
    ground_motion: GroundMotion
    provenance: tuple[dict[str, Any], ...]
    """For every cue: provider, its kind and version, and fingerprints of its settings and its input."""


@dataclass(frozen=True)
class CueProviders:
    """Who makes which cue."""

    tracks: Provider[Tracks] = field(default_factory=LucasKanadeTracks)
    background_tracks: Provider[Tracks] = field(default_factory=lambda: LucasKanadeTracks(background=True, points=150))
    features: Provider[PatchFeatures] = field(default_factory=BuiltinFeatures)


def make_cues(
    clip: Clip,
    folder: Path | None = None,
    providers: CueProviders | None = None,
    notify: Notify = lambda message: None,
) -> Cues:
    """All cues of a clip, from the caches in `folder` (`<run>/cues`) where these are fresh."""
    providers = providers or CueProviders()
    tracks, tracks_note = cached(providers.tracks, clip, folder, Tracks.from_arrays, notify)
    background, background_note = cached(providers.background_tracks, clip, folder, Tracks.from_arrays, notify)
    features, features_note = cached(providers.features, clip, folder, PatchFeatures.from_arrays, notify)
    return Cues(
        silhouettes=silhouettes(clip),
        tracks=tracks,
        background_tracks=background,
        features=features,
        ground_motion=ground_motion(clip, tracks, background),
        provenance=(tracks_note, background_note, features_note),
    )
