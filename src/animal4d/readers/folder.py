"""Folders of frames (or one picture) as a source of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps
from PIL.Image import DecompressionBombError

from animal4d.errors import Animal4dError
from animal4d.files.paths import list_images
from animal4d.readers.source import Image, Selection, frame_range

DEFAULT_FPS = 30.0


class FolderSource:
    """Pictures in natural order of their names, all of one size, turned upright by their EXIF orientation."""

    def __init__(self, path: Path, fps: float | None = None) -> None:
        if fps is not None and not 0 < fps < 10_000:
            raise Animal4dError(f"--fps must be a positive number of frames per second, got {fps}")
        self.path = path
        self.files = list_images(path) if path.is_dir() else [path]
        if not self.files:
            raise Animal4dError(f"{path} holds no frames: give a video, or a folder of .jpg or .png files")
        self.warnings: list[str] = []
        self._fps = DEFAULT_FPS if fps is None else fps
        if fps is None and len(self.files) > 1:
            self.warnings.append(
                f"the frames carry no times: {DEFAULT_FPS:g} frames per second assumed (--fps sets it)"
            )
        self.size = read_image(self.files[0]).shape[:2]

    @property
    def stems(self) -> list[str]:
        return [file.stem for file in self.files]

    def count(self) -> int:
        return len(self.files)

    def select(self, start: int, stop: int | None, stride: int, max_frames: int | None) -> Selection:
        numbers = tuple(frame_range(start, stop, stride, max_frames, total=len(self.files)))
        if not numbers:
            raise Animal4dError(f"{self.path} has {len(self.files)} frames; none is left from --start {start} on")
        return Selection(numbers, tuple(number / self._fps for number in numbers), self._fps / stride)

    def read(self, numbers: Sequence[int]) -> Iterator[Image]:
        for number in numbers:
            yield read_frame(self.files[number], self.size, f"{self.files[0].name} is")


def read_image(path: Path) -> Image:
    """An upright 8-bit RGB picture."""
    try:
        with PillowImage.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            if upright.mode.startswith(("I", "F")):
                return _grey_to_rgb(np.asarray(upright, dtype=np.float64))
            return np.asarray(upright.convert("RGB"))
    except FileNotFoundError as error:
        raise Animal4dError(f"{path} does not exist") from error
    except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
        raise Animal4dError(
            f"frame {path} cannot be read ({error}): replace it, or leave it out by --start and --stop"
        ) from error


def read_frame(path: Path, size: tuple[int, ...], expected: str) -> Image:
    """A picture of the size that all others have. `expected` says who has it, as "the index says".

    Raises Animal4dError where the picture cannot be read, or has another size.
    """
    image = read_image(path)
    if image.shape[:2] != size:
        raise Animal4dError(
            f"{path} is {size_in_words(image.shape[:2])} but {expected} {size_in_words(size)}: all frames must have "
            "one size, or cameras would not fit; restore the original picture"
        )
    return image


def size_in_words(size: tuple[int, ...]) -> str:
    """Height and width as people write them: width x height."""
    return f"{size[1]}x{size[0]}"


def _grey_to_rgb(grey: np.ndarray) -> Image:
    """16-bit (or floating-point) grey values as 8-bit RGB."""
    peak = 1.0 if grey.max(initial=0) <= 1 else 255.0 if grey.max() <= 255 else 65535.0
    return np.repeat((grey.clip(0) / peak * 255).round().astype(np.uint8)[..., None], 3, axis=-1)
