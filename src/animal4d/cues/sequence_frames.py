"""Files made for a whole sequence, and the frames of a clip that was cut from it.

The frames of such a file are PLACES in the sequence's list of frames; a clip knows the NUMBERS of its frames. Where
frame numbers have gaps the two differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum


def sequence_file_note(path: Path, what: str, sequence_frames: Sequence[int]) -> dict[str, Any]:
    """What a cue from such a file depends on. Raises Animal4dError where the file is missing."""
    if not path.is_file():
        raise Animal4dError(f"no file of {what} {path}: leave the cue out, or make it")
    return {"file": file_checksum(path), "sequence_frames": list(sequence_frames)}


def places_in_sequence(clip: Clip, sequence_frames: Sequence[int]) -> Int[Tensor, "frames"]:
    """The place of each frame of the clip in the sequence. Raises Animal4dError where one is not of the sequence."""
    place_of = {number: place for place, number in enumerate(sequence_frames)}
    for number in clip.frame_numbers.tolist():
        if number not in place_of:
            raise Animal4dError(
                f"frame {number} of {clip.source or clip.name} is not one of the {len(place_of)} frames of the "
                "sequence that the precomputed cues belong to: read the clip from that sequence"
            )
    return torch.tensor([place_of[number] for number in clip.frame_numbers.tolist()])
