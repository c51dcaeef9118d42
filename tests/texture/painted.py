"""The built-in animal with a coat that is known everywhere, filmed by a camera that goes round its left side."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip, Crop
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from animal4d.geometry.rotations import matrix_from_axis_angle

SIZE = (160, 160)
_FINER = 4
_GREEN = torch.tensor([0.0, 1.0, 0.0])


def coat(points: Tensor) -> Tensor:
    """sRGB in [0, 1] at places of the template (points, 3): dark patches on a light ground that changes along the body.
    Nowhere greener than red."""
    x, _, z = points.unbind(-1)
    patch = torch.sigmoid(40 * (torch.sin(9 * x) * torch.cos(11 * z + 1) - 0.2))
    light = torch.stack((0.85 - 0.1 * x, 0.75 + 0.05 * z, 0.6 - 0.2 * z), dim=-1)
    dark = torch.tensor([0.45, 0.25, 0.15])
    return patch[..., None] * dark + (1 - patch[..., None]) * light


def painted_reconstruction(model: BodyModel, frames: int = 16) -> Reconstruction:
    """The animal paces on the spot while the camera goes from before its left shoulder to behind its left hip."""
    generator = torch.Generator().manual_seed(3)
    wobble = 0.08 * torch.randn(frames, model.n_joints, 3, generator=generator)
    wobble[:, 0] = 0
    angles = torch.linspace(math.radians(35), math.radians(145), frames)
    world_to_camera = torch.eye(4).repeat(frames, 1, 1)
    for frame, angle in enumerate(angles.tolist()):
        outward = torch.tensor([math.cos(angle), math.sin(angle), 0.3])
        forward = -outward / outward.norm()
        right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0])), dim=0)
        rotation = torch.stack((right, torch.linalg.cross(forward, right), forward))
        world_to_camera[frame, :3, :3] = rotation
        world_to_camera[frame, :3, 3] = rotation @ (3.2 * forward)
    height, width = SIZE
    focal = 1.45 * width
    return Reconstruction(
        betas=torch.zeros(model.n_betas),
        limb_scales=torch.zeros(7),
        vertex_offsets=torch.zeros(model.n_vertices, 3),
        joint_rotations=matrix_from_axis_angle(wobble),
        translation=torch.zeros(frames, 3),
        intrinsics=torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]).repeat(frames, 1, 1),
        world_to_camera=world_to_camera,
        image_size=SIZE,
        crop=Crop(torch.zeros(frames, 2), torch.ones(frames), SIZE),
        frame_numbers=torch.arange(frames),
        times=torch.arange(frames) / 10,
        fps=10.0,
        template=model.name,
    )


def film(reconstruction: Reconstruction, model: BodyModel, finer: int = 1) -> tuple[Tensor, Tensor]:
    """Pictures (frames, height, width, 3) on pure green in `finer` times the working resolution, and which pixels
    show the animal."""
    height, width = (side * finer for side in SIZE)
    samples = _FINER // finer
    cameras = reconstruction.cameras.resized((height * samples, width * samples))
    pictures, masks = [], []
    for frame in range(len(reconstruction)):
        camera = cameras[[frame]]
        drawn = rasterize(
            camera.transform(reconstruction.posed(model, [frame]).vertices),
            model.faces,
            camera.intrinsics,
            camera.image_size,
        )
        covered = drawn.covered[0]
        picture = _GREEN.expand(*camera.image_size, 3).clone()
        corners = model.v_template[model.faces[drawn.face_index[0][covered]]]
        picture[covered] = coat((drawn.barycentrics[0][covered][..., None] * corners).sum(1))
        blocks = picture.view(height, samples, width, samples, 3)
        pictures.append((blocks.mean((1, 3)) * 255).round().to(torch.uint8))
        masks.append(covered.view(height, samples, width, samples).float().mean((1, 3)) > 0.5)
    return torch.stack(pictures), torch.stack(masks)


def exposed(clip: Clip, gains: Tensor) -> Clip:
    """The clip with every frame's colours times its gains (frames, 3)."""
    scaled = clip.frames.float() * gains[:, None, None]
    return replace(clip, frames=scaled.round().clamp(0, 255).to(torch.uint8))


def truly_seen(reconstruction: Reconstruction, model: BodyModel, frames: list[int], points, face: Tensor) -> Tensor:
    """Places (face with barycentrics) that the frames show, by a depth buffer of `_FINER` times the resolution."""
    height, width = (side * _FINER for side in SIZE)
    cameras: Cameras = reconstruction.cameras.resized((height, width))
    seen = torch.zeros(len(face), dtype=torch.bool)
    for frame in frames:
        camera = cameras[[frame]]
        vertices = camera.transform(reconstruction.posed(model, [frame]).vertices)
        depth = rasterize(vertices, model.faces, camera.intrinsics, (height, width)).depth[0]
        corners = vertices[0][model.faces[face]]
        place = (points[..., None] * corners).sum(1)
        pixel = (place[:, :2] / place[:, 2:] * camera.intrinsics[0, 0, 0] + camera.intrinsics[0, :2, 2]).long()
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        facing = -(normal * place).sum(-1) / normal.norm(dim=-1) / place.norm(dim=-1)
        seen |= (facing > 0.2) & (place[:, 2] < depth[pixel[:, 1], pixel[:, 0]] + 0.01)
    return seen
