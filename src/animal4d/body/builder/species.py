"""The kinds of animals in the population: their mean proportions, and how often they occur."""

from __future__ import annotations

from animal4d.body.builder.proportions import Proportions

# fmt: off
SPECIES: dict[str, Proportions] = {
    "dog": Proportions(),
    "labrador": Proportions(
        trunk_width=0.12, trunk_depth=0.05, tuck=-0.02, neck_thickness=0.1, head_size=0.05, muzzle_length=-0.08,
        muzzle_width=0.15, muzzle_depth=0.12, ear_length=-0.05, ear_droop=0.85, leg_thickness=0.12, paw_size=0.1,
        tail_thickness=0.2,
    ),
    "shepherd": Proportions(
        trunk_width=0.05, croup_drop=0.07, neck_thickness=0.06, muzzle_length=0.08, ear_length=0.08,
        ear_droop=-0.15, hind_length=0.02, tail_thickness=0.25, tail_lift=-0.35,
    ),
    "husky": Proportions(
        trunk_length=-0.06, trunk_width=0.1, trunk_depth=0.06, tuck=-0.02, neck_thickness=0.24, neck_lift=0.08,
        skull_width=0.08, muzzle_length=-0.16, ear_length=-0.1, ear_droop=-0.2, leg_length=-0.04,
        leg_thickness=0.16, thigh_thickness=0.12, tail_thickness=0.42, tail_lift=0.4, tail_curl=0.18,
    ),
    "shiba": Proportions(
        trunk_length=-0.07, trunk_width=0.1, trunk_depth=0.06, tuck=-0.02, neck_thickness=0.28, head_size=0.12,
        skull_width=0.12, muzzle_length=-0.28, muzzle_width=0.08, ear_length=-0.2, ear_droop=-0.2, leg_length=-0.05,
        leg_thickness=0.2, thigh_thickness=0.12, tail_length=-0.15, tail_thickness=0.4, tail_lift=0.55,
        tail_curl=0.28,
    ),
    "greyhound": Proportions(
        trunk_width=-0.18, chest_depth=0.035, tuck=0.075, neck_length=0.15, neck_thickness=-0.22, head_size=-0.08,
        skull_width=-0.18, muzzle_length=0.2, muzzle_width=-0.12, muzzle_depth=-0.14, stop=-0.012, ear_length=-0.3,
        ear_droop=0.6, ear_back=0.5, leg_length=0.13, hind_upright=0.05, leg_thickness=-0.24, paw_size=-0.05,
        tail_length=0.1, tail_thickness=-0.28, tail_lift=-0.4,
    ),
    "dachshund": Proportions(
        trunk_length=0.12, trunk_width=-0.02, trunk_depth=-0.04, tuck=0.01, neck_length=0.02, muzzle_length=0.12,
        stop=-0.008, ear_length=0.05, ear_width=0.15, ear_droop=0.95, leg_length=-0.66, cannon_length=-0.1,
        leg_thickness=-0.05, paw_size=-0.08, tail_thickness=-0.2,
    ),
    "corgi": Proportions(
        trunk_length=0.06, trunk_width=0.04, neck_thickness=0.1, head_size=0.1, skull_width=0.06, ear_length=0.06,
        ear_droop=-0.2, leg_length=-0.56, leg_thickness=0.08, tail_length=-0.6, tail_thickness=0.1,
    ),
    "bulldog": Proportions(
        trunk_length=-0.06, trunk_width=0.42, trunk_depth=0.1, chest_depth=0.025, shoulder_width=0.3,
        neck_length=-0.45, neck_thickness=0.36, head_size=0.26, skull_width=0.24, muzzle_length=-0.65,
        muzzle_width=0.32, muzzle_depth=0.24, stop=0.01, jowls=0.012, ear_length=-0.35, ear_droop=0.7,
        leg_length=-0.32, leg_thickness=0.36, thigh_thickness=0.1, paw_size=0.15, tail_length=-0.6,
    ),
    "pug": Proportions(
        trunk_length=-0.1, trunk_width=0.28, belly=0.01, neck_length=-0.3, neck_thickness=0.22, head_size=0.2,
        skull_width=0.16, muzzle_length=-0.7, muzzle_width=0.18, muzzle_depth=0.16, ear_length=-0.3, ear_droop=0.8,
        leg_length=-0.22, leg_thickness=0.1, tail_length=-0.45, tail_lift=0.6, tail_curl=0.36,
    ),
    "mastiff": Proportions(
        trunk_width=0.26, trunk_depth=0.12, chest_depth=0.015, tuck=-0.01, shoulder_width=0.12, neck_thickness=0.26,
        head_size=0.18, skull_width=0.14, muzzle_length=-0.2, muzzle_width=0.3, muzzle_depth=0.28, jowls=0.014,
        ear_length=-0.1, ear_droop=0.85, leg_thickness=0.26, paw_size=0.18, tail_thickness=0.15,
    ),
    "terrier": Proportions(
        trunk_length=-0.05, trunk_width=0.05, head_size=0.1, muzzle_length=-0.05, muzzle_depth=0.12,
        ear_length=-0.25, ear_droop=0.5, leg_length=-0.22, tail_length=-0.35, tail_lift=0.5,
    ),
    "hound": Proportions(
        head_size=0.05, muzzle_depth=0.14, jowls=0.008, ear_length=0.2, ear_width=0.2, ear_droop=1.0,
        leg_length=-0.12, leg_thickness=0.08, tail_lift=0.4,
    ),
    "wolf": Proportions(
        trunk_width=-0.02, chest_depth=0.01, neck_thickness=0.16, neck_lift=-0.3, head_size=0.05, skull_width=0.06,
        muzzle_length=0.06, ear_length=-0.1, ear_droop=-0.1, leg_length=0.08, hind_upright=0.04, paw_size=0.15,
        tail_thickness=0.42, tail_lift=-0.4,
    ),
    "fox": Proportions(
        trunk_length=0.03, trunk_width=-0.08, trunk_depth=-0.1, tuck=-0.01, neck_lift=-0.25, head_size=0.02,
        skull_width=0.06, muzzle_length=0.06, muzzle_width=-0.28, muzzle_depth=-0.26, stop=-0.006, ear_length=0.12,
        ear_width=0.12, leg_length=-0.12, leg_thickness=-0.18, tail_length=0.1, tail_thickness=0.5, tail_lift=-0.3,
    ),
    "cat": Proportions(
        trunk_length=0.05, trunk_width=-0.05, trunk_depth=-0.14, chest_depth=-0.03, tuck=-0.02, neck_length=-0.3,
        neck_thickness=-0.12, neck_lift=-0.2, head_size=-0.07, skull_width=0.2, muzzle_length=-0.7,
        muzzle_depth=-0.1, stop=-0.01, ear_length=-0.2, ear_width=0.1, ear_droop=-0.1, leg_length=-0.22,
        hind_length=0.03, leg_thickness=-0.08, paw_size=-0.08, tail_length=0.25, tail_thickness=-0.15,
    ),
    "horse": Proportions(
        trunk_length=-0.04, trunk_width=0.12, trunk_depth=0.14, tuck=-0.045, belly=0.03, withers=0.012,
        neck_length=0.45, neck_thickness=0.26, neck_lift=0.1, neck_arch=0.03, head_size=0.14, head_drop=0.5,
        skull_width=-0.22, muzzle_length=0.34, muzzle_width=0.05, muzzle_depth=0.22, stop=-0.016, ear_length=-0.35,
        ear_width=-0.35, ear_droop=-0.3, leg_length=0.3, cannon_length=0.16, hind_upright=0.17, leg_thickness=-0.16,
        thigh_thickness=0.08, hoof=1.0, tail_length=0.1, tail_thickness=0.35, tail_lift=-0.6,
    ),
    "cow": Proportions(
        trunk_length=0.05, trunk_width=0.34, trunk_depth=0.3, tuck=-0.065, belly=0.05, hip_width=0.1,
        neck_thickness=0.24, neck_lift=-0.5, head_size=0.16, head_drop=0.35, skull_width=-0.05, muzzle_length=0.1,
        muzzle_width=0.25, muzzle_depth=0.28, stop=-0.016, ear_length=-0.25, ear_width=-0.2, ear_droop=0.8,
        leg_length=-0.08, hind_upright=0.1, leg_thickness=0.08, thigh_thickness=0.1, hoof=0.9, tail_length=0.15,
        tail_thickness=-0.25, tail_lift=-0.65,
    ),
    "deer": Proportions(
        trunk_length=-0.06, trunk_width=-0.04, tuck=-0.01, neck_length=0.42, neck_thickness=-0.18, neck_lift=0.15,
        head_size=-0.1, head_drop=0.2, skull_width=-0.1, muzzle_length=0.12, muzzle_width=-0.12, muzzle_depth=-0.05,
        stop=-0.013, ear_length=0.1, ear_droop=0.5, leg_length=0.32, cannon_length=0.16, hind_upright=0.17,
        leg_thickness=-0.34, hoof=0.9, tail_length=-0.7, tail_lift=-0.3,
    ),
    "camel": Proportions(
        trunk_width=0.06, trunk_depth=0.08, tuck=0.01, hump=0.16, neck_length=0.7, neck_thickness=0.02,
        neck_sag=0.06, head_drop=0.15, skull_width=-0.12, muzzle_length=0.12, muzzle_width=0.05, muzzle_depth=0.15,
        stop=-0.014, ear_length=-0.55, ear_droop=0.2, leg_length=0.42, cannon_length=0.05, hind_upright=0.17,
        leg_thickness=-0.12, paw_size=0.08, hoof=0.5, tail_length=-0.25, tail_thickness=-0.3, tail_lift=-0.6,
    ),
}
"""Means of the kinds; "dog" is the template itself."""

SHARES: dict[str, float] = {
    "dog": 6.0, "labrador": 2.0, "shepherd": 2.0, "husky": 2.0, "shiba": 1.5, "greyhound": 1.5, "dachshund": 1.5,
    "corgi": 1.0, "bulldog": 1.5, "pug": 1.0, "mastiff": 1.5, "terrier": 1.5, "hound": 1.5, "wolf": 1.5, "fox": 1.5,
    "cat": 2.0, "horse": 1.5, "cow": 1.5, "deer": 1.0, "camel": 1.5,
}
"""How often each kind occurs in the population."""
# fmt: on
