"""Keypoints and the vertices of SMAL's layout that tools in this field refer to by number.

The built-in template is numbered so that each of these numbers lies at the named place. Left is the animal's own left,
y > 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from animal4d.body.joint_names import JOINT_NAMES
from animal4d.body.model import KEYPOINT_ORDER

BACK, BELLY = 37, 1808
"""Vertices at mid-body on the plane of symmetry; the midpoint of the two is the body's origin."""

KEYPOINT_VERTICES: dict[str, int] = {
    "nose_end": 1863,
    "chin": 26,
    "right_ear_tip": 2124,
    "left_ear_tip": 150,
    "right_eye": 3055,
    "left_eye": 1097,
    "front_left_paw": 1330,
    "front_right_paw": 3282,
    "back_left_paw": 1521,
    "back_right_paw": 3473,
    "throat": 6,
    "withers": 20,
}
"""The twelve vertices that complete the joints to the 24 keypoints, in the order in which they follow the joints."""

KEYPOINT_NAMES: tuple[str, ...] = (
    "front_left_paw",
    "front_left_wrist",
    "front_left_elbow",
    "back_left_paw",
    "back_left_hock",
    "back_left_knee",
    "front_right_paw",
    "front_right_wrist",
    "front_right_elbow",
    "back_right_paw",
    "back_right_hock",
    "back_right_knee",
    "tail_start",
    "tail_end",
    "left_ear_base",
    "right_ear_base",
    "nose_end",
    "chin",
    "left_ear_tip",
    "right_ear_tip",
    "right_eye",
    "left_eye",
    "withers",
    "throat",
)
"""What the 24 keypoints of `PosedBody.keypoints` are, in order, where joints are called as in `JOINT_NAMES`."""


def keypoint_names(joint_names: Sequence[str]) -> tuple[str, ...]:
    """What the 24 keypoints of a model are: those that are joints lie on the side that their joint is named after."""
    swapped = {"left": "right", "right": "left"}

    def name(index: int, usual: str) -> str:
        if index >= len(JOINT_NAMES) or joint_names[index] == JOINT_NAMES[index]:
            return usual
        return "_".join(swapped.get(word, word) for word in usual.split("_"))

    return tuple(name(index, usual) for index, usual in zip(KEYPOINT_ORDER, KEYPOINT_NAMES, strict=True))


VERTEX_GROUPS: dict[str, tuple[int, ...]] = {
    "left_eye": (1068, 1080, 1029, 1226, 645),
    "right_eye": (2660, 3030, 2675, 3038, 2567),
    "lower_lip": (910, 11, 5),
    "left_ear": (542, 147, 509, 200, 522),
    "right_ear": (2507, 2174, 2122, 2126, 2474),
    "nose_tip": (1039, 1845, 1846, 1870, 1879, 1919, 2997, 3761, 3762),
    "front_left_leg_low": (360, 1203, 1235, 1230, 298, 408, 303, 293, 384),
    "front_right_leg_low": (3188, 3156, 2327, 3183, 2261, 2271, 2573, 2265),
    "back_left_leg_low": (1976, 1974, 1980, 856, 559, 851, 556),
    "back_right_leg_low": (3854, 2820, 3852, 3858, 2524, 2522, 2815, 2072),
    "front_left_leg_top": (416, 235, 182, 440, 8, 80, 73, 112),
    "front_right_leg_top": (2156, 2382, 2203, 2050, 2052, 2406, 3),
    "back_left_leg_top": (829, 219, 218, 173, 17, 7, 279),
    "back_right_leg_top": (2793, 582, 140, 87, 2188, 2147, 2063),
    "front_left_leg_middle": (384, 799, 1169, 431, 321, 314, 437, 310, 323),
    "front_right_leg_middle": (2351, 2763, 2397, 3127, 2278, 2285, 2282, 2275, 2359),
    "back_left_leg_middle": (221, 104, 105, 97, 103),
    "back_right_leg_middle": (2754, 2192, 2080, 2251, 2075, 2074),
    "tail_start": (452, 1811, 63, 194, 52, 370, 64),
    "tail_middle": (0, 464, 465, 726, 1824, 2429, 2430, 2690),
    "tail_tip": (28, 474, 475, 731, 24),
    "throat_base": (60, 114, 186, 59, 878, 130, 189, 45),
    "below_withers": (2091, 2037, 2036, 2160, 190, 2164),
    "neck": (191, 1158, 3116, 2165, 154, 653, 133, 339),
}
"""Small groups of vertices around a place."""
