"""Procedural motions of the built-in body: walk, trot, gallop, stand, look_around and sit.

A motion is a plan for the trunk and for the four paws; inverse kinematics (`legs.py`) does the rest. In stance a paw
keeps its place on the ground, so feet neither slide nor sink by construction, whatever the individual's proportions.
Everything is written along the heading +x with the ground at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import ShapedBody
from animal4d.errors import Animal4dError
from animal4d.synth.legs import LEGS, Leg, bone_angle, legs_of, required_reach, rotation, solve_leg

_MAX_STRETCH = 0.985
"""Legs are never stretched further than this fraction of their length."""


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


@dataclass(frozen=True)
class Motion:
    """A motion of one individual. Ground at z = 0."""

    joint_rotations: Float[Tensor, "frames joints 3 3"]
    """Index 0 turns the body into the world."""
    translation: Float[Tensor, "frames 3"]
    stance: Bool[ndarray, "frames 4"]
    """Which paws stand on the ground, in the order of `LEGS`."""
    speed: float
    """Forward speed in units per second."""
    root: Float[Tensor, "3"]
    """Rest place of the root joint, about which `joint_rotations[:, 0]` turns."""

    def placed(self, heading: float, origin: Float[ndarray, "3"]) -> Motion:
        """The same motion turned about the vertical by `heading` radians and moved by `origin`."""
        turn = torch.tensor(rotation("z", np.float64(heading)), dtype=torch.float32)
        rotations = self.joint_rotations.clone()
        rotations[:, 0] = turn @ rotations[:, 0]
        place = (self.root + self.translation) @ turn.T + torch.as_tensor(origin, dtype=torch.float32)
        return replace(self, joint_rotations=rotations, translation=place - self.root)


@dataclass(frozen=True)
class _Plan:
    """What the trunk and the paws are to do; the legs follow."""

    pelvis: Float[ndarray, "frames 3"]
    """Place of the trunk's middle relative to its rest place above the ground."""
    trunk: Float[ndarray, "frames 3"]
    """Roll, pitch and yaw of the pelvis."""
    spine: Float[ndarray, "frames 3"]
    """Total roll, pitch and yaw from the pelvis to the chest."""
    neck: Float[ndarray, "frames 3"]
    head: Float[ndarray, "frames 3"]
    tail: Float[ndarray, "frames 7 3"]
    paws: Float[ndarray, "frames 4 3"]
    """Places of the paws on the ground plan (x, y) and the height of their soles (z)."""
    folds: Float[ndarray, "frames 4"]
    """Extra backward angle of metacarpus or metatarsus, as a fraction of a full fold."""
    lean: Float[ndarray, "frames 4"]
    """Backward angle of metacarpus or metatarsus that goes with the leg's swing."""
    flat: Float[ndarray, "frames 4"]
    """1 where a paw lies flat on the ground, 0 where it hangs from the leg."""
    stance: Bool[ndarray, "frames 4"]
    speed: float = 0.0


def animate(body: ShapedBody, motion: str, times: Float[ndarray, "frames"], seed: int = 0) -> Motion:
    """Let an individual (`body` without batch axes) move at the given times in seconds.

    The seed chooses the phase and small personal habits. Raises Animal4dError for an unknown motion.
    """
    if motion not in MOTIONS:
        raise Animal4dError(f'unknown motion "{motion}": choose one of {", ".join(MOTIONS)}')
    rng = np.random.default_rng(seed)
    legs = legs_of(body)
    stand = _standing(body, legs)
    if motion in GAITS:
        return _carry_out(body, legs, stand, _gait_plan(GAITS[motion], stand, times, rng))
    plan = _still_plan(stand, times, rng, look=motion != "stand")
    if motion == "sit":
        return _sit(body, legs, stand, plan, times)
    return _carry_out(body, legs, stand, plan)


@dataclass(frozen=True)
class _Standing:
    """Measures of an individual that stands on the ground with straight trunk."""

    hip_height: float
    trunk_length: float
    """From the hips to the shoulders."""
    middle: Float[ndarray, "3"]
    """The trunk's middle in the body frame: pitch turns about it."""
    middle_height: float
    """Of the trunk's middle above the ground."""
    pitch: float
    """Pitch that puts front and hind paws on one ground."""
    paws: Float[ndarray, "4 2"]
    """Places of the paws on the ground plan relative to the trunk's middle."""


def _standing(body: ShapedBody, legs: tuple[Leg, ...]) -> _Standing:
    joints = body.joints.double().numpy()
    first = np.stack([joints[leg.joints[0]] for leg in legs])
    paws = first + np.stack([leg.bones.sum(0) for leg in legs])
    ground = paws[:, 2] - np.array([leg.sole for leg in legs])
    front, back = ground[:2].mean(), ground[2:].mean()
    middle = first.mean(0)
    middle[1] = 0.0
    distance = float(paws[:2, 0].mean() - paws[2:, 0].mean())
    return _Standing(
        hip_height=float(first[2:, 2].mean() - back),
        trunk_length=float(first[:2, 0].mean() - first[2:, 0].mean()),
        middle=middle,
        middle_height=float(middle[2] - 0.5 * (front + back)),
        pitch=float(np.arctan2(front - back, distance)),
        paws=paws[:, :2] - middle[:2],
    )


def _cycloid(progress: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch"]:
    """From 0 to 1 with no speed at either end."""
    s = np.clip(progress, 0.0, 1.0)
    return s - np.sin(2 * np.pi * s) / (2 * np.pi)


def _hump(progress: Float[ndarray, "*batch"], skew: float = 1.0) -> Float[ndarray, "*batch"]:
    """From 0 up to 1 and back to 0; `skew` below 1 moves the top towards the start."""
    return np.sin(np.pi * np.clip(progress, 0.0, 1.0) ** skew) ** 2


def _gait_plan(gait: Gait, stand: _Standing, times: Float[ndarray, "frames"], rng: np.random.Generator) -> _Plan:
    height = stand.hip_height
    # Tall animals step slower: periods grow with the square root of the length of the leg.
    period = gait.period * float(np.sqrt(max(height, 0.2) / 0.65)) * rng.uniform(0.95, 1.05)
    excursion = gait.excursion * height * rng.uniform(0.95, 1.05)
    speed = excursion / (gait.duty * period)
    cycle = times / period + rng.uniform(0.0, 1.0)
    forward = speed * period * (cycle - cycle[0])

    phase = cycle[:, None] - np.array(gait.touchdown)
    stride = np.floor(phase)
    within = phase - stride
    swing = np.clip((within - gait.duty) / (1 - gait.duty), 0.0, 1.0)
    # A paw stands where its place under the moving trunk is in the middle of stance.
    standing_at = speed * period * (stride + gait.duty / 2 + np.array(gait.touchdown) - cycle[0])
    paws = np.empty((len(times), 4, 3))
    paws[..., 0] = standing_at + speed * period * _cycloid(swing) + stand.paws[:, 0]
    paws[..., 0] += np.array([0.06, 0.06, 0.03, 0.03]) * height
    paws[..., 1] = stand.paws[:, 1] * (0.8 if gait.spine_flex else 0.9)
    lift = gait.lift * height * _hump(swing, 0.85)
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
    return _Plan(
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
        stance=within < gait.duty,
        speed=speed,
    )


def _smooth_noise(times: Float[ndarray, "frames"], rng: np.random.Generator, rate: float) -> Float[ndarray, "frames"]:
    """A slow wandering in about [-1, 1]: a few incommensurable sines."""
    rates = rate * np.array([1.0, 1.7, 2.6])
    weights = np.array([0.6, 0.3, 0.15])
    phases = rng.uniform(0, 2 * np.pi, 3)
    return (weights * np.sin(2 * np.pi * times[:, None] * rates + phases)).sum(1)


def _still_plan(
    stand: _Standing, times: Float[ndarray, "frames"], rng: np.random.Generator, look: bool
) -> _Plan:
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
    return _Plan(
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


def _sit(body: ShapedBody, legs: tuple[Leg, ...], stand: _Standing, start: _Plan, times: ndarray) -> Motion:
    """Sits as deep as the individual's rump and tail allow."""
    for shallower in range(8):
        motion = _carry_out(body, legs, stand, _sit_plan(stand, start, times, shallower))
        lowest = float(body.with_pose(motion.joint_rotations, motion.translation).vertices[..., 2].min())
        if lowest > -0.004 * stand.hip_height:
            break
    return motion


def _sit_plan(stand: _Standing, start: _Plan, times: Float[ndarray, "frames"], shallower: int) -> _Plan:
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


def _euler(angles: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch 3 3"]:
    """Yaw after pitch after roll."""
    return rotation("z", angles[..., 2]) @ rotation("y", angles[..., 1]) @ rotation("x", angles[..., 0])


def _carry_out(body: ShapedBody, legs: tuple[Leg, ...], stand: _Standing, plan: _Plan) -> Motion:
    """Trunk first, then the legs; the trunk is lowered where a paw would be out of reach."""
    model = body.model
    frames = len(plan.pelvis)
    rotations = np.broadcast_to(np.eye(3), (frames, model.n_joints, 3, 3)).copy()
    index = model.joint_names.index
    trunk = plan.trunk.copy()
    trunk[:, 1] += stand.pitch
    rotations[:, 0] = _euler(trunk)
    for number in range(1, 7):
        rotations[:, index(f"spine_{number}")] = _euler(plan.spine / 6)
    rotations[:, index("neck")] = _euler(plan.neck)
    rotations[:, index("head")] = _euler(plan.head)
    for number in range(7):
        rotations[:, index(f"tail_{number + 1}")] = _euler(plan.tail[:, number])

    # The root joint keeps its rest place under `with_pose`: move it so that the trunk turns about its middle.
    root = body.joints[0].double().numpy()
    wanted = plan.pelvis + np.array([0.0, 0.0, stand.middle_height])
    translation = wanted - root - np.einsum("tij,j->ti", rotations[:, 0], stand.middle - root)
    posed = body.with_pose(
        torch.tensor(rotations, dtype=torch.float32), torch.tensor(translation, dtype=torch.float32)
    )
    origins = posed.joints.double().numpy()
    orientations = posed.joint_transforms.double().numpy()

    targets = plan.paws.copy()
    targets[..., 2] += np.array([leg.sole for leg in legs])
    angles = [_metapodial_angle(leg, i, origins[:, leg.joints[0]], targets[:, i], plan) for i, leg in enumerate(legs)]
    drop = _drop_into_reach(legs, origins, targets, angles)
    origins = origins - np.array([0.0, 0.0, drop])
    translation[:, 2] -= drop
    for i, leg in enumerate(legs):
        hang = angles[i] - leg.rest_angles[2]
        toes = (1 - plan.flat[:, i]) * (hang + 0.25)
        rotations[:, list(leg.joints)] = solve_leg(
            leg,
            parent_rotations=orientations[:, leg.parent],
            origins=origins[:, leg.joints[0]],
            targets=targets[:, i],
            metapodial_angle=angles[i],
            paw_rotations=rotation("y", toes),
        )
    return Motion(
        joint_rotations=torch.tensor(rotations, dtype=torch.float32),
        translation=torch.tensor(translation, dtype=torch.float32),
        stance=plan.stance,
        speed=plan.speed,
        root=body.joints[0],
    )


def _metapodial_angle(
    leg: Leg, i: int, origins: Float[ndarray, "frames 3"], targets: Float[ndarray, "frames 3"], plan: _Plan
) -> Float[ndarray, "frames"]:
    """The last bone leans with the leg and folds back in the swing."""
    swing = bone_angle(targets - origins) - bone_angle(leg.bones.sum(0))
    full_fold = 0.85 if leg.is_front else 1.05
    return leg.rest_angles[2] + plan.lean[:, i] * swing + full_fold * plan.folds[:, i]


def _drop_into_reach(
    legs: tuple[Leg, ...],
    origins: Float[ndarray, "frames joints 3"],
    targets: Float[ndarray, "frames 4 3"],
    angles: list[Float[ndarray, "frames"]],
) -> float:
    """How much the whole trunk must be lowered for every paw to be within reach."""
    drop, step = 0.0, 0.004
    for _ in range(60):
        below = np.array([0.0, 0.0, drop])
        stretch = max(
            float(required_reach(leg, origins[:, leg.joints[0]] - below, targets[:, i], angles[i]).max())
            for i, leg in enumerate(legs)
        )
        if stretch <= _MAX_STRETCH:
            break
        drop += step
    return drop


__all__ = ["GAITS", "LEGS", "MOTIONS", "Gait", "Motion", "animate"]
