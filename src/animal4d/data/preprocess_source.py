"""What `preprocess` reads: frames, masks and cameras of COP3D, of an external data tree, or of any video or folder.

Nothing is decoded before it is asked for, so that a second run over a finished tree only takes checksums.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum
from animal4d.files.paths import IMAGE_SUFFIXES, list_images
from animal4d.geometry.cameras import Cameras
from animal4d.readers.address import SequenceAddress, parse_address
from animal4d.readers.cameras import read_cameras
from animal4d.readers.cop3d import FrameChoice, read_frame_mask
from animal4d.readers.cop3d_index import FrameMask, IndexedFrame, open_index
from animal4d.readers.crop import Box
from animal4d.readers.external import external_files, open_external
from animal4d.readers.folder import DEFAULT_FPS, FolderSource, read_frame, size_in_words
from animal4d.readers.grabcut import grabcut_masks
from animal4d.readers.masks import MaskSource, open_masks
from animal4d.readers.source import FrameSource, Image, Mask, Progress, Selection, frame_range
from animal4d.readers.video import VideoSource


@dataclass(frozen=True)
class ClipRequest:
    """Which clip is to be preprocessed, and how it is read; as for `readers.load.load_clip`."""

    source: str
    masks: Path | None = None
    cameras: Path | None = None
    box: Box | None = None
    fps: float | None = None
    choice: FrameChoice = field(default_factory=FrameChoice)


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
    path, masks_path = Path(request.source), request.masks
    if not path.exists():
        raise Animal4dError(f"no such file or folder: {path}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.resolve().stem if path.is_file() else path.resolve().name)
    if path.is_dir() and (path / "frames").is_dir():
        beside = path / "masks"
        masks_path = beside if masks_path is None and beside.is_dir() else masks_path
        path = path / "frames"
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        frames: FrameSource = FolderSource(path, request.fps)
    elif request.fps is not None:
        raise Animal4dError(f"--fps is for folders of frames; {path} is a video and has its own times")
    else:
        frames = VideoSource(path)
    choice = request.choice
    selection = frames.select(choice.start, choice.stop, choice.stride, choice.max_frames)
    files = [frames.files[number] if isinstance(frames, FolderSource) else None for number in selection.numbers]
    maker = _given_masks(request, masks_path, frames, selection)
    if maker is None:
        raise Animal4dError(
            f"{path} comes without masks: give them by --masks, or the animal's place in the first frame by "
            "--box x,y,width,height"
        )
    cameras: list[Cameras | None] = [None] * len(selection)
    if request.cameras is not None:
        intrinsics, poses = read_cameras(request.cameras, selection.numbers, frames.count(), frames.size)
        cameras = [Cameras(intrinsics[[i]], poses[[i]], frames.size) for i in range(len(selection))]
    return SourceClip(
        name=name,
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
    index = open_external(address.root) if address.layout == "external" else open_index(address.root)
    sequence, every = index.sequence(address.sequence), index.frames(address.sequence)
    choice = request.choice
    places = frame_range(choice.start, choice.stop, choice.stride, choice.max_frames, len(every))
    chosen = [every[place] for place in places]
    if not chosen:
        raise Animal4dError(f"{address} has {len(every)} frames; none is left from --start {choice.start} on")
    frames = _SequenceFrames(str(address), chosen)
    selection = frames.select(0, None, 1, None)
    refined = _given_masks(request, request.masks, frames, selection)
    if refined is None and address.layout == "external":
        folder = external_files(address.root, sequence, every).refined_masks
        if folder is not None:
            refined = _sequence_masks([folder / f"{frame.image_path.stem}.png" for frame in chosen], frames, True)
    own = [frame.mask.path if frame.mask is not None else None for frame in chosen]
    if refined is None and not any(path is not None and path.is_file() for path in own):
        raise Animal4dError(f"{address} comes without masks: give them by --masks")
    return SourceClip(
        name=address.sequence,
        category=sequence.category,
        frames=frames,
        selection=selection,
        numbers=tuple(frame.number for frame in chosen),
        files=tuple(frame.image_path for frame in chosen),
        cameras=tuple(frame.camera for frame in chosen),
        masks=_sequence_masks(own, frames, False),
        refined_masks=refined,
        inputs=[_checksums(frames.files), [frame.number for frame in chosen], selection.times],
        quality=sequence.viewpoint_quality_score,
    )


def _given_masks(
    request: ClipRequest, path: Path | None, frames: FrameSource, selection: Selection
) -> MaskMaker | None:
    """Masks that the user brought, or GrabCut from a box; None where there is neither."""
    if path is not None:
        if not path.exists():
            raise Animal4dError(f"no such folder or video of masks: {path}")
        return MaskMaker(lambda _: open_masks(path, frames, selection.numbers), ["given", _fingerprint(path)])
    box = request.box
    if box is not None:
        made: list[MaskSource] = []

        def cut_out(progress: Progress | None) -> MaskSource:
            # Minutes of work, which masks and refined masks share.
            if not made:
                made.append(grabcut_masks(frames, selection, box, progress))
            return made[0]

        return MaskMaker(cut_out, ["grabcut", box])
    return None


class _SequenceFrames:
    """Frames of an index as a source; they are numbered by their places among the chosen ones."""

    def __init__(self, address: str, frames: Sequence[IndexedFrame]) -> None:
        self.path = Path(address)
        self.size = frames[0].image_size
        self.warnings: list[str] = []
        self.files = [frame.image_path for frame in frames]
        self._frames = frames
        missing = [file for file in self.files if not file.is_file()]
        if missing:
            raise Animal4dError(f"{missing[0]} does not exist: download the sequence again, or choose other frames")
        other = next((frame for frame in frames if frame.image_size != self.size), None)
        if other is not None:
            raise Animal4dError(
                f"{other.image_path} is {size_in_words(other.image_size)} but the first frame "
                f"{size_in_words(self.size)}: choose frames of one size by --start and --stop"
            )

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


class _SequenceMasks:
    """Masks of a sequence: 255 times the probability, or (refined) also 0 and 1."""

    def __init__(self, files: Sequence[Path | None], size: tuple[int, int], refined: bool) -> None:
        self.description = "masks of the sequence"
        self.warnings: list[str] = []
        self._files, self._size, self._refined = files, size, refined

    def read(self) -> Iterator[Mask | None]:
        for file in self._files:
            if file is None or not file.is_file():
                yield None
            else:
                yield read_frame_mask(FrameMask(file, self._refined), self._size)


def _sequence_masks(files: Sequence[Path | None], frames: _SequenceFrames, refined: bool) -> MaskMaker:
    there = [file for file in files if file is not None and file.is_file()]
    return MaskMaker(lambda _: _SequenceMasks(files, frames.size, refined), ["sequence", _checksums(there)])


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
