"""The dog itself: lofts, cones and ellipsoids around the skeleton, modelled with the mouth open.

The mouth is closed after meshing by its own jaw joint (`skinning.close_mouth`): lips that never touched while the
surface was made cannot grow together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animal4d.body.builder.implicit import Ellipsoid, Loft, Primitive, RoundCone, Solid, Tube
from animal4d.body.builder.skeleton import GROUND, TAIL_TIP, joint_place, offset

MOUTH_OPENING = np.radians(20.0)
"""How far the jaw hangs open while the surface is made."""
MOUTH_CLOSING = MOUTH_OPENING + np.radians(2.0)
"""How far it is turned shut afterwards: a little more, as its weights fade towards the hinge."""

EAR_REACH = np.array([-0.018, 0.056, 0.112])
"""From the joint of the left ear to its tip."""

HEAD_SIZE = 1.07
"""Of all lengths of the head, about its start."""
HEAD_START = np.array([0.470, 0.0, 0.368])
HEAD_END = np.array([0.817, 0.0, 0.296])


def head_point(along: float, lateral: float, height: float) -> np.ndarray:
    """A place in the head's own axes: distance from the back of the skull, sideways, above the axis."""
    forward = (HEAD_END - HEAD_START) / np.linalg.norm(HEAD_END - HEAD_START)
    up = np.array([-forward[2], 0.0, forward[0]])
    return HEAD_START + HEAD_SIZE * (along * forward + height * up + np.array([0.0, lateral, 0.0]))


def _head_sized(numbers: Sequence[Sequence[float]]) -> list[list[float]]:
    """A table of lengths, given for a head of unit size."""
    return (HEAD_SIZE * np.asarray(numbers)).tolist()


def rotate_about_jaw(points: np.ndarray, angle: float) -> np.ndarray:
    """Turn points (N, 3) about the jaw joint; positive opens the mouth."""
    pivot = joint_place("jaw")
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    return (points - pivot) @ turn.T + pivot


def _torso() -> list[Primitive]:
    stations = [
        # x, half width, top, bottom
        (-0.500, 0.048, 0.090, 0.010),
        (-0.440, 0.080, 0.134, -0.030),
        (-0.360, 0.097, 0.156, -0.062),
        (-0.250, 0.095, 0.166, -0.086),
        (-0.120, 0.106, 0.166, -0.116),
        (0.000, 0.124, 0.163, -0.160),
        (0.120, 0.132, 0.168, -0.200),
        (0.230, 0.127, 0.180, -0.218),
        (0.310, 0.113, 0.172, -0.200),
        (0.380, 0.092, 0.125, -0.145),
        (0.425, 0.064, 0.060, -0.070),
    ]
    return [Loft((0, 0, 0), (1, 0, 0), stations, caps=(0.04, 0.05), power=2.15)]


def _neck_and_head() -> tuple[list[Primitive], list[Primitive]]:
    neck = [
        # along, half width, top, bottom
        (0.000, 0.102, 0.128, -0.180),
        (0.100, 0.102, 0.111, -0.161),
        (0.200, 0.096, 0.102, -0.134),
        (0.300, 0.090, 0.093, -0.111),
        (0.380, 0.081, 0.072, -0.089),
    ]
    skull = [
        # along, half width, top, bottom
        (0.000, 0.068, 0.064, -0.080),
        (0.050, 0.088, 0.082, -0.092),
        (0.100, 0.090, 0.087, -0.084),
        (0.138, 0.079, 0.075, -0.062),
        (0.168, 0.064, 0.051, -0.056),
        (0.193, 0.057, 0.037, -0.055),
        (0.233, 0.052, 0.031, -0.054),
        (0.273, 0.047, 0.027, -0.052),
        (0.312, 0.039, 0.021, -0.046),
    ]
    neck_shapes: list[Primitive] = [
        Loft((0.265, 0, 0.055), (0.545, 0, 0.365), neck, up=(-1, 0, 1), caps=(0.10, 0.05), blend=0.10),
    ]
    head_shapes: list[Primitive] = [
        Loft(HEAD_START, HEAD_END, _head_sized(skull), caps=(0.06, 0.024), power=2.5, blend=0.075),
        # Cheek, brow, eye socket, eye, lip and nose.
        Ellipsoid(head_point(0.090, 0.052, -0.036), (0.0749, 0.0428, 0.0578), blend=0.05),
        Ellipsoid(head_point(0.138, 0.038, 0.052), (0.0345, 0.0270, 0.0160), blend=0.050),
        Ellipsoid(head_point(0.178, 0.060, 0.030), (0.024, 0.014, 0.017), blend=0.024, carve=True),
        Ellipsoid(head_point(0.162, 0.0475, 0.032), (0.0190, 0.0150, 0.0155), blend=0.010),
        Ellipsoid(head_point(0.271, 0.026, -0.030), (0.050, 0.0245, 0.028), blend=0.02),
        Ellipsoid(head_point(0.304, 0.0, 0.007), (0.024, 0.028, 0.021), blend=0.012),
    ]
    return neck_shapes, head_shapes


def _jaw() -> list[Primitive]:
    closed = [
        # along, half width, top, bottom
        (0.060, 0.055, -0.054, -0.102),
        (0.120, 0.052, -0.051, -0.106),
        (0.183, 0.045, -0.050, -0.105),
        (0.237, 0.040, -0.050, -0.099),
        (0.298, 0.035, -0.049, -0.092),
    ]
    start = rotate_about_jaw(HEAD_START[None], MOUTH_OPENING)[0]
    end = rotate_about_jaw(HEAD_END[None], MOUTH_OPENING)[0]
    return [Loft(start, end, _head_sized(closed), caps=(0.04, 0.022), power=2.8, blend=0.008)]


def _ear() -> list[Primitive]:
    base, tip = offset(joint_place("left_ear"), 0.006, -0.006, -0.030), joint_place("left_ear") + EAR_REACH
    outline = [
        # along, half width, front, back of the shell
        (0.000, 0.054, 0.026, -0.026),
        (0.040, 0.053, 0.020, -0.020),
        (0.085, 0.043, 0.015, -0.015),
        (0.118, 0.028, 0.012, -0.012),
        (0.146, 0.012, 0.010, -0.010),
    ]
    cup_from, cup_to = offset(base, 0.034, 0.024, 0.056), offset(tip, 0.018, 0.010, -0.040)
    return [
        Loft(base, tip, outline, up=(0.80, 0.60, 0.0), caps=(0.02, 0.012), blend=0.035),
        RoundCone(cup_from, cup_to, 0.020, 0.010, blend=0.014, carve=True),
    ]


def _front_leg() -> list[Primitive]:
    shoulder, elbow = joint_place("front_left_shoulder"), joint_place("front_left_elbow")
    wrist, paw = joint_place("front_left_wrist"), joint_place("front_left_paw")
    forearm = [
        # along, half width, front, back
        (0.000, 0.045, 0.054, -0.058),
        (0.060, 0.044, 0.053, -0.052),
        (0.130, 0.038, 0.043, -0.041),
        (0.210, 0.031, 0.033, -0.033),
        (0.280, 0.030, 0.032, -0.033),
    ]
    return [
        Ellipsoid(
            (0.285, 0.072, 0.050), (0.150, 0.042, 0.085), direction=(0.42, 0.16, -0.9), up=(1, 0, 0.4), blend=0.07
        ),
        RoundCone(offset(shoulder, -0.010, -0.006, 0.0), elbow, 0.064, 0.056, blend=0.07, stretch=(1.0, 0.72, 1.0)),
        Ellipsoid((0.232, 0.104, -0.135), (0.060, 0.036, 0.080), blend=0.06),
        Loft(elbow, wrist, forearm, up=(1, 0, 0), caps=(0.03, 0.02), blend=0.05),
        RoundCone(offset(elbow, -0.022, 0.004, 0.004), offset(elbow, -0.024, 0.004, -0.02), 0.022, 0.018, blend=0.03),
        RoundCone(offset(wrist, 0.002, 0, 0.012), offset(wrist, 0.004, 0, -0.016), 0.0305, 0.0305, blend=0.04),
        RoundCone(wrist, paw, 0.030, 0.032, blend=0.02),
        *_paw(paw, 1.17),
    ]


def _hind_leg() -> list[Primitive]:
    hip, knee = joint_place("back_left_hip"), joint_place("back_left_knee")
    hock, paw = joint_place("back_left_hock"), joint_place("back_left_paw")
    shank = [
        # along, half width, front, back
        (0.000, 0.050, 0.056, -0.080),
        (0.060, 0.048, 0.051, -0.076),
        (0.140, 0.037, 0.039, -0.054),
        (0.220, 0.029, 0.032, -0.036),
        (0.302, 0.027, 0.030, -0.030),
    ]
    flat = (1.0, 0.60, 1.0)
    return [
        RoundCone(
            offset(hip, 0.0, -0.006, 0.010), offset(knee, -0.035, -0.010, 0.03), 0.098, 0.078, blend=0.08, stretch=flat
        ),
        RoundCone((-0.432, 0.066, 0.045), (-0.372, 0.098, -0.150), 0.066, 0.052, blend=0.08, stretch=flat),
        RoundCone(
            offset(knee, -0.006, -0.004, 0.04),
            offset(knee, -0.014, -0.002, -0.005),
            0.056,
            0.050,
            blend=0.06,
            stretch=(1, 0.72, 1),
        ),
        Loft(knee, hock, shank, up=(1, 0, -1), caps=(0.03, 0.02), blend=0.06),
        RoundCone(offset(hock, -0.022, 0, 0.020), offset(hock, -0.010, 0, -0.02), 0.017, 0.022, blend=0.035),
        RoundCone(hock, offset(paw, -0.004, 0, 0.01), 0.031, 0.029, blend=0.03, stretch=(1.0, 0.92, 1.0)),
        *_paw(paw, 1.12),
    ]


def _paw(joint: np.ndarray, size: float) -> list[Primitive]:
    """A pad with four toes that stands on the ground in front of ``joint``."""
    toes: list[Primitive] = []
    for lateral, reach in ((-0.027, 0.036), (-0.010, 0.052), (0.010, 0.052), (0.027, 0.036)):
        back = joint + np.array([0.008, lateral * 0.8, -0.014]) * size
        front = np.array([joint[0] + reach * size, joint[1] + lateral * size, GROUND + 0.019 * size])
        toes.append(RoundCone(back, front, 0.019 * size, 0.0175 * size, blend=0.010))
    pad = Ellipsoid(
        (joint[0] + 0.012, joint[1], GROUND + 0.026 * size), np.array([0.040, 0.033, 0.026]) * size, blend=0.02
    )
    return [pad, *toes]


def _tail() -> list[Primitive]:
    points = [*(joint_place(f"tail_{number}") for number in range(1, 8)), TAIL_TIP]
    radii = [0.047, 0.039, 0.036, 0.035, 0.034, 0.031, 0.026, 0.014]
    return [RoundCone((-0.41, 0, 0.105), points[0], 0.046, 0.042, blend=0.06), Tube(points, radii, blend=0.03)]


def parts() -> dict[str, list[Primitive]]:
    """The shapes of each part, in the order in which they are joined."""
    torso, neck, head = _torso(), *_neck_and_head()
    shoulder_blade, *front_leg = _front_leg()
    return {
        "torso": [*torso, shoulder_blade],
        "neck": neck,
        "head": head,
        "jaw": _jaw(),
        "ear": _ear(),
        "hind_leg": _hind_leg(),
        "front_leg": front_leg,
        "tail": _tail(),
    }


def dog() -> Solid:
    """The whole animal, mouth open."""
    return Solid([shape for shapes in parts().values() for shape in shapes])
