"""`Clip`: what was filmed. Frames in working resolution, masks, times and cameras, checked once and then trusted."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.files.atomic import read_npz_record, write_npz
from animal4d.files.checksums import tensor_checksum
from animal4d.geometry.cameras import Cameras

_FORMAT = 1


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

    def inside_frame(self) -> Bool[Tensor, "frames height width"]:
        """Working pixels whose centre lies in the original frame.

        The animal may go on outside of it, so that an empty mask there says nothing.
        """
        height, width = self.image_size
        columns = torch.arange(width, device=self.frames.device) + 0.5
        rows = torch.arange(height, device=self.frames.device) + 0.5
        x = self.crop.origin[:, :1] + columns * self.crop.scale[:, None]
        y = self.crop.origin[:, 1:] + rows * self.crop.scale[:, None]
        inside_x = (x >= 0) & (x <= self.crop.original_size[1])
        inside_y = (y >= 0) & (y <= self.crop.original_size[0])
        return inside_y[:, :, None] & inside_x[:, None, :]

    def checksum(self) -> str:
        """Fingerprint of all that cues are made from."""
        return tensor_checksum(
            (self.frames, self.masks, self.mask_valid, self.frame_numbers, self.crop.origin, self.crop.scale)
        )

    def save(self, path: Path | str) -> None:
        """Write everything to one `.npz` file."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        plain = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), str | float | tuple)}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        arrays["crop_origin"] = self.crop.origin.cpu().numpy()
        arrays["crop_scale"] = self.crop.scale.cpu().numpy()
        plain |= {"format": _FORMAT, "original_size": self.crop.original_size}
        write_npz(path, {**arrays, "plain": np.array(json.dumps(plain))})

    @staticmethod
    def load(path: Path | str) -> Clip:
        """Read what `save` wrote. Raises Animal4dError where the file is missing or damaged."""
        try:
            arrays, plain = read_npz_record(path, _FORMAT)
            crop = Crop(
                origin=torch.from_numpy(arrays.pop("crop_origin")),
                scale=torch.from_numpy(arrays.pop("crop_scale")),
                original_size=tuple(plain.pop("original_size")),
            )
            plain["warnings"] = tuple(plain["warnings"])
            tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
            return Clip(crop=crop, **plain, **tensors)
        except FileNotFoundError as error:
            raise Animal4dError(f"no such clip: {path}") from error
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise Animal4dError(f"{path} is not a saved clip, or is damaged ({error}): read the video again") from error
