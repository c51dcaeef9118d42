"""A tiny external data tree, written here with sqlite3, PIL, pickle and torch alone."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

_FRAMES_TABLE = """CREATE TABLE frame_annots (sequence_name VARCHAR NOT NULL, frame_number INTEGER NOT NULL,
frame_timestamp FLOAT NOT NULL, _image_path VARCHAR NOT NULL, _image_size BLOB NOT NULL, _mask_path VARCHAR,
_mask_mass FLOAT, _mask_bounding_box_xywh BLOB, "_viewpoint_R" BLOB, "_viewpoint_T" BLOB,
_viewpoint_focal_length BLOB, _viewpoint_principal_point BLOB, _viewpoint_intrinsics_format VARCHAR,
PRIMARY KEY (sequence_name, frame_number))"""
_SEQUENCES_TABLE = """CREATE TABLE sequence_annots (sequence_name VARCHAR NOT NULL, category VARCHAR NOT NULL,
viewpoint_quality_score FLOAT, PRIMARY KEY (sequence_name))"""


@dataclass(frozen=True)
class Sequence:
    """What is written of a sequence, and what should be read."""

    name: str
    category: str
    size: tuple[int, int]
    numbers: tuple[int, ...]
    intrinsics_format: str | None = "ndc_isotropic"
    images: dict[int, np.ndarray] = field(default_factory=dict)
    """What each frame shows, before JPEG."""

    @property
    def folder(self) -> str:
        return f"{self.category}/{self.name}"


PORTRAIT = Sequence("1000_1_10", "dog", (100, 60), (0, 3, 6, 9, 20))
LANDSCAPE = Sequence("1001_2_20", "cat", (48, 90), (1, 2, 3), None)


def write_cop3d(root: Path, *sequences: Sequence) -> Path:
    """COP3D's folder with index, frames and masks; a bright rectangle on black is the animal."""
    root.mkdir(parents=True)
    database = root / "metadata.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(_FRAMES_TABLE)
        connection.execute(_SEQUENCES_TABLE)
        for sequence in sequences:
            connection.execute("INSERT INTO sequence_annots VALUES (?, ?, ?)", (sequence.name, sequence.category, 1.25))
            for place, number in enumerate(sequence.numbers):
                _write_frame(root, sequence, place, number)
                connection.execute(
                    f"INSERT INTO frame_annots VALUES ({', '.join('?' * 13)})", _frame_row(sequence, place, number)
                )
        connection.commit()
    return database


def write_external(root: Path) -> None:
    """Every optional entry of the portrait sequence; the landscape one has none of its own."""
    write_cop3d(root / "cop3d_data", PORTRAIT, LANDSCAPE)
    folder = root / "cop3d_data" / PORTRAIT.folder
    (folder / "part_masks").mkdir()
    for number in PORTRAIT.numbers:
        torch.save(part_mask(), folder / "part_masks" / f"frame{number:06d}.pt")
    torch.save(tracking_points(), folder / "tracking_points.pt")
    refined = root / "refined_masks" / PORTRAIT.name
    refined.mkdir(parents=True)
    for place, number in enumerate(PORTRAIT.numbers[:-1]):
        # 0/1 and 0/255 both occur; the last frame has none.
        Image.fromarray(refined_mask() * np.uint8(1 if place % 2 else 255)).save(refined / f"frame{number:06d}.png")
    dump(root / "preprocessing/cse_embeddings" / f"{PORTRAIT.name}_3_cse_predictions.pk", {})
    dump(root / "preprocessing/cse_embeddings" / f"{PORTRAIT.name}_200_cse_predictions.pk", {})
    dump(root / "preprocessing/pnp_ransac" / f"{PORTRAIT.name}_4_pnp_R_T.pk", pnp_cameras())
    dump(root / "sparse_keypoints" / f"{PORTRAIT.name}_keypoints.pk", keypoints())
    dump(root / "init_pose" / f"{PORTRAIT.name}_init_pose.pk", init_pose())
    for entry in ("lbos/lbo_cse.pk", "lbos/lbo_smal.pk", "lbos/lbo_cse_to_smal.pk", "cse/cse_embedding.pk"):
        dump(root / entry, {})
    for entry in ("textures/texture_cse.pk", "textures/texture_smal.pk", "smal/my_smpl_39dogsnorm_newv3_dog.pkl"):
        dump(root / entry, {})
    (root / "smal" / "symmetry_inds.json").write_text("{}")


def refined_mask() -> np.ndarray:
    mask = np.zeros(PORTRAIT.size, np.uint8)
    mask[20:80, 10:40] = 1
    return mask


def part_mask() -> torch.Tensor:
    labels = torch.zeros(PORTRAIT.size, dtype=torch.uint8)
    labels[20:40, 10:40] = 11
    labels[40:60, 10:40] = 12
    labels[60:80, 10:30] = 13
    labels[60:80, 30:40] = 14
    return labels


def tracking_points() -> tuple[torch.Tensor, torch.Tensor]:
    """Two points in pixels of the padded 800 frame (the frame is 100 high): the first moves by 8 a frame."""
    n = len(PORTRAIT.numbers)
    points = torch.tensor([[[80.0, 160.0], [240.0, 400.0]]]).repeat(n, 1, 1)
    points[:, 0, 0] += 8.0 * torch.arange(n)
    visible = torch.ones(n, 2, dtype=torch.bool)
    visible[1, 1] = False
    return points, visible


def keypoints() -> np.ndarray:
    values = np.zeros((len(PORTRAIT.numbers), 24, 3), np.float32)
    values[..., 0] = np.linspace(0.1, 0.5, 24)
    values[..., 1] = 0.01 * np.arange(len(PORTRAIT.numbers))[:, None]
    values[..., 2] = 0.9
    return values


def pnp_cameras() -> dict[str, Any]:
    """The first four frames, the second without solution."""
    R = np.stack([np.diag([-1.0, 1.0, -1.0])] * 4).astype(np.float32)
    T = np.array([[0.1, 0.2, 3.0 + place] for place in range(4)], np.float32)
    R[1], T[1] = np.nan, np.nan
    return {"valid_indices_pnp": [0, 2, 3], "R_PNP": R, "T_PNP": T}


def init_pose() -> dict[str, Any]:
    return {"betas": np.linspace(-1, 1, 30, dtype=np.float32)[None], "betas_limbs": torch.linspace(0, 0.3, 7)}


def dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))


def change_frame(database: Path, column: str, value: Any, where: str = "1") -> None:
    """Overwrite a column of the table of frames."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"UPDATE frame_annots SET {column} = ? WHERE {where}", (value,))
        connection.commit()


def _write_frame(root: Path, sequence: Sequence, place: int, number: int) -> None:
    height, width = sequence.size
    image = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    rows, columns = slice(height // 4, height // 2), slice(width // 4, width // 2)
    image[rows, columns] = (200, 100 + 10 * place, 50)
    mask[rows, columns] = 204  # 80 %
    sequence.images[number] = image
    folder = root / sequence.folder
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / "images" / f"frame{number:06d}.jpg", quality=98, subsampling=0)
    Image.fromarray(mask).save(folder / "masks" / f"frame{number:06d}.png")


def _frame_row(sequence: Sequence, place: int, number: int) -> tuple[Any, ...]:
    angle = 0.1 * place
    R = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    return (
        sequence.name,
        number,
        place / 15,
        f"{sequence.folder}/images/frame{number:06d}.jpg",
        np.array(sequence.size, "<i4").tobytes(),
        f"{sequence.folder}/masks/frame{number:06d}.png",
        1000.0,
        None,
        R.astype("<f4").tobytes(),
        np.array([0.1, -0.2, 4.0], "<f4").tobytes(),
        np.array([2.5, 2.4], "<f4").tobytes(),
        np.array([0.03, -0.02], "<f4").tobytes(),
        sequence.intrinsics_format,
    )
