"""Checks of a sequence's pictures: frames, masks and refined masks against the index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from animal4d.data.finding import Finding, checked
from animal4d.errors import Animal4dError
from animal4d.readers.cop3d_index import IndexedFrame
from animal4d.readers.folder import read_image, size_in_words
from animal4d.readers.masks import read_mask_values


def check_frames(sequence: str, frames: Sequence[IndexedFrame], refined_masks: Path) -> list[Finding]:
    """Every picture is decoded. Masks are missing where there is no file of them; those of some frames may be.

    `refined_masks` is the folder of the sequence, there or not.
    """
    findings = [
        checked(sequence, "cameras", lambda: _cameras(frames)),
        checked(sequence, "images", lambda: _images(frames)),
        _masks(sequence, frames),
        _refined_masks(sequence, frames, refined_masks),
    ]
    if not any(finding.state == "ok" and finding.entry.endswith("masks") for finding in findings):
        place = frames[0].mask.path.parent if frames[0].mask is not None else refined_masks
        if all(finding.state == "missing" for finding in findings if finding.entry.endswith("masks")):
            note = f"{place} holds no mask, nor does {refined_masks}: no sequence can be read without; get them again"
            findings[2] = Finding(sequence, "masks", "broken", note)
    return findings


def all_of(checks: Iterable[Callable[[], None]]) -> None:
    """Run all checks; the first line that they raise, with how many more there are."""
    lines: list[str] = []
    for check in checks:
        try:
            check()
        except Animal4dError as error:
            lines.append(str(error))
    if lines:
        more = f" (and {len(lines) - 1} more such files)" if len(lines) > 1 else ""
        raise Animal4dError(lines[0] + more)


def unexpected_files(folder: Path, suffix: str, stems: Iterable[str]) -> None:
    """Raise Animal4dError where the folder holds a file that belongs to no frame."""
    known = set(stems)
    strange = sorted(path for path in folder.iterdir() if path.suffix == suffix and path.stem not in known)
    if strange:
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise Animal4dError(f"{strange[0]}{more} belongs to no frame of the index: move it away, or rename it")


def _cameras(frames: Sequence[IndexedFrame]) -> str:
    there = sum(frame.camera is not None for frame in frames)
    if 0 < there < len(frames):
        number = next(frame.number for frame in frames if frame.camera is None)
        raise Animal4dError(
            f"frame {number} of the index has no camera, but {there} others have: the clip would be read without "
            "cameras; download the index again"
        )
    return f"{there} of {len(frames)}" if there else "none in the index"


def _images(frames: Sequence[IndexedFrame]) -> str:
    first = frames[0].image_size
    for frame in frames:
        if frame.image_size != first:
            raise Animal4dError(
                f"{frame.image_path} is {size_in_words(frame.image_size)} but the first frame {size_in_words(first)} "
                "by the index: all frames must have one size"
            )
    all_of(lambda frame=frame: _image(frame) for frame in frames)
    return f"{len(frames)}, {size_in_words(first)}"


def _image(frame: IndexedFrame) -> None:
    if not frame.image_path.is_file():
        raise Animal4dError(f"{frame.image_path} does not exist: download the sequence again")
    size = read_image(frame.image_path).shape[:2]
    if size != frame.image_size:
        raise Animal4dError(
            f"{frame.image_path} is {size_in_words(size)} but the index says {size_in_words(frame.image_size)}: "
            "restore the original picture"
        )


def _masks(sequence: str, frames: Sequence[IndexedFrame]) -> Finding:
    paths = [(frame.mask.path, frame.image_size) for frame in frames if frame.mask is not None]
    there = [(path, size) for path, size in paths if path.is_file()]
    if not there:
        where = str(paths[0][0].parent) if paths else "none in the index"
        return Finding(sequence, "masks", "missing", where)

    def check() -> str:
        all_of(lambda path=path, size=size: _mask(path, size, binary=False) for path, size in there)
        return f"{len(there)} of {len(frames)}"

    return checked(sequence, "masks", check)


def _refined_masks(sequence: str, frames: Sequence[IndexedFrame], folder: Path) -> Finding:
    files = [(folder / f"{frame.image_path.stem}.png", frame.image_size) for frame in frames]
    there = [(path, size) for path, size in files if path.is_file()]
    if not folder.is_dir() or not any(folder.iterdir()):
        return Finding(sequence, "refined_masks", "missing", str(folder))

    def check() -> str:
        unexpected_files(folder, ".png", (path.stem for path, _ in files))
        all_of(lambda path=path, size=size: _mask(path, size, binary=True) for path, size in there)
        return f"{len(there)} of {len(frames)}"

    return checked(sequence, "refined_masks", check)


def _mask(path: Path, size: tuple[int, int], binary: bool) -> None:
    values, _ = read_mask_values(path)
    if values.shape != size:
        raise Animal4dError(
            f"{path} is {size_in_words(values.shape)} but its frame is {size_in_words(size)}: make it again, or "
            "remove it"
        )
    if binary:
        levels = set(np.unique(values).tolist())
        if not (levels <= {0, 1} or levels <= {0, 255}):
            strange = max(levels - {0, 1, 255}, default=1)
            raise Animal4dError(
                f"{path} holds the value {strange}; refined masks hold 0 and 1, or 0 and 255: make it again, or remove "
                "it"
            )
