"""How the camera moves in a synthetic clip. World: z up.

The azimuth of a camera is the angle from the animal's heading to the direction in which the camera lies, seen from
above and positive towards the animal's left: 0 looks into its face, 90 at its left side, 180 at its tail.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from animal4d.geometry.cameras import Cameras, intrinsics_from_fov
from animal4d.synth.config import CameraStyle


def look_at(
    positions: Float[ndarray, "frames 3"], targets: Float[ndarray, "frames 3"], roll: Float[ndarray, "frames"]
) -> Float[ndarray, "frames 4 4"]:
    """World-to-camera transforms (x right, y down, z forward) with the horizon level but for `roll` (radians)."""
    forward = targets - positions
    forward = forward / np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll)[:, None], np.sin(roll)[:, None]
    rotation = np.stack((cosine * right + sine * down, cosine * down - sine * right, forward), axis=1)
    result = np.tile(np.eye(4), (len(positions), 1, 1))
    result[:, :3, :3] = rotation
    result[:, :3, 3] = -np.einsum("tij,tj->ti", rotation, positions)
    return result


def camera_track(
    style: CameraStyle,
    vertices: Float[Tensor, "frames vertices 3"],
    heading: float,
    image_size: tuple[int, int],
    rng: np.random.Generator,
) -> Cameras:
    """Cameras that keep an animal (its posed vertices) in the picture, at the distance at which it fills it as wanted.

    `heading` is the animal's direction on the ground plan, radians. `image_size` is (height, width).
    """
    points = vertices.double().numpy()
    shake = _shake(len(points), rng) * np.radians(style.shake)
    intrinsics = intrinsics_from_fov(style.fov, image_size)
    distance = 4.0
    cameras = _track(style, points, heading, distance, intrinsics, image_size, shake)
    for _ in range(8):
        ratio = _crowding(style, cameras.project(vertices).numpy(), image_size)
        if not np.isfinite(ratio) or abs(ratio - 1) < 0.005:
            break
        distance *= float(np.clip(ratio, 0.5, 2.5))
        cameras = _track(style, points, heading, distance, intrinsics, image_size, shake)
    return cameras


def _crowding(style: CameraStyle, pixels: Float[ndarray, "frames vertices 2"], image_size: tuple[int, int]) -> float:
    """How much too large the animal is in the picture: 1 is as wanted."""
    height, width = image_size
    size = np.ptp(pixels, axis=1) / np.array([width, height])
    crowding = max(float(size[:, 0].max()) / style.fill, float(size[:, 1].max()) / 0.88)
    reach = np.abs(pixels / np.array([width, height]) - 0.5).max(axis=(0, 1)) * 2
    return max(crowding, float(reach.max()) / 0.94)


def _track(
    style: CameraStyle,
    points: Float[ndarray, "frames vertices 3"],
    heading: float,
    distance: float,
    intrinsics: Float[Tensor, "3 3"],
    image_size: tuple[int, int],
    shake: Float[ndarray, "frames 3"],
) -> Cameras:
    frames = len(points)
    box = 0.5 * (points.min(axis=1) + points.max(axis=1))
    centre = gaussian_filter1d(box, sigma=max(1.0, frames / 10), axis=0, mode="nearest") if frames > 1 else box
    if frames > 2:
        # Smoothing bends the ends of a steady motion; the straight part is taken from a fit.
        line = np.polynomial.polynomial.polyfit(np.arange(frames), box, 1)
        centre = np.stack([line[0] + line[1] * frame for frame in range(frames)])
    progress = np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1)
    azimuth = heading + np.radians(style.start_azimuth + style.sweep * progress)
    if style.mode in ("fixed", "pan"):
        azimuth = np.full(frames, heading + np.radians(style.start_azimuth + 0.5 * style.sweep))

    def beside(target: Float[ndarray, "frames 3"], angle: Float[ndarray, "frames"]) -> Float[ndarray, "frames 3"]:
        place = target + distance * np.stack((np.cos(angle), np.sin(angle), np.zeros(len(angle))), axis=1)
        place[:, 2] = style.lens_height
        return place

    if style.mode == "orbit":
        positions = beside(centre, azimuth)
    elif style.mode == "dolly":
        ends = beside(centre[[0, -1]], azimuth[[0, -1]])
        positions = ends[0] + progress[:, None] * (ends[1] - ends[0])
    else:
        middle = 0.5 * (centre[:1] + centre[-1:])
        positions = np.repeat(beside(middle, azimuth[:1]), frames, axis=0)
    aim = np.repeat(0.5 * (centre[:1] + centre[-1:]), frames, axis=0) if style.mode == "fixed" else centre.copy()
    if style.mode != "fixed":
        away = np.linalg.norm(aim - positions, axis=1, keepdims=True)
        aim = aim + away * np.column_stack((np.tan(shake[:, 0]), np.tan(shake[:, 0]) * 0.7, np.tan(shake[:, 1])))
        positions = positions + 0.15 * shake
    roll = shake[:, 2] * (0.0 if style.mode == "fixed" else 0.6)
    world_to_camera = torch.tensor(look_at(positions, aim, roll), dtype=torch.float32)
    return Cameras(intrinsics.repeat(frames, 1, 1), world_to_camera, image_size)


def _shake(frames: int, rng: np.random.Generator) -> Float[ndarray, "frames 3"]:
    """Smooth unit noise for sideways, upward and roll."""
    raw = rng.standard_normal((frames + 24, 3))
    slow = gaussian_filter1d(raw, 5.0, axis=0)[12 : 12 + frames] * 4.0
    quick = gaussian_filter1d(raw[::-1], 1.6, axis=0)[12 : 12 + frames] * 0.7
    return slow + quick
