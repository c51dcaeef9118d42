"""`load_clip`: from a video or a folder of frames to a `Clip`.

Nothing here holds more than a few original frames. The masks are read twice: once to find the window that follows the
animal, and once, beside the frames, to be cut out with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from animal4d.clip import Clip, Crop
from animal4d.errors import Animal4dError
from animal4d.files.paths import IMAGE_SUFFIXES
from animal4d.readers.cameras import guess_intrinsics, read_cameras
from animal4d.readers.crop import Box, crop_track, cut_image, cut_mask, mask_box
from animal4d.readers.folder import FolderSource
from animal4d.readers.grabcut import grabcut_masks
from animal4d.readers.masks import MaskSource, open_masks
from animal4d.readers.source import FrameSource, Progress, Selection, numbers_in_words
from animal4d.readers.video import VideoSource

_LEAST_PIXELS = 16
"""Masks with fewer pixels are called empty."""
_FULL_FRAME = 0.995


def load_clip(
    source: Path | str,
    *,
    masks: Path | str | None = None,
    cameras: Path | str | None = None,
    box: Box | None = None,
    fov: float | None = None,
    fps: float | None = None,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    working_size: int = 256,
    name: str | None = None,
    progress: Progress | None = None,
) -> Clip:
    """Read a clip of one animal.

    Args:
        source: A video (anything FFmpeg reads), a folder of frames, or one picture. A folder with the folders `frames`
            and `masks` in it is taken with its masks.
        masks: A folder of masks (same names as the frames, or as many) or a video of masks.
        cameras: A `cameras.json` as runs hold it: OpenCV cameras in pixels of the original frames.
        box: x, y, width, height of the animal in the first frame that is read, in pixels: starts GrabCut where there
            are no masks.
        fov: Field of view in degrees along the longer side, where there are no cameras.
        fps: Rate of a folder of frames. Videos bring their own times.
        start, stop, stride, max_frames: The frames to read: numbers start, start + stride, ... before stop, at most
            max_frames of them.
        working_size: Side of the square working images in pixels.
        name: Name of the clip; that of the file or folder by default.
        progress: Called as `progress(what, done, of)`.

    Raises:
        Animal4dError: The input cannot be used; the message says which file and what to do.
    """
    if working_size < 16:
        raise Animal4dError(f"the working size must be at least 16 pixels, got {working_size}")
    path = Path(source)
    path, masks_path = _frames_and_masks(path, None if masks is None else Path(masks))
    frames = _open_source(path, fps)
    selection = frames.select(start, stop, stride, max_frames)
    mask_source, notes = _open_mask_source(frames, selection, masks_path, box, progress)

    boxes = _measure_masks(mask_source, selection, notes, progress)
    crop = crop_track(boxes, frames.size, working_size, selection.fps)
    images, working_masks = _cut(frames, mask_source, selection, boxes, crop, working_size, progress)

    world_to_camera = None
    if cameras is not None:
        intrinsics, world_to_camera = read_cameras(Path(cameras), selection.numbers, frames.count(), frames.size)
        intrinsics_source = f"given cameras, {cameras}"
    else:
        picture = frames.files[selection.numbers[0]] if isinstance(frames, FolderSource) else None
        single, intrinsics_source = guess_intrinsics(fov, picture, frames.size)
        intrinsics = single.expand(len(selection), 3, 3)

    return Clip(
        name=name or _name(Path(source)),
        frames=images,
        masks=working_masks,
        mask_valid=torch.tensor([found is not None for found in boxes]),
        frame_numbers=torch.tensor(selection.numbers),
        times=torch.tensor(selection.times, dtype=torch.float32),
        fps=selection.fps,
        intrinsics=crop.working_intrinsics(intrinsics),
        crop=crop,
        world_to_camera=world_to_camera,
        intrinsics_source=intrinsics_source,
        mask_source=mask_source.description,
        source=str(source),
        warnings=(*frames.warnings, *mask_source.warnings, *notes),
    )


def _frames_and_masks(path: Path, masks: Path | None) -> tuple[Path, Path | None]:
    """Look into a folder that holds the folders `frames` and `masks`."""
    if not path.exists():
        raise Animal4dError(f"no such file or folder: {path}")
    if path.is_dir() and (path / "frames").is_dir():
        beside = path / "masks"
        return path / "frames", beside if masks is None and beside.is_dir() else masks
    return path, masks


def _open_source(path: Path, fps: float | None) -> FrameSource:
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource(path, fps)
    if fps is not None:
        raise Animal4dError(f"--fps is for folders of frames; {path} is a video and has its own times")
    return VideoSource(path)


def _open_mask_source(
    frames: FrameSource, selection: Selection, masks: Path | None, box: Box | None, progress: Progress | None
) -> tuple[MaskSource, list[str]]:
    if masks is not None:
        notes = ["--box is not used, since there are masks"] if box is not None else []
        return open_masks(masks, frames, selection.numbers), notes
    if box is not None:
        return grabcut_masks(frames, selection, box, progress), []
    raise Animal4dError(
        f"{frames.path} comes without masks: give them by --masks, or the animal's place in the first frame by "
        "--box x,y,width,height"
    )


def _measure_masks(
    masks: MaskSource, selection: Selection, notes: list[str], progress: Progress | None
) -> list[Box | None]:
    """The animal's box in every frame; None, with a note, where the mask cannot be used."""
    boxes: list[Box | None] = []
    absent: list[int] = []
    empty: list[int] = []
    full: list[int] = []
    for index, (number, mask) in enumerate(zip(selection.numbers, masks.read(), strict=True)):
        kind = None if mask is not None else absent
        if mask is not None:
            covered = np.count_nonzero(mask > 0.5)
            kind = empty if covered < _LEAST_PIXELS else full if covered > _FULL_FRAME * mask.size else None
        if kind is not None:
            kind.append(number)
        boxes.append(mask_box(mask) if mask is not None and kind is None else None)
        if progress is not None:
            progress("reading masks", index + 1, len(selection))
    if not any(boxes):
        reason = "are missing" if absent else "fill the frame" if full and not empty else "are empty"
        raise Animal4dError(f"no frame has a usable mask ({masks.description}): all masks {reason}")
    for kind, what in ((absent, "is missing"), (empty, "is empty"), (full, "fills the frame")):
        if kind:
            notes.append(f"the mask {what} in {numbers_in_words(kind)}: no silhouette is used there")
    return boxes


def _cut(
    frames: FrameSource,
    masks: MaskSource,
    selection: Selection,
    boxes: Sequence[Box | None],
    crop: Crop,
    working_size: int,
    progress: Progress | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Working images and masks of all chosen frames."""
    count = len(selection)
    images = np.empty((count, working_size, working_size, 3), np.uint8)
    working_masks = np.zeros((count, working_size, working_size), np.float32)
    origins = crop.origin.numpy()
    sides = (crop.scale * working_size).round().int().tolist()
    for index, (image, mask) in enumerate(zip(frames.read(selection.numbers), masks.read(), strict=True)):
        images[index] = cut_image(image, origins[index], sides[index], working_size)
        if mask is not None and boxes[index] is not None:
            working_masks[index] = cut_mask(mask, origins[index], sides[index], working_size)
        if progress is not None:
            progress("reading frames", index + 1, count)
    return torch.from_numpy(images), torch.from_numpy(working_masks)


def _name(path: Path) -> str:
    return path.resolve().stem if path.is_file() else path.resolve().name
