"""Cameras that come with a clip: a track of one of several formats, a focal length in EXIF, or an assumed one."""

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
from animal4d.readers.camera_checks import checked_intrinsics, checked_transform, resized_intrinsics
from animal4d.readers.cameras_colmap import read_colmap
from animal4d.readers.cameras_npz import read_camera_arrays

DEFAULT_FOV = 50.0
"""Degrees along the longer side: a phone's main camera filming video is not far from it."""
_FILM_DIAGONAL = math.hypot(36.0, 24.0)


def read_cameras(
    path: Path, numbers: Sequence[int], total: int, image_size: tuple[int, int], stems: Sequence[str] | None = None
) -> tuple[Float[Tensor, "frames 3 3"], Float[Tensor, "frames 4 4"]]:
    """Intrinsics and world-to-camera transforms of the chosen frames.

    `path` is a `cameras.json` as runs hold it, the folder of a COLMAP model (`cameras_colmap.py`), or an npz of VGGT or
    MegaSaM (`cameras_npz.py`). `total` counts the frames of the video or folder, `stems` are the names of its pictures
    without suffix, where it has pictures. Raises Animal4dError where cameras cannot be used, or a frame has none.
    """
    if path.is_dir():
        intrinsics, world_to_camera = read_colmap(path, numbers, total, image_size, stems)
    elif path.suffix.lower() == ".npz":
        intrinsics, world_to_camera = read_camera_arrays(path, numbers, total, image_size)
    else:
        intrinsics, world_to_camera = _read_json(path, numbers, total, image_size)
    return torch.from_numpy(intrinsics).float(), torch.from_numpy(world_to_camera).float()


def _read_json(
    path: Path, numbers: Sequence[int], total: int, image_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Entries are found by their "frame" (index in the video); where they have none there must be one for each chosen
    frame or one for each frame of the video. Intrinsics for another resolution of the same picture are rescaled."""
    entries = _chosen_entries(path, _read_entries(path), numbers, total)
    intrinsics = np.empty((len(entries), 3, 3))
    world_to_camera = np.empty((len(entries), 4, 4))
    for index, (number, entry) in enumerate(zip(numbers, entries, strict=True)):
        where = f"{path}, frame {number}"
        intrinsics[index] = _intrinsics(entry, where, image_size)
        world_to_camera[index] = checked_transform(entry.get("world_to_camera"), '"world_to_camera"', where)
    return intrinsics, world_to_camera


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
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise Animal4dError(
            f"{path} is not a JSON file of cameras ({reason}): give a cameras.json, the folder of a COLMAP model, or "
            "an npz of VGGT or MegaSaM"
        ) from error
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
    matrix = checked_intrinsics(entry.get("K"), '"K"', where)
    size = entry.get("image_size", list(image_size))
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise Animal4dError(f'{where}: "image_size" must be [height, width], got {size}')
    return resized_intrinsics(matrix, (size[0], size[1]), image_size, '"image_size"', where)


def _exif_focal_length(picture: Path) -> float | None:
    """FocalLengthIn35mmFilm in millimetres; None where the picture does not say."""
    try:
        with PillowImage.open(picture) as file:
            value = file.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
            focal = float(value) if value is not None else 0.0
    except (OSError, SyntaxError, TypeError, ValueError, ZeroDivisionError):
        return None
    return focal if math.isfinite(focal) and 1 < focal < 5000 else None
