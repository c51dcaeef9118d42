"""Which part of the body every vertex belongs to."""

from __future__ import annotations

import numpy as np

from animal4d.body.joint_names import JOINT_NAMES
from animal4d.body.model import PART_NAMES


def part_of_joint(name: str) -> str:
    """The part that a joint moves: the neck counts to the torso, jaw and ears to the head."""
    if name.startswith(("front", "back")):
        return "_".join(name.split("_")[:2]) + "_leg"
    if name.startswith("tail"):
        return "tail"
    if name in ("head", "jaw", "left_ear", "right_ear"):
        return "head"
    return "torso"


PART_OF_JOINT: tuple[int, ...] = tuple(PART_NAMES.index(part_of_joint(name)) for name in JOINT_NAMES)
"""Index into `PART_NAMES` for each of the 35 joints."""


def part_labels(skinning_weights: np.ndarray) -> np.ndarray:
    """Index into `PART_NAMES` (V,) of the part whose joints hold most of each vertex's weight (V, 35)."""
    shares = np.zeros((len(skinning_weights), len(PART_NAMES)))
    np.add.at(shares.T, np.array(PART_OF_JOINT), skinning_weights.T)
    return shares.argmax(1)
