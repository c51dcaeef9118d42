"""Where the camera stands and what the crop shows. OpenCV cameras: x right, y down, z forward."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.eyes.labels import CROP
from animal4d.eyes.training.animals import Animal


@dataclass(frozen=True)
class View:
    """A camera looking at an animal through a crop of CROP x CROP pixels."""

    R_cam_from_world: Float[ndarray, "3 3"]
    center: Float[ndarray, "3"]
    """The camera's place in the world."""
    intrinsics: Float[ndarray, "3 3"]
    """In pixels of the crop."""
    frame: tuple[float, float, float, float]
    """Left, top, right, bottom of the filmed frame in pixels of the crop; what lies outside was never filmed."""

    def to_camera(self, points: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch 3"]:
        return (points - self.center) @ self.R_cam_from_world.T

    def scaled(self, factor: float) -> Float[ndarray, "3 3"]:
        """Intrinsics of the crop at another resolution."""
        return self.intrinsics * np.array([[factor], [factor], [1.0]])


def look_at(center: Float[ndarray, "3"], target: Float[ndarray, "3"], roll: float = 0.0) -> Float[ndarray, "3 3"]:
    """R_cam_from_world of a camera at `center` that looks at `target`, turned about its axis by `roll` radians."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll), np.sin(roll)
    return np.stack((cosine * right + sine * down, cosine * down - sine * right, forward))


def view_vector(animal: Animal, center: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    """Unit vector from the animal to the camera in the frame of the animal's trunk."""
    direction = (center - animal.trunk) @ animal.R_world_from_trunk
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def draw_view(rng: np.random.Generator, animal: Animal) -> View:
    """All azimuths evenly, elevations mostly low, from close by to far off; a square crop about the visible animal."""
    azimuth = rng.uniform(-np.pi, np.pi)
    elevation = np.radians(rng.uniform(0, 25) if rng.random() < 0.7 else rng.uniform(-15, 60))
    middle = 0.5 * (animal.vertices.min(0) + animal.vertices.max(0))
    radius = float(np.linalg.norm(animal.vertices - middle, axis=1).max())
    distance = radius * np.exp(rng.uniform(np.log(1.9), np.log(14.0)))
    towards = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    center = middle + distance * towards
    # The animal is rarely in the middle of the frame: its crop then sees it along an oblique ray.
    oblique = rng.normal(0, 0.12, 3) * distance * (rng.random() < 0.5)
    roll = rng.normal(0, np.radians(6)) if rng.random() < 0.8 else rng.normal(0, np.radians(18))
    rotation = look_at(center, middle + oblique, roll)
    unit = View(rotation, center, np.eye(3), (-np.inf, -np.inf, np.inf, np.inf))
    return _cropped(rng, unit, animal)


def _cropped(rng: np.random.Generator, view: View, animal: Animal) -> View:
    in_camera = view.to_camera(animal.vertices)
    plane = in_camera[:, :2] / np.maximum(in_camera[:, 2:], 0.05)
    low, high = plane.min(0), plane.max(0)
    frame_low, frame_high = np.full(2, -np.inf), np.full(2, np.inf)
    cut = rng.random() < 0.25
    if cut:
        for _ in range(2 if rng.random() < 0.2 else 1):
            axis, share = int(rng.random() < 0.4), rng.uniform(0.05, 0.45)
            if rng.random() < 0.5:
                frame_low[axis] = low[axis] + share * (high - low)[axis]
            else:
                frame_high[axis] = high[axis] - share * (high - low)[axis]
        seen = plane[((plane >= frame_low) & (plane <= frame_high)).all(1)]
        if len(seen) > 100:
            low, high = seen.min(0), seen.max(0)
    size = high - low
    side = float(size.max()) / (rng.uniform(0.68, 0.96) if rng.random() < 0.75 else rng.uniform(0.5, 0.75))
    jitter = rng.normal(0, 0.04, 2) * side
    corner = 0.5 * (low + high) - 0.5 * side + jitter
    if cut and rng.random() < 0.5:  # the crop is shifted into the frame
        corner = np.where(np.isfinite(frame_low), np.maximum(corner, frame_low), corner)
        corner = np.where(np.isfinite(frame_high), np.minimum(corner, frame_high - side), corner)
    elif not cut and rng.random() < 0.12:  # the frame ends beside the animal
        axis = int(rng.random() < 0.4)
        if rng.random() < 0.5:
            frame_low[axis] = low[axis] - rng.uniform(0, 0.1) * side
        else:
            frame_high[axis] = high[axis] + rng.uniform(0, 0.1) * side
    focal = CROP / side
    intrinsics = np.array([[focal, 0, -focal * corner[0]], [0, focal, -focal * corner[1]], [0, 0, 1.0]])
    edges = np.concatenate((focal * (frame_low - corner), focal * (frame_high - corner)))
    left, top, right, bottom = np.clip(edges, 0, CROP).tolist()
    return replace(view, intrinsics=intrinsics, frame=(left, top, right, bottom))
