"""cameras.json: the camera of every frame, in pixels of the original frame and in the world of asset.glb (y up)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.export.axes import asset_from_world
from animal4d.files.atomic import write_json
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.cameras import Cameras


@dataclass(frozen=True)
class CameraTrack:
    """What cameras.json holds."""

    cameras: Cameras
    """Of the original frames, in the world of asset.glb."""
    frame_numbers: Int[Tensor, "frames"]
    times: Float[Tensor, "frames"]
    """Seconds; the keys of asset.glb's animation."""
    fps: float


def asset_cameras(reconstruction: Reconstruction) -> Cameras:
    """Cameras of the original frames, in the world of asset.glb."""
    reconstruction = reconstruction.to("cpu")
    world_from_asset = torch.eye(4, dtype=torch.float64)
    world_from_asset[:3, :3] = torch.from_numpy(asset_from_world().T)
    world_to_camera = reconstruction.world_to_camera.double() @ world_from_asset
    intrinsics = reconstruction.crop.original_intrinsics(reconstruction.intrinsics).double()
    return Cameras(intrinsics, world_to_camera, reconstruction.crop.original_size)


def write_cameras(reconstruction: Reconstruction, path: Path) -> None:
    cameras = asset_cameras(reconstruction)
    frames = [
        {
            "frame": int(reconstruction.frame_numbers[index]),
            "time": float(reconstruction.times[index]),
            "image_size": list(cameras.image_size),
            "K": cameras.intrinsics[index].tolist(),
            "world_to_camera": cameras.world_to_camera[index].tolist(),
        }
        for index in range(len(reconstruction))
    ]
    write_json(path, {"fps": float(reconstruction.fps), "frames": frames})


def read_cameras(path: Path) -> CameraTrack:
    """Inverse of `write_cameras`. Raises Animal4dError when the file is not one of ours."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        frames = data["frames"]
        sizes = {(int(height), int(width)) for height, width in (frame["image_size"] for frame in frames)}
        if len(sizes) != 1:
            raise ValueError("its frames are of different sizes, or there are none")
        return CameraTrack(
            Cameras(
                torch.tensor([frame["K"] for frame in frames]),
                torch.tensor([frame["world_to_camera"] for frame in frames]),
                sizes.pop(),
            ),
            torch.tensor([frame["frame"] for frame in frames]),
            torch.tensor([frame["time"] for frame in frames]),
            float(data["fps"]),
        )
    except OSError as error:
        raise Animal4dError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Animal4dError(f"{path}: not the cameras.json of a run ({error})") from error
