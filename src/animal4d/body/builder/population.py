"""The shape space: principal directions of a varied population around the built-in dog."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animal4d.body.builder.shape_rig import reshape
from animal4d.body.builder.skinning import diffuse
from animal4d.body.builder.species import SHARES, SPECIES
from animal4d.body.joint_names import JOINT_NAMES

Array = np.ndarray
N_DIRECTIONS = 30
N_ANIMALS = 600
CAUTION = 0.85
"""The kinds lie far out, each in its own direction; coefficients drawn independently would combine their extremes, so
directions are somewhat shorter than the population's root mean square."""


@dataclass(frozen=True)
class ShapeSpace:
    """Directions scaled for coefficients of unit variance about the dog."""

    directions: Array
    """(V, 3, 30)."""
    explained: float
    """Share of the population's squared deviation from the dog."""
    species: dict[str, Array]
    """Coefficients of the kinds' means."""
    population: Array
    """Vertices of all animals (N, V, 3)."""
    joints: Array
    """Joints of all animals (N, 35, 3)."""


def _normalise(vertices: Array, joints: Array, trunk: float, mid_body: tuple[int, int]) -> tuple[Array, Array]:
    """Same trunk length for all, mid-body at the origin."""
    root, neck = joints[0], joints[JOINT_NAMES.index("neck")]
    scale = trunk / np.linalg.norm(neck - root)
    centre = vertices[list(mid_body)].mean(0)
    return (vertices - centre) * scale, (joints - centre) * scale


def learn_shapes(
    vertices: Array, faces: Array, joints: Array, weights: Array, mirror: Array, mid_body: tuple[int, int], seed: int
) -> ShapeSpace:
    """Shape space around ``vertices``, whose mid-body lies at the origin; ``mirror`` maps vertices to their images."""
    generator = np.random.default_rng(seed)
    soft = np.clip(diffuse(vertices, faces, np.full(len(vertices), 0.03), weights), 0, None)
    soft /= soft.sum(1, keepdims=True)
    trunk = float(np.linalg.norm(joints[JOINT_NAMES.index("neck")] - joints[0]))
    kinds = generator.choice(list(SHARES), size=N_ANIMALS, p=np.array(list(SHARES.values())) / sum(SHARES.values()))
    animals = [SPECIES[kind].vary(generator, 1.0) for kind in kinds]
    made = [reshape(vertices, joints, soft, p) for p in [*SPECIES.values(), *animals]]
    made = [_normalise(v, j, trunk, mid_body) for v, j in made]
    bodies = np.stack([body for body, _ in made])
    bodies = (bodies + bodies[:, mirror] * [1, -1, 1]) / 2
    deviation = (bodies - vertices).reshape(len(bodies), -1)
    sample = deviation[len(SPECIES) :]
    _, singular, basis = np.linalg.svd(sample, full_matrices=False)
    spread = CAUTION * singular[:N_DIRECTIONS] / np.sqrt(len(sample))
    directions = basis[:N_DIRECTIONS] * spread[:, None]
    coefficients = deviation @ basis[:N_DIRECTIONS].T / spread
    signs = np.sign(np.where(np.abs(directions.sum(1)) > 1e-12, directions.sum(1), 1.0))
    directions, coefficients = directions * signs[:, None], coefficients * signs
    return ShapeSpace(
        directions=directions.T.reshape(len(vertices), 3, N_DIRECTIONS),
        explained=float((singular[:N_DIRECTIONS] ** 2).sum() / (singular**2).sum()),
        species=dict(zip(SPECIES, coefficients, strict=False)),
        population=bodies[len(SPECIES) :],
        joints=np.stack([j for _, j in made[len(SPECIES) :]]),
    )
