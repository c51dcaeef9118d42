"""Cameras from a COLMAP model: `cameras`, `images` (and `points3D`, not read) as .bin or .txt.

Layout: https://colmap.github.io/format.html. A pose is the world in the camera frame (OpenCV axes), a Hamilton
quaternion w, x, y, z and a translation; pixel centres lie at one half. Frames are not undistorted here, since masks and
results speak of the frames as they are: a camera whose distortion can be seen is refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.errors import Animal4dError
from animal4d.readers.camera_checks import checked_intrinsics, checked_transform, resized_intrinsics

_MODELS = {
    0: ("SIMPLE_PINHOLE", ("f", "cx", "cy")),
    1: ("PINHOLE", ("fx", "fy", "cx", "cy")),
    2: ("SIMPLE_RADIAL", ("f", "cx", "cy", "k1")),
    3: ("RADIAL", ("f", "cx", "cy", "k1", "k2")),
    4: ("OPENCV", ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
}
"""Name and parameters by COLMAP's number. Others (fisheyes and the like) are no pinholes."""
_PARAMETERS = dict(_MODELS.values())
_LARGEST_BEND = 1e-3
"""Distortion that is let pass, as a fraction of the picture's longer side: a fourth of a working pixel."""
_REMEDY = "undistort the frames by `colmap image_undistorter` and give its images and its model"


@dataclass(frozen=True)
class ColmapCamera:
    """A camera of the model."""

    model: str
    size: tuple[int, int]
    """Height and width in pixels."""
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """A picture that the model has a pose of."""

    name: str
    """Path below the folder of pictures."""
    camera: int
    quaternion: tuple[float, ...]
    """w, x, y, z."""
    translation: tuple[float, ...]


def read_colmap(
    folder: Path, numbers: Sequence[int], total: int, image_size: tuple[int, int], stems: Sequence[str] | None
) -> tuple[Float[ndarray, "frames 3 3"], Float[ndarray, "frames 4 4"]]:
    """Intrinsics in pixels of the frames, and world-to-camera transforms, of the frames with these numbers.

    `folder` holds the model, or has it in `sparse` or `sparse/0`. Pictures are matched with the frames by name, else by
    the number in their names. Raises Animal4dError where the model is damaged, a camera is no pinhole, or a frame has
    none.
    """
    folder = _model_folder(folder)
    cameras, images = read_model(folder)
    chosen = _matched(folder, images, numbers, total, stems)
    intrinsics = np.empty((len(numbers), 3, 3))
    world_to_camera = np.empty((len(numbers), 4, 4))
    for index, image in enumerate(chosen):
        where = f"{folder}, {image.name}"
        if image.camera not in cameras:
            raise Animal4dError(f"{where}: the model has no camera {image.camera}: export it again")
        camera = cameras[image.camera]
        matrix = checked_intrinsics(_pinhole(camera, where), "its camera", where)
        intrinsics[index] = resized_intrinsics(matrix, camera.size, image_size, "the size of its camera", where)
        world_to_camera[index] = checked_transform(_pose(image, where), "its pose", where)
    return intrinsics, world_to_camera


def read_model(folder: Path) -> tuple[dict[int, ColmapCamera], list[ColmapImage]]:
    """Cameras by their numbers, and pictures; from the binary files where both kinds are there, as COLMAP does.

    Raises Animal4dError where the files are damaged, or hold cameras that are no pinholes with radial distortion.
    """
    binary = (folder / "cameras.bin").is_file()
    suffix = ".bin" if binary else ".txt"
    paths = folder / f"cameras{suffix}", folder / f"images{suffix}"
    try:
        if binary:
            return _binary_cameras(paths[0]), _binary_images(paths[1])
        return _text_cameras(paths[0]), _text_images(paths[1])
    except FileNotFoundError as error:
        raise Animal4dError(f"{error.filename} is missing: export the COLMAP model again") from error
    except (OSError, ValueError, IndexError) as error:
        raise Animal4dError(
            f"{folder}: {paths[0].name} or {paths[1].name} is damaged ({error}): export it again"
        ) from error


def _model_folder(folder: Path) -> Path:
    def holds(path: Path) -> bool:
        return (path / "cameras.bin").is_file() or (path / "cameras.txt").is_file()

    if holds(folder):
        return folder
    for base in (folder / "sparse", folder):
        if holds(base):
            return base
        models = [path for path in sorted(base.iterdir()) if holds(path)] if base.is_dir() else []
        if len(models) > 1:
            raise Animal4dError(f"{base} holds {len(models)} COLMAP models: give one of them, for example {models[0]}")
        if models:
            return models[0]
    raise Animal4dError(f"{folder} holds no COLMAP model (cameras and images, .bin or .txt): give its folder")


class _Bytes:
    """A file of little-endian numbers, read from its beginning."""

    def __init__(self, path: Path) -> None:
        self.data, self.place = path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        """Numbers of a `struct` layout. Raises ValueError where the file ends before."""
        place = self.place
        self.skip(struct.calcsize("<" + layout))
        return struct.unpack_from("<" + layout, self.data, place)

    def text(self) -> str:
        end = self.data.find(b"\0", self.place)
        if end < 0:
            raise ValueError("it ends too early")
        found = self.data[self.place : end].decode()
        self.place = end + 1
        return found

    def skip(self, count: int) -> None:
        if self.place + count > len(self.data):
            raise ValueError("it ends too early")
        self.place += count


def _binary_cameras(path: Path) -> dict[int, ColmapCamera]:
    file = _Bytes(path)
    cameras = {}
    for _ in range(file.take("Q")[0]):
        number, kind, width, height = file.take("iiQQ")
        if kind not in _MODELS:
            raise Animal4dError(f"{path}: camera {number} is of COLMAP's model number {kind}, no pinhole: {_REMEDY}")
        model, names = _MODELS[kind]
        cameras[number] = ColmapCamera(model, (height, width), file.take(f"{len(names)}d"))
    return cameras


def _binary_images(path: Path) -> list[ColmapImage]:
    file = _Bytes(path)
    images = []
    for _ in range(file.take("Q")[0]):
        _, *pose, camera = file.take("i7di")
        name = file.text()
        file.skip(24 * file.take("Q")[0])  # of each point x, y and a number
        images.append(ColmapImage(name, camera, tuple(pose[:4]), tuple(pose[4:])))
    return images


def _text_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        number, model, width, height, *parameters = line.split()
        if model not in _PARAMETERS:
            raise Animal4dError(f"{path}: camera {number} is of COLMAP's model {model}, no pinhole: {_REMEDY}")
        values = tuple(float(value) for value in parameters)
        if len(values) != len(_PARAMETERS[model]):
            raise ValueError(f"camera {number} has {len(values)} parameters")
        cameras[int(number)] = ColmapCamera(model, (int(height), int(width)), values)
    return cameras


def _text_images(path: Path) -> list[ColmapImage]:
    """Two lines per picture; the second, of its points, may be empty."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    images = []
    for line in lines[::2]:
        if not line.strip():
            continue
        _, *pose, camera, name = line.split(maxsplit=9)
        values = tuple(float(value) for value in pose)
        if len(values) != 7:
            raise ValueError(f"the line {line[:40]!r} is none of a picture")
        images.append(ColmapImage(name.strip(), int(camera), values[:4], values[4:]))
    return images


def _pinhole(camera: ColmapCamera, where: str) -> Float[ndarray, "3 3"]:
    """Raises Animal4dError where the distortion can be seen."""
    named = dict(zip(_PARAMETERS[camera.model], camera.parameters, strict=True))
    fx, fy = named.get("fx", named.get("f", 0.0)), named.get("fy", named.get("f", 0.0))
    matrix = np.array([[fx, 0.0, named["cx"]], [0.0, fy, named["cy"]], [0.0, 0.0, 1.0]])
    coefficients = [named.get(name, 0.0) for name in ("k1", "k2", "p1", "p2")]
    if min(*camera.size, fx, fy) > 0 and any(coefficients):
        bend = _bend(matrix, camera.size, coefficients)
        if not bend <= _LARGEST_BEND * max(camera.size):
            raise Animal4dError(f"{where}: the lens moves pixels by up to {bend:.1f}: {_REMEDY}")
    return matrix


def _bend(matrix: Float[ndarray, "3 3"], size: tuple[int, int], coefficients: Sequence[float]) -> float:
    """Largest distance in pixels by which the distortion (Brown 1966, as OpenCV's) moves a pixel of the picture."""
    height, width = size
    u, v = np.meshgrid(np.linspace(0, width, 33), np.linspace(0, height, 33))
    x, y = (u - matrix[0, 2]) / matrix[0, 0], (v - matrix[1, 2]) / matrix[1, 1]
    k1, k2, p1, p2 = coefficients
    r2 = x * x + y * y
    radial = k1 * r2 + k2 * r2 * r2
    dx = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    return float(np.hypot(dx * matrix[0, 0], dy * matrix[1, 1]).max())


def _pose(image: ColmapImage, where: str) -> Float[ndarray, "4 4"]:
    w, x, y, z = image.quaternion
    length = float(np.linalg.norm(image.quaternion))
    if len(image.translation) != 3 or not 0.5 < length < 2:
        raise Animal4dError(f"{where}: its pose is no rotation and translation: export the COLMAP model again")
    w, x, y, z = (value / length for value in (w, x, y, z))
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = image.translation
    return pose


def _matched(
    folder: Path, images: Sequence[ColmapImage], numbers: Sequence[int], total: int, stems: Sequence[str] | None
) -> list[ColmapImage]:
    """The picture of each chosen frame."""
    by_stem = {PurePosixPath(image.name.replace("\\", "/")).stem: image for image in images}
    if len(by_stem) < len(images):
        raise Animal4dError(f"{folder} has several pictures of one name: give a model of these frames alone")
    if stems is not None and any(stems[number] in by_stem for number in numbers):
        found = [by_stem.get(stems[number]) for number in numbers]
    else:
        by_number = _by_number(folder, by_stem, total)
        found = [by_number.get(number) for number in numbers]
    missing = [number for number, image in zip(numbers, found, strict=True) if image is None]
    if missing:
        name = "" if stems is None else f" ({stems[missing[0]]})"
        raise Animal4dError(
            f"{folder} has poses of {len(images)} pictures, and none for frame {missing[0]}{name}: every frame needs "
            "one (choose frames by --start, --stop and --stride)"
        )
    return [image for image in found if image is not None]


def _by_number(folder: Path, by_stem: dict[str, ColmapImage], total: int) -> dict[int, ColmapImage]:
    """Pictures by frame number, from the last number in their names, which may count from 0 or from 1."""
    numbered = {int(digits[-1]): image for stem, image in by_stem.items() if (digits := re.findall(r"\d+", stem))}
    if len(numbered) == len(by_stem) and numbered:
        if 0 in numbered and max(numbered) < total:
            return numbered
        if 0 not in numbered and max(numbered) == total:
            return {number - 1: image for number, image in numbered.items()}
    raise Animal4dError(
        f"the {len(by_stem)} pictures of {folder} cannot be matched with {total} frames: give the folder of pictures "
        "that the model was made from as the source"
    )
