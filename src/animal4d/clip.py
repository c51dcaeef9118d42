"""`Clip`: what was filmed. Frames in working resolution, masks, times and cameras, checked once and then trusted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from animal4d.geometry.cameras import Cameras


@dataclass(frozen=True)
class Crop:
    """Where the working images lie in the original frames: `original = origin + working * scale`, in pixels."""

    origin: Float[Tensor, "frames 2"]
    """Top-left corner (x, y) in the original frame; may lie outside of it."""
    scale: Float[Tensor, "frames"]
    """Original pixels per working pixel."""
    original_size: tuple[int, int]
    """Height and width of the original frames."""

    def to_original(self, pixels: Float[Tensor, "frames points 2"]) -> Float[Tensor, "frames points 2"]:
        return self.origin[:, None] + pixels * self.scale[:, None, None]

    def from_original(self, pixels: Float[Tensor, "frames points 2"]) -> Float[Tensor, "frames points 2"]:
        return (pixels - self.origin[:, None]) / self.scale[:, None, None]

    def original_intrinsics(self, intrinsics: Float[Tensor, "frames 3 3"]) -> Float[Tensor, "frames 3 3"]:
        """Intrinsics of the original frames from those of the working images."""
        result = intrinsics * self.scale[:, None, None]
        result[:, :2, 2] += self.origin
        result[:, 2, 2] = 1.0
        return result

    def working_intrinsics(self, intrinsics: Float[Tensor, "frames 3 3"]) -> Float[Tensor, "frames 3 3"]:
        """Inverse of `original_intrinsics`."""
        result = intrinsics.clone()
        result[:, :2, 2] -= self.origin
        result = result / self.scale[:, None, None]
        result[:, 2, 2] = 1.0
        return result

    def __getitem__(self, frames: Tensor | slice | list[int]) -> Crop:
        return replace(self, origin=self.origin[frames], scale=self.scale[frames])


@dataclass(frozen=True)
class Clip:
    """A clip of one animal, in square working images that show it with a margin."""

    name: str
    frames: UInt8[Tensor, "frames height width 3"]
    """RGB."""
    masks: Float[Tensor, "frames height width"]
    """Probability of the animal in [0, 1]; zero everywhere in frames that carry no silhouette."""
    mask_valid: Bool[Tensor, "frames"]
    """Frames whose mask can be used: it exists and is neither empty nor the whole frame."""
    frame_numbers: Int[Tensor, "frames"]
    """Index of each frame in the video or folder, before --start and --stride."""
    times: Float[Tensor, "frames"]
    """Seconds from the start of the video."""
    fps: float
    """Frames per second of THIS clip (the video's rate over the stride)."""
    intrinsics: Float[Tensor, "frames 3 3"]
    """Of the working images, in pixels."""
    crop: Crop
    world_to_camera: Float[Tensor, "frames 4 4"] | None = None
    """Camera track where the user has one; relative poses are trusted, the scale of the world is not."""
    intrinsics_source: str = "assumed"
    """Where the focal length comes from, in words for the report."""
    mask_source: str = "given"
    source: str = ""
    """Path or address that the clip was read from."""
    warnings: tuple[str, ...] = field(default=())
    """What the user should know, in plain words."""

    def __post_init__(self) -> None:
        n, height, width = self.frames.shape[:3]
        expected = {
            "frames": (n, height, width, 3),
            "masks": (n, height, width),
            "mask_valid": (n,),
            "frame_numbers": (n,),
            "times": (n,),
            "intrinsics": (n, 3, 3),
        }
        for name, shape in expected.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise ValueError(f"Clip.{name} must have shape {shape}, got {got}")
        if self.world_to_camera is not None and self.world_to_camera.shape != (n, 4, 4):
            raise ValueError(f"Clip.world_to_camera must have shape {(n, 4, 4)}, got {self.world_to_camera.shape}")

    def __len__(self) -> int:
        return self.frames.shape[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the working images."""
        return self.frames.shape[1], self.frames.shape[2]

    @property
    def cameras(self) -> Cameras | None:
        """Cameras of the working images, where the user brought a camera track."""
        if self.world_to_camera is None:
            return None
        return Cameras(self.intrinsics, self.world_to_camera, self.image_size)
