"""One interface for everything that finds masks where none are given: built-in, pretrained, by colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from animal4d.errors import Animal4dError
from animal4d.readers.crop import Box
from animal4d.readers.masks import MaskSource
from animal4d.readers.masks_in_windows import check_box
from animal4d.readers.source import FrameSource, Progress, Selection

Point = tuple[float, float]
"""x, y in pixels of the original frame."""


@dataclass(frozen=True)
class Place:
    """Where the user says that the animal is, in the first frame that is read; nothing where it is to be found."""

    box: Box | None = None
    point: Point | None = None
    """A point on the animal."""

    def __bool__(self) -> bool:
        return self.box is not None or self.point is not None

    def checked(self, size: tuple[int, int]) -> Place:
        """The same. Raises Animal4dError where it does not lie in a frame of `size` (height, width)."""
        if self.box is not None:
            check_box(self.box, size)
        if self.point is not None:
            x, y = self.point
            if not (np.isfinite(self.point).all() and 0 <= x <= size[1] and 0 <= y <= size[0]):
                raise Animal4dError(f"--point {x:g},{y:g} is no point x,y in a frame of {size[1]}x{size[0]}")
        return self

    def in_words(self) -> str:
        """As it is given on the command line."""
        given = [("box", self.box), ("point", self.point)]
        return " ".join(f"--{name} {','.join(f'{x:g}' for x in value)}" for name, value in given if value is not None)


NOWHERE = Place()
"""The user says nothing."""


class MaskFinder(Protocol):
    """A way to the masks of a clip: `pretrained` (a network whose weights the user has) or `builtin`."""

    name: ClassVar[str]
    kind: ClassVar[str]

    def config(self) -> dict[str, Any]:
        """Everything that changes the result, in plain values."""
        ...

    def __call__(
        self, frames: FrameSource, selection: Selection, place: Place = ..., progress: Progress | None = ...
    ) -> MaskSource:
        """Masks of the chosen frames. Raises Animal4dError where there are none to be had in this way."""
        ...


def found_masks(
    finders: Sequence[MaskFinder],
    frames: FrameSource,
    selection: Selection,
    place: Place,
    progress: Progress | None = None,
    strict: bool = False,
) -> tuple[MaskSource, list[str]]:
    """Masks by the first finder that can make them, and a note for the user about each one that could not.

    Raises Animal4dError where the place is none and where no finder makes masks (what each one said, in one line); with
    `strict`, the first one's error.
    """
    if not finders:
        raise ValueError("found_masks needs at least one finder")
    place.checked(frames.size)
    failed: list[str] = []
    for finder in finders:
        try:
            return finder(frames, selection, place, progress), [f"{said}: another way is taken" for said in failed]
        except Animal4dError as error:
            if strict or len(finders) == 1:
                raise
            failed.append(f"no masks by {finder.name} ({error})")
        # Networks of others run in code of many versions: whatever it raises, the clip is read, and the user told.
        except Exception as error:
            if finder.kind != "pretrained":
                raise
            said = f"no masks by {finder.name} ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
            if strict or len(finders) == 1:
                raise Animal4dError(f"{said}: --avoid {finder.name} goes without it") from error
            failed.append(said)
    raise Animal4dError(f"{frames.path}: nobody finds masks: {'; '.join(failed)}")
