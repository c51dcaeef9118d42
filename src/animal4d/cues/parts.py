"""Part masks: which part of the body each pixel shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.checksums import file_checksum
from animal4d.files.unpickle import load_torch

NONE, HEAD, TORSO, LEG, TAIL, FRONT_LEFT_LEG, FRONT_RIGHT_LEG, BACK_LEFT_LEG, BACK_RIGHT_LEG = range(9)
UNKNOWN = 255
PART_LABELS = {
    "none": NONE,
    "head": HEAD,
    "torso": TORSO,
    "leg": LEG,
    "tail": TAIL,
    "front_left_leg": FRONT_LEFT_LEG,
    "front_right_leg": FRONT_RIGHT_LEG,
    "back_left_leg": BACK_LEFT_LEG,
    "back_right_leg": BACK_RIGHT_LEG,
    "unknown": UNKNOWN,
}
"""Labels by name. Whoever cannot tell the legs apart (left and right are the animal's own) calls all of them "leg".
"unknown" is a part of the animal, but nobody knows which; it is not "none"."""
LABEL_OF_FILE = {0: NONE, 11: HEAD, 12: TORSO, 13: LEG, 14: TAIL}
"""PartGLEE's numbers, as published: head, body, foot, tail."""


@dataclass(frozen=True)
class Parts:
    """Parts in the working images of a clip."""

    labels: UInt8[Tensor, "frames height width"]
    """Values of `PART_LABELS`. All 0 in a frame where nothing is known."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"labels": self.labels.cpu().numpy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Parts:
        return Parts(torch.from_numpy(arrays["labels"]).to(torch.uint8))


@dataclass(frozen=True)
class PartMaskFiles:
    """A folder with one torch file per frame, as `cop3d_data/<category>/<sequence>/part_masks`."""

    name: ClassVar[str] = "part-mask-files"
    kind: ClassVar[str] = "precomputed"
    version: ClassVar[int] = 1

    folder: Path
    stems: Mapping[int, str] = field(default_factory=dict)
    """Names without suffix by frame number, where they are not `frame%06d` of it."""
    read_off_surface: bool = False
    """Whether they say nothing but what the surface maps beside them do, with the legs as one."""

    @property
    def cue(self) -> str:
        return "parts"

    def config(self) -> dict[str, Any]:
        """Names and checksums of all files of the folder. Raises Animal4dError where there is no such folder."""
        self._check_folder()
        files = sorted(path for path in self.folder.glob("*.pt") if path.is_file())
        stems = {str(number): stem for number, stem in self.stems.items()}
        return {"files": {path.name: file_checksum(path) for path in files}, "stems": stems}

    def notices(self, clip: Clip) -> list[str]:
        """In words, the frames of the clip without a file: they have no parts."""
        missing = [number for number in clip.frame_numbers.tolist() if not self._file(number).is_file()]
        if not missing:
            return []
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        return [f"{self.folder} has no part mask for {len(missing)} of {len(clip)} frames ({shown}): no parts there"]

    def __call__(self, clip: Clip) -> Parts:
        """Parts by nearest neighbour: of the original pixel that holds the centre of the working pixel.

        Raises Animal4dError where no frame has a file, or one is damaged, of another size or holds other labels.
        """
        self._check_folder()
        labels = np.zeros((len(clip), *clip.image_size), np.uint8)
        found = False
        for index, number in enumerate(clip.frame_numbers.tolist()):
            path = self._file(number)
            if path.is_file():
                found = True
                labels[index] = _resampled(_read(path, clip.crop.original_size), clip, index)
        if not found:
            raise Animal4dError(
                f"{self.folder} has no part mask for any frame of {clip.name} (first looked for "
                f"{self._file(int(clip.frame_numbers[0])).name}): remove the folder, or make the masks again"
            )
        return Parts(torch.from_numpy(labels))

    def _file(self, number: int) -> Path:
        return self.folder / f"{self.stems.get(number, f'frame{number:06d}')}.pt"

    def _check_folder(self) -> None:
        if not self.folder.is_dir():
            raise Animal4dError(f"no folder of part masks {self.folder}: leave the cue out, or make it")


def _read(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Our labels at the frame's resolution."""
    content = load_torch(path)
    if not isinstance(content, Tensor):
        raise Animal4dError(f"{path} must hold a tensor, got {type(content).__name__}: make the part mask again")
    values = checked_array(content, size, str(path))
    labels = np.zeros(size, np.uint8)
    known = np.zeros(size, bool)
    for value, label in LABEL_OF_FILE.items():
        here = values == value
        labels[here] = label
        known |= here
    if not known.all():
        raise Animal4dError(
            f"{path} holds the label {values[~known][0]:g}; part masks hold 0 none, 11 head, 12 body, 13 foot, 14 tail"
        )
    return labels


def _resampled(labels: NDArray[np.uint8], clip: Clip, index: int) -> NDArray[np.uint8]:
    height, width = clip.image_size
    (left, top), scale = clip.crop.origin[index].tolist(), float(clip.crop.scale[index])
    columns = np.floor(left + (np.arange(width) + 0.5) * scale).astype(np.int64)
    rows = np.floor(top + (np.arange(height) + 0.5) * scale).astype(np.int64)
    inside = ((rows >= 0) & (rows < labels.shape[0]))[:, None] & ((columns >= 0) & (columns < labels.shape[1]))
    taken = labels[np.ix_(rows.clip(0, labels.shape[0] - 1), columns.clip(0, labels.shape[1] - 1))]
    return np.where(inside, taken, NONE).astype(np.uint8)
