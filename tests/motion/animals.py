"""Individuals that move in known ways, and finished runs of them made without a fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from animal4d.body.model import ShapedBody
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.clip import Crop
from animal4d.fit.reconstruction import Reconstruction
from animal4d.motion.motion import Motion
from animal4d.motion.skeleton import Skeleton, skeleton_of
from animal4d.motion.sources import of_gait
from animal4d.synth.gaits import animate
from export.finished import write_results

FPS = 30.0
BODY_LENGTH = 0.6
"""Metres from nose to tail base of the animals of runs."""
_IMAGE_SIZE = (96, 96)


def individual(name: str) -> ShapedBody:
    model = load_builtin_template()
    return model.with_shape() if name == "mean" else model.with_shape(load_species_betas()[name])


def gait_of(skeleton: Skeleton, name: str, frames: int = 50, seed: int = 0) -> Motion:
    """With the true stances."""
    return of_gait(animate(skeleton.body, name, np.arange(frames) / FPS, seed), FPS)


def write_run(folder: Path, species: str, gait: str, frames: int = 30, template: str = "builtin") -> Path:
    """The folder of a finished run whose cameras went along with the animal."""
    model = load_builtin_template()
    betas = torch.zeros(model.n_betas) if species == "mean" else load_species_betas()[species]
    body = model.with_shape(betas)
    motion = gait_of(skeleton_of(body), gait, frames)
    world_to_camera = torch.eye(4).repeat(frames, 1, 1)
    world_to_camera[:, 0, 3] = torch.linspace(0, -1, frames)
    reconstruction = Reconstruction(
        betas=betas,
        limb_scales=torch.zeros(7),
        vertex_offsets=torch.zeros(model.n_vertices, 3),
        joint_rotations=motion.joint_rotations.float(),
        translation=motion.translation(body).float(),
        intrinsics=torch.tensor([[100.0, 0, 48], [0, 100, 48], [0, 0, 1]]).repeat(frames, 1, 1),
        world_to_camera=world_to_camera,
        image_size=_IMAGE_SIZE,
        crop=Crop(torch.zeros(frames, 2), torch.ones(frames), _IMAGE_SIZE),
        frame_numbers=torch.arange(frames),
        times=torch.arange(frames) / FPS,
        fps=FPS,
        template=template,
    )
    return write_results(folder, reconstruction, body_length=BODY_LENGTH).path
