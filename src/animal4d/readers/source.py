"""What every source of frames offers, so that the rest of the readers need not know videos from folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from animal4d.errors import Animal4dError

Image = NDArray[np.uint8]
"""RGB, (height, width, 3)."""
Mask = NDArray[np.float32]
"""Probability of the animal in [0, 1], (height, width)."""

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, of)`."""


@dataclass(frozen=True)
class Selection:
    """The frames that were asked for."""

    numbers: tuple[int, ...]
    """Indices in the video or folder, ascending."""
    times: tuple[float, ...]
    """Seconds from the first frame of the video, chosen or not."""
    fps: float
    """Mean rate of the chosen frames."""

    def __len__(self) -> int:
        return len(self.numbers)


class FrameSource(Protocol):
    """Frames in order, one at a time: nothing here holds more than a few of them in memory."""

    path: Path
    size: tuple[int, int]
    """Height and width of the upright frames."""
    warnings: list[str]

    @property
    def stems(self) -> list[str] | None:
        """File names without suffix where every frame is a file."""
        ...

    def count(self) -> int:
        """Number of frames in all."""
        ...

    def select(self, start: int, stop: int | None, stride: int, max_frames: int | None) -> Selection: ...

    def read(self, numbers: Sequence[int]) -> Iterator[Image]:
        """Upright RGB images of the frames with these ascending numbers."""
        ...


def frame_range(start: int, stop: int | None, stride: int, max_frames: int | None, total: int | None) -> range:
    """Frame numbers chosen by --start, --stop, --stride and --max-frames; `total` None where it is not known yet."""
    for option, value, least in (("--start", start, 0), ("--stride", stride, 1), ("--max-frames", max_frames, 1)):
        if value is not None and value < least:
            raise Animal4dError(f"{option} must be at least {least}, got {value}")
    if stop is not None and stop <= start:
        raise Animal4dError(f"--stop {stop} is not after --start {start}: no frame is left")
    bounds = [bound for bound in (stop, total) if bound is not None]
    if max_frames is not None:
        bounds.append(start + stride * (max_frames - 1) + 1)
    return range(start, min(bounds) if bounds else 1 << 60, stride)


def numbers_in_words(numbers: Sequence[int]) -> str:
    """`frame 3`, or `frames 3-7, 12` with runs joined and long lists cut short."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    shown = ", ".join("-".join(map(str, run)) for run in runs[:8]) + (", ..." if len(runs) > 8 else "")
    return f"{'frame' if len(numbers) == 1 else f'{len(numbers)} frames:'} {shown}"
