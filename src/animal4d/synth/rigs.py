"""Anatomical names for the joints of third-party rigs, so that their truth can be compared with a reconstruction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from animal4d.body.model import PART_NAMES


@dataclass(frozen=True)
class Rig:
    """What is known of a rig besides the file."""

    joints: dict[str, str]
    """Our joint name -> name of the node that lies there."""
    source: str
    licence: str


def _both_sides(joints: dict[str, str]) -> dict[str, str]:
    """Entries for the left side, mirrored to the right."""
    mirrored = {}
    for ours, theirs in joints.items():
        mirrored[ours] = theirs
        if "left" in ours:
            mirrored[ours.replace("left", "right")] = theirs.removesuffix(".L") + ".R"
    return mirrored


_DOG = _both_sides(
    {
        "spine_1": "Back",
        "neck": "Neck1",
        "head": "Head",
        "tail_1": "Tail1",
        "front_left_shoulder": "FrontUpperLeg.L",
        "front_left_elbow": "FrontLowerLeg.L",
        "front_left_wrist": "IKFrontLeg.L",
        "front_left_paw": "FF.L",
        "back_left_hip": "BackLeg.L",
        "back_left_knee": "BackUpperLeg.L",
        "back_left_hock": "BackLowerLeg.L",
        "back_left_paw": "FFB.L",
    }
)
# The cow's front leg bends at the carpus: its rig has no elbow.
_COW = {ours: theirs for ours, theirs in _DOG.items() if "elbow" not in ours and "wrist" not in ours} | _both_sides(
    {"front_left_wrist": "FrontLowerLeg.L"}
)
RIGS: dict[str, Rig] = {
    "husky": Rig(_DOG, "Quaternius", "CC0-1.0"),
    "shibainu": Rig(_DOG, "Quaternius", "CC0-1.0"),
    "cow": Rig(_COW, "Quaternius", "CC0-1.0"),
}
"""By the file's name in lower case without its ending."""


def find_rig(path: Path, node_names: tuple[str, ...]) -> Rig | None:
    """The table for a file, where there is one and its nodes are there."""
    rig = RIGS.get(path.stem.lower())
    return rig if rig is not None and set(rig.joints.values()) <= set(node_names) else None


_LEFT = re.compile(r"(^|[._\- ])l($|[._\- ])|left", re.IGNORECASE)
_RIGHT = re.compile(r"(^|[._\- ])r($|[._\- ])|right", re.IGNORECASE)
_FRONT_LEG = re.compile(r"front|fore|^ff(?!b)|shoulder|(upper|lower)?arm|hand|wrist|elbow", re.IGNORECASE)
_BACK_LEG = re.compile(r"back|hind|rear|^ffb|thigh|calf|shin|knee|hip|foot", re.IGNORECASE)
_HEAD = re.compile(r"head|ear|jaw|eye|horn|mouth|snout|muzzle|tongue", re.IGNORECASE)


def part_of_node(name: str) -> int:
    """Index into `PART_NAMES` from a joint's name: sides and the usual words; everything else is torso."""
    if re.search("tail", name, re.IGNORECASE):
        return PART_NAMES.index("tail")
    side = "left" if _LEFT.search(name) else "right" if _RIGHT.search(name) else None
    if side is not None and not _HEAD.search(name):
        # "BackShoulder" and "FrontShoulder" both occur: the place decides before the bone.
        back_first = re.search(r"back|hind|rear|^ffb", name, re.IGNORECASE)
        if not back_first and _FRONT_LEG.search(name):
            return PART_NAMES.index(f"front_{side}_leg")
        if _BACK_LEG.search(name):
            return PART_NAMES.index(f"back_{side}_leg")
    return PART_NAMES.index("head" if _HEAD.search(name) else "torso")
