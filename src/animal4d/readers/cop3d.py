"""COP3D's sequences as clips: the padded frames that the published method works on.

A frame is never cropped: it lies in the top-left corner of a square of its longer side, which is scaled to 800 x 800
and then to the working size. The `Crop` of such a clip has its origin at 0 and `max(height, width) / working size`
original pixels per working pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip, Crop
from animal4d.errors import Animal4dError
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.readers.cameras import guess_intrinsics
from animal4d.readers.cop3d_index import FrameMask, IndexedFrame, open_index
from animal4d.readers.folder import DEFAULT_FPS, read_frame, size_in_words
from animal4d.readers.masks import read_mask_values
from animal4d.readers.source import Mask, Progress, Selection, frame_range, numbers_in_words
from animal4d.readers.usable_masks import measure_masks


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a sequence are read: PLACES start, start + stride, ... in its list, before stop."""

    start: int = 0
    stop: int | None = None
    stride: int = 1
    max_frames: int | None = None


def read_cop3d(
    root: Path,
    sequence: str,
    choice: FrameChoice | None = None,
    *,
    fov: float | None = None,
    fps: float | None = None,
    working_size: int = 256,
    name: str | None = None,
    progress: Progress | None = None,
) -> Clip:
    """A sequence of COP3D with its masks and cameras; `sequence_clip` explains the arguments.

    Raises Animal4dError where index, sequence or a picture is missing or damaged.
    """
    frames = open_index(root).frames(sequence)
    return sequence_clip(
        f"cop3d:{root}:{sequence}",
        frames,
        choice or FrameChoice(),
        fov=fov,
        fps=fps,
        working_size=working_size,
        name=name or sequence,
        progress=progress,
    )


def sequence_clip(
    source: str,
    frames: Sequence[IndexedFrame],
    choice: FrameChoice,
    *,
    fov: float | None,
    fps: float | None,
    working_size: int,
    name: str,
    progress: Progress | None,
) -> Clip:
    """The chosen frames as a clip of whole, padded frames.

    Args:
        source: Address of the sequence, for messages and for the record.
        frames: ALL frames of the sequence, in order.
        choice: Places in `frames`; the clip keeps the numbers of the index.
        fov: Field of view in degrees, only where the index holds no cameras.
        fps: Only where the index holds no times.
    """
    warnings: list[str] = []
    places = chosen_places(source, len(frames), choice)
    chosen = [frames[place] for place in places]
    size = common_size(source, chosen)
    selection = _selection(source, frames, places, fps, warnings)
    check_images(source, chosen)
    masks = SequenceMasks(chosen)
    boxes = measure_masks(masks, selection.numbers, warnings, progress)

    crop = whole_frame_crop(len(chosen), size, working_size)
    images = np.empty((len(chosen), working_size, working_size, 3), np.uint8)
    working_masks = np.zeros((len(chosen), working_size, working_size), np.float32)
    for index, (frame, mask) in enumerate(zip(chosen, masks.read(), strict=True)):
        images[index] = padded(read_frame(frame.image_path, size, "the index says"), working_size)
        if mask is not None and boxes[index] is not None:
            working_masks[index] = padded(mask, working_size).clip(0, 1)
        if progress is not None:
            progress("reading frames", index + 1, len(chosen))

    intrinsics, world_to_camera, intrinsics_source = _cameras(source, chosen, size, fov, warnings)
    return Clip(
        name=name,
        frames=torch.from_numpy(images),
        masks=torch.from_numpy(working_masks),
        mask_valid=torch.tensor([box is not None for box in boxes]),
        frame_numbers=torch.tensor(selection.numbers),
        times=torch.tensor(selection.times, dtype=torch.float32),
        fps=selection.fps,
        intrinsics=crop.working_intrinsics(intrinsics),
        crop=crop,
        world_to_camera=world_to_camera,
        intrinsics_source=intrinsics_source,
        mask_source=masks.description,
        source=source,
        warnings=tuple(warnings),
    )


def whole_frame_crop(n_frames: int, image_size: tuple[int, int], working_size: int) -> Crop:
    """Working images that show the whole frame, padded to a square on the right or below."""
    scale = max(image_size) / working_size
    return Crop(torch.zeros(n_frames, 2), torch.full((n_frames,), scale), image_size)


def padded(image: NDArray[Any], working_size: int) -> NDArray[Any]:
    """A picture or mask in the top-left corner of a square, black beyond: bilinear to 800 x 800 as published.

    The way on to the working size averages areas, as for all other clips: bilinear sampling would skip pixels.
    """
    height, width = image.shape[:2]
    side = max(height, width)
    square = cv2.copyMakeBorder(image, 0, side - height, 0, side - width, cv2.BORDER_CONSTANT, value=0)
    square = cv2.resize(square, (PADDED_SIZE, PADDED_SIZE), interpolation=cv2.INTER_LINEAR)
    interpolation = cv2.INTER_AREA if working_size < PADDED_SIZE else cv2.INTER_LINEAR
    return cv2.resize(square, (working_size, working_size), interpolation=interpolation)


class SequenceMasks:
    """Masks of the chosen frames at their own resolution; a file that is not there is a missing mask."""

    def __init__(self, frames: Sequence[IndexedFrame]) -> None:
        self._frames = frames
        self._masks = [None if frame.mask is None or not frame.mask.path.is_file() else frame.mask for frame in frames]
        refined = sum(mask is not None and mask.refined for mask in self._masks)
        others = sum(mask is not None and not mask.refined for mask in self._masks)
        kinds = [f"{words} ({count} frames)" for words, count in (("refined", refined), ("COP3D's", others)) if count]
        self.description = f"masks of the sequence: {' and '.join(kinds) or 'none'}"
        self.warnings: list[str] = []

    def read(self) -> Iterator[Mask | None]:
        for frame, mask in zip(self._frames, self._masks, strict=True):
            yield None if mask is None else _read_frame_mask(mask, frame.image_size)


def _read_frame_mask(mask: FrameMask, image_size: tuple[int, int]) -> Mask:
    """Probabilities in [0, 1]. Raises Animal4dError where the file cannot be read, or has not the frame's size."""
    values, peak = read_mask_values(mask.path)
    if values.shape != image_size:
        raise Animal4dError(
            f"mask {mask.path} is {size_in_words(values.shape)} but its frame is {size_in_words(image_size)}: masks "
            "must have the frame's size; make it again, or remove it"
        )
    if mask.refined and values.max(initial=0) <= 1:
        peak = 1.0
    return np.divide(values, peak, dtype=np.float32)


def chosen_places(source: str, total: int, choice: FrameChoice) -> range:
    """Places in a sequence of `total` frames. Raises Animal4dError where none is chosen."""
    places = frame_range(choice.start, choice.stop, choice.stride, choice.max_frames, total)
    if not places:
        raise Animal4dError(f"{source} has {total} frames; none is left from --start {choice.start} on")
    return places


def common_size(source: str, frames: Sequence[IndexedFrame]) -> tuple[int, int]:
    """Height and width of all frames. Raises Animal4dError where they differ."""
    size = frames[0].image_size
    for frame in frames:
        if frame.image_size != size:
            raise Animal4dError(
                f"{source}: frame {frame.number} is {size_in_words(frame.image_size)} but frame {frames[0].number} is "
                f"{size_in_words(size)}: all frames must have one size (choose some by --start and --stop)"
            )
    return size


def _selection(
    source: str, frames: Sequence[IndexedFrame], places: range, fps: float | None, warnings: list[str]
) -> Selection:
    """Numbers and times of the chosen frames; times from the numbers where the index has none that increase."""
    numbers = np.array([frame.number for frame in frames])
    stamps = np.array([frame.timestamp for frame in frames], dtype=np.float32)
    if np.isfinite(stamps).all() and stamps[0] >= 0 and (np.diff(stamps) > 0).all():
        if fps is not None:
            raise Animal4dError(f"--fps is for frames without times; {source} has its own")
        times = stamps.astype(np.float64)
    else:
        if fps is not None and not 0 < fps < 10_000:
            raise Animal4dError(f"--fps must be a positive number of frames per second, got {fps}")
        if fps is None:
            warnings.append(
                f"the index holds no increasing times: {DEFAULT_FPS:g} frames per second assumed (--fps sets it)"
            )
        times = numbers / (fps or DEFAULT_FPS)
    chosen = times[places.start : places.stop : places.step]
    several = chosen if len(chosen) > 1 else times
    duration = float(several[-1] - several[0])
    rate = (len(several) - 1) / duration if duration > 0 else DEFAULT_FPS
    return Selection(tuple(numbers[list(places)].tolist()), tuple(chosen.tolist()), rate)


def check_images(source: str, frames: Sequence[IndexedFrame]) -> None:
    """Raises Animal4dError where a frame's picture is not there."""
    missing = [frame for frame in frames if not frame.image_path.is_file()]
    if missing:
        numbers = numbers_in_words([frame.number for frame in missing])
        raise Animal4dError(
            f"{missing[0].image_path} does not exist ({source} lacks {numbers}): download the sequence again, or "
            "choose other frames by --start, --stop and --stride"
        )


def _cameras(
    source: str, frames: Sequence[IndexedFrame], size: tuple[int, int], fov: float | None, warnings: list[str]
) -> tuple[Float[Tensor, "frames 3 3"], Float[Tensor, "frames 4 4"] | None, str]:
    """Intrinsics of the original frames, the camera track where every frame has a camera, and where they come from."""
    found = [frame.camera for frame in frames if frame.camera is not None]
    if len(found) == len(frames):
        if fov is not None:
            raise Animal4dError(f"--fov is for clips without cameras; {source} has its own")
        intrinsics = torch.cat([camera.intrinsics for camera in found])
        return intrinsics, torch.cat([camera.world_to_camera for camera in found]), f"cameras of {source}"
    lacking = numbers_in_words([frame.number for frame in frames if frame.camera is None])
    warnings.append(f"the index has no camera for {lacking}: the clip is read without cameras")
    single, words = guess_intrinsics(fov, None, size)
    return single.expand(len(frames), 3, 3), None, words
