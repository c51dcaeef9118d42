"""Procedural motions of the built-in body: walk, trot, gallop, stand, look_around and sit.

A motion is a plan for the trunk and for the four paws; `plan.py` carries it out. In stance a paw keeps its place on the
ground, so feet neither slide nor sink by construction, whatever the individual's proportions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.body.model import ShapedBody
from animal4d.errors import Animal4dError
from animal4d.synth.legs import Leg, legs_of
from animal4d.synth.pace import Pace
from animal4d.synth.plan import Motion, Plan, Standing, carry_out, stand_of


@dataclass(frozen=True)
class Gait:
    """A periodic way of moving. Lengths are in hip heights, phases in cycles, angles in radians."""

    period: float
    """Seconds per stride of an animal as tall as a medium dog."""
    duty: float
    """Fraction of the stride that a paw spends on the ground."""
    touchdown: tuple[float, float, float, float]
    """Phase at which each paw lands, in the order of `LEGS`."""
    excursion: float
    """How far the body travels over a standing paw."""
    lift: float
    """How high a paw is swung."""
    bob: float
    """Amplitude of the trunk's vertical oscillation."""
    bobs_per_stride: int
    bob_phase: float
    """Phase of the trunk's highest point."""
    pitch: float = 0.0
    """Amplitude of the trunk's pitch."""
    roll: float = 0.0
    sway: float = 0.0
    """Amplitude of the spine's sideways bend."""
    spine_flex: float = 0.0
    """Amplitude of the spine's bend in the sagittal plane."""
    nod: float = 0.0
    """Amplitude of the head's nodding."""
    crouch: float = 0.04
    """How much lower than in the rest pose the trunk is carried."""
    head_down: float = 0.0
    """How far the neck is lowered, in radians."""


GAITS: dict[str, Gait] = {
    # Lateral sequence: hind left, front left, hind right, front right.
    "walk": Gait(
        period=0.92,
        duty=0.62,
        touchdown=(0.25, 0.75, 0.0, 0.5),
        excursion=0.60,
        lift=0.13,
        bob=0.010,
        bobs_per_stride=2,
        bob_phase=0.05,
        roll=0.025,
        sway=0.10,
        nod=0.05,
        head_down=0.16,
    ),
    # Diagonal pairs with a short suspension.
    "trot": Gait(
        period=0.54,
        duty=0.44,
        touchdown=(0.0, 0.5, 0.5, 0.0),
        excursion=0.60,
        lift=0.20,
        bob=0.020,
        bobs_per_stride=2,
        bob_phase=0.47,
        roll=0.012,
        sway=0.05,
        nod=0.02,
        crouch=0.05,
        head_down=0.08,
    ),
    # Rotary gallop: hind left, hind right, front right, front left, then the gathered suspension.
    "gallop": Gait(
        period=0.42,
        duty=0.27,
        touchdown=(0.58, 0.48, 0.0, 0.10),
        excursion=0.66,
        lift=0.20,
        bob=0.035,
        bobs_per_stride=1,
        bob_phase=0.93,
        pitch=0.10,
        spine_flex=0.34,
        nod=0.06,
        crouch=0.07,
        head_down=0.30,
    ),
}
STILL_MOTIONS = ("stand", "look_around", "sit")
MOTIONS = (*GAITS, *STILL_MOTIONS)


def animate(
    body: ShapedBody, motion: str, times: Float[ndarray, "frames"], seed: int = 0, pace: Pace | None = None
) -> Motion:
    """Let an individual (`body` without batch axes) move at the given times in seconds.

    The seed chooses the phase and small personal habits; a gait without a pace goes at its own. Raises Animal4dError
    for an unknown motion.
    """
    if motion not in MOTIONS:
        raise Animal4dError(f'unknown motion "{motion}": choose one of {", ".join(MOTIONS)}')
    rng = np.random.default_rng(seed)
    legs = legs_of(body)
    stand = stand_of(body, legs)
    if motion in GAITS:
        return carry_out(body, legs, stand, _gait_plan(GAITS[motion], stand, times, rng, pace))
    plan = _still_plan(stand, times, rng, look=motion != "stand")
    if motion == "sit":
        return _sit(body, legs, stand, plan, times)
    return carry_out(body, legs, stand, plan)


def _cycloid(progress: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch"]:
    """From 0 to 1 with no speed at either end."""
    s = np.clip(progress, 0.0, 1.0)
    return s - np.sin(2 * np.pi * s) / (2 * np.pi)


def _quick(progress: Float[ndarray, "*batch"], hurry: float) -> Float[ndarray, "*batch"]:
    """As `_cycloid`, but with all of its speed won and lost in the first and the last `hurry` (up to 0.5) of the way's
    time."""

    def gained(s: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch"]:
        x = np.clip(s / hurry, 0.0, 1.0)
        return hurry * (x**3 - 0.5 * x**4) + np.maximum(s - hurry, 0.0)

    s = np.clip(progress, 0.0, 1.0)
    half = np.where(s < 0.5, gained(s), gained(np.ones_like(s) * 0.5) * 2 - gained(1 - s))
    return half / (1 - hurry)


def _hump(progress: Float[ndarray, "*batch"], skew: float = 1.0) -> Float[ndarray, "*batch"]:
    """From 0 up to 1 and back to 0; `skew` below 1 moves the top towards the start."""
    return np.sin(np.pi * np.clip(progress, 0.0, 1.0) ** skew) ** 2


def _own_pace(gait: Gait, height: float, rng: np.random.Generator) -> Pace:
    # Tall animals step slower: periods grow with the square root of the length of the leg.
    period = gait.period * float(np.sqrt(max(height, 0.2) / 0.65)) * rng.uniform(0.95, 1.05)
    excursion = gait.excursion * height * rng.uniform(0.95, 1.05)
    return Pace(excursion / (gait.duty * period), period, gait.duty)


def _gait_plan(
    gait: Gait, stand: Standing, times: Float[ndarray, "frames"], rng: np.random.Generator, pace: Pace | None
) -> Plan:
    height = stand.hip_height
    own = _own_pace(gait, height, rng)
    pace = own if pace is None else pace
    period, speed, duty = pace.period, pace.speed, pace.duty
    cycle = times / period + rng.uniform(0.0, 1.0)
    forward = speed * period * (cycle - cycle[0])

    phase = cycle[:, None] - np.array(gait.touchdown)
    stride = np.floor(phase)
    within = phase - stride
    swing = np.clip((within - duty) / (1 - duty), 0.0, 1.0)
    # A paw stands where its place under the moving trunk is in the middle of stance.
    standing_at = speed * period * (stride + duty / 2 + np.array(gait.touchdown) - cycle[0])
    paws = np.empty((len(times), 4, 3))
    way = _cycloid(swing) if pace.hurry is None else _quick(swing, pace.hurry)
    paws[..., 0] = standing_at + speed * period * way + stand.paws[:, 0]
    paws[..., 0] += np.array([0.06, 0.06, 0.03, 0.03]) * height
    paws[..., 1] = stand.paws[:, 1] * (0.8 if gait.spine_flex else 0.9)
    # A paw that hurries away must be off the ground as soon.
    steepness = 1.0 if pace.hurry is None else 0.5 + pace.hurry
    lift = gait.lift * height * _hump(swing, 0.85) ** steepness
    paws[..., 2] = lift * np.array([1.0, 1.0, 0.6, 0.6])

    def wave(times_per_stride: int, top: float) -> Float[ndarray, "frames"]:
        return np.cos(2 * np.pi * times_per_stride * (cycle - top))

    frames = len(times)
    zero = np.zeros(frames)
    bob = gait.bob * height * wave(gait.bobs_per_stride, gait.bob_phase)
    pelvis = np.stack((forward, zero, bob - gait.crouch * height), axis=1)
    pitch = gait.pitch * wave(1, 0.42)
    flex = gait.spine_flex * (wave(1, 0.90) + 0.1)
    sway = gait.sway * wave(1, 0.25)
    nod = gait.nod * wave(gait.bobs_per_stride, gait.bob_phase + 0.1)
    carried = rng.uniform(-0.05, 0.08)
    tail = np.zeros((frames, 7, 3))
    joints = np.arange(7)
    tail_lift = rng.uniform(-0.1, 0.2) + (0.15 if gait.spine_flex else 0.0)
    tail[:, 0, 1] = tail_lift
    tail[..., 1] += 0.04 * np.cos(2 * np.pi * (gait.bobs_per_stride * cycle[:, None] - 0.08 * joints))
    tail[..., 2] = 0.07 * np.cos(2 * np.pi * (cycle[:, None] - 0.07 * joints - 0.1))
    gaze = 0.10 * np.sin(2 * np.pi * 0.35 * times + rng.uniform(0, 2 * np.pi))
    return Plan(
        pelvis=pelvis,
        trunk=np.stack((gait.roll * wave(1, 0.3), pitch - 0.5 * flex, -0.5 * sway), axis=1),
        spine=np.stack((zero, flex, sway), axis=1),
        neck=np.stack((zero, gait.head_down + carried + nod - 0.6 * (flex * 0.5 + pitch), -0.4 * sway + gaze), axis=1),
        head=np.stack((zero, -0.5 * gait.head_down - 0.5 * nod, 0.6 * gaze - 0.2 * sway), axis=1),
        tail=tail,
        paws=paws,
        folds=_hump(swing, 0.72) * np.array([1.0, 1.0, 0.35, 0.35]) * min(1.0, gait.lift / 0.18),
        lean=np.broadcast_to(np.array([0.7, 0.7, 0.9, 0.9]), (frames, 4)),
        flat=1.0 - _hump(swing, 0.9),
        stance=within < duty,
        speed=speed,
    )


def _smooth_noise(times: Float[ndarray, "frames"], rng: np.random.Generator, rate: float) -> Float[ndarray, "frames"]:
    """A slow wandering in about [-1, 1]: a few incommensurable sines."""
    rates = rate * np.array([1.0, 1.7, 2.6])
    weights = np.array([0.6, 0.3, 0.15])
    phases = rng.uniform(0, 2 * np.pi, 3)
    return (weights * np.sin(2 * np.pi * times[:, None] * rates + phases)).sum(1)


def _still_plan(stand: Standing, times: Float[ndarray, "frames"], rng: np.random.Generator, look: bool) -> Plan:
    frames = len(times)
    height = stand.hip_height
    zero = np.zeros(frames)
    amount = 1.0 if look else 0.25
    yaw = amount * 0.75 * _smooth_noise(times, rng, 0.38)
    tilt = amount * 0.25 * _smooth_noise(times, rng, 0.3)
    breath = 0.006 * height * np.sin(2 * np.pi * 0.6 * times)
    shift = amount * 0.02 * height * _smooth_noise(times, rng, 0.22)
    tail = np.zeros((frames, 7, 3))
    wag = 0.6 + 0.4 * np.sin(2 * np.pi * 0.3 * times + rng.uniform(0, 6))
    tail[..., 2] = amount * 0.16 * wag[:, None] * np.sin(2 * np.pi * (1.7 * times[:, None] - 0.06 * np.arange(7)))
    tail[:, 0, 1] = rng.uniform(0.1, 0.35)
    paws = np.zeros((frames, 4, 3))
    paws[..., :2] = stand.paws
    return Plan(
        pelvis=np.stack((0.5 * shift, shift, breath - 0.025 * height), axis=1),
        trunk=np.stack((zero, zero, 0.06 * yaw), axis=1),
        spine=np.stack((zero, zero, 0.14 * yaw), axis=1),
        neck=np.stack((0.1 * yaw, 0.6 * tilt, 0.5 * yaw), axis=1),
        head=np.stack((0.3 * tilt, 0.6 * tilt, 0.5 * yaw), axis=1),
        tail=tail,
        paws=paws,
        folds=np.zeros((frames, 4)),
        lean=np.zeros((frames, 4)),
        flat=np.ones((frames, 4)),
        stance=np.ones((frames, 4), dtype=bool),
    )


def _sit(body: ShapedBody, legs: tuple[Leg, ...], stand: Standing, start: Plan, times: ndarray) -> Motion:
    """Sits as deep as the individual's rump and tail allow."""
    shallower = 0
    while True:
        motion = carry_out(body, legs, stand, _sit_plan(stand, start, times, shallower))
        lowest = float(body.with_pose(motion.joint_rotations, motion.translation).vertices[..., 2].min())
        if lowest > -0.004 * stand.hip_height or shallower == 8:
            return motion
        shallower += 1


def _sit_plan(stand: Standing, start: Plan, times: Float[ndarray, "frames"], shallower: int) -> Plan:
    """Stands for a moment, then folds the hind legs while the front paws step back, and looks about."""
    duration = max(float(times[-1] - times[0]), 1e-6)
    begin = times[0] + 0.12 * duration
    length = min(1.1, 0.55 * duration)
    progress = (times - begin) / length
    down = _cycloid(progress)
    height = stand.hip_height
    half = 0.5 * stand.trunk_length
    # The hips come down onto the heels; the shoulders keep nearly their height.
    steepest = float(np.arcsin(min(0.58 * 0.92**shallower * height / (2 * half), 0.8)))
    incline = steepest * down
    pelvis = start.pelvis.copy()
    pelvis[:, 2] -= half * np.sin(incline) + 0.02 * height * down
    pelvis[:, 0] += -half * (1 - np.cos(incline)) - 0.30 * height * down
    trunk = start.trunk * (1 - 0.6 * down[:, None])
    trunk[:, 1] -= incline
    spine = start.spine.copy()
    spine[:, 1] += 0.10 * down
    neck = start.neck.copy()
    neck[:, 1] += 0.30 * down
    head = start.head.copy()
    head[:, 1] += 0.30 * down
    tail = start.tail * (1 - 0.5 * down[:, None, None])
    tail[..., 1] += down[:, None] * np.array([0.30, 0.25, 0.15, 0.10, 0.0, 0.0, 0.0])
    tail[:, :3, 1] += 0.06 * shallower * down[:, None]
    paws = start.paws.copy()
    steps = np.stack([_cycloid((progress - first) / 0.3) for first in (0.25, 0.6)], axis=1)
    paws[:, :2, 0] -= steps * (2 * half * (1 - np.cos(steepest)) + 0.02 * height)
    humps = np.stack([_hump((progress - first) / 0.3) for first in (0.25, 0.6)], axis=1)
    paws[:, :2, 2] += 0.08 * height * humps
    paws[:, 2:, 1] *= 1 + 0.15 * down[:, None]
    folds = start.folds.copy()
    folds[:, :2] = 0.5 * humps
    folds[:, 2:] = -0.80 * down[:, None]
    flat = start.flat.copy()
    stance = start.stance.copy()
    stance[:, :2] = humps < 1e-3
    flat[:, :2] = 1 - humps
    return replace(
        start, pelvis=pelvis, trunk=trunk, spine=spine, neck=neck, head=head, tail=tail, paws=paws, folds=folds,
        flat=flat, stance=stance,
    )  # fmt: skip
