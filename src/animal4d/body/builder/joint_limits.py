"""How far joints comfortably turn: rotation vectors in the body's axes, in radians.

A positive turn about x rolls to the animal's right, one about y lowers the nose and carries a leg's end backwards, one
about z looks to the left. Rows are (x, y, z), each with the lowest and the highest value.
"""

from __future__ import annotations

import numpy as np

from animal4d.body.builder.skeleton import mirrored_name
from animal4d.body.joint_names import JOINT_NAMES

Range = tuple[float, float]
_TAIL = ((-0.2, 0.2), (-0.55, 0.55), (-0.55, 0.55))
_SPINE = ((-0.20, 0.20), (-0.28, 0.28), (-0.25, 0.25))
_LIMITS: dict[str, tuple[Range, Range, Range]] = {
    "root": ((-np.pi, np.pi), (-np.pi, np.pi), (-np.pi, np.pi)),
    **{f"spine_{number}": _SPINE for number in range(1, 7)},
    "neck": ((-0.40, 0.40), (-0.80, 1.10), (-0.80, 0.80)),
    "head": ((-0.60, 0.60), (-0.70, 0.90), (-0.90, 0.90)),
    "jaw": ((-0.05, 0.05), (-0.05, 0.70), (-0.10, 0.10)),
    "left_ear": ((-0.90, 0.60), (-0.70, 0.70), (-0.70, 0.70)),
    # On the left, a positive turn about x carries a leg outwards.
    "front_left_shoulder": ((-0.20, 0.45), (-0.95, 0.95), (-0.25, 0.25)),
    "front_left_elbow": ((-0.10, 0.15), (-1.70, 0.60), (-0.20, 0.20)),
    "front_left_wrist": ((-0.12, 0.12), (-0.35, 1.60), (-0.15, 0.15)),
    "front_left_paw": ((-0.15, 0.15), (-0.90, 1.00), (-0.15, 0.15)),
    "back_left_hip": ((-0.20, 0.45), (-1.20, 0.85), (-0.25, 0.25)),
    "back_left_knee": ((-0.10, 0.15), (-0.65, 1.20), (-0.15, 0.15)),
    "back_left_hock": ((-0.12, 0.12), (-1.20, 0.70), (-0.12, 0.12)),
    "back_left_paw": ((-0.15, 0.15), (-0.90, 1.00), (-0.15, 0.15)),
    "tail_1": ((-0.3, 0.3), (-1.0, 1.0), (-0.8, 0.8)),
    **{f"tail_{number}": _TAIL for number in range(2, 8)},
}


def joint_limits() -> np.ndarray:
    """Lowest and highest comfortable values (35, 3, 2); those of the right side mirror those of the left."""
    limits = np.zeros((len(JOINT_NAMES), 3, 2))
    for joint, name in enumerate(JOINT_NAMES):
        if name in _LIMITS:
            limits[joint] = _LIMITS[name]
        else:
            roll, pitch, yaw = _LIMITS[mirrored_name(name)]
            limits[joint] = (-roll[1], -roll[0]), pitch, (-yaw[1], -yaw[0])
    return limits
