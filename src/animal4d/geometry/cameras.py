"""Pinhole cameras in OpenCV's convention, and the conversion from and to PyTorch3D's.

Camera frame: x right, y down, z forward; `X_cam = R @ X_world + t`. Pixels are continuous: the image spans
[0, width] x [0, height], and the centre of the pixel in column j and row i is (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

PYTORCH3D_FLIP = (-1.0, -1.0, 1.0)
"""PyTorch3D's camera axes (x left, y up, z forward) in OpenCV's: a diagonal matrix, its own inverse."""


@dataclass(frozen=True)
class Cameras:
    """One pinhole camera per frame."""

    intrinsics: Float[Tensor, "frames 3 3"]
    """Focal lengths and principal point in pixels, no skew."""
    world_to_camera: Float[Tensor, "frames 4 4"]
    """Rigid transforms to the camera frame (x right, y down, z forward)."""
    image_size: tuple[int, int]
    """Height and width in pixels, the same for all frames."""

    def __post_init__(self) -> None:
        frames = self.intrinsics.shape[0]
        if self.intrinsics.shape != (frames, 3, 3) or self.world_to_camera.shape != (frames, 4, 4):
            raise ValueError(
                f"expected intrinsics (T, 3, 3) and world_to_camera (T, 4, 4), got {tuple(self.intrinsics.shape)} and "
                f"{tuple(self.world_to_camera.shape)}"
            )

    def __len__(self) -> int:
        return self.intrinsics.shape[0]

    def __getitem__(self, frames: Tensor | slice | list[int]) -> Cameras:
        return replace(self, intrinsics=self.intrinsics[frames], world_to_camera=self.world_to_camera[frames])

    def to(self, device: torch.device | str) -> Cameras:
        return replace(self, intrinsics=self.intrinsics.to(device), world_to_camera=self.world_to_camera.to(device))

    @property
    def R_cam_from_world(self) -> Float[Tensor, "frames 3 3"]:
        return self.world_to_camera[:, :3, :3]

    @property
    def t_cam_from_world(self) -> Float[Tensor, "frames 3"]:
        return self.world_to_camera[:, :3, 3]

    @property
    def centers(self) -> Float[Tensor, "frames 3"]:
        """Camera positions in the world."""
        return -(self.R_cam_from_world.transpose(1, 2) @ self.t_cam_from_world[..., None]).squeeze(-1)

    def transform(self, points_world: Float[Tensor, "#frames points 3"]) -> Float[Tensor, "frames points 3"]:
        """World points in the camera frame."""
        return points_world @ self.R_cam_from_world.transpose(1, 2) + self.t_cam_from_world[:, None]

    def project(self, points_world: Float[Tensor, "#frames points 3"]) -> Float[Tensor, "frames points 2"]:
        """World points in pixels."""
        return project(self.transform(points_world), self.intrinsics)

    def resized(self, image_size: tuple[int, int]) -> Cameras:
        """The same cameras for images scaled to `image_size` (height, width)."""
        scale = self.intrinsics.new_tensor(
            [[image_size[1] / self.image_size[1]], [image_size[0] / self.image_size[0]], [1.0]]
        )
        return replace(self, intrinsics=self.intrinsics * scale, image_size=image_size)


def project(
    points_in_camera: Float[Tensor, "*frames points 3"], intrinsics: Float[Tensor, "*frames 3 3"]
) -> Float[Tensor, "*frames points 2"]:
    """Perspective projection to pixels. Points at or behind the camera plane are clamped to a depth of 1e-4."""
    depth = points_in_camera[..., 2:].clamp_min(1e-4)
    focal = torch.stack((intrinsics[..., 0, 0], intrinsics[..., 1, 1]), dim=-1)
    return points_in_camera[..., :2] / depth * focal[..., None, :] + intrinsics[..., None, :2, 2]


def intrinsics_from_fov(fov_degrees: float, image_size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """Pinhole intrinsics from the field of view along the image's LONGER side, principal point in the middle."""
    height, width = image_size
    focal = 0.5 * max(height, width) / float(torch.tan(torch.deg2rad(torch.tensor(fov_degrees / 2))))
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def cameras_from_pytorch3d(
    R: Float[Tensor, "frames 3 3"],
    T: Float[Tensor, "frames 3"],
    focal_length: Float[Tensor, "frames 2"],
    principal_point: Float[Tensor, "frames 2"],
    image_size: tuple[int, int],
    intrinsics_format: str = "ndc_isotropic",
) -> Cameras:
    """PyTorch3D cameras (row vectors `X_cam = X_world @ R + T`; x left, y up, z forward) as OpenCV cameras.

    `intrinsics_format` is "ndc_isotropic" (units of half the shorter side) or "ndc_norm_image_bounds" (half the width
    and half the height each). Raises ValueError on any other.
    """
    height, width = image_size
    half = _half_size(image_size, intrinsics_format).to(focal_length)
    flip = torch.tensor(PYTORCH3D_FLIP, dtype=R.dtype, device=R.device)
    world_to_camera = torch.eye(4, dtype=R.dtype, device=R.device).repeat(len(R), 1, 1)
    world_to_camera[:, :3, :3] = flip[:, None] * R.transpose(1, 2)
    world_to_camera[:, :3, 3] = flip * T
    intrinsics = torch.eye(3, dtype=R.dtype, device=R.device).repeat(len(R), 1, 1)
    intrinsics[:, [0, 1], [0, 1]] = focal_length * half
    intrinsics[:, :2, 2] = principal_point.new_tensor([width / 2, height / 2]) - principal_point * half
    return Cameras(intrinsics, world_to_camera, image_size)


def cameras_to_pytorch3d(cameras: Cameras, intrinsics_format: str = "ndc_isotropic") -> dict[str, Tensor]:
    """Inverse of `cameras_from_pytorch3d`: `R`, `T`, `focal_length` and `principal_point`."""
    height, width = cameras.image_size
    half = _half_size(cameras.image_size, intrinsics_format).to(cameras.intrinsics)
    flip = cameras.intrinsics.new_tensor(PYTORCH3D_FLIP)
    focal_length = cameras.intrinsics[:, [0, 1], [0, 1]] / half
    principal_point = (half.new_tensor([width / 2, height / 2]) - cameras.intrinsics[:, :2, 2]) / half
    return {
        "R": (flip[:, None] * cameras.R_cam_from_world).transpose(1, 2),
        "T": flip * cameras.t_cam_from_world,
        "focal_length": focal_length,
        "principal_point": principal_point,
    }


def _half_size(image_size: tuple[int, int], intrinsics_format: str) -> Float[Tensor, "2"]:
    height, width = image_size
    if intrinsics_format == "ndc_isotropic":
        return torch.full((2,), min(height, width) / 2)
    if intrinsics_format == "ndc_norm_image_bounds":
        return torch.tensor([width / 2, height / 2])
    raise ValueError(f'intrinsics_format must be "ndc_isotropic" or "ndc_norm_image_bounds", got "{intrinsics_format}"')
