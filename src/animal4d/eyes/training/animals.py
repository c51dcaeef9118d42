"""Individuals drawn from the built-in shape space, exaggerated, in a pose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.body.joint_names import JOINT_NAMES
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.eyes.training.poses import draw_pose
from animal4d.geometry.mesh import vertex_normals
from animal4d.synth.noise import fractal_noise

_MID_SPINE = JOINT_NAMES.index("spine_3")
_N_FIELDS = 48
"""Smooth random fields over the template from which shapes are bent."""


@dataclass(frozen=True)
class Animal:
    """An individual in a pose. World: z up, heading about +x."""

    vertices: Float[ndarray, "vertices 3"]
    normals: Float[ndarray, "vertices 3"]
    R_world_from_trunk: Float[ndarray, "3 3"]
    """The trunk's frame (x ahead, y to the animal's left, z up) is that of the middle of the spine."""
    trunk: Float[ndarray, "3"]
    """Place of the middle of the spine."""

    @property
    def ground(self) -> float:
        """Height of the lowest point."""
        return float(self.vertices[:, 2].min())


@dataclass(frozen=True)
class _Template:
    vertices: Float[ndarray, "vertices 3"]
    normals: Float[ndarray, "vertices 3"]
    faces: Int[ndarray, "faces 3"]
    part: Int[ndarray, "vertices"]
    """Index into `PART_NAMES` plus one."""


@lru_cache(maxsize=1)
def template_arrays() -> _Template:
    """The built-in template as arrays."""
    model = load_builtin_template()
    return _Template(
        model.v_template.numpy(),
        vertex_normals(model.v_template, model.faces).numpy(),
        model.faces.numpy(),
        model.part_labels.numpy() + 1,
    )


@lru_cache(maxsize=2)
def _fields(seed: int) -> Float[ndarray, "fields vertices"]:
    """Symmetric and lopsided bumps of several sizes, about in [-1, 1]."""
    rng = np.random.default_rng([seed, 101])
    points = template_arrays().vertices
    folded = points * (1, 0, 1) + np.abs(points) * (0, 1, 0)
    fields = [
        fractal_noise(folded if number % 4 else points, float(rng.choice([1.5, 3.0, 6.0])), 2, seed % 9973 + 7 * number)
        for number in range(_N_FIELDS)
    ]
    return np.stack(fields)


def draw_animal(rng: np.random.Generator, seed: int) -> Animal:
    """A random individual in a random pose; `seed` belongs to the pools, `rng` draws from them."""
    return pose_animal(*draw_shape(rng, seed), draw_pose(rng, seed))


def draw_shape(
    rng: np.random.Generator, seed: int
) -> tuple[Float[ndarray, "30"], Float[ndarray, "7"], Float[ndarray, "vertices 3"]]:
    """Betas, log limb scales and vertex offsets of a random individual.

    Means of two species are mixed and noise is added; limb scales make bears of dogs and bobtails of all; smooth bumps
    along the normals stand for what the shape space does not know.
    """
    means = np.stack([betas.numpy() for betas in load_species_betas().values()])
    first, second = means[rng.integers(len(means), size=2)]
    share = rng.beta(0.35, 0.35)
    betas = share * first + (1 - share) * second + rng.uniform(0.1, 0.55) * means.std(0) * rng.standard_normal(30)
    if rng.random() < 0.12:
        betas = 1.1 * rng.standard_normal(30)
    # Order of LIMB_SCALE_NAMES: leg length and thickness, tail length and thickness, ears' width and length, head.
    limb_scales = rng.normal(0, 1, 7) * (0.14, 0.16, 0.30, 0.30, 0.20, 0.25, 0.08)
    if rng.random() < 0.12:
        limb_scales[2] = rng.uniform(-1.6, -0.6)
    if rng.random() < 0.06:  # bears: heavy, short legs, hardly a tail
        limb_scales[:3] = (rng.uniform(-0.25, 0.0), rng.uniform(0.25, 0.5), -1.6)
    fields = _fields(seed)
    chosen = rng.integers(len(fields), size=3)
    bumps = (rng.normal(0, 0.010, 3)[:, None] * fields[chosen]).sum(0) + rng.uniform(-0.006, 0.022)
    template = template_arrays()
    if rng.random() < 0.07:
        bumps = bumps + _humps(rng)
    # Legs, ears and tails are thin: thick fur there would melt them together.
    bumps *= np.where(template.part == 2, 1.0, np.where(template.part == 1, 0.5, 0.35))
    return betas, limb_scales, bumps[:, None] * template.normals


def _humps(rng: np.random.Generator) -> Float[ndarray, "vertices"]:
    """One or two humps or a withers' bulge on the back, as heights along the normals."""
    template = template_arrays()
    torso = template.part == 2
    x = template.vertices[:, 0]
    hind, fore = np.quantile(x[torso], (0.1, 0.95))
    one = rng.random() < 0.5
    places = [rng.uniform(0.3, 0.9)] if one else [rng.uniform(0.2, 0.35), rng.uniform(0.65, 0.85)]
    upwards = np.clip(template.normals[:, 2], 0, 1) * torso
    height, width = rng.uniform(0.04, 0.14), rng.uniform(0.05, 0.10)
    bulges = [np.exp(-0.5 * ((x - hind - place * (fore - hind)) / width) ** 2) for place in places]
    return height * upwards * (rng.uniform(0.8, 1.2, len(places))[:, None] * np.stack(bulges)).sum(0)


def pose_animal(
    betas: Float[ndarray, "30"],
    limb_scales: Float[ndarray, "7"],
    offsets: Float[ndarray, "vertices 3"],
    rotations: Float[ndarray, "joints 3 3"],
) -> Animal:
    """The individual in the pose."""
    model = load_builtin_template()
    with torch.no_grad():
        shaped = model.with_shape(*(torch.as_tensor(value, dtype=torch.float32) for value in (betas, limb_scales)))
        offset = torch.as_tensor(offsets, dtype=torch.float32)
        shaped = type(shaped)(model, shaped.vertices + offset, shaped.joints, shaped.joint_scales)
        posed = shaped.with_pose(torch.as_tensor(rotations, dtype=torch.float32))
        normals = vertex_normals(posed.vertices, model.faces).numpy()
    trunk_rotation = posed.joint_transforms[_MID_SPINE].numpy()
    return Animal(posed.vertices.numpy(), normals, trunk_rotation, posed.joints[_MID_SPINE].numpy())
