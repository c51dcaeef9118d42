"""What a synthetic external data tree is made of, and how wrong its cues are.

The default noise is meant to be as bad as published models are on footage of pets. Lengths called "padded pixels" are
in the padded square of 800 x 800.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

TRUTH_FILE = "truth.npz"
"""Beside the tree: all that is known of its sequence."""


@dataclass(frozen=True)
class CueNoise:
    """How far cues are from the truth."""

    mask_boundary: float = 3.0
    """COP3D's masks: by how much the outline strays, in padded pixels."""
    mask_softness: float = 2.0
    """COP3D's masks: width of the outline's blur, in padded pixels. Refined masks are exact."""
    part_boundary: float = 4.0
    """Part masks: by how much borders of parts stray, in padded pixels."""
    part_lost: float = 0.05
    """Part masks: probability that a part is not found in a frame."""
    track_jitter: float = 0.5
    """Tracks: error of a visible point in every frame, in padded pixels."""
    track_drift: float = 0.15
    """Tracks: how far a track moves off its place from frame to frame, in padded pixels."""
    track_wrong: float = 0.02
    """Tracks: probability that a point is said to be visible though hidden, or the other way round."""
    embedding: float = 0.03
    """CSE: error of an embedding's components, from place to place."""
    embedding_smooth: float = 0.05
    """CSE: the same, for errors that neighbouring places share."""
    box: float = 0.03
    """CSE: error of a box's sides, as a share of its size."""
    outline: float = 2.0
    """CSE: by how much the coarse segmentation strays, in places of its 112 x 112 map."""
    hole: float = 0.25
    """CSE: probability of a hole in the segmentation."""
    mirrored_legs: float = 0.1
    """CSE: probability that a pair of legs is taken for each other in a frame."""
    undetected: float = 0.06
    """CSE: share of frames without any detection; at least one frame unless 0."""
    wrong_category: float = 0.1
    """CSE: share of frames with a second detection, of another category; at least one frame unless 0."""
    pnp_degrees: float = 4.0
    """PnP: error of the rotation about every axis."""
    pnp_shift: float = 0.02
    """PnP: error of the place, as a share of the distance; twice as much along the line of sight."""
    pnp_failed: float = 0.08
    """PnP: share of frames without a solution; at least one frame unless 0."""
    keypoint: float = 0.008
    """Sparse keypoints: error, as a share of the padded square's side."""
    keypoint_lost: float = 0.06
    """Sparse keypoints: probability that one lies anywhere on the animal, with a low score."""
    betas: float = 0.4
    """Initial shape: error of every coefficient."""
    free_world: bool = True
    """Whether the index's cameras live in a world of their own (turned, moved, of another scale), as those of structure
    from motion do; otherwise in that of truth.npz."""
    seed: int = 0


def no_noise() -> CueNoise:
    """Cues without any error."""
    noise = CueNoise(free_world=False)
    return replace(noise, **{field.name: 0.0 for field in fields(noise) if field.type == "float"})


@dataclass(frozen=True)
class ExternalDataConfig:
    """The tree that a synthetic clip is written into."""

    sequence: str = "1000_1000_2000"
    """Name of the sequence."""
    category: Literal["bear", "cow", "cat", "dog", "elephant", "giraffe", "horse", "sheep", "zebra"] = "dog"
    """Folder of the sequence, and what CSE takes the animal for."""
    functions: int = 100
    """Eigenfunctions of either mesh."""
    cse_vertices: int = 7466
    """Vertices of the stand-in for CSE's dog mesh."""
    noise: CueNoise = field(default_factory=CueNoise)
    """How far the cues are from the truth."""
