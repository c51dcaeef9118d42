"""A ball in front of a camera, for which rays, hits and colours are known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rotations import rotation_about
from animal4d.texture.fit import TextureFootage
from animal4d.texture.hits import Shells
from geometry.shapes import icosphere, pinhole

SIZE = (64, 64)
RADIUS, THICKNESS, DISTANCE = 0.4, 0.05, 2.0


def ball(subdivisions: int = 4) -> Shells:
    """Of radius `RADIUS` around the origin of canonical space."""
    vertices, faces = icosphere(subdivisions)
    return Shells.around(RADIUS * vertices, faces, THICKNESS)


def cameras(frames: int = 1) -> Cameras:
    """In the origin of the world, looking along z."""
    return Cameras(pinhole(110.0, SIZE[0], frames), torch.eye(4).repeat(frames, 1, 1), SIZE)


def poses(frames: int = 1) -> tuple[Tensor, Tensor]:
    """World from canonical: the ball turns about two axes in turn, a little beside the camera's axis."""
    angles = 2 * torch.pi * torch.arange(frames) / frames + 0.3
    rotations = torch.where(
        (torch.arange(frames) % 2 == 0)[:, None, None], rotation_about("y", angles), rotation_about("x", angles)
    )
    return rotations, torch.tensor([0.05, -0.03, DISTANCE]).repeat(frames, 1)


def posed(shells: Shells, frames: int = 1) -> Tensor:
    rotations, translations = poses(frames)
    return shells.inner @ rotations.transpose(1, 2) + translations[:, None]


def directions() -> Tensor:
    """Unit vectors through all pixel centres, "height width 3"."""
    place = (torch.arange(SIZE[0]) + 0.5 - SIZE[0] / 2) / 110.0
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.nn.functional.normalize(torch.stack((x, y, torch.ones_like(x)), dim=-1), dim=-1)


def sphere_hits(radius: float, frame: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the pixels' rays meet the posed sphere, and where they enter and leave it in canonical space."""
    rotations, translations = poses(frames)
    ray, centre = directions(), translations[frame]
    along = ray @ centre
    discriminant = along**2 - centre.square().sum() + radius**2
    half = discriminant.clamp_min(0).sqrt()
    near, far = (((along + sign * half)[..., None] * ray - centre) @ rotations[frame] for sign in (-1, 1))
    return discriminant > 0, near, far


def coat(points: Tensor) -> Tensor:
    """A smooth colour as a function of the canonical place."""
    x, y, z = (points / RADIUS).unbind(-1)
    return torch.stack((0.5 + 0.35 * torch.sin(4 * x), 0.5 + 0.35 * y * z, 0.5 + 0.3 * torch.cos(3 * z)), dim=-1)


def footage(shells: Shells, frames: int) -> TextureFootage:
    """The ball in its coat, filmed on a green background."""
    images = torch.zeros(frames, *SIZE, 3)
    masks = torch.zeros(frames, *SIZE)
    images[..., 1] = 1.0
    for frame in range(frames):
        met, near, _ = sphere_hits(RADIUS, frame, frames)
        images[frame][met] = coat(near[met])
        masks[frame] = met.float()
    return TextureFootage(posed(shells, frames), cameras(frames), (images * 255).round().to(torch.uint8), masks)
