"""Writing the external data tree, entry by entry, as the published code and our own readers take it.

Every file is written atomically and holds what the published data hold: JPEG and PNG pictures, torch files, and
pickles of numpy arrays, scipy matrices and torch tensors under the names that older versions of those know too. The
same content gives the same bytes.
"""

from __future__ import annotations

import io
import pickle
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image
from scipy.stats import rankdata
from torch import Tensor

from animal4d.body.model import PART_NAMES
from animal4d.cues.parts import LABEL_OF_FILE, PART_LABELS
from animal4d.cues.surface import DETECTED_CLASSES, Detection
from animal4d.data.index import cut_index
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_bytes, write_torch
from animal4d.geometry.cameras import Cameras, cameras_to_pytorch3d
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.readers.cop3d_index import INDEX_NAME

FRAME_LIMIT = 200
"""So many first frames of a sequence do the published CSE and PnP files cover."""
_NUMBER_IN_FILE = {label: number for number, label in LABEL_OF_FILE.items()}
LABELS_OF_PARTS = tuple(PART_LABELS["leg" if name.endswith("leg") else name] for name in PART_NAMES)
"""What a part mask calls each of the body's parts: it does not tell the legs apart."""
_JPEG_QUALITY = 95
_RENAMED = (
    (b"cnumpy._core.", b"cnumpy.core."),
    (b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n"),
)
"""Names of modules in pickles of today, and those that older versions know as well."""
_SCHEMA = """
CREATE TABLE frame_annots (sequence_name VARCHAR NOT NULL, frame_number INTEGER NOT NULL,
 frame_timestamp FLOAT NOT NULL, _image_path VARCHAR NOT NULL, _image_size BLOB NOT NULL, _depth_path VARCHAR,
 _depth_scale_adjustment FLOAT, _depth_mask_path VARCHAR, _mask_path VARCHAR, _mask_mass FLOAT,
 _mask_bounding_box_xywh BLOB, "_viewpoint_R" BLOB, "_viewpoint_T" BLOB, _viewpoint_focal_length BLOB,
 _viewpoint_principal_point BLOB, _viewpoint_intrinsics_format VARCHAR, PRIMARY KEY (sequence_name, frame_number));
CREATE INDEX ix_frame_annots_frame_timestamp ON frame_annots (frame_timestamp);
CREATE TABLE sequence_annots (sequence_name VARCHAR NOT NULL, category VARCHAR NOT NULL, _video_path VARCHAR,
 _video_length FLOAT, _point_cloud_path VARCHAR, _point_cloud_quality_score FLOAT, _point_cloud_n_points INTEGER,
 viewpoint_quality_score FLOAT, PRIMARY KEY (sequence_name));
CREATE INDEX ix_sequence_annots_category ON sequence_annots (category);
"""
"""The tables of PyTorch3D's SQL dataset, as COP3D's index has them."""


@dataclass(frozen=True)
class SequencePlace:
    """Where the files of one sequence lie in a tree."""

    root: Path
    category: str
    name: str

    def __post_init__(self) -> None:
        for value in (self.category, self.name):
            if not value.strip(".") or set(value) & set('/\\:*?"<>|\0') or not value.isprintable():
                raise Animal4dError(
                    f"{value!r} cannot be the name of a sequence or category: use letters, digits, _, -"
                )

    @property
    def frames_folder(self) -> Path:
        return self.root / "cop3d_data" / self.category / self.name

    @property
    def images(self) -> Path:
        return self.frames_folder / "images"

    @property
    def masks(self) -> Path:
        return self.frames_folder / "masks"

    @property
    def part_masks(self) -> Path:
        return self.frames_folder / "part_masks"

    @property
    def tracking_points(self) -> Path:
        return self.frames_folder / "tracking_points.pt"

    @property
    def refined_masks(self) -> Path:
        return self.root / "refined_masks" / self.name

    @property
    def sparse_keypoints(self) -> Path:
        return self.root / "sparse_keypoints" / f"{self.name}_keypoints.pk"

    @property
    def init_pose(self) -> Path:
        return self.root / "init_pose" / f"{self.name}_init_pose.pk"

    @property
    def cse_predictions(self) -> Path:
        return self.root / "preprocessing" / "cse_embeddings" / f"{self.name}_{FRAME_LIMIT}_cse_predictions.pk"

    @property
    def pnp_cameras(self) -> Path:
        return self.root / "preprocessing" / "pnp_ransac" / f"{self.name}_{FRAME_LIMIT}_pnp_R_T.pk"

    @property
    def index(self) -> Path:
        return self.root / "cop3d_data" / INDEX_NAME

    def in_index(self, path: Path) -> str:
        """A path as the index writes it."""
        return path.relative_to(self.root / "cop3d_data").as_posix()


def frame_stem(number: int) -> str:
    """Name of a frame's picture, masks and part mask without suffix."""
    return f"frame{number:06d}"


@dataclass(frozen=True)
class IndexRow:
    """What the index says of a frame."""

    number: int
    time: float
    """Seconds."""
    image_size: tuple[int, int]
    """Height and width."""
    mask_mass: float | None = None
    """Sum of the mask's probabilities; None where there is no mask."""
    mask_box: tuple[float, float, float, float] | None = None
    """x, y, width, height in pixels."""
    camera: Cameras | None = None
    """One camera of the original frame; None where it is not known."""


def mask_measures(
    mask: Float[ndarray, "height width"],
) -> tuple[float, tuple[float, float, float, float] | None]:
    """Sum of the probabilities, and the box of what is more likely animal than not (None where nothing is)."""
    rows, columns = np.nonzero(mask > 0.5)
    if len(rows) == 0:
        return float(mask.sum()), None
    left, top = float(columns.min()), float(rows.min())
    return float(mask.sum()), (left, top, float(columns.max()) + 1 - left, float(rows.max()) + 1 - top)


def write_index(place: SequencePlace, rows: Sequence[IndexRow], quality: float | None = None) -> None:
    """Put a sequence into the tree's index; other sequences in it stay, an older version of this one goes.

    The same sequences give the same bytes, in whatever order they came. Raises Animal4dError where an index is there
    that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="animal4d-") as folder:
        database = Path(folder) / INDEX_NAME
        exists = place.index.is_file()
        if exists:
            database.write_bytes(place.index.read_bytes())
        try:
            with closing(sqlite3.connect(database)) as connection, connection:
                if not exists:
                    connection.executescript(_SCHEMA)
                for table in ("frame_annots", "sequence_annots"):
                    connection.execute(f"DELETE FROM {table} WHERE sequence_name = ?", (place.name,))
                _insert(connection, "sequence_annots", _sequence_values(place, quality))
                for row in rows:
                    _insert(connection, "frame_annots", _frame_values(place, row))
                names = [str(name) for (name,) in connection.execute("SELECT sequence_name FROM sequence_annots")]
        except sqlite3.Error as error:
            raise Animal4dError(
                f"{place.index}: not COP3D's index, or damaged ({error}): move it away, or choose another folder"
            ) from error
        write_bytes(place.index, cut_index(database, names))


def _insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> None:
    """An index made by others may lack columns; those are left out."""
    known = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
    kept = {column: value for column, value in values.items() if column in known}
    columns, places = ", ".join(f'"{column}"' for column in kept), ", ".join("?" * len(kept))
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", tuple(kept.values()))


def _sequence_values(place: SequencePlace, quality: float | None) -> dict[str, Any]:
    return {"sequence_name": place.name, "category": place.category, "viewpoint_quality_score": quality}


def _frame_values(place: SequencePlace, row: IndexRow) -> dict[str, Any]:
    stem = frame_stem(row.number)
    values: dict[str, Any] = {
        "sequence_name": place.name,
        "frame_number": row.number,
        "frame_timestamp": row.time,
        "_image_path": place.in_index(place.images / f"{stem}.jpg"),
        "_image_size": np.array(row.image_size, "<i4").tobytes(),
    }
    if row.mask_mass is not None:
        values |= {"_mask_path": place.in_index(place.masks / f"{stem}.png"), "_mask_mass": row.mask_mass}
    if row.mask_box is not None:
        values["_mask_bounding_box_xywh"] = _floats(row.mask_box)
    if row.camera is not None:
        ndc = cameras_to_pytorch3d(row.camera, "ndc_isotropic")
        values |= {
            f"_viewpoint_{name}": _floats(ndc[name][0]) for name in ("R", "T", "focal_length", "principal_point")
        }
        values["_viewpoint_intrinsics_format"] = "ndc_isotropic"
    return values


def _floats(values: Any) -> bytes:
    return np.asarray(values, dtype="<f4").tobytes()


def write_image(path: Path, image: UInt8[ndarray, "height width 3"]) -> None:
    """RGB as JPEG, without subsampling of the colours."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    write_bytes(path, buffer.getvalue())


def write_mask(path: Path, probability: Float[ndarray, "height width"]) -> None:
    """A mask as COP3D's: 255 times the probability of the animal."""
    _write_png(path, (np.asarray(probability, np.float32).clip(0, 1) * 255).round().astype(np.uint8))


def write_refined_mask(path: Path, animal: Bool[ndarray, "height width"]) -> None:
    """A refined mask: 0 and 255."""
    _write_png(path, animal.astype(np.uint8) * 255)


def _write_png(path: Path, values: UInt8[ndarray, "height width"]) -> None:
    data = cv2.imencode(".png", values)[1]
    write_bytes(path, data.tobytes())


def write_part_mask(path: Path, labels: UInt8[ndarray, "height width"]) -> None:
    """Labels of `cues.parts.PART_LABELS` at the frame's resolution, under PartGLEE's numbers."""
    numbers = np.zeros(max(_NUMBER_IN_FILE) + 1, np.uint8)
    numbers[list(_NUMBER_IN_FILE)] = list(_NUMBER_IN_FILE.values())
    write_torch(path, torch.from_numpy(numbers[labels]))


def write_tracking_points(
    path: Path,
    points: Float[Tensor, "frames tracks 2"],
    visible: Bool[Tensor, "frames tracks"],
    original_size: tuple[int, int],
) -> None:
    """Tracks in pixels of the original frames (height, width), written in those of the padded square."""
    padded = points.float() * (PADDED_SIZE / max(original_size))
    write_torch(path, (padded.contiguous(), visible.bool().contiguous()))


def write_cse_predictions(path: Path, frames: Sequence[Sequence[tuple[str, Detection]]]) -> None:
    """Detections with their categories, of the first `FRAME_LIMIT` frames; an empty list is a frame without any."""
    lists: dict[str, list[Any]] = {
        name: [] for name in ("E", "S", "bboxes_x1y1x2y2", "scores", "pred_classes", "image_size")
    }
    for found in frames[:FRAME_LIMIT]:
        if not found:
            for items in lists.values():
                items.append(None)
            continue
        detections = [detection for _, detection in found]
        lists["E"].append(torch.stack([detection.embedding for detection in detections]).float())
        lists["S"].append(torch.stack([detection.segmentation for detection in detections]).float())
        lists["bboxes_x1y1x2y2"].append(torch.stack([detection.box for detection in detections]).float())
        lists["scores"].append(torch.tensor([detection.score for detection in detections]))
        lists["pred_classes"].append(torch.tensor([DETECTED_CLASSES.index(category) for category, _ in found]))
        lists["image_size"].append((PADDED_SIZE, PADDED_SIZE))
    write_plain_pickle(path, lists)


def write_pnp_cameras(path: Path, world_to_camera: Float[Tensor, "frames 4 4"], valid: Bool[Tensor, "frames"]) -> None:
    """Cameras relative to the template in rest pose, OpenCV axes, of the first `FRAME_LIMIT` frames. Those that are not
    valid are written as the identity."""
    valid = valid[:FRAME_LIMIT].cpu()
    poses = torch.where(valid[:, None, None], world_to_camera[:FRAME_LIMIT].cpu(), torch.eye(4))
    ndc = cameras_to_pytorch3d(Cameras(torch.eye(3).repeat(len(poses), 1, 1), poses, (2, 2)))
    content = {
        "valid_indices_pnp": valid.nonzero().flatten().tolist(),
        "R_PNP": ndc["R"].contiguous(),
        "T_PNP": ndc["T"].contiguous(),
    }
    write_plain_pickle(path, content)


def write_sparse_keypoints(
    path: Path,
    points: Float[Tensor, "frames 24 2"],
    score: Float[Tensor, "frames 24"],
    original_size: tuple[int, int],
) -> None:
    """Keypoints in pixels of the original frames, written as fractions of the padded square; points beyond it are moved
    to its border."""
    fractions = (points / max(original_size)).clamp(0, 1)
    write_plain_pickle(path, torch.cat((fractions, score[..., None]), dim=-1).cpu().numpy().astype(np.float32))


def write_initial_shape(path: Path, betas: Float[Tensor, "betas"], limb_scales: Float[Tensor, "7"]) -> None:
    """The shape of a sequence's animal, each as the only row of a batch."""
    content = {"betas": betas, "betas_limbs": limb_scales}
    write_plain_pickle(path, {name: value[None].cpu().numpy().astype(np.float32) for name, value in content.items()})


def write_basis(path: Path, functions: Float[ndarray, "vertices k"], areas: Float[ndarray, "vertices"]) -> None:
    """`lbo_*.pk`: eigenfunctions, and the vertex areas as a diagonal mass matrix."""
    mass = scipy.sparse.csc_matrix(scipy.sparse.diags(areas))
    write_plain_pickle(path, {"lbo_basis": np.ascontiguousarray(functions, np.float64), "lbo_areas": mass})


def write_functional_map(path: Path, matrix: Float[ndarray, "k_target k_source"]) -> None:
    """`lbo_cse_to_smal.pk`: between bases of unit area."""
    write_plain_pickle(path, {"C": np.ascontiguousarray(matrix, np.float64)})


def write_embedding(path: Path, rows: Float[ndarray, "vertices 16"]) -> None:
    """`cse_embedding.pk`."""
    write_plain_pickle(path, {"cse_dog": np.ascontiguousarray(rows, np.float32)})


def write_texture(path: Path, colors: UInt8[ndarray, "vertices 3"]) -> None:
    """`texture_*.pk`."""
    write_plain_pickle(path, np.ascontiguousarray(colors, np.uint8))


def surface_colors(vertices: Float[ndarray, "vertices 3"]) -> Float[ndarray, "vertices 3"]:
    """RGB in [0, 1] for every vertex of a template in rest pose, smooth over the surface and different everywhere.

    Red, green and blue are the ranks of x, y and z among all vertices, so that every channel uses its whole range and
    left and right differ. Another template has the same place in the same colour when its vertices take the colours of
    those that they correspond to.
    """
    ranks = np.stack([rankdata(vertices[:, axis]) for axis in range(3)], axis=1)
    return (ranks - 1) / (len(vertices) - 1)


def color_bytes(colors: Float[ndarray, "vertices 3"]) -> UInt8[ndarray, "vertices 3"]:
    return (np.asarray(colors).clip(0, 1) * 255).round().astype(np.uint8)


def write_plain_pickle(path: Path, value: Any) -> None:
    """A pickle of containers, numpy arrays, scipy matrices and torch tensors that plain `pickle.load` reads."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=3).dump(value)  # the last protocol that names classes in lines of text
    data = buffer.getvalue()
    for new, old in _RENAMED:
        data = data.replace(new, old)
    write_bytes(path, data)


class _Pickler(pickle.Pickler):
    """Writes the storages of tensors in torch's newer format: the older one holds addresses in memory."""

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, torch.storage.TypedStorage):
            return NotImplemented
        buffer = io.BytesIO()
        torch.save(obj, buffer)
        return torch.storage._load_from_bytes, (buffer.getvalue(),)
