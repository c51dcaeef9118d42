"""What makes one animal differ from another: named proportions, all relative to the built-in dog (zero everywhere)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True)
class Proportions:
    """Log ratios where nothing else is said; angles in radians; heights as shares of the trunk's length."""

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

SPECIES: dict[str, Proportions] = {
    "dog": Proportions(),
    "labrador": Proportions(
        trunk_width=0.12,
        trunk_depth=0.05,
        neck_thickness=0.10,
        head_size=0.05,
        muzzle_width=0.15,
        muzzle_depth=0.12,
        muzzle_length=-0.08,
        ear_droop=0.85,
        ear_length=-0.05,
        leg_thickness=0.12,
        paw_size=0.10,
        tail_thickness=0.2,
        tuck=-0.02,
    ),
    "shepherd": Proportions(
        croup_drop=0.07,
        muzzle_length=0.08,
        ear_length=0.08,
        ear_droop=-0.15,
        tail_lift=-0.35,
        tail_thickness=0.25,
        neck_thickness=0.06,
        trunk_width=0.05,
        hind_length=0.02,
    ),
    "husky": Proportions(
        trunk_width=0.10,
        neck_thickness=0.16,
        skull_width=0.08,
        muzzle_length=-0.06,
        ear_droop=-0.2,
        ear_length=-0.1,
        tail_thickness=0.42,
        tail_lift=0.4,
        tail_curl=0.18,
        leg_thickness=0.12,
        leg_length=-0.04,
    ),
    "shiba": Proportions(
        head_size=0.12,
        skull_width=0.12,
        muzzle_length=-0.22,
        ear_droop=-0.2,
        ear_length=-0.2,
        neck_thickness=0.15,
        trunk_width=0.10,
        tail_lift=0.55,
        tail_curl=0.28,
        tail_length=-0.15,
        tail_thickness=0.4,
        leg_length=-0.05,
    ),
    "greyhound": Proportions(
        trunk_width=-0.18,
        chest_depth=0.035,
        tuck=0.075,
        neck_length=0.15,
        neck_thickness=-0.16,
        head_size=-0.08,
        skull_width=-0.18,
        muzzle_length=0.20,
        muzzle_width=-0.12,
        muzzle_depth=-0.14,
        stop=-0.012,
        ear_length=-0.3,
        ear_droop=0.6,
        ear_back=0.5,
        leg_length=0.13,
        leg_thickness=-0.18,
        tail_thickness=-0.28,
        tail_length=0.1,
        tail_lift=-0.4,
        paw_size=-0.05,
        hind_upright=0.05,
    ),
    "dachshund": Proportions(
        leg_length=-0.75,
        trunk_width=-0.02,
        trunk_depth=-0.10,
        neck_length=0.02,
        head_size=0.0,
        muzzle_length=0.12,
        stop=-0.008,
        ear_droop=0.95,
        ear_length=0.05,
        ear_width=0.15,
        leg_thickness=-0.05,
        tail_thickness=-0.2,
        tuck=0.01,
        paw_size=-0.08,
        cannon_length=-0.1,
    ),
    "corgi": Proportions(
        leg_length=-0.62,
        head_size=0.10,
        ear_length=0.06,
        ear_droop=-0.2,
        skull_width=0.06,
        neck_thickness=0.10,
        trunk_width=0.04,
        tail_length=-0.6,
        tail_thickness=0.1,
        leg_thickness=0.08,
    ),
    "bulldog": Proportions(
        trunk_width=0.42,
        trunk_depth=0.10,
        chest_depth=0.025,
        shoulder_width=0.30,
        neck_length=-0.45,
        neck_thickness=0.36,
        head_size=0.26,
        skull_width=0.24,
        muzzle_length=-0.65,
        muzzle_width=0.32,
        muzzle_depth=0.24,
        stop=0.010,
        jowls=0.012,
        ear_length=-0.35,
        ear_droop=0.7,
        leg_length=-0.32,
        leg_thickness=0.36,
        thigh_thickness=0.10,
        tail_length=-0.6,
        paw_size=0.15,
        tuck=0.0,
    ),
    "pug": Proportions(
        trunk_width=0.28,
        head_size=0.20,
        skull_width=0.16,
        muzzle_length=-0.7,
        muzzle_width=0.18,
        muzzle_depth=0.16,
        neck_length=-0.3,
        neck_thickness=0.22,
        ear_length=-0.3,
        ear_droop=0.8,
        leg_length=-0.22,
        leg_thickness=0.10,
        tail_length=-0.45,
        tail_lift=0.6,
        tail_curl=0.36,
        belly=0.01,
    ),
    "mastiff": Proportions(
        trunk_width=0.26,
        trunk_depth=0.12,
        chest_depth=0.015,
        neck_thickness=0.26,
        head_size=0.18,
        skull_width=0.14,
        muzzle_length=-0.2,
        muzzle_width=0.30,
        muzzle_depth=0.28,
        jowls=0.014,
        ear_droop=0.85,
        ear_length=-0.1,
        leg_thickness=0.26,
        paw_size=0.18,
        tail_thickness=0.15,
        tuck=-0.01,
        shoulder_width=0.12,
    ),
    "terrier": Proportions(
        leg_length=-0.22,
        head_size=0.10,
        muzzle_length=-0.05,
        muzzle_depth=0.12,
        ear_length=-0.25,
        ear_droop=0.5,
        neck_length=0.0,
        tail_length=-0.35,
        tail_lift=0.5,
        trunk_width=0.05,
    ),
    "hound": Proportions(
        ear_droop=1.0,
        ear_length=0.2,
        ear_width=0.2,
        muzzle_depth=0.14,
        jowls=0.008,
        tail_lift=0.4,
        leg_thickness=0.08,
        leg_length=-0.12,
        head_size=0.05,
    ),
    "wolf": Proportions(
        leg_length=0.08,
        neck_thickness=0.18,
        neck_lift=-0.30,
        head_size=0.05,
        skull_width=0.06,
        ear_length=-0.1,
        ear_droop=-0.1,
        tail_thickness=0.42,
        tail_lift=-0.4,
        trunk_width=-0.02,
        chest_depth=0.01,
        paw_size=0.15,
        muzzle_length=0.06,
        hind_upright=0.04,
    ),
    "fox": Proportions(
        head_size=0.02,
        skull_width=0.06,
        muzzle_length=0.06,
        muzzle_width=-0.28,
        muzzle_depth=-0.26,
        stop=-0.006,
        ear_length=0.12,
        ear_width=0.12,
        leg_length=-0.12,
        leg_thickness=-0.18,
        neck_lift=-0.25,
        tail_length=0.1,
        tail_thickness=0.6,
        tail_lift=-0.30,
        trunk_width=-0.08,
        trunk_depth=-0.1,
        tuck=-0.01,
    ),
    "cat": Proportions(
        head_size=-0.07,
        skull_width=0.20,
        muzzle_length=-0.7,
        muzzle_width=0.0,
        muzzle_depth=-0.10,
        stop=-0.010,
        ear_length=-0.2,
        ear_width=0.10,
        ear_droop=-0.1,
        neck_length=-0.30,
        neck_lift=-0.20,
        neck_thickness=-0.12,
        trunk_width=-0.05,
        trunk_depth=-0.14,
        leg_length=-0.22,
        leg_thickness=-0.08,
        tail_length=0.25,
        tail_thickness=-0.15,
        tuck=-0.02,
        paw_size=-0.08,
        chest_depth=-0.03,
        hind_length=0.03,
    ),
    "horse": Proportions(
        neck_length=0.45,
        neck_thickness=0.18,
        neck_lift=0.10,
        neck_arch=0.02,
        head_size=0.10,
        head_drop=0.5,
        skull_width=-0.22,
        muzzle_length=0.25,
        muzzle_width=0.05,
        muzzle_depth=0.22,
        stop=-0.016,
        ear_length=-0.35,
        ear_width=-0.35,
        ear_droop=-0.3,
        leg_length=0.30,
        cannon_length=0.16,
        leg_thickness=-0.10,
        thigh_thickness=0.08,
        hoof=1.0,
        tail_length=0.10,
        tail_thickness=0.35,
        tail_lift=-0.6,
        trunk_width=0.12,
        trunk_depth=0.14,
        belly=0.03,
        tuck=-0.045,
        withers=0.012,
        hind_upright=0.17,
    ),
    "cow": Proportions(
        trunk_width=0.34,
        trunk_depth=0.26,
        belly=0.05,
        tuck=-0.065,
        neck_length=0.0,
        neck_thickness=0.16,
        neck_lift=-0.45,
        head_size=0.16,
        head_drop=0.35,
        skull_width=-0.05,
        muzzle_length=0.10,
        muzzle_width=0.25,
        muzzle_depth=0.28,
        stop=-0.016,
        ear_length=-0.25,
        ear_droop=0.8,
        ear_width=-0.2,
        leg_length=-0.08,
        leg_thickness=0.08,
        hoof=0.9,
        tail_length=0.15,
        tail_thickness=-0.25,
        tail_lift=-0.65,
        hip_width=0.10,
        hind_upright=0.1,
    ),
    "deer": Proportions(
        neck_length=0.42,
        neck_thickness=-0.18,
        neck_lift=0.15,
        head_size=-0.10,
        skull_width=-0.10,
        head_drop=0.20,
        muzzle_length=0.12,
        muzzle_width=-0.12,
        muzzle_depth=-0.05,
        stop=-0.013,
        ear_length=0.10,
        ear_droop=0.5,
        leg_length=0.32,
        cannon_length=0.16,
        leg_thickness=-0.28,
        hoof=0.9,
        tail_length=-0.7,
        tail_thickness=0.0,
        trunk_width=-0.04,
        tuck=-0.01,
        tail_lift=-0.3,
        hind_upright=0.17,
    ),
    "camel": Proportions(
        neck_length=0.7,
        neck_thickness=0.02,
        neck_lift=0.0,
        head_size=0.0,
        skull_width=-0.12,
        head_drop=0.15,
        muzzle_length=0.12,
        muzzle_width=0.05,
        muzzle_depth=0.15,
        stop=-0.014,
        ear_length=-0.55,
        ear_droop=0.2,
        hump=0.16,
        leg_length=0.42,
        cannon_length=0.05,
        leg_thickness=-0.06,
        hoof=0.5,
        paw_size=0.08,
        tail_length=-0.25,
        tail_thickness=-0.3,
        tail_lift=-0.6,
        trunk_depth=0.08,
        trunk_width=0.06,
        tuck=0.01,
        neck_sag=0.06,
        hind_upright=0.17,
    ),
}
"""Means of the kinds in the population."""

SHARES: dict[str, float] = {
    "dog": 6.0, "labrador": 2.0, "shepherd": 2.0, "husky": 2.0, "shiba": 1.5, "greyhound": 1.5, "dachshund": 1.5,
    "corgi": 1.0, "bulldog": 1.5, "pug": 1.0, "mastiff": 1.5, "terrier": 1.5, "hound": 1.5, "wolf": 1.5, "fox": 1.5,
    "cat": 2.0, "horse": 1.5, "cow": 1.5, "deer": 1.0, "camel": 1.5,
}  # fmt: skip
"""How often each kind occurs in the population."""
