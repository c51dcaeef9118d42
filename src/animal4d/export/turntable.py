"""A camera that circles around the animal while it moves, and the ground that it moves over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.export.render import SUPERSAMPLING, Image, MeshView, shrink
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from animal4d.texture.bake import BakedTexture

_SLOWEST, _FASTEST = 45.0, 120.0
"""Degrees per second; between them the camera goes round once in a clip."""
_FIRST_VIEW = 50.0
"""Degrees from the direction that the animal looks in: three quarters from the front."""
_ELEVATION = 16.0
_FIELD_OF_VIEW = 28.0
_FRAMES_PER_BLOCK = 32
_BACKGROUND = np.array([0.955, 0.95, 0.94], np.float32)
_GROUND = np.array([0.87, 0.865, 0.85], np.float32)
_SHADOW = 0.5
_LINE = 0.1
"""Darkness of the lines on the ground."""
_LIGHT_SLANT = torch.tensor([0.2, 0.1])
"""How far a shadow moves along x and y per unit of height."""


@dataclass(frozen=True)
class Turntable:
    """Draws the posed animal from a camera on a circle around it."""

    reconstruction: Reconstruction
    model: BodyModel
    size: int
    """Side of the square pictures in pixels."""
    texture: BakedTexture | None = None
    """Worn instead of the reconstruction's vertex colours."""

    @cached_property
    def _track(self) -> tuple[Float[Tensor, "frames 2"], float, float, float]:
        """Smooth place over the ground, height of the ground, largest reach from that place, height of the animal."""
        measured = []
        for start in range(0, len(self.reconstruction), _FRAMES_PER_BLOCK):
            vertices = self.reconstruction.posed(self.model, slice(start, start + _FRAMES_PER_BLOCK)).vertices
            center, height = vertices[..., :2].mean(1), vertices[..., 2]
            reach = (vertices[..., :2] - center[:, None]).norm(dim=-1).amax(1)
            measured.append(torch.stack((*center.T, height.amin(1), height.amax(1), reach), dim=1))
        track = torch.cat(measured).double().numpy()
        sigma = max(0.25 * self.reconstruction.fps, 0.1)
        # Smoothed is what deviates from the straight way, so that the camera does not lag behind at the ends.
        straight = np.linspace(track[0, :2], track[-1, :2], len(track))
        place = straight + gaussian_filter1d(track[:, :2] - straight, sigma, axis=0, mode="nearest")
        ground = float(np.median(track[:, 2]))
        highest, reach = np.quantile(track[:, 3:], 0.95, axis=0)
        return torch.from_numpy(place).float(), ground, float(reach), float(highest) - ground

    def camera(self, frame: int) -> Cameras:
        place, ground, reach, height = self._track
        heading = self.reconstruction.joint_rotations[0, 0, :2, 0]
        turned = math.radians(_FIRST_VIEW + self._degrees(frame))
        azimuth = math.atan2(float(heading[1]), float(heading[0])) + turned
        elevation = math.radians(_ELEVATION)
        target = torch.tensor([*place[frame].tolist(), ground + 0.42 * height])
        outward = torch.tensor(
            [math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation)]
        )
        radius = max(reach, 0.66 * height)
        distance = radius / math.sin(math.radians(_FIELD_OF_VIEW / 2))
        forward = -outward
        right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0])), dim=0)
        rotation = torch.stack((right, torch.linalg.cross(forward, right), forward))
        world_to_camera = torch.eye(4)
        world_to_camera[:3, :3] = rotation
        world_to_camera[:3, 3] = -rotation @ (target + distance * outward)
        focal = self.size / 2 / math.tan(math.radians(_FIELD_OF_VIEW / 2))
        intrinsics = torch.tensor([[focal, 0, self.size / 2], [0, focal, self.size / 2], [0, 0, 1]])
        return Cameras(intrinsics[None], world_to_camera[None], (self.size, self.size))

    def draw(self, frame: int) -> Image:
        """The picture of one frame, in sRGB."""
        vertices = self.reconstruction.posed(self.model, [frame]).vertices[0]
        camera = self.camera(frame)
        coat = self.reconstruction.vertex_colors if self.texture is None else self.texture
        shading = 1.0 if coat is None else 0.6
        animal = MeshView(vertices, self.model.faces, camera).draw(coat, shading)
        return animal.over(self._ground(vertices, camera, frame))

    def _degrees(self, frame: int) -> float:
        times = self.reconstruction.times
        duration = max(float(times[-1] - times[0]), 1e-3)
        return float(times[frame] - times[0]) * min(max(360 / duration, _SLOWEST), _FASTEST)

    def _ground(self, vertices: Float[Tensor, "vertices 3"], camera: Cameras, frame: int) -> Image:
        """The ground fades into the background away from the animal; lines on it stay where they are in the world."""
        place, ground, reach, _ = self._track
        points, ahead = _points_on_plane(camera, ground)
        distance = np.linalg.norm(points - place[frame].numpy(), axis=-1) / reach
        presence = np.where(ahead, np.exp(-((distance / 1.6) ** 2)), 0).astype(np.float32)[..., None]
        lines = _lines(points / (0.5 * reach))[..., None]
        floor = _GROUND * (1 - _LINE * lines) * (1 - _SHADOW * self._shadow(vertices, camera, ground))
        return _BACKGROUND + presence * (floor - _BACKGROUND)

    def _shadow(self, vertices: Float[Tensor, "vertices 3"], camera: Cameras, ground: float) -> Image:
        """Soft shadow: the animal pressed flat on the ground along the light."""
        height = vertices[:, 2:] - ground
        flat = torch.cat((vertices[:, :2] + height * _LIGHT_SLANT, torch.full_like(height, ground)), dim=-1)
        fine = camera.resized((self.size * SUPERSAMPLING, self.size * SUPERSAMPLING))
        fragments = rasterize(fine.transform(flat[None]), self.model.faces, fine.intrinsics, fine.image_size)
        hard = shrink(fragments.covered[0].float().numpy())
        soft = 0.5 * cv2.GaussianBlur(hard, (0, 0), self.size / 110) + 0.5 * cv2.GaussianBlur(
            hard, (0, 0), self.size / 32
        )
        return soft[..., None]


def _points_on_plane(camera: Cameras, height: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where the rays through the pixels meet the plane z = height: x and y, and whether in front of the camera."""
    rows, columns = (np.arange(size) + 0.5 for size in camera.image_size)
    pixels = np.stack(np.broadcast_arrays(columns[None], rows[:, None], np.ones(1)), axis=-1)
    intrinsics = camera.intrinsics[0].double().numpy()
    rotation = camera.R_cam_from_world[0].double().numpy()
    rays = pixels @ (rotation.T @ np.linalg.inv(intrinsics)).T
    center = camera.centers[0].double().numpy()
    steps = (height - center[2]) / np.where(np.abs(rays[..., 2]) < 1e-9, -1e-9, rays[..., 2])
    return center[:2] + steps[..., None] * rays[..., :2], steps > 0


def _lines(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Anti-aliased lines at whole numbers of x and y: each is one pixel wide on the picture."""
    strength = np.zeros(points.shape[:2])
    for axis in range(2):
        coordinate = points[..., axis]
        down, across = np.gradient(coordinate)
        gradient = np.hypot(down, across) + 1e-9
        line = np.clip(1 - np.abs(coordinate - np.round(coordinate)) / gradient, 0, 1)
        strength = np.maximum(strength, line * np.clip(1.5 - 4 * gradient, 0, 1))
    return strength.astype(np.float32)
