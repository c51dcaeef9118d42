"""Cameras that come with a clip: a track in JSON, a focal length in EXIF, or an assumed field of view."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Image as PillowImage
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.geometry.cameras import intrinsics_from_fov

DEFAULT_FOV = 50.0
"""Degrees along the longer side: a phone's main camera filming video is not far from it."""
_FILM_DIAGONAL = math.hypot(36.0, 24.0)


def read_cameras(
    path: Path, numbers: Sequence[int], total: int, image_size: tuple[int, int]
) -> tuple[Float[Tensor, "frames 3 3"], Float[Tensor, "frames 4 4"]]:
    """Intrinsics and world-to-camera transforms of the chosen frames from a `cameras.json` as runs hold it.

    Entries are found by their "frame" (index in the video); where they have none there must be one for each chosen
    frame or one for each frame of the video. Intrinsics for another resolution of the same picture are rescaled.
    """
    entries = _chosen_entries(path, _read_entries(path), numbers, total)
    intrinsics = np.empty((len(entries), 3, 3))
    world_to_camera = np.empty((len(entries), 4, 4))
    for index, (number, entry) in enumerate(zip(numbers, entries, strict=True)):
        where = f"{path}, frame {number}"
        intrinsics[index] = _intrinsics(entry, where, image_size)
        world_to_camera[index] = _rigid_transform(entry, where)
    return torch.from_numpy(intrinsics).float(), torch.from_numpy(world_to_camera).float()


def guess_intrinsics(
    fov: float | None, picture: Path | None, image_size: tuple[int, int]
) -> tuple[Float[Tensor, "3 3"], str]:
    """Intrinsics without a camera track, and in words where they come from: --fov, EXIF of `picture`, or assumed."""
    if fov is not None:
        if not 1 <= fov <= 170:
            raise Animal4dError(f"--fov must lie between 1 and 170 degrees (along the longer side), got {fov:g}")
        return intrinsics_from_fov(fov, image_size), f"given field of view, {fov:g} degrees along the longer side"
    focal_35mm = _exif_focal_length(picture) if picture is not None else None
    if focal_35mm is not None:
        height, width = image_size
        # The 35 mm equivalent compares diagonals (CIPA DCG-001), so that it holds for pictures of any proportion.
        focal = focal_35mm / _FILM_DIAGONAL * math.hypot(width, height)
        intrinsics = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
        return intrinsics, f"EXIF of {picture.name if picture else ''}, {focal_35mm:g} mm in 35 mm terms"
    return intrinsics_from_fov(DEFAULT_FOV, image_size), (
        f"assumed, {DEFAULT_FOV:g} degrees along the longer side (--fov sets it)"
    )


def _read_entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise Animal4dError(f"no such cameras file: {path}") from error
    except (OSError, ValueError) as error:
        raise Animal4dError(f"{path} is not a JSON file of cameras ({error})") from error
    entries = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise Animal4dError(f'{path} must hold {{"frames": [{{"frame", "image_size", "K", "world_to_camera"}}, ...]}}')
    return entries


def _chosen_entries(
    path: Path, entries: list[dict[str, Any]], numbers: Sequence[int], total: int
) -> list[dict[str, Any]]:
    if all(type(entry.get("frame")) is int for entry in entries):
        by_number = {entry["frame"]: entry for entry in entries}
        if len(by_number) < len(entries):
            raise Animal4dError(f"{path} holds two cameras for one frame")
        missing = [number for number in numbers if number not in by_number]
        if missing:
            raise Animal4dError(
                f"{path} has {len(entries)} cameras, and none for frame {missing[0]}: every frame needs one "
                "(choose frames by --start, --stop and --stride)"
            )
        return [by_number[number] for number in numbers]
    if len(entries) == len(numbers):
        return entries
    if len(entries) == total:
        return [entries[number] for number in numbers]
    raise Animal4dError(f"{path} has {len(entries)} cameras but {len(numbers)} frames are read: one for each is needed")


def _intrinsics(entry: dict[str, Any], where: str, image_size: tuple[int, int]) -> NDArray[np.float64]:
    matrix = _matrix(entry, "K", (3, 3), where)
    bottom_row_wrong = not np.allclose(matrix[2], [0, 0, 1])
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or bottom_row_wrong or not np.allclose(matrix[1, 0], 0):
        raise Animal4dError(f'{where}: "K" must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy')
    if abs(matrix[0, 1]) > 1e-3 * matrix[0, 0]:
        raise Animal4dError(f'{where}: "K" has skew {matrix[0, 1]:g}; undistort the frames first')
    size = entry.get("image_size", list(image_size))
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise Animal4dError(f'{where}: "image_size" must be [height, width], got {size}')
    scale_y, scale_x = image_size[0] / size[0], image_size[1] / size[1]
    if abs(scale_x / scale_y - 1) > 0.01:
        raise Animal4dError(
            f'{where}: "image_size" is [height {size[0]}, width {size[1]}] but the frame is [{image_size[0]}, '
            f"{image_size[1]}]: cameras must belong to these frames"
        )
    return matrix * np.array([[scale_x], [scale_y], [1.0]])


def _rigid_transform(entry: dict[str, Any], where: str) -> NDArray[np.float64]:
    matrix = _matrix(entry, "world_to_camera", (4, 4), where)
    rotation = matrix[:3, :3]
    is_rotation = np.allclose(rotation @ rotation.T, np.eye(3), atol=2e-3) and np.linalg.det(rotation) > 0
    if not is_rotation or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise Animal4dError(
            f'{where}: "world_to_camera" must be a rigid transform, [R t; 0 0 0 1] with a rotation R (OpenCV axes)'
        )
    u, _, vt = np.linalg.svd(rotation)
    matrix[:3, :3] = u @ vt
    return matrix


def _matrix(entry: dict[str, Any], name: str, shape: tuple[int, int], where: str) -> NDArray[np.float64]:
    try:
        matrix = np.array(entry.get(name), dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != shape:
        raise Animal4dError(f'{where}: "{name}" must be a {shape[0]}x{shape[1]} matrix of numbers')
    if not np.isfinite(matrix).all():
        raise Animal4dError(f'{where}: "{name}" holds NaN or infinity')
    return matrix


def _exif_focal_length(picture: Path) -> float | None:
    """FocalLengthIn35mmFilm in millimetres; None where the picture does not say."""
    try:
        with PillowImage.open(picture) as file:
            value = file.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
            focal = float(value) if value is not None else 0.0
    except (OSError, SyntaxError, TypeError, ValueError, ZeroDivisionError):
        return None
    return focal if math.isfinite(focal) and 1 < focal < 5000 else None
