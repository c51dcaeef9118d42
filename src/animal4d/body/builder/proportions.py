"""What makes one animal differ from another: named proportions, all relative to the built-in dog (zero everywhere)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True)
class Proportions:
    """Log ratios where nothing else is said; angles in radians; heights as shares of the trunk's length."""

    trunk_length: float = 0.0
    """Animals are compared at equal length of trunk: a longer one makes all the rest smaller."""
    trunk_width: float = 0.0
    trunk_depth: float = 0.0
    chest_depth: float = 0.0
    """Height added below the chest."""
    tuck: float = 0.0
    """Height by which the belly is drawn up at the loin."""
    belly: float = 0.0
    """Height by which the belly hangs at mid-body."""
    hump: float = 0.0
    withers: float = 0.0
    """Heights added on the back and over the shoulders."""
    croup_drop: float = 0.0
    """Angle by which the back falls towards the tail."""
    shoulder_width: float = 0.0
    hip_width: float = 0.0
    neck_length: float = 0.0
    neck_thickness: float = 0.0
    neck_lift: float = 0.0
    """Angle by which the neck stands steeper; the head keeps its own."""
    neck_arch: float = 0.0
    """Height added along the crest of the neck."""
    neck_sag: float = 0.0
    """Height by which the middle of the neck hangs below the line from chest to head."""
    head_size: float = 0.0
    head_drop: float = 0.0
    """Angle by which the nose points lower."""
    skull_width: float = 0.0
    muzzle_length: float = 0.0
    muzzle_width: float = 0.0
    muzzle_depth: float = 0.0
    stop: float = 0.0
    """Depth of the step between forehead and muzzle; negative fills it."""
    jowls: float = 0.0
    ear_length: float = 0.0
    ear_width: float = 0.0
    ear_droop: float = 0.0
    """Angle by which ears fall outwards."""
    ear_back: float = 0.0
    leg_length: float = 0.0
    hind_length: float = 0.0
    """Of the hind legs, on top of `leg_length`."""
    cannon_length: float = 0.0
    """Of the bones below wrist and hock, on top of `leg_length`."""
    hind_upright: float = 0.0
    """Angle by which the hind legs stand further under the body."""
    leg_thickness: float = 0.0
    thigh_thickness: float = 0.0
    paw_size: float = 0.0
    paw_length: float = 0.0
    hoof: float = 0.0
    """From 0, a paw with toes, to 1, a steep, narrow hoof."""
    tail_length: float = 0.0
    tail_thickness: float = 0.0
    tail_lift: float = 0.0
    tail_curl: float = 0.0

    def vary(self, generator: np.random.Generator, spread: float) -> Proportions:
        """A random individual of the kind: every proportion changes by its own usual spread times ``spread``."""
        changes = {
            f.name: getattr(self, f.name)
            + spread * USUAL_SPREAD[f.name] * float(np.clip(generator.standard_normal(), -2.2, 2.2))
            for f in fields(self)
        }
        return replace(self, **changes)


USUAL_SPREAD: dict[str, float] = {
    "trunk_length": 0.04,
    "trunk_width": 0.10,
    "trunk_depth": 0.07,
    "chest_depth": 0.016,
    "tuck": 0.018,
    "belly": 0.018,
    "hump": 0.006,
    "withers": 0.008,
    "croup_drop": 0.03,
    "shoulder_width": 0.05,
    "hip_width": 0.05,
    "neck_length": 0.10,
    "neck_thickness": 0.09,
    "neck_lift": 0.10,
    "neck_arch": 0.008,
    "neck_sag": 0.004,
    "head_size": 0.06,
    "head_drop": 0.08,
    "skull_width": 0.06,
    "muzzle_length": 0.09,
    "muzzle_width": 0.06,
    "muzzle_depth": 0.06,
    "stop": 0.004,
    "jowls": 0.004,
    "ear_length": 0.09,
    "ear_width": 0.07,
    "ear_droop": 0.12,
    "ear_back": 0.08,
    "leg_length": 0.08,
    "hind_length": 0.025,
    "cannon_length": 0.05,
    "hind_upright": 0.02,
    "leg_thickness": 0.07,
    "thigh_thickness": 0.07,
    "paw_size": 0.07,
    "paw_length": 0.06,
    "hoof": 0.03,
    "tail_length": 0.12,
    "tail_thickness": 0.08,
    "tail_lift": 0.12,
    "tail_curl": 0.05,
}
