"""Which part of the body every vertex belongs to."""

from __future__ import annotations

from collections.abc import Sequence

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


def leg_joints(joint_names: Sequence[str], pair: str, side: str) -> list[int]:
    """Indices of the joints of a leg ("front" or "back", "left" or "right"), the uppermost first."""
    return [index for index, name in enumerate(joint_names) if part_of_joint(name) == f"{pair}_{side}_leg"]


def midline_joints(joint_names: Sequence[str]) -> list[int]:
    """Indices of the joints of spine, neck and head."""
    return [index for index, name in enumerate(joint_names) if name.split("_")[0] in ("spine", "neck", "head")]


PART_OF_JOINT: tuple[int, ...] = tuple(PART_NAMES.index(part_of_joint(name)) for name in JOINT_NAMES)
"""Index into `PART_NAMES` for each of the 35 joints."""


def part_labels(skinning_weights: np.ndarray) -> np.ndarray:
    """Index into `PART_NAMES` (V,) of the part whose joints hold most of each vertex's weight (V, 35)."""
    shares = np.zeros((len(skinning_weights), len(PART_NAMES)))
    np.add.at(shares.T, np.array(PART_OF_JOINT), skinning_weights.T)
    return shares.argmax(1)
