"""A picture of the template to judge it by: ``python -m animal4d.body.builder.contact_sheet docs/images/template.png``.

Four views of the rest pose, the kinds in the shape space, and random shapes in random poses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from animal4d.body.joint_names import JOINT_NAMES
from animal4d.body.keypoints import KEYPOINT_VERTICES, VERTEX_GROUPS
from animal4d.body.model import BodyModel
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.geometry.mesh import vertex_normals
from animal4d.geometry.rasterize import interpolate, rasterize
from animal4d.geometry.rotations import matrix_from_axis_angle

Array = np.ndarray
PAPER = np.array([0.965, 0.96, 0.95])
FUR, DARK = np.array([0.86, 0.72, 0.55]), np.array([0.10, 0.08, 0.08])
SUPERSAMPLING = 2

Leg = tuple[float, float, float, float]
_LEG_JOINTS = {"front": ("shoulder", "elbow", "wrist", "paw"), "back": ("hip", "knee", "hock", "paw")}


def _pose(
    front_left: Leg, front_right: Leg, back_left: Leg, back_right: Leg, **pitches: float
) -> dict[str, tuple[float, float, float]]:
    legs = {"front_left": front_left, "front_right": front_right, "back_left": back_left, "back_right": back_right}
    vectors = {name: (0.0, pitch, 0.0) for name, pitch in pitches.items()}
    for leg, angles in legs.items():
        joints = _LEG_JOINTS[leg.split("_")[0]]
        vectors |= {f"{leg}_{joint}": (0.0, angle, 0.0) for joint, angle in zip(joints, angles, strict=True)}
    return vectors


POSES: tuple[dict[str, tuple[float, float, float]], ...] = (
    _pose((-0.4, -0.1, 0.2, 0), (0.4, -0.25, 0.5, 0.3), (0.35, -0.1, 0.1, 0.2), (-0.4, 0.3, -0.3, 0.2)),
    _pose((0.35, -0.2, 0.4, 0.3), (-0.35, -0.2, 0.3, 0), (-0.35, 0.3, -0.3, 0.2), (0.3, -0.1, 0.1, 0.2)),
    _pose((-0.85, 0.3, 0, -0.2), (-0.7, 0.2, 0, -0.2), (0.75, -0.5, 0.6, 0.5), (0.6, -0.5, 0.6, 0.5), neck=0.2),
    _pose(
        (0.6, -0.5, 1.0, 0.5), (0.5, -0.4, 0.9, 0.5), (-0.9, 0.6, -0.3, 0.2), (-0.8, 0.6, -0.4, 0.2),
        spine_1=0.18, spine_2=0.18, spine_3=0.15, neck=-0.4,
    ),
    _pose(
        (0.5, 0.1, 0.1, 0), (0.5, 0.1, 0.1, 0), (-0.85, 1.0, -1.1, 0.95), (-0.85, 1.0, -1.1, 0.95),
        root=-0.72, neck=0.3, head=0.3, tail_1=0.5,
    ),
    _pose((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), neck=0.9, head=0.2),
    _pose((-0.3, -1.3, 1.2, 0.6), (0.1, 0, 0, 0), (0, 0, 0, 0), (0.15, 0, 0, 0), neck=-0.3, jaw=0.35),
)  # fmt: skip
"""Walk, the other step, gallop stretched and gathered, sit, sniff, point."""


def random_rotations(model: BodyModel, pose: int, generator: torch.Generator) -> Tensor:
    """A named pose with the head turned, the tail wagging and everything a little off, within the limits."""
    vectors = torch.zeros(model.n_joints, 3)
    for name, vector in POSES[pose].items():
        vectors[JOINT_NAMES.index(name)] = torch.tensor(vector)
    low, high = model.joint_limits.unbind(-1)
    loose = torch.tensor([0.5 if name.startswith(("tail", "neck", "head")) else 0.12 for name in JOINT_NAMES])
    loose[JOINT_NAMES.index("jaw")] = loose[0] = 0.0
    noise = torch.randn(model.n_joints, 3, generator=generator) * loose[:, None] * 0.4 * (high - low)
    return matrix_from_axis_angle((vectors + noise).clamp(low, high))


def coat(model: BodyModel) -> Array:
    """Colour (V, 3) of fur, with dark nose and eyes."""
    colour = np.tile(FUR, (model.n_vertices, 1))
    dark = [KEYPOINT_VERTICES[name] for name in ("nose_end", "left_eye", "right_eye")]
    dark += [vertex for group in ("nose_tip",) for vertex in VERTEX_GROUPS[group]]
    colour[dark] = DARK
    return colour


def draw(
    vertices: Tensor, faces: Tensor, colour: Array, azimuth: float, elevation: float, size: tuple[int, int], zoom: float
) -> Array:
    """Picture (H, W, 3), 8 bits, from a far camera at ``zoom`` pixels per unit, or less where the animal is too large.

    Azimuth 0 looks at the face, 90 degrees at the left side.
    """
    a, e = np.radians([azimuth, elevation])
    backward = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    rotation = torch.tensor(np.stack([right, np.cross(right, backward), -backward]), dtype=torch.float32)
    # Right-handed camera axes: x right, y down, z away from the viewer.
    rotation[1] = torch.linalg.cross(rotation[2], rotation[0])
    extent = ((vertices @ rotation.T).amax(0) - (vertices @ rotation.T).amin(0)).tolist()
    zoom = min(zoom, 0.84 * size[1] / extent[0], 0.80 * size[0] / extent[1])
    height, width = (SUPERSAMPLING * length for length in size)
    distance, focal = 8.0, 8.0 * zoom * SUPERSAMPLING
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])[None]
    centre = (vertices.amin(0) + vertices.amax(0)) / 2

    def see(points: Tensor) -> Tensor:
        return ((points - centre) @ rotation.T + torch.tensor([0.0, 0.0, distance]))[None]

    image = np.tile(PAPER, (height, width, 1))
    if elevation < 60:
        flat = vertices.clone()
        flat[:, 2] = vertices[:, 2].min()
        shade = rasterize(see(flat), faces, intrinsics, (height, width)).covered[0].numpy().astype(float)
        image *= 1 - 0.30 * cv2.GaussianBlur(shade, (0, 0), 0.03 * zoom * SUPERSAMPLING)[..., None]
    fragments = rasterize(see(vertices), faces, intrinsics, (height, width))
    attributes = torch.cat((vertex_normals(vertices[None], faces)[0], torch.tensor(colour, dtype=torch.float32)), dim=1)
    drawn = interpolate(fragments, faces, attributes[None])[0].numpy()
    normal = drawn[..., :3] / np.maximum(np.linalg.norm(drawn[..., :3], axis=-1, keepdims=True), 1e-6)
    up = np.cross(backward, right)
    key, fill = backward * 0.6 + up * 0.7 - right * 0.5, backward * 0.4 + right * 0.9
    light = 0.34 + 0.12 * normal[..., 2] + 0.55 * np.clip(normal @ (key / np.linalg.norm(key)), 0, 1)
    light += 0.16 * np.clip(normal @ (fill / np.linalg.norm(fill)), 0, 1)
    covered = fragments.covered[0].numpy()
    image[covered] = np.clip(light[..., None] * drawn[..., 3:], 0, 1)[covered]
    small = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return (small * 255).round().astype(np.uint8)


def caption(image: Array, text: str) -> Array:
    """Write a name into the upper left corner."""
    return cv2.putText(image, text, (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (90, 84, 80), 1, cv2.LINE_AA)


def contact_sheet(model: BodyModel, seed: int = 5) -> Array:
    """The whole sheet (H, W, 3), 8 bits."""
    colour, faces = coat(model), model.faces
    views = {"side": (90, 0), "front": (0, 0), "top": (90, 89), "three-quarter": (35, 18)}
    widths = {"side": 560, "front": 260, "top": 560, "three-quarter": 540}
    head_row = [
        caption(draw(model.v_template, faces, colour, *angles, (430, widths[name]), 290), name)
        for name, angles in views.items()
    ]
    rows = [np.hstack(head_row)]
    kinds = [
        caption(draw(model.with_shape(betas).vertices, faces, colour, 68, 8, (196, 192), 98), name)
        for name, betas in load_species_betas().items()
    ]
    rows += [np.hstack(kinds[start : start + 10]) for start in (0, 10)]
    generator = torch.Generator().manual_seed(seed)
    animals = []
    for number in range(20):
        betas = torch.randn(model.n_betas, generator=generator).clamp(-2, 2)
        rotations = random_rotations(model, number % len(POSES), generator)
        posed = model.with_shape(betas).with_pose(rotations).vertices
        azimuth = float(torch.rand(1, generator=generator)) * 110 + 15
        animals.append(draw(posed, faces, colour, azimuth, 12, (290, 384), 185))
    rows += [np.hstack(animals[start : start + 5]) for start in range(0, 20, 5)]
    return np.vstack(rows)


def main() -> None:
    """Draw the sheet of the shipped template."""
    parser = argparse.ArgumentParser(description="Draw the built-in template's contact sheet.")
    parser.add_argument("out", type=Path, help="PNG to write")
    out = parser.parse_args().out
    Image.fromarray(contact_sheet(load_builtin_template())).quantize(96).save(out, optimize=True)
    print(f"wrote {out} ({out.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
