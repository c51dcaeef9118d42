"""Masks that the user brings: a folder of pictures or a video, matched with the frames by name or by order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.Image import DecompressionBombError

from animal4d.errors import Animal4dError
from animal4d.files.paths import list_images
from animal4d.readers.folder import size_in_words
from animal4d.readers.source import FrameSource, Mask
from animal4d.readers.video import VideoSource

_FEW_LEVELS = 4
"""Masks with at most so many different values are label images; with more, they are probabilities."""
_LEVEL_SAMPLES = 8


class MaskSource(Protocol):
    """Masks of the chosen frames, in their order; None where a frame has none."""

    description: str
    warnings: list[str]

    def read(self) -> Iterator[Mask | None]: ...


class MaskFiles:
    """Pictures of masks, one per frame or fewer."""

    def __init__(self, files: Sequence[Path | None], size: tuple[int, int], description: str) -> None:
        self.files = list(files)
        self.description = description
        self.warnings: list[str] = []
        self._size = size
        self._labels = _are_labels([file for file in files if file is not None])

    def read(self) -> Iterator[Mask | None]:
        for file in self.files:
            yield None if file is None else self._read(file)

    def _read(self, file: Path) -> Mask:
        values, peak = read_mask_values(file)
        if values.shape != self._size:
            raise Animal4dError(
                f"mask {file} is {size_in_words(values.shape)} but the frames are {size_in_words(self._size)}: "
                "masks must have the frames' size"
            )
        return (values != 0).astype(np.float32) if self._labels else np.divide(values, peak, dtype=np.float32)


class MaskVideo:
    """A video whose frames are the masks of the frames with the same numbers."""

    def __init__(self, path: Path, numbers: Sequence[int], size: tuple[int, int]) -> None:
        self._source = VideoSource(path)
        self._numbers = numbers
        self.description = f"masks from the video {path.name}"
        self.warnings = self._source.warnings
        if self._source.size != size:
            raise Animal4dError(
                f"mask video {path} is {size_in_words(self._source.size)} but the frames are {size_in_words(size)}: "
                "masks must have the frames' size"
            )

    def read(self) -> Iterator[Mask | None]:
        for image in self._source.read(self._numbers):
            yield np.divide(image.max(axis=-1), 255, dtype=np.float32)


def open_masks(path: Path, source: FrameSource, numbers: Sequence[int]) -> MaskSource:
    """The masks at `path` for the chosen frames of `source`. Raises Animal4dError where they cannot be matched."""
    if path.is_file():
        return MaskVideo(path, numbers, source.size)
    if not path.is_dir():
        raise Animal4dError(f"no such folder or video of masks: {path}")
    files = list_images(path)
    if not files:
        raise Animal4dError(f"{path} holds no masks (.png, .jpg, ...)")
    matched, how = _match(files, source, numbers)
    masks = MaskFiles(matched, source.size, f"masks from {path}, matched by {how}")
    if how != "name":
        masks.warnings.append(f"the masks in {path} are matched with the frames by {how}, since their names differ")
    return masks


def read_mask_values(file: Path) -> tuple[NDArray[np.generic], float]:
    """The one channel of a mask picture that holds the mask, and the value that means certainty in it."""
    try:
        with PillowImage.open(file) as picture:
            picture.load()
            mode = picture.mode
            if mode in ("P", "PA"):  # the index is the label; its colour is only for people
                return np.asarray(picture.getchannel(0)), 255.0
            if mode == "1":
                return np.asarray(picture).astype(np.uint8), 1.0
            values = np.asarray(picture)
    except FileNotFoundError as error:
        raise Animal4dError(f"{file} does not exist") from error
    except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
        raise Animal4dError(f"mask {file} cannot be read ({error}): replace it, or remove it") from error
    if mode in ("LA", "La", "RGBA", "RGBa"):
        color, alpha = values[..., :-1], values[..., -1]
        # A cut-out keeps the animal in its alpha; a mask saved with a constant alpha keeps it in its colour.
        return (alpha if alpha.min() != alpha.max() else color.max(axis=-1)), 255.0
    if values.ndim == 3:
        values = values.max(axis=-1)
    if values.dtype == np.uint8:
        return values, 255.0
    return values, 1.0 if values.max(initial=0) <= 1 else 65535.0


def _are_labels(files: Sequence[Path]) -> bool:
    """Whether masks hold labels (0/1, 0/255, 0/38, palette) rather than probabilities, judged on some of them."""
    samples = files[:: max(1, len(files) // _LEVEL_SAMPLES)][:_LEVEL_SAMPLES]
    levels = [np.unique(read_mask_values(file)[0]) for file in samples]
    return np.unique(np.concatenate(levels)).size <= _FEW_LEVELS if levels else True


def _match(files: list[Path], source: FrameSource, numbers: Sequence[int]) -> tuple[list[Path | None], str]:
    """The mask file of each chosen frame, and whether it was found by name, number or order."""
    if source.stems is not None:
        by_stem = {file.stem: file for file in files}
        matched = [by_stem.get(source.stems[number]) for number in numbers]
        if any(matched):
            return matched, "name"
    total = source.count()
    if len(files) == total:
        return [files[number] for number in numbers], "order"
    if len(files) == len(numbers):
        return list(files), "order"
    by_number = {int(digits[-1]): file for file in files if (digits := re.findall(r"\d+", file.stem))}
    if len(by_number) == len(files):
        shift = 1 if 0 not in by_number and max(by_number) in (total, len(files)) else 0
        matched = [by_number.get(number + shift) for number in numbers]
        if any(matched):
            return matched, "the number in their names" + (" (counted from 1)" if shift else "")
    raise Animal4dError(
        f"the {len(files)} masks in {files[0].parent} cannot be matched with {total} frames: give them the frames' "
        "names, or one for every frame"
    )
