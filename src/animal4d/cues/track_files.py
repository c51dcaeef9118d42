"""Point tracks from a file, as BootsTAP made them for the published data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from animal4d.clip import Clip
from animal4d.cues.sequence_frames import places_in_sequence, sequence_file_note
from animal4d.cues.tracks import Tracks
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_torch
from animal4d.geometry.padded_frame import PADDED_SIZE, padded_to_original

_MOST_OUTSIDE = 0.2
"""Share of the visible points that a tracker may place beyond the frame; more of them are in another unit."""


@dataclass(frozen=True)
class TrackFile:
    """`tracking_points.pt`: points (T, P, 2) in pixels of the padded 800 x 800 frame and visibility (T, P).

    Points are raster coordinates, as TAP-Net defines them: (0, 0) is the corner of the first pixel.
    """

    name: ClassVar[str] = "track-file"
    kind: ClassVar[str] = "precomputed"
    version: ClassVar[int] = 1

    path: Path
    sequence_frames: tuple[int, ...]
    """Numbers of all frames of the sequence; those of the file are places in this list."""

    @property
    def cue(self) -> str:
        return "tracks"

    def config(self) -> dict[str, Any]:
        """Raises Animal4dError where the file is missing."""
        return sequence_file_note(self.path, "tracks", self.sequence_frames)

    def __call__(self, clip: Clip) -> Tracks:
        """The tracks of the clip's frames; a point that leaves the frame is not visible there.

        Raises Animal4dError where the file is missing, damaged or does not belong to the sequence.
        """
        places = places_in_sequence(clip, self.sequence_frames)
        content = load_torch(self.path)
        if not isinstance(content, tuple | list) or len(content) != 2:
            raise Animal4dError(f"{self.path} must hold a pair (points, visible): make the tracks again, or remove it")
        n_frames = len(self.sequence_frames)
        padded = checked_array(content[0], (n_frames, None, 2), f"{self.path}, points (frames, tracks, 2)")
        seen = checked_array(content[1], padded.shape[:2], f"{self.path}, visible (frames, tracks)")
        if ((seen != 0) & (seen != 1)).any():
            raise Animal4dError(f"{self.path}, visible must hold only 0 and 1, or booleans: make the tracks again")

        height, width = clip.crop.original_size
        points = padded_to_original(torch.from_numpy(padded).float(), clip.crop.original_size)
        visible = torch.from_numpy(seen > 0)
        inside = (points >= 0).all(-1) & (points[..., 0] <= width) & (points[..., 1] <= height)
        outside = int((visible & ~inside).sum())
        if outside > _MOST_OUTSIDE * int(visible.sum()):
            raise Animal4dError(
                f"{self.path}: {outside} of {int(visible.sum())} visible points lie outside of the frames; points must "
                f"be pixels of the {PADDED_SIZE}x{PADDED_SIZE} padded frame"
            )
        return Tracks(points[places], (visible & inside)[places])
