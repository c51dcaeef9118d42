"""`Cues`: all that 2D models say about a clip, gathered for the fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.cache import Notify, Provider
from animal4d.cues.chain import Chain, first_made, single
from animal4d.cues.eyes_pass import PROVIDER as EYES
from animal4d.cues.eyes_views import Views
from animal4d.cues.features import BuiltinFeatures, PatchFeatures
from animal4d.cues.ground import GroundMotion, ground_motion
from animal4d.cues.parts import Parts
from animal4d.cues.pnp_cameras import PnpCameras
from animal4d.cues.silhouette import Silhouettes, silhouettes
from animal4d.cues.sparse_keypoints import SparseKeypoints
from animal4d.cues.surface import SurfacePoints
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
    parts: Parts | None = None
    surface: SurfacePoints | None = None
    keypoints: SparseKeypoints | None = None
    pnp_cameras: PnpCameras | None = None
    views: Views | None = None
    """From where the built-in network sees the animal."""
    initial_betas: Float[Tensor, "betas"] | None = None
    """The shape that another method found; where the fit starts."""
    provenance: tuple[dict[str, Any], ...] = ()
    """For every cue: provider, its kind and version, fingerprints of its settings and its input; by whom it is made in
    people's words, and why by them."""

    def by_eyes(self, name: str) -> bool:
        """Whether the built-in network made the cue. It is weighted otherwise than files that came with the clip."""
        return any(note["cue"] == name and note["provider"] == EYES for note in self.provenance)

    def without(self, names: Sequence[str]) -> Cues:
        """The same without some of them; "silhouette" and "colors" are a matter of the losses' weights
        (`Config.fit_of_cues`), since start and tracks need masks and pictures."""
        nothing: dict[str, Any] = {}
        if "tracks" in names:
            nothing["tracks"] = Tracks(self.tracks.points[:, :0], self.tracks.visible[:, :0])
        if "features" in names:
            blank = {name: torch.zeros_like(getattr(self.features, name)) for name in ("patches", "pooled")}
            nothing["features"] = PatchFeatures(**blank)
        nothing |= {name: None for name in ("parts", "surface", "keypoints", "views") if name in names}
        if "surface" in names:
            nothing["pnp_cameras"] = None  # they are made of it
        return replace(self, **nothing)


@dataclass(frozen=True)
class CueProviders:
    """Who makes which cue: one, or several of which the next makes it where the one before cannot."""

    tracks: Provider[Tracks] | Chain[Tracks] = field(default_factory=LucasKanadeTracks)
    background_tracks: Provider[Tracks] = field(default_factory=lambda: LucasKanadeTracks(background=True, points=150))
    features: Provider[PatchFeatures] | Chain[PatchFeatures] = field(default_factory=BuiltinFeatures)
    parts: Provider[Parts] | Chain[Parts] | None = None
    """None where nobody knows them; so for all that follow."""
    surface: Provider[SurfacePoints] | Chain[SurfacePoints] | None = None
    keypoints: Provider[SparseKeypoints] | None = None
    pnp_cameras: Provider[PnpCameras] | None = None
    views: Provider[Views] | Chain[Views] | None = None
    initial_betas: Float[Tensor, "betas"] | None = None


def make_cues(
    clip: Clip,
    folder: Path | None = None,
    providers: CueProviders | None = None,
    notify: Notify = lambda message: None,
    warn: Notify | None = None,
) -> Cues:
    """All cues of a clip, from the caches in `folder` (`<run>/cues`) where these are fresh.

    `notify` hears what becomes of caches, `warn` (or else `notify`) of every provider that failed and was replaced.
    Raises Animal4dError where a cue cannot be made.
    """
    providers = providers or CueProviders()
    made: dict[str, Any] = {}
    notes = []
    makers: tuple[tuple[str, Any, Callable[[Mapping[str, NDArray[Any]]], Any]], ...] = (
        ("tracks", providers.tracks, Tracks.from_arrays),
        ("background_tracks", providers.background_tracks, Tracks.from_arrays),
        ("features", providers.features, PatchFeatures.from_arrays),
        ("surface", providers.surface, SurfacePoints.from_arrays),
        ("parts", providers.parts, Parts.from_arrays),
        ("keypoints", providers.keypoints, SparseKeypoints.from_arrays),
        ("pnp_cameras", providers.pnp_cameras, PnpCameras.from_arrays),
        ("views", providers.views, Views.from_arrays),
    )
    for name, provider, from_arrays in makers:
        if provider is not None:
            chain: Chain[Any] = provider if isinstance(provider, Chain) else single(provider)
            made[name], note = first_made(chain, clip, folder, from_arrays, notify, warn or notify)
            notes.append(note)
    return Cues(
        silhouettes=silhouettes(clip),
        ground_motion=ground_motion(clip, made["tracks"], made["background_tracks"]),
        initial_betas=providers.initial_betas,
        provenance=tuple(notes),
        **made,
    )
