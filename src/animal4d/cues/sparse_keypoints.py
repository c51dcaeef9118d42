"""Sparse keypoints: 24 named places of the body per frame, as BITE predicts them. Off in the published method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.sequence_frames import places_in_sequence, sequence_file_note
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle
from animal4d.geometry.padded_frame import padded_to_original

N_KEYPOINTS = 24
_FARTHEST = 1.0
"""How far beyond the square, in its sides, a detector that looks at a window may place a point."""


@dataclass(frozen=True)
class SparseKeypoints:
    """Keypoints of the body model, in the order of `body.keypoints.KEYPOINT_ORDER`."""

    points: Float[Tensor, "frames 24 2"]
    """x, y in pixels of the original frames."""
    score: Float[Tensor, "frames 24"]
    """Confidence in [0, 1]; 0 where a point is not to be used."""

    def __len__(self) -> int:
        return self.points.shape[0]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"points": self.points.cpu().numpy(), "score": self.score.cpu().numpy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> SparseKeypoints:
        return SparseKeypoints(torch.from_numpy(arrays["points"]).float(), torch.from_numpy(arrays["score"]).float())


@dataclass(frozen=True)
class SparseKeypointFile:
    """`<sequence>_keypoints.pk`: (T, 24, 3) with x, y and score.

    The published page says "x, y in [0, 1]" without saying of what. Assumed: of the padded square frame, from its
    top-left corner to its far corner, so that 1 is the LONGER side of the frame on both axes.
    """

    name: ClassVar[str] = "sparse-keypoint-file"
    kind: ClassVar[str] = "precomputed"
    version: ClassVar[int] = 1

    path: Path
    sequence_frames: tuple[int, ...]
    """Numbers of all frames of the sequence; those of the file are places in this list."""

    @property
    def cue(self) -> str:
        return "sparse_keypoints"

    def config(self) -> dict[str, Any]:
        """Raises Animal4dError where the file is missing."""
        return sequence_file_note(self.path, "keypoints", self.sequence_frames)

    def __call__(self, clip: Clip) -> SparseKeypoints:
        """Keypoints of the clip's frames. Scores beyond [0, 1], as peaks of heat maps may be, are clamped.

        Raises Animal4dError where the file is missing, damaged or does not belong to the sequence.
        """
        places = places_in_sequence(clip, self.sequence_frames)
        where = f"{self.path} (frames, keypoints, x y score)"
        values = checked_array(load_pickle(self.path), (len(self.sequence_frames), N_KEYPOINTS, 3), where)
        score = values[..., 2].clip(0, 1)
        used = values[..., :2][score > 0]
        if used.size and (used.min() < -_FARTHEST or used.max() > 1 + _FARTHEST):
            worst = used.flat[np.abs(used - 0.5).argmax()]
            raise Animal4dError(
                f"{self.path}: a keypoint lies at {worst:g}; x and y must be fractions of the padded square frame, in "
                "[0, 1]"
            )
        points = padded_to_original(torch.from_numpy(values[..., :2]).float(), clip.crop.original_size, 1)
        return SparseKeypoints(points[places], torch.from_numpy(score).float()[places])
