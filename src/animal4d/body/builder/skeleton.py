"""The skeleton of the built-in dog in its rest pose: joint names, tree and places.

Body frame: x towards the head, y to the animal's left, z up, mid-body at the origin.
"""

from __future__ import annotations

import numpy as np

from animal4d.body.joint_names import JOINT_NAMES, PARENTS

_CENTRAL: dict[str, tuple[float, float]] = {
    "root": (-0.335, 0.085),
    "spine_1": (-0.245, 0.100),
    "spine_2": (-0.150, 0.102),
    "spine_3": (-0.050, 0.100),
    "spine_4": (0.055, 0.098),
    "spine_5": (0.155, 0.096),
    "spine_6": (0.245, 0.092),
    "neck": (0.335, 0.105),
    "head": (0.505, 0.318),
    "jaw": (0.580, 0.281),
    "tail_1": (-0.465, 0.100),
    "tail_2": (-0.532, 0.070),
    "tail_3": (-0.597, 0.040),
    "tail_4": (-0.662, 0.017),
    "tail_5": (-0.728, 0.004),
    "tail_6": (-0.795, 0.004),
    "tail_7": (-0.860, 0.018),
}
_LEFT: dict[str, tuple[float, float, float]] = {
    "front_left_shoulder": (0.350, 0.098, -0.045),
    "front_left_elbow": (0.252, 0.108, -0.195),
    "front_left_wrist": (0.276, 0.104, -0.470),
    "front_left_paw": (0.294, 0.105, -0.585),
    "back_left_hip": (-0.355, 0.085, 0.040),
    "back_left_knee": (-0.262, 0.118, -0.190),
    "back_left_hock": (-0.478, 0.105, -0.400),
    "back_left_paw": (-0.440, 0.105, -0.585),
    "left_ear": (0.526, 0.072, 0.422),
}
TAIL_TIP = np.array([-0.905, 0.0, 0.036])
"""Where the last bone of the tail ends."""
GROUND = -0.635
"""Height of the ground under the paws."""


def mirrored_name(name: str) -> str:
    """The joint on the other side; a central joint is its own mirror image."""
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")


def joint_places() -> np.ndarray:
    """Rest places (35, 3) in the order of ``JOINT_NAMES``."""
    places = np.zeros((len(JOINT_NAMES), 3))
    for index, name in enumerate(JOINT_NAMES):
        if name in _CENTRAL:
            x, z = _CENTRAL[name]
            places[index] = x, 0.0, z
        elif name in _LEFT:
            places[index] = _LEFT[name]
        else:
            places[index] = np.array(_LEFT[mirrored_name(name)]) * [1, -1, 1]
    return places


def joint_place(name: str) -> np.ndarray:
    """Rest place (3,) of one joint."""
    return joint_places()[JOINT_NAMES.index(name)]


def offset(place: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """A place beside another one."""
    return place + np.array([x, y, z])


def mirrored_joints() -> np.ndarray:
    """For every joint the index of its mirror image."""
    return np.array([JOINT_NAMES.index(mirrored_name(name)) for name in JOINT_NAMES])


def bone_ends(places: np.ndarray) -> np.ndarray:
    """Where the bone that a joint turns ends (35, 3): its main child, or a point ahead of it where it has none."""
    ends = np.empty_like(places)
    main_child = {0: 1, 6: 15, 16: 32}
    for joint in range(len(JOINT_NAMES)):
        children = [child for child, parent in enumerate(PARENTS) if parent == joint]
        ends[joint] = places[main_child.get(joint, children[0])] if children else places[joint]
    for name, reach in _TERMINAL_REACH.items():
        joint = JOINT_NAMES.index(name)
        ends[joint] = places[joint] + reach
        other = JOINT_NAMES.index(mirrored_name(name))
        ends[other] = places[other] + np.array(reach) * ([1, -1, 1] if other != joint else [1, 1, 1])
    return ends


_TERMINAL_REACH: dict[str, tuple[float, float, float]] = {
    "head": (0.28, 0.0, -0.035),
    "jaw": (0.18, 0.0, -0.055),
    "front_left_paw": (0.06, 0.0, -0.03),
    "back_left_paw": (0.06, 0.0, -0.03),
    "left_ear": (-0.018, 0.056, 0.112),
    "tail_7": (TAIL_TIP[0] + 0.860, 0.0, TAIL_TIP[2] - 0.018),
}
