"""The dog itself: lofts, cones and ellipsoids around the skeleton, modelled with the mouth open.

The mouth is closed after meshing by its own jaw joint (`surface.close_mouth`): lips that never touched while the surface was made
cannot grow together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from animal4d.body.builder.implicit import Ellipsoid, Loft, Primitive, RoundCone, Solid, Tube
from animal4d.body.builder.skeleton import GROUND, TAIL_TIP, joint_places
from animal4d.body.joint_names import JOINT_NAMES

Point = Sequence[float]
MOUTH_OPENING = np.radians(24.0)
"""How far the jaw hangs open while the surface is made."""

HEAD_START = np.array([0.487, 0.0, 0.368])
HEAD_END = np.array([0.815, 0.0, 0.305])


def head_point(along: float, lateral: float, height: float) -> np.ndarray:
    """A place in the head's own axes: distance from the back of the skull, sideways, above the axis."""
    forward = (HEAD_END - HEAD_START) / np.linalg.norm(HEAD_END - HEAD_START)
    up = np.array([-forward[2], 0.0, forward[0]])
    return HEAD_START + along * forward + height * up + np.array([0.0, lateral, 0.0])


def rotate_about_jaw(points: np.ndarray, angle: float) -> np.ndarray:
    """Turn points (N, 3) about the jaw joint; positive opens the mouth."""
    pivot = joint_places()[JOINT_NAMES.index("jaw")]
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    return (points - pivot) @ turn.T + pivot


def _joint(name: str) -> np.ndarray:
    return joint_places()[JOINT_NAMES.index(name)]


def _torso() -> list[Primitive]:
    stations = [
        # x, half width, top, bottom
        (-0.500, 0.052, 0.095, 0.000),
        (-0.440, 0.082, 0.136, -0.035),
        (-0.360, 0.100, 0.158, -0.070),
        (-0.250, 0.104, 0.166, -0.098),
        (-0.120, 0.112, 0.165, -0.124),
        (0.000, 0.124, 0.163, -0.160),
        (0.120, 0.131, 0.170, -0.196),
        (0.230, 0.126, 0.184, -0.214),
        (0.310, 0.112, 0.172, -0.198),
        (0.380, 0.092, 0.120, -0.140),
        (0.430, 0.062, 0.050, -0.060),
    ]
    return [Loft((0, 0, 0), (1, 0, 0), stations, caps=(0.04, 0.05), power=2.15)]


def _neck_and_head() -> tuple[list[Primitive], list[Primitive]]:
    neck = [
        (0.00, 0.088, 0.120, -0.160),
        (0.10, 0.086, 0.100, -0.135),
        (0.20, 0.079, 0.086, -0.106),
        (0.30, 0.072, 0.074, -0.086),
        (0.38, 0.064, 0.062, -0.070),
    ]
    skull = [
        (0.000, 0.066, 0.060, -0.070),
        (0.050, 0.084, 0.076, -0.080),
        (0.100, 0.084, 0.080, -0.070),
        (0.140, 0.072, 0.070, -0.046),
        (0.172, 0.057, 0.046, -0.036),
        (0.200, 0.050, 0.031, -0.036),
        (0.245, 0.047, 0.025, -0.038),
        (0.295, 0.042, 0.021, -0.036),
        (0.328, 0.034, 0.015, -0.031),
    ]
    neck_shapes: list[Primitive] = [
        Loft((0.265, 0, 0.055), (0.545, 0, 0.365), neck, up=(-1, 0, 1), caps=(0.10, 0.05), blend=0.10),
    ]
    head_shapes: list[Primitive] = [
        Loft(HEAD_START, HEAD_END, skull, caps=(0.06, 0.025), power=2.3, blend=0.05),
        Ellipsoid(head_point(0.085, 0.050, -0.030), (0.065, 0.038, 0.050), blend=0.04),
        Ellipsoid(head_point(0.142, 0.040, 0.052), (0.032, 0.022, 0.018), blend=0.025),
        Ellipsoid(head_point(0.176, 0.054, 0.030), (0.018, 0.013, 0.014), blend=0.014, carve=True),
        Ellipsoid(head_point(0.162, 0.047, 0.031), (0.016, 0.014, 0.015), blend=0.006),
        Ellipsoid(head_point(0.322, 0.0, 0.006), (0.018, 0.023, 0.017), blend=0.012),
        Ellipsoid(head_point(0.285, 0.026, -0.020), (0.042, 0.019, 0.022), blend=0.014),
    ]
    return neck_shapes, head_shapes


def _jaw() -> list[Primitive]:
    closed = [
        (0.060, 0.050, -0.050, -0.088),
        (0.120, 0.046, -0.048, -0.088),
        (0.190, 0.038, -0.044, -0.077),
        (0.250, 0.033, -0.042, -0.069),
        (0.298, 0.027, -0.042, -0.062),
    ]
    start = rotate_about_jaw(HEAD_START[None], MOUTH_OPENING)[0]
    end = rotate_about_jaw(HEAD_END[None], MOUTH_OPENING)[0]
    return [Loft(start, end, closed, caps=(0.04, 0.02), power=2.4, blend=0.018)]


def _ear() -> list[Primitive]:
    base, tip = _joint("left_ear") + [0.004, -0.006, -0.024], _joint("left_ear") + [-0.022, 0.046, 0.112]
    outline = [
        # along, half width, front, back of the shell
        (0.000, 0.050, 0.024, -0.024),
        (0.040, 0.048, 0.017, -0.017),
        (0.085, 0.038, 0.012, -0.012),
        (0.120, 0.024, 0.010, -0.010),
        (0.148, 0.010, 0.008, -0.008),
    ]
    facing = (0.75, 0.66, 0.0)
    cup_from, cup_to = base + [0.030, 0.022, 0.045], tip + [0.020, 0.016, -0.034]
    return [
        Loft(base, tip, outline, up=facing, caps=(0.02, 0.012), blend=0.03),
        RoundCone(cup_from, cup_to, 0.020, 0.009, blend=0.012, carve=True),
    ]


def _front_leg() -> list[Primitive]:
    shoulder, elbow = _joint("front_left_shoulder"), _joint("front_left_elbow")
    wrist, paw = _joint("front_left_wrist"), _joint("front_left_paw")
    forearm = [
        (0.000, 0.040, 0.046, -0.050),
        (0.060, 0.039, 0.048, -0.046),
        (0.130, 0.031, 0.036, -0.034),
        (0.210, 0.025, 0.027, -0.027),
        (0.280, 0.025, 0.027, -0.029),
    ]
    return [
        Ellipsoid(
            (0.292, 0.078, 0.055), (0.155, 0.040, 0.078), direction=(0.42, 0.12, -0.9), up=(1, 0, 0.4), blend=0.05
        ),
        RoundCone(shoulder, elbow, 0.070, 0.056, blend=0.05, stretch=(1.0, 0.72, 1.0)),
        Ellipsoid((0.238, 0.108, -0.150), (0.056, 0.036, 0.075), blend=0.04),
        Loft(elbow, wrist, forearm, up=(1, 0, 0), caps=(0.03, 0.02), blend=0.045),
        RoundCone(elbow + [-0.022, 0.004, 0.004], elbow + [-0.024, 0.004, -0.02], 0.022, 0.018, blend=0.03),
        RoundCone(wrist + [0.002, 0, 0.012], wrist + [0.004, 0, -0.016], 0.029, 0.028, blend=0.02),
        RoundCone(wrist, paw, 0.026, 0.028, blend=0.02),
        *_paw(paw, 1.0),
    ]


def _hind_leg() -> list[Primitive]:
    hip, knee = _joint("back_left_hip"), _joint("back_left_knee")
    hock, paw = _joint("back_left_hock"), _joint("back_left_paw")
    shank = [
        (0.000, 0.046, 0.054, -0.070),
        (0.060, 0.043, 0.048, -0.062),
        (0.140, 0.033, 0.036, -0.044),
        (0.220, 0.024, 0.027, -0.028),
        (0.302, 0.022, 0.025, -0.026),
    ]
    return [
        RoundCone(
            hip + [-0.01, -0.004, 0.03],
            knee + [-0.03, -0.012, 0.02],
            0.098,
            0.078,
            blend=0.07,
            stretch=(1.0, 0.62, 1.0),
        ),
        RoundCone((-0.440, 0.072, 0.050), (-0.395, 0.096, -0.150), 0.070, 0.062, blend=0.05, stretch=(1.0, 0.62, 1.0)),
        RoundCone(
            knee + [-0.006, -0.004, 0.04],
            knee + [-0.016, -0.002, -0.01],
            0.056,
            0.050,
            blend=0.05,
            stretch=(1.0, 0.72, 1.0),
        ),
        Loft(knee, hock, shank, up=(1, 0, -1), caps=(0.03, 0.02), blend=0.045),
        RoundCone(hock + [-0.024, 0, 0.022], hock + [-0.010, 0, -0.02], 0.017, 0.022, blend=0.035),
        RoundCone(hock, paw + [-0.004, 0, 0.01], 0.026, 0.024, blend=0.03, stretch=(1.0, 0.9, 1.0)),
        *_paw(paw, 0.94),
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
    points = [_joint(f"tail_{number}") for number in range(1, 8)] + [TAIL_TIP]
    radii = [0.046, 0.036, 0.032, 0.031, 0.030, 0.027, 0.022, 0.012]
    return [RoundCone((-0.42, 0, 0.115), points[0], 0.045, 0.042, blend=0.04), Tube(points, radii, blend=0.03)]


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
