"""What `preprocess` reads: frames, masks and cameras of COP3D, of an external data tree, or of any video or folder.

Nothing is decoded before it is asked for, so that a second run over a finished tree only takes checksums.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from animal4d.candidates import Choice
from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum
from animal4d.files.paths import list_images
from animal4d.geometry.cameras import Cameras
from animal4d.readers.address import SequenceAddress, parse_address
from animal4d.readers.cameras import read_cameras
from animal4d.readers.cop3d import FrameChoice, SequenceMasks, check_images, chosen_places, common_size
from animal4d.readers.cop3d_index import FrameMask, IndexedFrame, open_index
from animal4d.readers.crop import Box
from animal4d.readers.external import external_files, open_external
from animal4d.readers.folder import DEFAULT_FPS, FolderSource, read_frame
from animal4d.readers.load import (
    clip_name,
    frames_and_masks,
    open_frames,
    open_mask_source,
    wanted_eyes,
    without_masks,
)
from animal4d.readers.mask_finders import MaskFinder, Place, Point
from animal4d.readers.masks import MaskSource
from animal4d.readers.source import FrameSource, Image, Progress, Selection, frame_range
from animal4d.readers.ways_to_masks import ways_to_masks


@dataclass(frozen=True)
class ClipRequest:
    """Which clip is to be preprocessed, and how it is read; as for `readers.load.load_clip`."""

    source: str
    masks: Path | None = None
    cameras: Path | None = None
    box: Box | None = None
    point: Point | None = None
    providers: Choice = field(default_factory=Choice)
    """Who makes masks where there are none, and cues."""
    device: str = "cpu"
    """Where networks run."""
    fps: float | None = None
    choice: FrameChoice = field(default_factory=FrameChoice)

    @property
    def place(self) -> Place:
        return Place(self.box, self.point)


@dataclass(frozen=True)
class MaskMaker:
    """Masks that are made when they are needed, and what they are made from."""

    make: Callable[[Progress | None], MaskSource]
    inputs: Any
    """Fingerprints, in plain values."""


@dataclass(frozen=True)
class SourceClip:
    """A clip that was looked at, but not decoded."""

    name: str
    category: str | None
    """None where the source does not say."""
    frames: FrameSource
    selection: Selection
    """Numbers that `frames` counts by."""
    numbers: tuple[int, ...]
    """Numbers of the frames in the video, folder or index."""
    files: tuple[Path | None, ...]
    """The picture of each frame, where it is a file."""
    cameras: tuple[Cameras | None, ...]
    """Of the original frames, one each."""
    masks: MaskMaker
    refined_masks: MaskMaker | None
    """None where nobody refined them."""
    inputs: Any
    """Fingerprints of the frames, in plain values."""
    quality: float | None = None
    """How much COP3D trusts the cameras."""

    def __len__(self) -> int:
        return len(self.numbers)


def open_clip(request: ClipRequest) -> SourceClip:
    """Look at a clip. Raises Animal4dError where it cannot be used."""
    address = parse_address(request.source)
    return _open_footage(request) if address is None else _open_sequence(request, address)


def _open_footage(request: ClipRequest) -> SourceClip:
    source = Path(request.source)
    path, masks_path = frames_and_masks(source, request.masks)
    frames = open_frames(path, request.fps)
    choice = request.choice
    selection = frames.select(choice.start, choice.stop, choice.stride, choice.max_frames)
    files = [frames.files[number] if isinstance(frames, FolderSource) else None for number in selection.numbers]
    maker = _mask_maker(request, masks_path, frames, selection)
    cameras: list[Cameras | None] = [None] * len(selection)
    if request.cameras is not None:
        intrinsics, poses = read_cameras(request.cameras, selection.numbers, frames.count(), frames.size, frames.stems)
        cameras = [Cameras(intrinsics[[i]], poses[[i]], frames.size) for i in range(len(selection))]
    return SourceClip(
        name=re.sub(r"[^A-Za-z0-9_-]+", "_", clip_name(source)),
        category=None,
        frames=frames,
        selection=selection,
        numbers=selection.numbers,
        files=tuple(files),
        cameras=tuple(cameras),
        masks=maker,
        refined_masks=maker,
        inputs=[_fingerprint(path), selection.numbers, selection.times],
    )


def _open_sequence(request: ClipRequest, address: SequenceAddress) -> SourceClip:
    if request.cameras is not None or request.fps is not None:
        raise Animal4dError(f"--cameras and --fps are for videos and folders: {address} brings its own")
    external = address.layout == "external"
    index = open_external(address.root) if external else open_index(address.root)
    sequence, every = index.sequence(address.sequence), index.frames(address.sequence)
    source, choice = str(address), request.choice
    chosen = [every[place] for place in chosen_places(source, len(every), choice)]
    frames = _SequenceFrames(source, chosen)
    selection = frames.select(0, None, 1, None)
    own = _sequence_masks(chosen)
    refined = None
    if request.masks is not None or request.place:
        refined = _mask_maker(request, request.masks, frames, selection)
    elif external and (folder := external_files(address.root, sequence, every).refined_masks) is not None:
        files = [FrameMask(folder / f"{frame.image_path.stem}.png", refined=True) for frame in chosen]
        refined = _sequence_masks([replace(frame, mask=mask) for frame, mask in zip(chosen, files, strict=True)])
    elif not _mask_files(chosen):
        refined = _mask_maker(request, None, frames, selection)
    return SourceClip(
        name=address.sequence,
        category=sequence.category,
        frames=frames,
        selection=selection,
        numbers=tuple(frame.number for frame in chosen),
        files=tuple(frame.image_path for frame in chosen),
        cameras=tuple(frame.camera for frame in chosen),
        masks=own,
        refined_masks=refined,
        inputs=[_checksums(frames.files), [frame.number for frame in chosen], selection.times],
        quality=sequence.viewpoint_quality_score,
    )


def _mask_maker(request: ClipRequest, path: Path | None, frames: FrameSource, selection: Selection) -> MaskMaker:
    """Masks that the user brought, or such as the best finder that is at hand makes.

    Raises Animal4dError where there is none of these.
    """
    if path is not None:
        if not path.exists():
            raise Animal4dError(f"no such folder or video of masks: {path}")
        inputs: list[Any] = ["given", _fingerprint(path)]
    else:
        finders = ways_to_masks(request.providers, request.place, request.device, wanted_eyes)
        if not finders:
            raise without_masks(frames.path, request.place)
        inputs = _finding_inputs(finders, request.place)
    made: list[MaskSource] = []

    def make(progress: Progress | None) -> MaskSource:
        # Finding them may take minutes, which masks and refined masks share.
        if not made:
            masks, notes = open_mask_source(
                frames, selection, path, request.place, request.providers, request.device, progress
            )
            masks.warnings.extend(notes)
            made.append(masks)
        return made[0]

    return MaskMaker(make, inputs)


def _finding_inputs(finders: Sequence[MaskFinder], place: Place) -> list[Any]:
    """Fingerprint of how masks are found: by any of the finders, since each may be replaced by the next."""
    names = [finder.name for finder in finders]
    if names == ["builtin-eyes"] and place.point is None:
        return ["eyes", finders[0].config()["weights"], place.box]
    if names == ["builtin-grabcut"]:
        return ["grabcut", place.box]
    return [[finder.name, finder.config()] for finder in finders] + [place.box, place.point]


class _SequenceFrames:
    """Frames of an index as a source; they are numbered by their places among the chosen ones."""

    def __init__(self, address: str, frames: Sequence[IndexedFrame]) -> None:
        check_images(address, frames)
        self.path = Path(address)
        self.size = common_size(address, frames)
        self.warnings: list[str] = []
        self.files = [frame.image_path for frame in frames]
        self._frames = frames

    @property
    def stems(self) -> list[str]:
        return [file.stem for file in self.files]

    def count(self) -> int:
        return len(self.files)

    def select(self, start: int, stop: int | None, stride: int, max_frames: int | None) -> Selection:
        stamps = np.array([frame.timestamp for frame in self._frames])
        usable = bool(np.isfinite(stamps).all() and stamps[0] >= 0 and (np.diff(stamps) > 0).all())
        times = stamps if usable else np.array([frame.number for frame in self._frames]) / DEFAULT_FPS
        numbers = tuple(frame_range(start, stop, stride, max_frames, len(self.files)))
        spacing = float(np.diff(times).mean()) if len(times) > 1 else 0.0
        return Selection(numbers, tuple(times[list(numbers)].tolist()), 1 / spacing if spacing > 0 else DEFAULT_FPS)

    def read(self, numbers: Sequence[int]) -> Iterator[Image]:
        for number in numbers:
            yield read_frame(self.files[number], self.size, "the index says")


def _sequence_masks(frames: Sequence[IndexedFrame]) -> MaskMaker:
    return MaskMaker(lambda _: SequenceMasks(frames), ["sequence", _checksums(_mask_files(frames))])


def _mask_files(frames: Sequence[IndexedFrame]) -> list[Path]:
    """Masks of frames that are there."""
    return [frame.mask.path for frame in frames if frame.mask is not None and frame.mask.path.is_file()]


def _fingerprint(path: Path) -> Any:
    """Of a file, or of all pictures of a folder."""
    return file_checksum(path) if path.is_file() else _checksums(list_images(path))


def _checksums(files: Sequence[Path]) -> list[list[str]]:
    return [[file.name, file_checksum(file)] for file in files]


def camera_numbers(cameras: Sequence[Cameras | None]) -> list[Any]:
    """Cameras in plain values."""
    return [
        None if camera is None else torch.cat((camera.intrinsics.flatten(), camera.world_to_camera.flatten())).tolist()
        for camera in cameras
    ]
