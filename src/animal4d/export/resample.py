"""The same motion and camera path at another number of frames per second."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.clip import Crop
from animal4d.errors import Animal4dError
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.quaternions import matrix_from_quaternion, slerp
from animal4d.geometry.rotations import quaternion_from_matrix

_FASTEST = 1000.0


@torch.no_grad()
def resampled(reconstruction: Reconstruction, fps: float) -> Reconstruction:
    """Frames at the multiples of 1 / fps from the first frame to the last; rotations on the shortest arcs, places and
    lenses on straight lines. Frame numbers are those of the nearest original frames.

    Raises Animal4dError for a rate that is none.
    """
    if not 0 < fps <= _FASTEST:
        raise Animal4dError(f"--fps {fps:g}: give frames per second from above 0 to {_FASTEST:g}")
    reconstruction = reconstruction.to("cpu")
    if len(reconstruction) < 2:
        return replace(reconstruction, fps=fps)
    times = reconstruction.times.double()
    count = int(torch.floor((times[-1] - times[0]) * fps + 1e-4)) + 1
    wanted = (times[0] + torch.arange(count, dtype=torch.float64) / fps).clamp(max=float(times[-1]))
    after = torch.searchsorted(times, wanted).clamp(1, len(times) - 1)
    before = after - 1
    share = ((wanted - times[before]) / (times[after] - times[before])).clamp(0, 1)

    def along(values: Tensor) -> Tensor:
        weight = share.reshape(-1, *[1] * (values.dim() - 1))
        return torch.lerp(values[before].double(), values[after].double(), weight)

    def turned(matrices: Float[Tensor, "frames *joints 3 3"]) -> Tensor:
        quaternions = quaternion_from_matrix(matrices.double())
        weight = share.reshape(-1, *[1] * (matrices.dim() - 3))
        return matrix_from_quaternion(slerp(quaternions[before], quaternions[after], weight))

    original = reconstruction.crop.original_intrinsics(reconstruction.intrinsics)
    size = reconstruction.crop.original_size
    nearest = torch.where(share < 0.5, before, after)
    uncertainty = reconstruction.joint_uncertainty
    return replace(
        reconstruction,
        joint_rotations=turned(reconstruction.joint_rotations).float(),
        translation=along(reconstruction.translation).float(),
        # A crop does not move on straight lines: from here on the working images are the whole frames.
        intrinsics=along(original).float(),
        image_size=size,
        crop=Crop(torch.zeros(count, 2), torch.ones(count), size),
        world_to_camera=_camera_path(reconstruction, along, turned),
        frame_numbers=reconstruction.frame_numbers[nearest],
        times=wanted.float(),
        fps=fps,
        joint_uncertainty=None if uncertainty is None else along(uncertainty).float(),
    )


def _camera_path(reconstruction: Reconstruction, along, turned) -> Float[Tensor, "frames 4 4"]:
    """Where a camera stands goes on a straight line, not what its matrix holds of it."""
    rotation = turned(reconstruction.cameras.R_cam_from_world)
    centers = along(reconstruction.cameras.centers)
    world_to_camera = torch.eye(4, dtype=torch.float64).repeat(len(rotation), 1, 1)
    world_to_camera[:, :3, :3] = rotation
    world_to_camera[:, :3, 3] = -(rotation @ centers[..., None])[..., 0]
    return world_to_camera.float()
