"""Checks of a sequence's cue files: what reads them for a fit reads them here, over the whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from animal4d.clip import Clip
from animal4d.cues.parts import PartMaskFiles
from animal4d.cues.pnp_cameras import PnpCameraFile
from animal4d.cues.sparse_keypoints import SparseKeypointFile
from animal4d.cues.surface import DETECTED_CLASSES, CsePredictions
from animal4d.cues.surface_embeddings import EMBEDDING_SIZE
from animal4d.cues.track_files import TrackFile
from animal4d.data.check_frames import unexpected_files
from animal4d.data.finding import Finding, checked
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.readers.cop3d import whole_frame_crop
from animal4d.readers.cop3d_index import IndexedFrame
from animal4d.readers.external import ExternalFiles, LimitedFile
from animal4d.readers.initial_shape import read_initial_shape

_WORKING_SIZE = 32
"""Side of the pictures that part labels are drawn in: they are only to be read."""
_BEYOND = 1.0
"""Pixels of the padded square by which a box may leave it."""


def check_cues(files: ExternalFiles, frames: Sequence[IndexedFrame]) -> list[Finding]:
    """One finding for each optional entry of the sequence, refined masks apart."""
    clip = blank_clip(files.sequence, frames)
    numbers = files.frame_numbers

    def parts(path: Path) -> str:
        unexpected_files(path, ".pt", files.stems)
        provider = PartMaskFiles(path, dict(zip(numbers, files.stems, strict=True)))
        labels = provider(clip).labels
        there = sum((path / f"{stem}.pt").is_file() for stem in files.stems)
        if not labels.any():
            raise Animal4dError(f"{path} shows no part in any frame: make the part masks again, or remove the folder")
        return f"{there} of {len(frames)}"

    def tracks(path: Path) -> str:
        found = TrackFile(path, numbers)(clip)
        return f"{len(found)} points, {found.visible.float().mean():.0%} visible"

    def keypoints(path: Path) -> str:
        found = SparseKeypointFile(path, numbers)(clip)
        return f"mean score {found.score.mean():.2f}"

    def shape(path: Path) -> str:
        return f"{len(read_initial_shape(path).betas)} betas"

    checks: dict[str, Callable[[Path], str]] = {
        "part_masks": parts,
        "tracking_points": tracks,
        "cse_predictions": lambda path: _cse_predictions(path, files, clip),
        "pnp_cameras": lambda path: _pnp_cameras(files.pnp_cameras, files, clip),
        "sparse_keypoints": keypoints,
        "init_pose": shape,
    }
    findings = []
    for state in files.states:
        if state.name in checks:
            check, path = checks[state.name], state.path
            if state.present:
                findings.append(checked(files.sequence, state.name, lambda check=check, path=path: check(path)))
            else:
                findings.append(Finding(files.sequence, state.name, "missing", str(path)))
    return findings


def blank_clip(name: str, frames: Sequence[IndexedFrame]) -> Clip:
    """A clip of the whole sequence without its pictures, so that cues can be read whatever these are like."""
    n, side = len(frames), _WORKING_SIZE
    return Clip(
        name=name,
        frames=torch.zeros(n, side, side, 3, dtype=torch.uint8),
        masks=torch.zeros(n, side, side),
        mask_valid=torch.zeros(n, dtype=torch.bool),
        frame_numbers=torch.tensor([frame.number for frame in frames]),
        times=torch.arange(n, dtype=torch.float32),
        fps=1.0,
        intrinsics=torch.eye(3).repeat(n, 1, 1),
        crop=whole_frame_crop(n, frames[0].image_size, side),
        source=name,
    )


def _first_frames(clip: Clip, limit: int) -> list[int]:
    """Places of the frames that a file with a frame limit covers."""
    return list(range(min(limit, len(clip))))


def _pnp_cameras(file: LimitedFile | None, files: ExternalFiles, clip: Clip) -> str:
    assert file is not None
    cameras = PnpCameraFile(file.path, files.frame_numbers, file.frame_limit)(clip)
    behind = (cameras.valid & (cameras.world_to_camera[:, 2, 3] <= 0)).nonzero().flatten().tolist()
    if behind:
        raise Animal4dError(
            f"{file.path}, frame {files.frame_numbers[behind[0]]}: the animal lies behind the camera: make the file "
            "again, or remove it"
        )
    return f"{int(cameras.valid.sum())} of {len(_first_frames(clip, file.frame_limit))} solved"


def _cse_predictions(path: Path, files: ExternalFiles, clip: Clip) -> str:
    """All detections, also those that are not taken."""
    file = files.cse_predictions
    assert file is not None
    content = load_pickle(path)
    lists = content if isinstance(content, dict) else {}
    covered = _first_frames(clip, file.frame_limit)
    wanted = files.category if files.category in DETECTED_CLASSES else "dog"
    # Only the number of channels of the template's embeddings matters here.
    provider = CsePredictions(path, torch.zeros(1, EMBEDDING_SIZE), files.frame_numbers, wanted)
    if isinstance(lists.get("E"), list | tuple) and len(lists["E"]) != len(covered):
        raise Animal4dError(
            f"{path} holds {len(lists['E'])} frames, but its name and the index say {len(covered)}: make it again"
        )
    found = provider.detections(_cut(clip, len(covered)))
    for place in covered:
        if lists["E"][place] is not None:
            where = f"{path}, frame {files.frame_numbers[place]}"
            _detections({key: lists[key][place] for key in lists}, files, where)
    return f"{sum(item is not None for item in found)} of {len(covered)} with a {wanted}"


def _cut(clip: Clip, n: int) -> Clip:
    """The first frames of a blank clip."""
    return replace(
        clip,
        frames=clip.frames[:n],
        masks=clip.masks[:n],
        mask_valid=clip.mask_valid[:n],
        frame_numbers=clip.frame_numbers[:n],
        times=clip.times[:n],
        intrinsics=clip.intrinsics[:n],
        crop=clip.crop[:n],
    )


def _detections(items: dict[str, Any], files: ExternalFiles, where: str) -> None:
    scores = checked_array(items["scores"], (None,), f"{where}, scores")
    classes = checked_array(items["pred_classes"], (None,), f"{where}, pred_classes")
    boxes = checked_array(items["bboxes_x1y1x2y2"], (None, 4), f"{where}, bboxes_x1y1x2y2")
    remedy = "make the file again"
    if ((scores < 0) | (scores > 1)).any():
        raise Animal4dError(f"{where}: scores must lie in [0, 1], got {scores.max():g}: {remedy}")
    if ((classes < 0) | (classes >= len(DETECTED_CLASSES)) | (classes != np.floor(classes))).any():
        raise Animal4dError(f"{where}: pred_classes must be 0 to {len(DETECTED_CLASSES) - 1}: {remedy}")
    if (boxes < -_BEYOND).any() or (boxes > PADDED_SIZE + _BEYOND).any() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise Animal4dError(
            f"{where}: boxes must be x1 < x2, y1 < y2 within the {PADDED_SIZE}x{PADDED_SIZE} padded frame: {remedy}"
        )
    for key in ("E", "S"):
        checked_array(items[key], (len(scores), None, None, None), f"{where}, {key}")
