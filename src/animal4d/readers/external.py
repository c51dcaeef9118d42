"""The external data tree of 4D-Animal: a COP3D subset, refined masks, and files of precomputed cues.

`read_external` gives the clip, `find_external_files` says which of the optional files are there; what is in them is
read and checked by the cues' own providers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.files.paths import join_inside
from animal4d.readers.cop3d import FrameChoice, sequence_clip
from animal4d.readers.cop3d_index import INDEX_NAME, Cop3dIndex, FrameMask, IndexedFrame, IndexedSequence
from animal4d.readers.source import Progress


@dataclass(frozen=True)
class LimitedFile:
    """A file made from the first frames of a sequence, as its name says."""

    path: Path
    frame_limit: int
    """It covers the first `min(frame_limit, frames of the sequence)` frames."""


@dataclass(frozen=True)
class FileState:
    """One optional entry of the tree."""

    name: str
    """Field of `ExternalFiles`."""
    path: Path
    """Where it is, or where it would be looked for."""
    present: bool


@dataclass(frozen=True)
class ExternalFiles:
    """Which optional files of the tree exist for a sequence; None where one does not."""

    sequence: str
    category: str
    frame_numbers: tuple[int, ...]
    """All frames of the sequence, chosen or not: the files' frames are places in this list."""
    stems: tuple[str, ...]
    """Name of each frame's picture without suffix, which its part mask and refined mask share."""
    states: tuple[FileState, ...] = field(repr=False)
    """All entries, present or not, in the order of the fields below."""

    refined_masks: Path | None
    """Folder."""
    part_masks: Path | None
    """Folder."""
    tracking_points: Path | None
    cse_predictions: LimitedFile | None
    pnp_cameras: LimitedFile | None
    sparse_keypoints: Path | None
    init_pose: Path | None
    lbo_cse: Path | None
    lbo_smal: Path | None
    lbo_cse_to_smal: Path | None
    cse_embedding: Path | None
    cse_weights: Path | None
    smal_model: Path | None
    smal_symmetry: Path | None
    texture_cse: Path | None
    texture_smal: Path | None

    def present(self) -> dict[str, Path]:
        """The entries that are there, by name."""
        return {state.name: state.path for state in self.states if state.present}

    def missing(self) -> dict[str, Path]:
        """The entries that are not there, by name, with the place where each is looked for."""
        return {state.name: state.path for state in self.states if not state.present}


SEQUENCE_ENTRIES = (
    "refined_masks",
    "part_masks",
    "tracking_points",
    "cse_predictions",
    "pnp_cameras",
    "sparse_keypoints",
    "init_pose",
)
"""Entries that each sequence has of its own; all others are shared."""


def open_external(root: Path) -> Cop3dIndex:
    """The COP3D index of the tree. Raises Animal4dError where `root` is not such a tree."""
    cop3d_root = root / "cop3d_data"
    database = cop3d_root / INDEX_NAME
    if not database.is_file():
        hint = (
            f"; {root} is COP3D itself: write cop3d:{root}:<sequence>"
            if (root / INDEX_NAME).is_file()
            else ": give the folder that holds cop3d_data"
        )
        raise Animal4dError(f"no index {database}{hint}")
    return Cop3dIndex(cop3d_root, database)


def read_external(
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
    """A sequence with refined masks where there are any, else COP3D's. Raises Animal4dError as `read_cop3d` does."""
    index = open_external(root)
    frames = index.frames(sequence)
    refined_masks = external_files(root, index.sequence(sequence), frames).refined_masks
    return sequence_clip(
        f"external:{root}:{sequence}",
        _with_refined_masks(frames, refined_masks),
        choice or FrameChoice(),
        fov=fov,
        fps=fps,
        working_size=working_size,
        name=name or sequence,
        progress=progress,
    )


def find_external_files(root: Path, sequence: str) -> ExternalFiles:
    """The optional files of a sequence; they are looked for, not opened.

    Raises Animal4dError where the index or the sequence cannot be used.
    """
    index = open_external(root)
    return external_files(root, index.sequence(sequence), index.frames(sequence))


def external_files(root: Path, sequence: IndexedSequence, frames: Sequence[IndexedFrame]) -> ExternalFiles:
    """The same for a sequence of an open index. Raises Animal4dError where its name or category leads out of the
    tree."""
    name = sequence.name
    beside_frames = join_inside(root / "cop3d_data", f"{sequence.category}/{name}")
    cse = _largest_limit(root / "preprocessing" / "cse_embeddings", name, "cse_predictions")
    pnp = _largest_limit(root / "preprocessing" / "pnp_ransac", name, "pnp_R_T")
    limited = {"cse_predictions": cse, "pnp_cameras": pnp}
    places = {
        "refined_masks": join_inside(root / "refined_masks", name),
        "part_masks": beside_frames / "part_masks",
        "tracking_points": beside_frames / "tracking_points.pt",
        "cse_predictions": root / "preprocessing" / "cse_embeddings" / f"{name}_<limit>_cse_predictions.pk",
        "pnp_cameras": root / "preprocessing" / "pnp_ransac" / f"{name}_<limit>_pnp_R_T.pk",
        "sparse_keypoints": join_inside(root / "sparse_keypoints", f"{name}_keypoints.pk"),
        "init_pose": join_inside(root / "init_pose", f"{name}_init_pose.pk"),
        "lbo_cse": root / "lbos" / "lbo_cse.pk",
        "lbo_smal": root / "lbos" / "lbo_smal.pk",
        "lbo_cse_to_smal": root / "lbos" / "lbo_cse_to_smal.pk",
        "cse_embedding": root / "cse" / "cse_embedding.pk",
        "cse_weights": root / "cse" / "model_final_8c9d99.pkl",
        "smal_model": root / "smal" / "my_smpl_39dogsnorm_newv3_dog.pkl",
        "smal_symmetry": root / "smal" / "symmetry_inds.json",
        "texture_cse": root / "textures" / "texture_cse.pk",
        "texture_smal": root / "textures" / "texture_smal.pk",
    }
    places |= {entry: file.path for entry, file in limited.items() if file is not None}
    there = {
        entry: _folder_with(path, ".png" if entry == "refined_masks" else ".pt")
        if entry in ("refined_masks", "part_masks")
        else path.is_file()
        for entry, path in places.items()
    }
    plain = {entry: path if there[entry] else None for entry, path in places.items() if entry not in limited}
    return ExternalFiles(
        sequence=name,
        category=sequence.category,
        frame_numbers=tuple(frame.number for frame in frames),
        stems=tuple(frame.image_path.stem for frame in frames),
        states=tuple(FileState(entry, path, there[entry]) for entry, path in places.items()),
        cse_predictions=cse,
        pnp_cameras=pnp,
        **plain,
    )


def _with_refined_masks(frames: Sequence[IndexedFrame], folder: Path | None) -> list[IndexedFrame]:
    if folder is None:
        return list(frames)
    refined = [FrameMask(folder / f"{frame.image_path.stem}.png", refined=True) for frame in frames]
    return [
        replace(frame, mask=mask) if mask.path.is_file() else frame for frame, mask in zip(frames, refined, strict=True)
    ]


def _largest_limit(folder: Path, sequence: str, ending: str) -> LimitedFile | None:
    """The file `<sequence>_<limit>_<ending>.pk` of the largest limit."""
    pattern = re.compile(rf"{re.escape(sequence)}_([0-9]{{1,9}})_{re.escape(ending)}\.pk")
    found = [
        LimitedFile(path, int(match[1]))
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := pattern.fullmatch(path.name)) and path.is_file()
    ]
    return max(found, key=lambda file: (file.frame_limit, file.path.name), default=None)


def _folder_with(folder: Path, suffix: str) -> bool:
    return folder.is_dir() and any(path.suffix == suffix for path in folder.iterdir())
