"""Which leg goes first? Starting values for the repeating part of the pose.

From rest, both legs of a pair are equally near to either leg of the mask, and a gradient may as well let them bounce
off each other as to let them pass. So once root and shape have settled, leg swings of the found rhythm are tried at
all phases, with the fore and hind legs at several offsets (trot, walk, pace), and the best is where the fit goes on.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.fit.objective import Objective
from animal4d.fit.parameters import N_ROOT, AnimalParameters

SWINGING_JOINTS = (("front_left", 7), ("front_right", 11), ("back_left", 17), ("back_right", 21))
"""The uppermost joint of every leg in SMAL's tree."""
_PITCH_ENTRY = 2
"""Of the 6D rotation: the sine of a turn about the body's lateral axis."""
_AMPLITUDE = 0.4
_PHASES = 10
_HIND_LEADS = 6
_MOST_FRAMES = 12


@torch.no_grad()
def swing_legs(parameters: AnimalParameters, objective: Objective) -> float:
    """Sets the cycle to the best of the tried swings; returns by how much the mean IoU rose (zero: left as it was)."""
    train = objective.split.train
    frames = train[torch.linspace(0, len(train) - 1, min(len(train), _MOST_FRAMES)).round().long()]
    untouched = parameters.cycle.clone()
    best_cycle, before = untouched, float(objective.iou(parameters(), frames).mean())
    best = before
    for phase in _angles(_PHASES):
        for lead in _angles(_HIND_LEADS):
            parameters.cycle.copy_(_swing(untouched, _AMPLITUDE, phase, phase + lead))
            overlap = float(objective.iou(parameters(), frames).mean())
            if overlap > best:
                best, best_cycle = overlap, parameters.cycle.clone()
    parameters.cycle.copy_(best_cycle)
    return best - before


def _angles(count: int) -> list[float]:
    return [2 * math.pi * index / count for index in range(count)]


def _swing(
    cycle: Float[Tensor, "harmonics pose"], amplitude: float, front_phase: float, hind_phase: float
) -> Float[Tensor, "harmonics pose"]:
    """The cycle with legs that swing about the lateral axis, left and right half a stride apart."""
    result = cycle.clone()
    n = len(cycle) // 2
    for name, joint in SWINGING_JOINTS:
        phase = front_phase if name.startswith("front") else hind_phase
        if name.endswith("right"):
            phase += math.pi
        entry = N_ROOT + 6 * (joint - 1) + _PITCH_ENTRY
        result[0, entry] += amplitude * math.cos(phase)
        result[n, entry] += amplitude * math.sin(phase)
    return result
