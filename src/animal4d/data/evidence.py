"""All that a data tree says about one sequence, gathered for a person to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.body.smal import load_smal
from animal4d.body.template import load_builtin_template
from animal4d.clip import Clip
from animal4d.cues.parts import PartMaskFiles, Parts
from animal4d.cues.pnp_cameras import PnpCameraFile, PnpCameras
from animal4d.cues.sparse_keypoints import SparseKeypointFile, SparseKeypoints
from animal4d.cues.surface import DETECTED_CLASSES, CsePredictions, Detection
from animal4d.cues.surface_embeddings import EMBEDDING_SIZE
from animal4d.cues.track_files import TrackFile
from animal4d.cues.tracks import Tracks
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.readers.cop3d import FrameChoice
from animal4d.readers.external import ExternalFiles, find_external_files, read_external

_PIXELS_AT_A_TIME = 2048
Cue = TypeVar("Cue")


@dataclass(frozen=True)
class SurfaceColors:
    """Detections, and colours by which a vertex of CSE's mesh is known."""

    detections: list[Detection | None]
    embeddings: Float[Tensor, "vertices 16"]
    """Rows of length one."""
    colors: UInt8[ndarray, "vertices 3"]

    def draw(
        self, frame: int, pixels: Float[Tensor, "rows columns 2"]
    ) -> tuple[UInt8[ndarray, "rows columns 3"], ndarray] | None:
        """Colour of the nearest vertex at places in the padded square, and where the animal is; None without one."""
        detection = self.detections[frame]
        if detection is None:
            return None
        embedding, animal = detection.at(pixels.reshape(-1, 2))
        rows = torch.nn.functional.normalize(embedding[animal], dim=-1)
        nearest = [(piece @ self.embeddings.T).argmax(1) for piece in rows.split(_PIXELS_AT_A_TIME)]
        image = np.zeros((len(animal), 3), np.uint8)
        if nearest:
            image[animal.numpy()] = self.colors[torch.cat(nearest).numpy()]
        return image.reshape(*pixels.shape[:2], 3), animal.numpy().reshape(pixels.shape[:2])


@dataclass(frozen=True)
class RestPose:
    """The template in rest pose, where the PnP cameras put it."""

    vertices: Float[Tensor, "vertices 3"]
    faces: Tensor
    cameras: Cameras
    """Of the working images."""
    valid: Tensor


@dataclass(frozen=True)
class Evidence:
    """A sequence with its cues; None where one is missing or broken."""

    clip: Clip
    """Whole frames, padded to a square."""
    category: str
    parts: Parts | None
    surface: SurfaceColors | None
    tracks: Tracks | None
    keypoints: SparseKeypoints | None
    rest_pose: RestPose | None
    absent: dict[str, str]
    """Why a cue is None, by the name of its field."""


def gather_evidence(root: Path, sequence: str, side: int, max_frames: int) -> Evidence:
    """Read a sequence in working images of `side` pixels, at most its first `max_frames` frames.

    A cue that is missing or broken is left out. Raises Animal4dError where frames and masks cannot be read.
    """
    files = find_external_files(root, sequence)
    limits = [file.frame_limit for file in (files.cse_predictions,) if file is not None]
    clip = read_external(root, sequence, FrameChoice(max_frames=min([max_frames, *limits])), working_size=side)
    numbers = files.frame_numbers
    absent: dict[str, str] = {}

    def read(name: str, *entries: str, by: Callable[[], Cue]) -> Cue | None:
        missing = files.missing()
        lacking = [missing[entry] for entry in entries if entry in missing]
        if lacking:
            absent[name] = f"no {_within(root, lacking[0])}"
            return None
        try:
            return by()
        except Animal4dError as error:
            absent[name] = " ".join(str(error).split())
            return None

    stems = dict(zip(numbers, files.stems, strict=True))
    return Evidence(
        clip=clip,
        category=files.category,
        parts=read("parts", "part_masks", by=lambda: PartMaskFiles(_there(files.part_masks), stems)(clip)),
        surface=read(
            "surface", "cse_predictions", "cse_embedding", "texture_cse", by=lambda: _surface(files, clip, numbers)
        ),
        tracks=read("tracks", "tracking_points", by=lambda: TrackFile(_there(files.tracking_points), numbers)(clip)),
        keypoints=read(
            "keypoints",
            "sparse_keypoints",
            by=lambda: SparseKeypointFile(_there(files.sparse_keypoints), numbers)(clip),
        ),
        rest_pose=read("rest_pose", "pnp_cameras", by=lambda: _rest_pose(files, clip, numbers)),
        absent=absent,
    )


def _there(path: Path | None) -> Path:
    assert path is not None
    return path


def _within(root: Path, path: Path) -> str:
    base = root.resolve()
    return path.resolve().relative_to(base).as_posix() if path.resolve().is_relative_to(base) else str(path)


def _surface(files: ExternalFiles, clip: Clip, numbers: tuple[int, ...]) -> SurfaceColors:
    embedding_path, texture_path, predictions = files.cse_embedding, files.texture_cse, files.cse_predictions
    assert predictions is not None
    content = load_pickle(_there(embedding_path))
    if not isinstance(content, dict) or "cse_dog" not in content:
        raise Animal4dError(f'{embedding_path} must hold a dict with "cse_dog": download it again')
    rows = checked_array(content["cse_dog"], (None, EMBEDDING_SIZE), f"{embedding_path}: cse_dog")
    colors = checked_array(load_pickle(_there(texture_path)), (len(rows), 3), f"{texture_path}")
    wanted = files.category if files.category in DETECTED_CLASSES else "dog"
    embeddings = torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1).float()
    detections = CsePredictions(predictions.path, embeddings, numbers, wanted).detections(clip)
    return SurfaceColors(detections, embeddings, colors.clip(0, 255).astype(np.uint8))


def _rest_pose(files: ExternalFiles, clip: Clip, numbers: tuple[int, ...]) -> RestPose:
    file = files.pnp_cameras
    assert file is not None
    solved: PnpCameras = PnpCameraFile(file.path, numbers, file.frame_limit)(clip)
    model: BodyModel = load_builtin_template() if files.smal_model is None else load_smal(files.smal_model)
    posed = model.with_shape().with_pose(torch.eye(3).repeat(model.n_joints, 1, 1))
    cameras = Cameras(clip.intrinsics, solved.world_to_camera, clip.image_size)
    return RestPose(posed.vertices, model.faces, cameras, solved.valid)


def padded_places(clip: Clip) -> Float[Tensor, "rows columns 2"]:
    """Centres of the working pixels in the published square of 800 x 800."""
    side = clip.image_size[0]
    centers = (torch.arange(side) + 0.5) * (PADDED_SIZE / side)
    return torch.stack(torch.meshgrid(centers, centers, indexing="xy"), dim=-1)
