"""What a reconstructed motion says in a few curves: heights of the paws, speed, angles of the legs' joints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.export.scale import length_of
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.mesh import vertex_normals
from animal4d.geometry.rasterize import rasterize, visible_faces
from animal4d.geometry.rotations import axis_angle_from_matrix

LEGS = ("front_left", "front_right", "back_left", "back_right")
HINGES = {"front": ("shoulder", "elbow"), "back": ("hip", "knee")}
"""The joints of a leg whose angles are shown."""
_SIDES = ("left", "right")
_PITCH = 1
"""Axis of the body frame (its left) about which a leg swings."""
_SPEED_SMOOTHING_SECONDS = 0.08
_FRAMES_PER_BLOCK = 32
_FRAMES_LOOKED_AT = 24
_SIDE_ON = 0.35
"""A vertex lies on a flank when its normal in the rest pose has at least this share along y."""


@dataclass(frozen=True)
class Angle:
    """Swing of a joint forward and back, in degrees."""

    joint: str
    values: Float[Tensor, "frames"]
    uncertainty: Float[Tensor, "frames"] | None
    """Degrees; None where no surface map was known."""


@dataclass(frozen=True)
class Motion:
    """Curves over the frames. Lengths are in body lengths of the individual in its rest pose."""

    paw_heights: dict[str, Float[Tensor, "frames"]]
    """Lowest point of each paw above the ground (z = 0 of the world), by leg; negative below it."""
    leg_length: float
    """Ground to shoulder in the rest pose."""
    speed: Float[Tensor, "frames"] | None
    """Of the root over the ground, body lengths per second; None for a single frame."""
    angles: tuple[Angle, ...]


@torch.no_grad()
def motion_of(reconstruction: Reconstruction, model: BodyModel) -> Motion:
    """The curves of a reconstruction. Legs or joints that the model has not are left out."""
    shaped = reconstruction.shaped(model)
    rest = shaped.with_pose(torch.eye(3).expand(model.n_joints, 3, 3))
    names = list(model.joint_names)
    length = length_of(shaped)
    owners = model.skinning_weights.argmax(1)
    paws = {leg: (owners == names.index(f"{leg}_paw")).nonzero().flatten() for leg in LEGS if f"{leg}_paw" in names}
    paws = {leg: vertices for leg, vertices in paws.items() if len(vertices)}
    heights: dict[str, list[Tensor]] = {leg: [] for leg in paws}
    for start in range(0, len(reconstruction), _FRAMES_PER_BLOCK):
        vertices = reconstruction.posed(model, slice(start, start + _FRAMES_PER_BLOCK)).vertices
        for leg, chosen in paws.items():
            heights[leg].append(vertices[:, chosen, 2].amin(1) / length)
    shoulders = [names.index(f"{leg}_shoulder") for leg in LEGS if f"{leg}_shoulder" in names]
    leg_length = float((rest.joints[shoulders, 2].mean() - rest.vertices[:, 2].min()) / length) if shoulders else 0.5
    return Motion(
        {leg: torch.cat(parts) for leg, parts in heights.items()},
        leg_length,
        _speed(reconstruction, length),
        _angles(reconstruction, names),
    )


def _speed(reconstruction: Reconstruction, length: float) -> Float[Tensor, "frames"] | None:
    if len(reconstruction) < 2:
        return None
    times = reconstruction.times.double().numpy()
    place: NDArray[np.float64] = reconstruction.translation[:, :2].double().numpy() / length
    sigma = max(_SPEED_SMOOTHING_SECONDS * reconstruction.fps, 0.5)
    smooth = gaussian_filter1d(place, sigma, axis=0, mode="nearest")
    velocity = np.gradient(smooth, times, axis=0)
    return torch.from_numpy(np.linalg.norm(velocity, axis=1)).float()


def _angles(reconstruction: Reconstruction, names: list[str]) -> tuple[Angle, ...]:
    angles = []
    for pair, hinges in HINGES.items():
        for hinge in hinges:
            for side in _SIDES:
                joint = f"{pair}_{side}_{hinge}"
                if joint not in names:
                    continue
                index = names.index(joint)
                swing = axis_angle_from_matrix(reconstruction.joint_rotations[:, index])[:, _PITCH]
                known = reconstruction.joint_uncertainty
                spread = None if known is None else known[:, index] * (180 / math.pi)
                angles.append(Angle(joint, swing * (180 / math.pi), spread))
    return tuple(angles)


@torch.no_grad()
def seen_shares(reconstruction: Reconstruction, model: BodyModel) -> dict[str, float]:
    """Share of the vertices of the "left" and "right" flank that any of a few frames, spread over the clip, sees."""
    last = len(reconstruction) - 1
    chosen = torch.linspace(0, last, min(len(reconstruction), _FRAMES_LOOKED_AT)).round().long().unique()
    cameras = reconstruction.cameras[chosen]
    vertices = cameras.transform(reconstruction.posed(model, chosen).vertices)
    fragments = rasterize(vertices, model.faces, cameras.intrinsics, cameras.image_size)
    faces = visible_faces(fragments, len(model.faces)).any(0)
    seen = torch.zeros(model.n_vertices, dtype=torch.bool)
    seen[model.faces[faces].flatten()] = True
    aside = reconstruction.shaped(model).vertices
    normals = vertex_normals(aside, model.faces)[:, 1]
    flanks = {"left": normals > _SIDE_ON, "right": normals < -_SIDE_ON}
    return {side: float(seen[flank].float().mean()) if bool(flank.any()) else 1.0 for side, flank in flanks.items()}
