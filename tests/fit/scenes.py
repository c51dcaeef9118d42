"""Small clips of the built-in body whose truth is known: rest poses from given views, without a renderer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip, Crop
from animal4d.cues.cues import Cues, make_cues
from animal4d.fit.start import Start
from animal4d.fit.view_search import view_rotation
from animal4d.geometry.cameras import intrinsics_from_fov
from animal4d.geometry.rasterize import rasterize

SIZE = 96
FPS = 24.0


def rest_masks(model: BodyModel, R_cam_from_body: Tensor, origins: Tensor, size: int = SIZE) -> Tensor:
    """Silhouettes of the rest pose, one per rotation, with the body's origin at the given places of the camera."""
    vertices = model.v_template @ R_cam_from_body.transpose(1, 2) + origins[:, None]
    intrinsics = intrinsics_from_fov(40.0, (size, size)).repeat(len(origins), 1, 1)
    return rasterize(vertices, model.faces, intrinsics, (size, size)).covered.float()


def turning_views(frames: int, yaw: float = 20.0, turn: float = 1.0, elevation: float = 12.0) -> Tensor:
    """Rotations of an animal that turns by `turn` degrees a frame."""
    yaws = torch.deg2rad(yaw + turn * torch.arange(frames))
    return view_rotation(yaws, torch.full((frames,), math.radians(elevation)))


def clip_of_masks(masks: Tensor, world_to_camera: Tensor | None = None, seed: int = 0) -> Clip:
    """A clip with these masks and a picture of grey fur on a noisy ground."""
    frames, height, width = masks.shape
    noise = torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))
    pictures = (255 * (0.3 * noise + 0.5 * masks[..., None])).to(torch.uint8)
    return Clip(
        name="rest",
        frames=pictures,
        masks=masks,
        mask_valid=masks.flatten(1).sum(1) > 0,
        frame_numbers=torch.arange(frames),
        times=torch.arange(frames) / FPS,
        fps=FPS,
        intrinsics=intrinsics_from_fov(40.0, (height, width)).repeat(frames, 1, 1),
        crop=Crop(torch.zeros(frames, 2), torch.ones(frames), (height, width)),
        world_to_camera=world_to_camera,
        source="rest",
    )


def rest_clip(model: BodyModel, frames: int = 6, size: int = SIZE) -> tuple[Clip, Cues]:
    """An animal in rest pose that turns slowly in the middle of the picture, and its cues."""
    origins = torch.tensor([0.0, 0.0, 3.2]).repeat(frames, 1)
    clip = clip_of_masks(rest_masks(model, turning_views(frames), origins, size))
    return clip, make_cues(clip)


def start_at(clip: Clip, R_cam_from_body: Tensor, origins: Tensor, betas: Tensor) -> Start:
    """A start that knows where the animal is."""
    homogeneous = (clip.intrinsics @ origins[..., None]).squeeze(-1)
    return Start(
        name="known",
        shape_name="mean",
        betas=betas,
        yaw=torch.zeros(len(clip)),
        elevation=torch.zeros(len(clip)),
        R_cam_from_body=R_cam_from_body,
        pixels=homogeneous[:, :2] / homogeneous[:, 2:],
        log_depth=origins[:, 2].log(),
        score=1.0,
        cost=0.0,
    )
