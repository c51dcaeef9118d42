"""Cameras from an npz of VGGT (arXiv 2503.11651) or of MegaSaM (arXiv 2412.04463).

VGGT's predictions have `extrinsic` (frames, 3, 4), the world in OpenCV's camera frame, and `intrinsic`
(frames, 3, 3); MegaSaM's `*_sgd_cvd_hr.npz` has `cam_c2w` (frames, 4, 4), cameras in the world, and one `intrinsic`
(3, 3). Both speak of pictures that were shrunk and cut first, each in its own way, which is undone here. Their worlds
have a scale of their own.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.errors import Animal4dError
from animal4d.files.atomic import open_npz
from animal4d.readers.camera_checks import checked_intrinsics, checked_transform

_READ = ("extrinsic", "extrinsics", "intrinsic", "intrinsics", "cam_c2w")
_PICTURES = ("images", "depth", "depths", "world_points")
"""Arrays that tell the size of the pictures that were looked at."""
_PATCH = 14
"""VGGT rounds the sides of its pictures to whole patches."""
_MEGASAM_PIXELS = 384 * 512
_MEGASAM_MULTIPLE = 8
_ASPECT = 0.01
_REMEDY = "save extrinsic and intrinsic (VGGT), or cam_c2w and intrinsic (MegaSaM), as they come"
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise at files that are none of theirs, damaged or encrypted."""


def read_camera_arrays(
    path: Path, numbers: Sequence[int], total: int, image_size: tuple[int, int]
) -> tuple[Float[ndarray, "frames 3 3"], Float[ndarray, "frames 4 4"]]:
    """Intrinsics in pixels of the frames, and world-to-camera transforms, of the frames with these numbers.

    The file has a camera for each chosen frame or for each frame of the video. Raises Animal4dError where it is none of
    the two, is damaged, or was made of other pictures.
    """
    arrays, shapes = _read(path)
    is_megasam = "cam_c2w" in arrays
    poses = arrays["cam_c2w"] if is_megasam else arrays.get("extrinsic", arrays.get("extrinsics"))
    matrices = arrays.get("intrinsic", arrays.get("intrinsics"))
    if poses is None or matrices is None:
        raise Animal4dError(
            f"{path} must hold extrinsic and intrinsic (VGGT), or cam_c2w and intrinsic (MegaSaM); it has "
            f"{', '.join(sorted(shapes)) or 'nothing'}"
        )
    poses = poses[0] if poses.ndim == 4 and len(poses) == 1 else poses
    matrices = matrices[0] if matrices.ndim == 4 and len(matrices) == 1 else matrices
    if poses.ndim != 3 or poses.shape[1:] not in ((3, 4), (4, 4)):
        raise Animal4dError(f"{path}: the poses must be frames x 3 x 4 or frames x 4 x 4, got {poses.shape}: {_REMEDY}")
    if matrices.shape == (3, 3):
        matrices = np.broadcast_to(matrices, (len(poses), 3, 3))
    if matrices.shape != (len(poses), 3, 3):
        raise Animal4dError(f"{path}: intrinsic must be 3 x 3 or {len(poses)} x 3 x 3, got {matrices.shape}: {_REMEDY}")
    places = _places(path, len(poses), numbers, total)
    size = _picture_size(path, shapes, matrices)
    to_frame = _megasam_to_frame(size, image_size) if is_megasam else _vggt_to_frame(path, size, image_size)
    if to_frame is None:
        to_frame = _copy_to_frame(path, size, image_size)

    intrinsics = np.empty((len(numbers), 3, 3))
    world_to_camera = np.empty((len(numbers), 4, 4))
    for index, (number, place) in enumerate(zip(numbers, places, strict=True)):
        where = f"{path}, frame {number}"
        intrinsics[index] = to_frame @ checked_intrinsics(matrices[place], "intrinsic", where)
        pose = np.concatenate((poses[place][:3], [[0.0, 0.0, 0.0, 1.0]]))
        pose = checked_transform(pose, "cam_c2w" if is_megasam else "extrinsic", where)
        world_to_camera[index] = np.linalg.inv(pose) if is_megasam else pose
    return intrinsics, world_to_camera


def _read(path: Path) -> tuple[dict[str, Float[ndarray, "..."]], dict[str, tuple[int, ...]]]:
    """The arrays that matter, and the shapes of all."""
    try:
        with open_npz(path) as file:
            shapes = {name: _shape(file, name) for name in file.files}
            arrays = {name: file[name].astype(np.float64) for name in _READ if name in file.files}
    except FileNotFoundError as error:
        raise Animal4dError(f"no such cameras file: {path}") from error
    except _UNREADABLE as error:
        reason = "it holds Python objects" if "pickle" in str(error) else error
        raise Animal4dError(
            f"{path} is no npz of cameras, or is damaged ({reason}): save it again by numpy.savez"
        ) from error
    return arrays, shapes


def _shape(file: Any, name: str) -> tuple[int, ...]:
    """From the header alone: pictures of a long clip are gigabytes."""
    with file.zip.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(member)[0]


def _places(path: Path, count: int, numbers: Sequence[int], total: int) -> list[int]:
    if count == total:
        return list(numbers)
    if count == len(numbers):
        return list(range(count))
    raise Animal4dError(f"{path} has {count} cameras but {len(numbers)} frames are read: one for each is needed")


def _picture_size(
    path: Path, shapes: Mapping[str, tuple[int, ...]], matrices: Float[ndarray, "frames 3 3"]
) -> tuple[int, int]:
    """Height and width of the pictures that were looked at; without them the principal point is their middle."""
    for name in _PICTURES:
        shape = shapes.get(name, ())
        sides = [side for side in shape[-3:] if side > 4]
        if len(shape) >= 3 and len(sides) >= 2:
            return (shape[-2], shape[-1]) if shape[-1] > 4 else (shape[-3], shape[-2])
    middle = matrices[0, :2, 2]
    if not (np.isfinite(middle).all() and (middle >= 1).all()):
        raise Animal4dError(f"{path} does not tell the size of its pictures: save it with its images")
    return round(2 * float(middle[1])), round(2 * float(middle[0]))


def _vggt_to_frame(path: Path, size: tuple[int, int], image_size: tuple[int, int]) -> Float[ndarray, "3 3"] | None:
    """From VGGT's pixels to the frame's; None where its pictures are not made as `load_and_preprocess_images` does.

    "crop" gives pictures their width and cuts the height in the middle, where it is larger; "pad" fills up to a square.
    """
    (rows, columns), (height, width) = size, image_size
    full = _in_patches(height * columns / width)
    longer = max(height, width)
    inner_rows, inner_columns = (rows if side == longer else _in_patches(side * rows / longer) for side in image_size)
    cut = min(full, columns) == rows
    filled = rows == columns and (inner_rows, inner_columns) != size
    if filled and (not cut or _white_sides(path)):
        corner = (inner_rows - rows) // 2, (inner_columns - columns) // 2
        return _to_frame((inner_rows, inner_columns), corner, image_size)
    return _to_frame((full, columns), ((full - rows) // 2, 0), image_size) if cut else None


def _white_sides(path: Path) -> bool:
    """Whether the pictures were filled up on both sides: upright frames give squares either way.

    Raises Animal4dError where the file does not have them.
    """
    with np.load(path, allow_pickle=False) as file:
        if "images" not in file.files:
            raise Animal4dError(
                f"{path}: its pictures may be cut or filled up, which only they tell: save it with its images"
            )
        images = file["images"].reshape(-1, *file["images"].shape[-3:])[0]
    sides = images[..., [0, -1]] if images.shape[0] == 3 else images[:, [0, -1]]
    return bool((sides == (255 if images.dtype == np.uint8 else 1)).all())


def _in_patches(side: float) -> int:
    return round(side / _PATCH) * _PATCH


def _megasam_to_frame(size: tuple[int, int], image_size: tuple[int, int]) -> Float[ndarray, "3 3"] | None:
    """From MegaSaM's pixels to the frame's; None where its pictures have another size than its script makes.

    It shrinks pictures to so many pixels and cuts right and bottom to multiples of eight.
    """
    shrink = (_MEGASAM_PIXELS / (image_size[0] * image_size[1])) ** 0.5
    full = int(image_size[0] * shrink), int(image_size[1] * shrink)
    if tuple(side - side % _MEGASAM_MULTIPLE for side in full) != size:
        return None
    return _to_frame(full, (0, 0), image_size)


def _copy_to_frame(path: Path, size: tuple[int, int], image_size: tuple[int, int]) -> Float[ndarray, "3 3"]:
    """For pictures that are plain copies of the frames, smaller or larger."""
    if abs(size[0] * image_size[1] / (size[1] * image_size[0]) - 1) > _ASPECT:
        raise Animal4dError(
            f"{path} speaks of pictures of {size[1]}x{size[0]} pixels, which are not made from frames of "
            f"{image_size[1]}x{image_size[0]}: cameras must belong to these frames"
        )
    return _to_frame(size, (0, 0), image_size)


def _to_frame(full: tuple[int, int], cut: tuple[int, int], image_size: tuple[int, int]) -> Float[ndarray, "3 3"]:
    """From pixels of a picture that was resized to `full` (height, width), then cut by `cut` (top, left)."""
    scale_y, scale_x = image_size[0] / full[0], image_size[1] / full[1]
    return np.array([[scale_x, 0.0, cut[1] * scale_x], [0.0, scale_y, cut[0] * scale_y], [0.0, 0.0, 1.0]])
