"""The joint regressor: joints as means of the skin around them, learnt on the population to follow its shapes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from animal4d.body.builder.skeleton import mirrored_joints
from animal4d.body.builder.surface import N_CENTER, N_SIDE
from animal4d.body.joint_names import JOINT_NAMES, PARENTS

Array = np.ndarray
N_CANDIDATES = 60
EVENNESS = 0.02
"""Weight of an even spread over the candidates against exactness, in body units."""


def joint_regressor(population: Array, joints: Array, weights: Array, sample: int = 60) -> Array:
    """Regressor (35, V) from animals (N, V, 3) with joints (N, 35, 3): rows nonnegative, sum to 1, symmetric.

    Vertices in the order [centre | left | right]; the first animal is the template itself.
    """
    chosen = np.unique(np.linspace(0, len(population) - 1, sample).astype(int))
    bodies, places = population[chosen], joints[chosen]
    # The template counts most: its joints are the ones that people see.
    importance = np.where(chosen == 0, 5.0, 1.0)
    n_half = N_CENTER + N_SIDE
    regressor = np.zeros((len(JOINT_NAMES), population.shape[1]))
    swap = mirrored_joints()
    mirror = np.concatenate([np.arange(N_CENTER), np.arange(n_half, n_half + N_SIDE), np.arange(N_CENTER, n_half)])
    for joint, name in enumerate(JOINT_NAMES):
        if "right" in name:
            continue
        central = swap[joint] == joint
        owners = [joint, *([PARENTS[joint]] if PARENTS[joint] >= 0 else [])]
        related = np.flatnonzero(weights[:n_half, owners].sum(1) > 0.2)
        distance = np.linalg.norm(population[0][related] - places[0, joint], axis=1)
        candidates = related[np.argsort(distance, kind="stable")[:N_CANDIDATES]]
        regressor[joint] = _fit(bodies, places[:, joint], candidates, importance, mirror if central else None)
        if not central:
            regressor[swap[joint]] = regressor[joint][mirror]
    return regressor


def _fit(bodies: Array, places: Array, candidates: Array, importance: Array, mirror: Array | None) -> Array:
    """Nonnegative weights of one joint; with ``mirror``, candidates and their mirror images share theirs."""
    offsets = bodies[:, candidates] - places[:, None]
    if mirror is not None:
        offsets = (offsets + bodies[:, mirror[candidates]] - places[:, None]) / 2
    rows = (offsets * importance[:, None, None]).transpose(0, 2, 1).reshape(-1, len(candidates))
    n = len(candidates)
    system = np.concatenate([rows, EVENNESS * np.sqrt(len(bodies)) * np.eye(n), np.full((1, n), 100.0)])
    wanted = np.concatenate([np.zeros(len(rows)), np.full(n, EVENNESS * np.sqrt(len(bodies)) / n), [100.0]])
    solution, _ = nnls(system, wanted)
    solution[solution < 1e-3] = 0.0
    solution /= solution.sum()
    row = np.zeros(bodies.shape[1])
    if mirror is None:
        row[candidates] = solution
        return row
    np.add.at(row, candidates, solution / 2)
    np.add.at(row, mirror[candidates], solution / 2)
    return row
