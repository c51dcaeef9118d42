"""COP3D's sequences: the SQLite index, its cameras, and the padded frames that the published method works on.

A frame is never cropped: it lies in the top-left corner of a square of its longer side, which is scaled to 800 x 800
and then to the working size. The `Crop` of such a clip has its origin at 0 and `max(height, width) / working size`
original pixels per working pixel. COP3D: arXiv 2211.03889; the index is that of PyTorch3D's SQL dataset.
"""

from __future__ import annotations

import difflib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PureWindowsPath
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip, Crop
from animal4d.errors import Animal4dError
from animal4d.files.paths import join_inside
from animal4d.geometry.cameras import Cameras, cameras_from_pytorch3d
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.readers.cameras import guess_intrinsics
from animal4d.readers.folder import DEFAULT_FPS, read_image, size_in_words
from animal4d.readers.masks import read_mask_values
from animal4d.readers.source import Mask, Progress, Selection, frame_range, numbers_in_words
from animal4d.readers.usable_masks import measure_masks

INDEX_NAME = "metadata.sqlite"
_LEGACY_FORMAT = "ndc_norm_image_bounds"
_FORMATS = ("ndc_isotropic", _LEGACY_FORMAT)
_ORTHONORMAL = 2e-3
"""Largest error of R R^T that rounding to float32 and back can explain."""
_NAMES_SHOWN = 5
# Names of columns are not quoted: SQLite would take an unknown name in quotes for a string.
_SEQUENCES = (
    "SELECT sequence_name, category, viewpoint_quality_score, "
    "(SELECT COUNT(*) FROM frame_annots WHERE frame_annots.sequence_name = sequence_annots.sequence_name) "
    "FROM sequence_annots"
)
_FRAMES = (
    "SELECT frame_number, frame_timestamp, _image_path, _mask_path, _image_size, _viewpoint_R, _viewpoint_T, "
    "_viewpoint_focal_length, _viewpoint_principal_point, _viewpoint_intrinsics_format FROM frame_annots"
)


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a sequence are read: PLACES start, start + stride, ... in its list, before stop."""

    start: int = 0
    stop: int | None = None
    stride: int = 1
    max_frames: int | None = None


@dataclass(frozen=True)
class IndexedSequence:
    """A row of the table of sequences."""

    name: str
    category: str
    n_frames: int
    viewpoint_quality_score: float | None
    """How much COP3D trusts the cameras, higher is better; None where it does not say."""


@dataclass(frozen=True)
class FrameMask:
    """The file of a mask and how its values are meant."""

    path: Path
    refined: bool = False
    """0/1 or 0/255, rather than 255 times the probability."""


@dataclass(frozen=True)
class IndexedFrame:
    """A row of the table of frames, with paths that are known to lie inside of the root."""

    number: int
    timestamp: float
    """Seconds; NaN where none is written."""
    image_path: Path
    mask: FrameMask | None
    image_size: tuple[int, int]
    """Height and width."""
    camera: Cameras | None
    """Of the original frame; one camera."""


@dataclass(frozen=True)
class Cop3dIndex:
    """The index of a COP3D folder, opened read-only for each question."""

    root: Path
    """Folder that the paths in the index are relative to."""
    database: Path

    def sequences(self) -> list[IndexedSequence]:
        """All sequences by name. Raises Animal4dError where the index cannot be read."""
        rows = self._rows("sequence_annots", f"{_SEQUENCES} ORDER BY sequence_name")
        return [self._sequence(row) for row in rows]

    def sequence(self, name: str) -> IndexedSequence:
        """One sequence. Raises Animal4dError, with names that are near, where it is not there."""
        rows = self._rows("sequence_annots", f"{_SEQUENCES} WHERE sequence_name = ?", name)
        if rows:
            return self._sequence(rows[0])
        names = [str(row[0]) for row in self._rows("sequence_annots", "SELECT sequence_name FROM sequence_annots")]
        if not names:
            raise Animal4dError(f"{self.database} holds no sequences: download COP3D's index again")
        near = difflib.get_close_matches(name, names, n=_NAMES_SHOWN, cutoff=0.4) or sorted(names)[:_NAMES_SHOWN]
        raise Animal4dError(
            f'{self.database} has no sequence "{name}"; near are {", ".join(near)} '
            f"(`animal4d data list` shows all {len(names)})"
        )

    def frames(self, name: str) -> list[IndexedFrame]:
        """All frames of a sequence by number. Their files need not be there yet.

        Raises Animal4dError where the sequence is not there, or a row is damaged or leads out of the root.
        """
        sequence = self.sequence(name)
        rows = self._rows("frame_annots", f"{_FRAMES} WHERE sequence_name = ? ORDER BY frame_number", name)
        frames = [self._frame(sequence.name, row) for row in rows]
        if not frames:
            raise Animal4dError(f"{self.database} lists sequence {name} but none of its frames: download it again")
        if any(after.number <= before.number for before, after in pairwise(frames)):
            raise Animal4dError(f"{self.database}: a frame of sequence {name} is listed twice: download it again")
        return frames

    def _rows(self, table: str, query: str, *values: str) -> list[tuple[Any, ...]]:
        if not self.database.is_file():
            raise Animal4dError(f"no COP3D index at {self.database}: give the folder that holds {INDEX_NAME}")
        try:
            with closing(sqlite3.connect(f"{self.database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise Animal4dError(
                f"{self.database}, table {table}: not COP3D's index, or damaged ({error}): download it again"
            ) from error
        except UnicodeError as error:
            raise Animal4dError(f"{values[0]!r} is not the name of a sequence ({error})") from error

    def _sequence(self, row: tuple[Any, ...]) -> IndexedSequence:
        name, category, score, n_frames = row
        for value in (name, category):
            # Both become names of folders.
            if not isinstance(value, str) or not value.strip(".") or set(value) & set("/\\\0"):
                raise Animal4dError(
                    f"{self.database}, sequence {name!r}, category {category!r}: must be plain names, without slashes"
                )
        has_score = isinstance(score, float | int) and math.isfinite(score)
        return IndexedSequence(name, category, int(n_frames), float(score) if has_score else None)

    def _frame(self, sequence: str, row: tuple[Any, ...]) -> IndexedFrame:
        number, timestamp, image_path, mask_path, size, *viewpoint = row
        where = f"{self.database}, sequence {sequence}, frame {number}"
        if not isinstance(number, int) or number < 0:
            raise Animal4dError(f"{where}: frame_number must be a whole number from 0 on")
        image_size = self._image_size(size, where)
        mask = None if mask_path in (None, "") else FrameMask(self._path(mask_path, "_mask_path", where))
        return IndexedFrame(
            number=number,
            timestamp=float(timestamp) if isinstance(timestamp, float | int) else math.nan,
            image_path=self._path(image_path, "_image_path", where),
            mask=mask,
            image_size=image_size,
            camera=_camera(viewpoint, image_size, where),
        )

    def _path(self, value: Any, column: str, where: str) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise Animal4dError(f"{where}: {column} must be the path of a file, got {value!r}")
        # Windows' rules know both slashes and drive letters, so that an index means the same on every machine.
        path = PureWindowsPath(value)
        if path.anchor or ".." in path.parts:
            raise Animal4dError(f'{where}: {column} "{value}" must be a path inside of {self.root}, without ".."')
        try:
            return join_inside(self.root, value)
        except Animal4dError as error:
            raise Animal4dError(f"{where}: {column} {error}") from error

    def _image_size(self, value: Any, where: str) -> tuple[int, int]:
        if not isinstance(value, bytes) or len(value) != 8:
            raise Animal4dError(f"{where}: _image_size must be two 32-bit integers, height and width")
        height, width = np.frombuffer(value, dtype="<i4").tolist()
        if not (0 < height < 1 << 16 and 0 < width < 1 << 16):
            raise Animal4dError(f"{where}: _image_size is height {height}, width {width}: not the size of a picture")
        return height, width


def open_index(root: Path) -> Cop3dIndex:
    """The index of a COP3D folder. Raises Animal4dError, with where else to look, where there is none."""
    database = root / INDEX_NAME
    if not database.is_file():
        beside = root / "cop3d_data"
        hint = (
            f"; {beside} has one: write external:{root}:<sequence>"
            if (beside / INDEX_NAME).is_file()
            else ": give the folder that holds it"
        )
        raise Animal4dError(f"no COP3D index {database}{hint}")
    return Cop3dIndex(root, database)


def read_cop3d(
    root: Path,
    sequence: str,
    choice: FrameChoice | None = None,
    *,
    fov: float | None = None,
    fps: float | None = None,
    working_size: int = 256,
    name: str | None = None,
    progress: Progress | None = None,
) -> Clip:
    """A sequence of COP3D with its masks and cameras; `sequence_clip` explains the arguments.

    Raises Animal4dError where index, sequence or a picture is missing or damaged.
    """
    frames = open_index(root).frames(sequence)
    return sequence_clip(
        f"cop3d:{root}:{sequence}",
        frames,
        choice or FrameChoice(),
        fov=fov,
        fps=fps,
        working_size=working_size,
        name=name or sequence,
        progress=progress,
    )


def sequence_clip(
    source: str,
    frames: Sequence[IndexedFrame],
    choice: FrameChoice,
    *,
    fov: float | None,
    fps: float | None,
    working_size: int,
    name: str,
    progress: Progress | None,
) -> Clip:
    """The chosen frames as a clip of whole, padded frames.

    Args:
        source: Address of the sequence, for messages and for the record.
        frames: ALL frames of the sequence, in order.
        choice: Places in `frames`; the clip keeps the numbers of the index.
        fov: Field of view in degrees, only where the index holds no cameras.
        fps: Only where the index holds no times.
    """
    warnings: list[str] = []
    places = _chosen(source, len(frames), choice)
    chosen = [frames[place] for place in places]
    size = _common_size(source, chosen)
    selection = _selection(source, frames, places, fps, warnings)
    _check_images(source, chosen)
    masks = _Masks(chosen)
    boxes = measure_masks(masks, selection.numbers, warnings, progress)

    crop = whole_frame_crop(len(chosen), size, working_size)
    images = np.empty((len(chosen), working_size, working_size, 3), np.uint8)
    working_masks = np.zeros((len(chosen), working_size, working_size), np.float32)
    for index, (frame, mask) in enumerate(zip(chosen, masks.read(), strict=True)):
        image = read_image(frame.image_path)
        if image.shape[:2] != size:
            raise Animal4dError(
                f"{frame.image_path} is {size_in_words(image.shape[:2])} but the index says {size_in_words(size)}: "
                "cameras would not fit; restore the original picture"
            )
        images[index] = padded(image, working_size)
        if mask is not None and boxes[index] is not None:
            working_masks[index] = padded(mask, working_size).clip(0, 1)
        if progress is not None:
            progress("reading frames", index + 1, len(chosen))

    intrinsics, world_to_camera, intrinsics_source = _cameras(source, chosen, size, fov, warnings)
    return Clip(
        name=name,
        frames=torch.from_numpy(images),
        masks=torch.from_numpy(working_masks),
        mask_valid=torch.tensor([box is not None for box in boxes]),
        frame_numbers=torch.tensor(selection.numbers),
        times=torch.tensor(selection.times, dtype=torch.float32),
        fps=selection.fps,
        intrinsics=crop.working_intrinsics(intrinsics),
        crop=crop,
        world_to_camera=world_to_camera,
        intrinsics_source=intrinsics_source,
        mask_source=masks.description,
        source=source,
        warnings=tuple(warnings),
    )


def whole_frame_crop(n_frames: int, image_size: tuple[int, int], working_size: int) -> Crop:
    """Working images that show the whole frame, padded to a square on the right or below."""
    scale = max(image_size) / working_size
    return Crop(torch.zeros(n_frames, 2), torch.full((n_frames,), scale), image_size)


def padded(image: NDArray[Any], working_size: int) -> NDArray[Any]:
    """A picture or mask in the top-left corner of a square, black beyond: bilinear to 800 x 800 as published.

    The way on to the working size averages areas, as for all other clips: bilinear sampling would skip pixels.
    """
    height, width = image.shape[:2]
    side = max(height, width)
    square = cv2.copyMakeBorder(image, 0, side - height, 0, side - width, cv2.BORDER_CONSTANT, value=0)
    square = cv2.resize(square, (PADDED_SIZE, PADDED_SIZE), interpolation=cv2.INTER_LINEAR)
    interpolation = cv2.INTER_AREA if working_size < PADDED_SIZE else cv2.INTER_LINEAR
    return cv2.resize(square, (working_size, working_size), interpolation=interpolation)


class _Masks:
    """Masks of the chosen frames at their own resolution; a file that is not there is a missing mask."""

    def __init__(self, frames: Sequence[IndexedFrame]) -> None:
        self._frames = frames
        self._masks = [None if frame.mask is None or not frame.mask.path.is_file() else frame.mask for frame in frames]
        refined = sum(mask is not None and mask.refined for mask in self._masks)
        others = sum(mask is not None and not mask.refined for mask in self._masks)
        kinds = [f"{words} ({count} frames)" for words, count in (("refined", refined), ("COP3D's", others)) if count]
        self.description = f"masks of the sequence: {' and '.join(kinds) or 'none'}"
        self.warnings: list[str] = []

    def read(self) -> Iterator[Mask | None]:
        for frame, mask in zip(self._frames, self._masks, strict=True):
            yield None if mask is None else _read_mask(mask, frame.image_size)


def _read_mask(mask: FrameMask, image_size: tuple[int, int]) -> Mask:
    values, peak = read_mask_values(mask.path)
    if values.shape != image_size:
        raise Animal4dError(
            f"mask {mask.path} is {size_in_words(values.shape)} but its frame is {size_in_words(image_size)}: masks "
            "must have the frame's size; make it again, or remove it"
        )
    if mask.refined and values.max(initial=0) <= 1:
        peak = 1.0
    return np.divide(values, peak, dtype=np.float32)


def _chosen(source: str, total: int, choice: FrameChoice) -> range:
    places = frame_range(choice.start, choice.stop, choice.stride, choice.max_frames, total)
    if not places:
        raise Animal4dError(f"{source} has {total} frames; none is left from --start {choice.start} on")
    return places


def _common_size(source: str, frames: Sequence[IndexedFrame]) -> tuple[int, int]:
    size = frames[0].image_size
    for frame in frames:
        if frame.image_size != size:
            raise Animal4dError(
                f"{source}: frame {frame.number} is {size_in_words(frame.image_size)} but frame {frames[0].number} is "
                f"{size_in_words(size)}: all frames must have one size (choose some by --start and --stop)"
            )
    return size


def _selection(
    source: str, frames: Sequence[IndexedFrame], places: range, fps: float | None, warnings: list[str]
) -> Selection:
    """Numbers and times of the chosen frames; times from the numbers where the index has none that increase."""
    numbers = np.array([frame.number for frame in frames])
    stamps = np.array([frame.timestamp for frame in frames], dtype=np.float32)
    if np.isfinite(stamps).all() and stamps[0] >= 0 and (np.diff(stamps) > 0).all():
        if fps is not None:
            raise Animal4dError(f"--fps is for frames without times; {source} has its own")
        times = stamps.astype(np.float64)
    else:
        if fps is not None and not 0 < fps < 10_000:
            raise Animal4dError(f"--fps must be a positive number of frames per second, got {fps}")
        if fps is None:
            warnings.append(
                f"the index holds no increasing times: {DEFAULT_FPS:g} frames per second assumed (--fps sets it)"
            )
        times = numbers / (fps or DEFAULT_FPS)
    chosen = times[places.start : places.stop : places.step]
    several = chosen if len(chosen) > 1 else times
    duration = float(several[-1] - several[0])
    rate = (len(several) - 1) / duration if duration > 0 else DEFAULT_FPS
    return Selection(tuple(numbers[list(places)].tolist()), tuple(chosen.tolist()), rate)


def _check_images(source: str, frames: Sequence[IndexedFrame]) -> None:
    missing = [frame for frame in frames if not frame.image_path.is_file()]
    if missing:
        numbers = numbers_in_words([frame.number for frame in missing])
        raise Animal4dError(
            f"{missing[0].image_path} does not exist ({source} lacks {numbers}): download the sequence again, or "
            "choose other frames by --start, --stop and --stride"
        )


def _cameras(
    source: str, frames: Sequence[IndexedFrame], size: tuple[int, int], fov: float | None, warnings: list[str]
) -> tuple[Float[Tensor, "frames 3 3"], Float[Tensor, "frames 4 4"] | None, str]:
    """Intrinsics of the original frames, the camera track where every frame has a camera, and where they come from."""
    found = [frame.camera for frame in frames if frame.camera is not None]
    if len(found) == len(frames):
        if fov is not None:
            raise Animal4dError(f"--fov is for clips without cameras; {source} has its own")
        intrinsics = torch.cat([camera.intrinsics for camera in found])
        return intrinsics, torch.cat([camera.world_to_camera for camera in found]), f"cameras of {source}"
    lacking = numbers_in_words([frame.number for frame in frames if frame.camera is None])
    warnings.append(f"the index has no camera for {lacking}: the clip is read without cameras")
    single, words = guess_intrinsics(fov, None, size)
    return single.expand(len(frames), 3, 3), None, words


def _camera(viewpoint: Sequence[Any], image_size: tuple[int, int], where: str) -> Cameras | None:
    """OpenCV camera of the original frame; None where the index has none."""
    if any(value is None for value in viewpoint[:4]):
        return None
    names = ("_viewpoint_R", "_viewpoint_T", "_viewpoint_focal_length", "_viewpoint_principal_point")
    R, T, focal_length, principal_point = (
        _floats(value, count, f"{where}: {name}")
        for value, count, name in zip(viewpoint[:4], (9, 3, 2, 2), names, strict=True)
    )
    intrinsics_format = viewpoint[4] or _LEGACY_FORMAT
    if intrinsics_format not in _FORMATS:
        raise Animal4dError(f"{where}: intrinsics format {intrinsics_format!r} is not one of {', '.join(_FORMATS)}")
    R = R.reshape(1, 3, 3)
    if (R @ R.transpose(1, 2) - torch.eye(3)).abs().max() > _ORTHONORMAL or torch.linalg.det(R[0]) < 0:
        raise Animal4dError(f"{where}: _viewpoint_R is not a rotation: download the index again")
    if (focal_length <= 0).any():
        raise Animal4dError(f"{where}: _viewpoint_focal_length must be positive, got {focal_length.tolist()}")
    return cameras_from_pytorch3d(R, T[None], focal_length[None], principal_point[None], image_size, intrinsics_format)


def _floats(value: Any, count: int, where: str) -> Float[Tensor, "numbers"]:
    """Little-endian float32 numbers of a blob."""
    if not isinstance(value, bytes) or len(value) != 4 * count:
        raise Animal4dError(f"{where} must be {count} 32-bit floats: download the index again")
    numbers = np.frombuffer(value, dtype="<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise Animal4dError(f"{where} holds NaN or infinity: download the index again")
    return torch.from_numpy(numbers)
