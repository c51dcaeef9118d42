"""Poses of four-legged animals, far beyond gaits: rotations of all joints, the root's pitch and roll included."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from animal4d.body.joint_names import JOINT_NAMES
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.geometry.rotations import matrix_from_axis_angle
from animal4d.synth.gaits import GAITS, animate

_JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
_SIDES = ("left", "right")
_GAIT_SPECIES = ("dog", "greyhound", "dachshund", "cat", "horse", "cow", "camel", "deer")
_KINDS = {
    "gait": 0.34,
    "stride": 0.12,
    "stand": 0.17,
    "sit": 0.10,
    "lie": 0.09,
    "side": 0.03,
    "rear": 0.03,
    "any": 0.12,
}
"""Kinds of poses and how often they come."""


def rotations_of(axis_angle: Float[ndarray, "joints 3"]) -> Float[ndarray, "joints 3 3"]:
    """Rotation matrices of rotation vectors in radians."""
    return matrix_from_axis_angle(torch.as_tensor(axis_angle, dtype=torch.float32)).numpy()


@lru_cache(maxsize=2)
def _gait_poses(seed: int) -> Float[ndarray, "poses joints 3 3"]:
    """Phases of all gaits as several species go them, heading along +x."""
    model, betas = load_builtin_template(), load_species_betas()
    poses = [
        animate(model.with_shape(betas[species]), gait, np.linspace(0.0, 1.1, 13), seed + number).joint_rotations
        for number, species in enumerate(_GAIT_SPECIES)
        for gait in GAITS
    ]
    return torch.cat(poses).numpy()


def draw_pose(rng: np.random.Generator, seed: int) -> Float[ndarray, "joints 3 3"]:
    """Rotation of every joint relative to its parent; that of the root (index 0) pitches and rolls the body in a world
    whose z is up, and never turns it away from the heading +x by more than a few degrees.

    `seed` belongs to the pool of gaits, `rng` draws the pose.
    """
    kind = rng.choice(list(_KINDS), p=np.array(list(_KINDS.values())) / sum(_KINDS.values()))
    vectors = np.zeros((len(JOINT_NAMES), 3))
    if kind == "gait":
        pool = _gait_poses(seed)
        base = pool[rng.integers(len(pool))]
    else:
        base = None
        _DRAW[str(kind)](rng, vectors)
    wander = rng.uniform(0.02, 0.10) * rng.standard_normal(vectors.shape)
    wander[:, [0, 2]] *= 0.6
    extra = wander
    _carry_head(rng, extra, str(kind))
    _carry_tail(rng, extra)
    _bend_spine(rng, extra)
    limits = load_builtin_template().joint_limits.numpy()
    margin = 0.15 * (limits[..., 1] - limits[..., 0])
    if base is None:
        vectors[1:] = np.clip((vectors + extra)[1:], (limits[..., 0] - margin)[1:], (limits[..., 1] + margin)[1:])
        vectors[0] += extra[0]
        return rotations_of(vectors)
    extra = np.clip(extra, limits[..., 0], limits[..., 1])
    return np.asarray(base @ rotations_of(extra), np.float32)


def _leg(vectors: ndarray, pair: str, side: str, swing: float, fold: float, spread: float = 0.0) -> None:
    """Swings a leg backward by `swing` radians and folds it, 0 stretched to 1 fully folded, about the body's y axis."""
    outward = spread if side == "left" else -spread
    upper, middle, lower = ("shoulder", "elbow", "wrist") if pair == "front" else ("hip", "knee", "hock")
    sign = -1.0 if pair == "front" else 1.0
    vectors[_JOINT[f"{pair}_{side}_{upper}"]] = (outward, swing, 0.0)
    vectors[_JOINT[f"{pair}_{side}_{middle}"], 1] = sign * 1.35 * fold
    vectors[_JOINT[f"{pair}_{side}_{lower}"], 1] = -sign * 1.15 * fold
    vectors[_JOINT[f"{pair}_{side}_paw"], 1] = 0.35 * fold


def _stride(rng: np.random.Generator, vectors: ndarray) -> None:
    """Legs anywhere in a cycle, in or out of step."""
    amplitude = rng.uniform(0.15, 0.75)
    phase = rng.uniform(0, 2 * np.pi)
    offsets = rng.choice(np.array([(0, np.pi, np.pi, 0), (0, np.pi, 1.6, 4.7), (0, 0.5, np.pi, 3.7)]))
    offsets = offsets + rng.normal(0, 0.3, 4)
    for number, (pair, side) in enumerate((p, s) for p in ("front", "back") for s in _SIDES):
        angle = phase + offsets[number]
        fold = max(0.0, np.cos(angle)) * rng.uniform(0.2, 0.9)
        lean = fold * (0.35 if pair == "front" else -0.55)
        _leg(vectors, pair, side, amplitude * np.sin(angle) + lean, fold, rng.normal(0, 0.08))


def _stand(rng: np.random.Generator, vectors: ndarray) -> None:
    """On four legs, at ease, now and then with legs wide apart or one paw lifted."""
    wide = rng.uniform(0, 0.25) if rng.random() < 0.25 else 0.0
    slope = rng.normal(0, 0.12)
    for pair in ("front", "back"):
        lean = rng.normal(0, 0.14)
        for side in _SIDES:
            fold = abs(rng.normal(0, 0.08))
            _leg(vectors, pair, side, lean - slope + rng.normal(0, 0.10), fold, wide + rng.normal(0, 0.05))
    if rng.random() < 0.15:
        pair = str(rng.choice(["front", "back"]))
        _leg(vectors, pair, str(rng.choice(_SIDES)), -rng.uniform(0.2, 0.6), rng.uniform(0.4, 0.9))
    vectors[0, 1] = slope


def _sit(rng: np.random.Generator, vectors: ndarray) -> None:
    incline = rng.uniform(0.45, 1.0)
    vectors[0, 1] = -incline
    vectors[1:7, 1] = rng.uniform(-0.08, 0.12)
    chest = -incline + vectors[1:7, 1].sum()
    for side in _SIDES:
        swing = -chest + rng.normal(0, 0.12)
        _leg(vectors, "front", side, swing, abs(rng.normal(0, 0.08)), rng.normal(0.02, 0.08))
        thigh = rng.uniform(-1.0, -0.35) + 0.5 * (incline - 0.7)
        _leg(vectors, "back", side, thigh, rng.uniform(0.75, 1.05), rng.uniform(0.0, 0.4))
    vectors[_JOINT["neck"], 1] = rng.uniform(0.2, 0.6)
    vectors[_JOINT["head"], 1] = rng.uniform(0.1, 0.5)


def _lie(rng: np.random.Generator, vectors: ndarray) -> None:
    """On the belly, forelegs ahead or folded, hind legs tucked; often rolled onto one haunch."""
    vectors[0] = (rng.normal(0, 0.18), rng.normal(0, 0.08), 0.0)
    folded = rng.random() < 0.35
    for side in _SIDES:
        if folded:
            _leg(vectors, "front", side, rng.uniform(-0.3, 0.3), rng.uniform(0.85, 1.15), rng.uniform(0, 0.2))
        else:
            _leg(vectors, "front", side, rng.uniform(0.1, 0.7), 0.0, rng.uniform(-0.1, 0.2))
            vectors[_JOINT[f"front_{side}_elbow"], 1] = -rng.uniform(1.3, 1.8)
            vectors[_JOINT[f"front_{side}_wrist"], 1] = rng.uniform(-0.2, 0.3)
        _leg(vectors, "back", side, -rng.uniform(0.6, 1.2), rng.uniform(0.8, 1.1), rng.uniform(0.0, 0.5))
    if rng.random() < 0.3:
        vectors[1:4, 0] = rng.choice([-1, 1]) * 0.15


def _side(rng: np.random.Generator, vectors: ndarray) -> None:
    """Flat on one side, legs away from the body."""
    vectors[0, 0] = rng.choice([-1, 1]) * rng.uniform(1.0, 1.7)
    for pair in ("front", "back"):
        for side in _SIDES:
            _leg(vectors, pair, side, rng.uniform(-0.8, 0.5), rng.uniform(0, 0.7), rng.normal(0, 0.15))


def _rear(rng: np.random.Generator, vectors: ndarray) -> None:
    incline = rng.uniform(0.4, 1.3)
    vectors[0, 1] = -incline
    for side in _SIDES:
        _leg(vectors, "front", side, rng.uniform(-0.7, 0.6), rng.uniform(0, 1.0), rng.normal(0, 0.1))
        _leg(vectors, "back", side, min(incline, 0.85) + rng.normal(0, 0.15), rng.uniform(0, 0.4), rng.normal(0, 0.1))


def _any(rng: np.random.Generator, vectors: ndarray) -> None:
    """Every joint anywhere within its limits, the root near level."""
    limits = load_builtin_template().joint_limits.numpy()
    share = rng.uniform(0.3, 0.9)
    vectors[1:] = share * rng.uniform(limits[1:, :, 0], limits[1:, :, 1])
    vectors[1:7] *= 0.6
    vectors[0] = rng.normal(0, 1, 3) * (0.15, 0.25, 0.05)


_DRAW = {"stride": _stride, "stand": _stand, "sit": _sit, "lie": _lie, "side": _side, "rear": _rear, "any": _any}


def _carry_head(rng: np.random.Generator, vectors: ndarray, kind: str) -> None:
    neck, head = _JOINT["neck"], _JOINT["head"]
    how = rng.random()
    if how < 0.15 and kind in ("stand", "stride", "gait"):  # grazing, sniffing
        vectors[neck, 1] += rng.uniform(0.6, 1.25)
        vectors[head, 1] += rng.uniform(-0.3, 0.4)
        vectors[4:7, 1] += rng.uniform(0.0, 0.12)
    elif how < 0.35:  # raised
        vectors[neck, 1] -= rng.uniform(0.2, 0.9)
        vectors[head, 1] += rng.uniform(0.0, 0.8)
    elif how < 0.75:
        vectors[neck, 1] += rng.normal(0, 0.25)
        vectors[head, 1] += rng.normal(0, 0.25)
    if rng.random() < 0.5:  # turned aside
        yaw = rng.normal(0, 0.7)
        vectors[neck, 2] += 0.55 * yaw
        vectors[head, 2] += 0.55 * yaw
    if rng.random() < 0.3:
        vectors[head, 0] += rng.normal(0, 0.3)
    if rng.random() < 0.4:
        vectors[_JOINT["jaw"], 1] += rng.uniform(0.1, 0.65)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        flop = rng.uniform(-1, 1, 3) * (0.7, 0.6, 0.6)
        vectors[_JOINT[f"{side}_ear"]] += flop * (sign, 1.0, sign)


def _carry_tail(rng: np.random.Generator, vectors: ndarray) -> None:
    tail = slice(_JOINT["tail_1"], _JOINT["tail_7"] + 1)
    how = rng.random()
    if how < 0.3:  # hanging
        vectors[_JOINT["tail_1"], 1] -= rng.uniform(0.1, 0.9)
        vectors[tail, 1] += rng.uniform(-0.15, 0.2)
    elif how < 0.5:  # up
        vectors[_JOINT["tail_1"], 1] += rng.uniform(0.3, 1.0)
        vectors[tail, 1] += rng.uniform(-0.1, 0.2)
    elif how < 0.7:  # curled over the back
        vectors[_JOINT["tail_1"], 1] += rng.uniform(0.3, 1.0)
        vectors[tail, 1] += rng.uniform(0.25, 0.6)
    else:
        vectors[tail, 1] += rng.normal(0, 0.2)
    if rng.random() < 0.5:
        vectors[tail, 2] += rng.normal(0, 0.22)
        vectors[_JOINT["tail_1"], 2] += rng.normal(0, 0.3)


def _bend_spine(rng: np.random.Generator, vectors: ndarray) -> None:
    if rng.random() < 0.4:
        vectors[1:7, 2] += rng.normal(0, 0.08)
    if rng.random() < 0.3:
        vectors[1:7, 1] += rng.normal(0, 0.06)
    if rng.random() < 0.2:
        vectors[1:7, 0] += rng.normal(0, 0.04)
