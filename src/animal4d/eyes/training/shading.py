"""The animal as the camera sees it: colour under sun and sky, what covers it, and its shadow on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.eyes.labels import CROP
from animal4d.eyes.training.animals import Animal, template_arrays
from animal4d.eyes.training.coats import paint
from animal4d.eyes.training.views import View, look_at
from animal4d.geometry.rasterize import rasterize
from animal4d.synth.noise import fractal_noise, smoothstep
from animal4d.synth.scenery import Sun

FINE = 2 * CROP
"""Side of the raster that labels are counted in."""


@dataclass(frozen=True)
class Raster:
    """What every fine pixel shows of the animal."""

    label: Int[ndarray, "FINE FINE"]
    """0, or index into `PART_NAMES` plus one."""
    vertex: Int[ndarray, "FINE FINE"]
    """Nearest template vertex, -1 where no animal is."""
    face: Int[ndarray, "FINE FINE"]
    barycentrics: Float[ndarray, "FINE FINE 3"]


def draw_light(rng: np.random.Generator) -> Sun:
    """From a bright noon to an overcast day or a lamp indoors, in linear RGB."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(20, 85))
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    strength = rng.uniform(0, 1.6) if rng.random() < 0.7 else 0.0
    warm = rng.uniform(-0.15, 0.3)
    ambient = rng.uniform(0.15, 0.9) if strength > 0.5 else rng.uniform(0.5, 1.1)
    return Sun(
        direction,
        strength * np.array([1 + 0.5 * warm, 1.0, 1 - warm]),
        ambient * np.array([1 - 0.3 * warm, 1.0, 1 + 0.3 * warm]),
        ambient * rng.uniform(0.1, 0.8) * rng.uniform(0.75, 1.1, 3),
    )


def draw_raster(animal: Animal, view: View) -> Raster:
    """Parts and nearest vertices at twice the crop's resolution."""
    template = template_arrays()
    in_camera = torch.as_tensor(view.to_camera(animal.vertices)[None], dtype=torch.float32)
    intrinsics = torch.as_tensor(view.scaled(2.0)[None], dtype=torch.float32)
    fragments = rasterize(in_camera, torch.as_tensor(template.faces), intrinsics, (FINE, FINE))
    face = fragments.face_index[0].numpy()
    weights = fragments.barycentrics[0].numpy()
    covered = np.flatnonzero(face >= 0)
    hit = weights.reshape(-1, 3)[covered]
    corner = np.where(hit[:, 0] >= np.maximum(hit[:, 1], hit[:, 2]), 0, np.where(hit[:, 1] >= hit[:, 2], 1, 2))
    nearest = template.faces[face.ravel()[covered], corner]
    vertex = np.full(face.shape, -1, np.int16)
    vertex.ravel()[covered] = nearest
    label = np.zeros(face.shape, np.uint8)
    label.ravel()[covered] = template.part[nearest]
    return Raster(label, vertex, face, weights)


def shade(
    rng: np.random.Generator, animal: Animal, view: View, raster: Raster, light: Sun, natural: bool
) -> Float[ndarray, "CROP CROP 4"]:
    """Linear RGB times coverage, and coverage: the animal alone, at the crop's resolution.
    `natural` keeps its coat to colours of fur."""
    template = template_arrays()
    # One of the four fine pixels of each pixel is shaded, the first that shows the animal.
    blocks = raster.face.reshape(CROP, 2, CROP, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
    covered = blocks >= 0
    coverage = covered @ np.full(4, 0.25, np.float32)
    pixel = np.flatnonzero(coverage)
    first = covered[pixel].argmax(1)
    row, column = 2 * (pixel // CROP) + first // 2, 2 * (pixel % CROP) + first % 2
    corners = template.faces[raster.face[row, column]]
    weights = raster.barycentrics[row, column]

    attributes = np.concatenate((template.vertices, animal.normals, animal.vertices), axis=1).astype(np.float32)
    at_pixels = np.einsum("nk,nkd->nd", weights, attributes[corners])
    rest, normal, place = at_pixels[:, :3], at_pixels[:, 3:6], at_pixels[:, 6:]
    span = max(float(np.ptp(animal.vertices[:, 2])), 1e-3)
    height = (place[:, 2] - animal.ground) / span
    albedo = paint(rng, rest, raster.label[row, column], height, natural)

    if rng.random() < 0.08:
        normal = _faceted(rest, normal, rng.uniform(0.05, 0.12))
    elif rng.random() < 0.7:  # tufts and muscles
        size, bump, number = rng.uniform(6, 35), rng.uniform(0.1, 0.7), int(rng.integers(1 << 20))
        normal = normal + bump * np.stack([fractal_noise(rest, size, 1, number + axis) for axis in range(3)], axis=1)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    facing = normal @ light.direction
    wrap = rng.uniform(0.0, 0.35)  # fur is lit a little beyond the terminator
    direct = np.clip((facing + wrap) / (1 + wrap), 0, None)
    if light.color.max() > 0.1 and rng.random() < 0.7:
        direct *= 1 - rng.uniform(0.6, 1.0) * _own_shadow(animal, light, place)
    up = 0.5 + 0.5 * normal[:, 2]
    # Between the legs and under the belly little of the sky is seen.
    inward = np.clip(-normal[:, 1] * np.sign(template.vertices[corners[:, 0], 1]), 0, 1)
    open_sky = (0.45 + 0.55 * smoothstep(-0.05, 0.7, height)) * (1 - 0.5 * inward * (rest[:, 2] < 0.0))
    ambient = up[:, None] * light.ambient * open_sky[:, None] + (1 - up)[:, None] * light.bounce
    color = albedo * (direct[:, None] * light.color + ambient)
    to_eye = view.center - place
    cosine = np.clip((normal * to_eye).sum(1) / np.linalg.norm(to_eye, axis=1), 0, 1)
    color += rng.uniform(0, 0.12) * ((1 - cosine) ** 3)[:, None] * light.ambient  # hair seen sideways gleams

    layer = np.zeros((CROP * CROP, 4), np.float32)
    layer[pixel, :3] = color
    layer[pixel, 3] = 1.0
    layer[pixel] *= coverage[pixel, None]
    return layer.reshape(CROP, CROP, 4)


def _faceted(
    rest: Float[ndarray, "points 3"], normal: Float[ndarray, "points 3"], size: float
) -> Float[ndarray, "points 3"]:
    """One normal for all points of a cell of the template, as low-poly models are lit."""
    _, cell = np.unique(np.floor(rest / size).astype(np.int64) @ np.array([1, 1 << 10, 1 << 20]), return_inverse=True)
    return np.stack([np.bincount(cell, normal[:, axis]) for axis in range(3)], axis=1)[cell]


def _own_shadow(animal: Animal, light: Sun, places: Float[ndarray, "points 3"]) -> Float[ndarray, "points"]:
    """1 where another part of the animal stands between the place and the sun."""
    size = 128
    middle = animal.vertices.mean(0)
    far = 40.0
    eye = middle + far * light.direction
    rotation = look_at(eye, middle)
    reach = float(np.linalg.norm(animal.vertices - middle, axis=1).max())
    focal = 0.5 * size * far / reach
    intrinsics = np.array([[focal, 0, 0.5 * size], [0, focal, 0.5 * size], [0, 0, 1]])
    seen_by_sun = torch.as_tensor(((animal.vertices - eye) @ rotation.T)[None], dtype=torch.float32)
    fragments = rasterize(
        seen_by_sun,
        torch.as_tensor(template_arrays().faces),
        torch.as_tensor(intrinsics[None], dtype=torch.float32),
        (size, size),
    )
    depth = fragments.depth[0].numpy()
    depth = np.where(depth > 0, depth, np.float32(2 * far))
    local = (places - eye) @ rotation.T
    texel = np.clip(local[:, :2] / local[:, 2:] * focal + 0.5 * size, 0, size - 1).astype(int)
    return smoothstep(0.03, 0.06, local[:, 2] - depth[texel[:, 1], texel[:, 0]])


def ground_shadow(
    rng: np.random.Generator, animal: Animal, view: View, light: Sun, ground: float
) -> Float[ndarray, "CROP CROP"]:
    """How dark the ground (the plane z = `ground`) is because of the animal: 0 to 1, at the crop's resolution."""
    if view.center[2] < ground + 0.02:
        return np.zeros((CROP, CROP), np.float32)
    sunny = light.color.max() > 0.3 and light.direction[2] > 0.3
    towards = light.direction if sunny else np.array([0.0, 0.0, 1.0])
    height = animal.vertices[:, 2:] - ground
    flat = animal.vertices - height / towards[2] * towards
    size = CROP // 2
    fragments = rasterize(
        torch.as_tensor(view.to_camera(flat)[None], dtype=torch.float32),
        torch.as_tensor(template_arrays().faces),
        torch.as_tensor(view.scaled(0.5)[None], dtype=torch.float32),
        (size, size),
    )
    mask = fragments.covered[0].numpy().astype(np.float32)
    blur = rng.uniform(0.3, 2.5) if sunny else rng.uniform(2.0, 6.0)
    mask = cv2.GaussianBlur(mask, (0, 0), blur)
    strength = rng.uniform(0.3, 0.85) if sunny else rng.uniform(0.15, 0.6)
    return strength * cv2.resize(mask, (CROP, CROP), interpolation=cv2.INTER_LINEAR)
