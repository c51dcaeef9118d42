"""`load_clip`: from a video, a folder of frames, COP3D or the external data tree to a `Clip`.

Nothing here holds more than a few original frames. The masks are read twice: once to find the window that follows the
animal, and once, beside the frames, to be cut out with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from animal4d.candidates import Choice
from animal4d.clip import Clip, Crop
from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Eyes, load_eyes
from animal4d.files.paths import IMAGE_SUFFIXES
from animal4d.readers.address import SequenceAddress, parse_address
from animal4d.readers.cameras import guess_intrinsics, read_cameras
from animal4d.readers.cop3d import FrameChoice, read_cop3d
from animal4d.readers.crop import Box, crop_track, cut_image, cut_mask
from animal4d.readers.external import read_external
from animal4d.readers.folder import FolderSource
from animal4d.readers.mask_finders import NOWHERE, Place, Point, found_masks
from animal4d.readers.masks import MaskSource, open_masks
from animal4d.readers.source import FrameSource, Progress, Selection
from animal4d.readers.usable_masks import check_no_frames, measure_masks
from animal4d.readers.video import VideoSource
from animal4d.readers.ways_to_masks import ways_to_masks

_OF_RUNS = ("config.yaml", "asset.glb")
"""What finished runs have and clips do not."""


def load_clip(
    source: Path | str,
    *,
    masks: Path | str | None = None,
    cameras: Path | str | None = None,
    box: Box | None = None,
    point: Point | None = None,
    eyes: bool = True,
    providers: Choice | None = None,
    device: str = "cpu",
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
            and `masks` in it is taken with its masks. Or a sequence of COP3D, `cop3d:<root>:<sequence>`, or of the
            external data tree, `external:<root>:<sequence>`: these bring masks and cameras.
        masks: A folder of masks (same names as the frames, or as many) or a video of masks.
        cameras: OpenCV cameras in pixels of the original frames: a `cameras.json` as runs hold it, the folder of a
            COLMAP model, or an npz of VGGT or MegaSaM.
        box: x, y, width, height of the animal in the first frame that is read, in pixels, where there are no masks.
        point: x, y of a point on the animal there.
        eyes: Whether the built-in network may make masks where there are none.
        providers: All that the user says about who makes them, `eyes` too. By default the best network that is at hand
            does, at last the built-in one; without that GrabCut, from `box`.
        device: Where networks run.
        fov: Field of view in degrees along the longer side, where there are no cameras.
        fps: Rate of a folder of frames. Videos bring their own times.
        start, stop, stride, max_frames: The frames to read: numbers start, start + stride, ... before stop, at most
            max_frames of them. Of a COP3D sequence they count places in its list of frames, whose numbers may have
            gaps.
        working_size: Side of the square working images in pixels.
        name: Name of the clip; that of the file or folder by default.
        progress: Called as `progress(what, done, of)`.

    Raises:
        Animal4dError: The input cannot be used; the message says which file and what to do.
    """
    if working_size < 16:
        raise Animal4dError(f"the working size must be at least 16 pixels, got {working_size}")
    address = parse_address(source)
    if address is not None:
        choice = FrameChoice(start, stop, stride, max_frames)
        given = (("--masks", masks), ("--cameras", cameras), ("--box", box), ("--point", point))
        unused = [option for option, value in given if value]
        return _load_sequence(address, choice, unused, fov, fps, working_size, name, progress)
    path = Path(source)
    path, masks_path = frames_and_masks(path, None if masks is None else Path(masks))
    frames = open_frames(path, fps)
    selection = frames.select(start, stop, stride, max_frames)
    place = Place(box, point)
    mask_source, notes = open_mask_source(
        frames, selection, masks_path, place, providers or Choice(eyes=eyes), device, progress
    )

    boxes = measure_masks(mask_source, selection.numbers, notes, progress)
    crop = crop_track(boxes, frames.size, working_size, selection.fps)
    images, working_masks = _cut(frames, mask_source, selection, boxes, crop, working_size, progress)

    world_to_camera = None
    if cameras is not None:
        intrinsics, world_to_camera = read_cameras(
            Path(cameras), selection.numbers, frames.count(), frames.size, frames.stems
        )
        intrinsics_source = f"given cameras, {cameras}"
    else:
        picture = frames.files[selection.numbers[0]] if isinstance(frames, FolderSource) else None
        single, intrinsics_source = guess_intrinsics(fov, picture, frames.size)
        intrinsics = single.expand(len(selection), 3, 3)

    return Clip(
        name=name or clip_name(Path(source)),
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


def wanted_eyes() -> Eyes:
    """The built-in network. Raises Animal4dError, with the way to do without, where its weights are missing or
    damaged."""
    try:
        return load_eyes()
    except Animal4dError as error:
        raise Animal4dError(f"{error}; or go on without the built-in eyes: --no-eyes") from error


def _load_sequence(
    address: SequenceAddress,
    choice: FrameChoice,
    unused: list[str],
    fov: float | None,
    fps: float | None,
    working_size: int,
    name: str | None,
    progress: Progress | None,
) -> Clip:
    if unused:
        raise Animal4dError(f"{unused[0]} is for videos and folders: {address} brings its own masks and cameras")
    read = {"cop3d": read_cop3d, "external": read_external}
    return read[address.layout](
        address.root,
        address.sequence,
        choice,
        fov=fov,
        fps=fps,
        working_size=working_size,
        name=name,
        progress=progress,
    )


def frames_and_masks(path: Path, masks: Path | None) -> tuple[Path, Path | None]:
    """Look into a folder that holds the folders `frames` and `masks`.

    Raises Animal4dError where nothing is there, or a run, which comes of a clip but is none.
    """
    if not path.exists():
        raise Animal4dError(f"no such file or folder: {path}")
    if all((path / name).is_file() for name in _OF_RUNS):
        raise Animal4dError(
            f"{path} is the folder of a run, not a clip: give the video or the folder of frames; "
            "`animal4d export`, `report`, `view` and `animate` take a run"
        )
    if path.is_dir() and (path / "frames").is_dir():
        beside = path / "masks"
        return path / "frames", beside if masks is None and beside.is_dir() else masks
    return path, masks


def open_frames(path: Path, fps: float | None) -> FrameSource:
    """A video, a folder of frames or one picture. Raises Animal4dError where it cannot be used."""
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource(path, fps)
    if fps is not None:
        raise Animal4dError(f"--fps is for folders of frames; {path} is a video and has its own times")
    return VideoSource(path)


def open_mask_source(
    frames: FrameSource,
    selection: Selection,
    masks: Path | None,
    place: Place,
    providers: Choice,
    device: str,
    progress: Progress | None,
) -> tuple[MaskSource, list[str]]:
    """The masks at `masks`, or such as are made now, as `load_clip` says; and notes for the user.

    Raises Animal4dError where masks cannot be used, and where there is no way to them.
    """
    if masks is not None:
        notes = [f"{place.in_words()} is not used, since there are masks"] if place else []
        opened = open_masks(masks, frames, selection.numbers)
        check_no_frames(opened, frames, selection)
        return opened, notes
    finders = ways_to_masks(providers, place, device, wanted_eyes)
    if not finders:
        raise without_masks(frames.path, place)
    return found_masks(finders, frames, selection, place, progress, providers.must("masks"))


def without_masks(source: Path, place: Place = NOWHERE) -> Animal4dError:
    """The error of a clip that has no masks, and no way to them."""
    if place.point is not None and place.box is None:
        return Animal4dError(
            f"{source} comes without masks, and {place.in_words()} needs the built-in eyes (without --no-eyes) or SAM "
            "2 (`animal4d weights add`); GrabCut starts from --box x,y,width,height"
        )
    return Animal4dError(
        f"{source} comes without masks: give them by --masks, or the animal's place in the first frame by "
        "--box x,y,width,height, or let the built-in eyes find it (without --no-eyes)"
    )


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


def clip_name(path: Path) -> str:
    """That of the file without its suffix, or of the folder."""
    return path.resolve().stem if path.is_file() else path.resolve().name
