"""SMAL's joint tree with anatomical names."""

from __future__ import annotations


def _leg(side: str, first: str, second: str, third: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in (first, second, third, "paw"))


JOINT_NAMES: tuple[str, ...] = (
    "root",
    *(f"spine_{number}" for number in range(1, 7)),
    *_leg("front_left", "shoulder", "elbow", "wrist"),
    *_leg("front_right", "shoulder", "elbow", "wrist"),
    "neck",
    "head",
    *_leg("back_left", "hip", "knee", "hock"),
    *_leg("back_right", "hip", "knee", "hock"),
    *(f"tail_{number}" for number in range(1, 8)),
    "jaw",
    "left_ear",
    "right_ear",
)
"""Names of the 35 joints. Left is the animal's own left, y > 0."""

# fmt: off
PARENTS: tuple[int, ...] = (
    -1, 0, 1, 2, 3, 4, 5,
    6, 7, 8, 9,
    6, 11, 12, 13,
    6, 15,
    0, 17, 18, 19,
    0, 21, 22, 23,
    0, 25, 26, 27, 28, 29, 30,
    16, 16, 16,
)
# fmt: on
"""Parent of every joint; the spine runs from the pelvis (root) forward, neck and front legs hang from its end."""
