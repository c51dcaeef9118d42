"""COP3D's index, the SQLite file of PyTorch3D's SQL dataset: sequences, and frames with paths, sizes and cameras.

COP3D: arXiv 2211.03889.
"""

from __future__ import annotations

import difflib
import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.files.paths import join_inside
from animal4d.geometry.cameras import Cameras, cameras_from_pytorch3d

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
