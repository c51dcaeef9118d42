"""`Reconstruction`: what a fit ends with. One shape, a pose and a camera per frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.body.model import BodyModel, PosedBody, ShapedBody
from animal4d.clip import Crop
from animal4d.geometry.cameras import Cameras


@dataclass(frozen=True)
class Reconstruction:
    """One animal: a rest shape, its motion, and the cameras that saw it.

    World: x, y, z with z up and the ground at z = 0, in units of the template (asset.glb has y up instead; the
    export turns animal and cameras alike).
    """

    betas: Float[Tensor, "betas"]
    limb_scales: Float[Tensor, "7"]
    vertex_offsets: Float[Tensor, "vertices 3"]
    joint_rotations: Float[Tensor, "frames joints 3 3"]
    """Index 0 turns the body into the world."""
    translation: Float[Tensor, "frames 3"]
    intrinsics: Float[Tensor, "frames 3 3"]
    """Of the working images."""
    world_to_camera: Float[Tensor, "frames 4 4"]
    image_size: tuple[int, int]
    """Height and width of the working images."""
    crop: Crop
    frame_numbers: Int[Tensor, "frames"]
    times: Float[Tensor, "frames"]
    fps: float
    template: str = "builtin"
    vertex_colors: Float[Tensor, "vertices 3"] | None = None
    """RGB in [0, 1], averaged over the frames that see a vertex."""

    def __len__(self) -> int:
        return self.translation.shape[0]

    @property
    def cameras(self) -> Cameras:
        """Of the working images."""
        return Cameras(self.intrinsics, self.world_to_camera, self.image_size)

    def shaped(self, model: BodyModel) -> ShapedBody:
        return model.with_shape(self.betas, self.limb_scales, self.vertex_offsets)

    def posed(self, model: BodyModel, frames: Tensor | slice | list[int] = slice(None)) -> PosedBody:
        """The animal in the world, in the given frames."""
        return self.shaped(model).with_pose(self.joint_rotations[frames], self.translation[frames])

    def to(self, device: torch.device | str) -> Reconstruction:
        moved = {f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **moved)
