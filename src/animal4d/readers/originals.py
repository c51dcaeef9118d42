"""The original pictures of a clip, one at a time, for what wants more pixels than the working images have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.readers.address import SequenceAddress, parse_address
from animal4d.readers.cop3d_index import open_index
from animal4d.readers.external import open_external
from animal4d.readers.folder import FolderSource, read_frame, size_in_words
from animal4d.readers.load import frames_and_masks, open_frames
from animal4d.readers.source import FrameSource, Image

OriginalFrames = Callable[[int], Image]
"""From a position in the clip to its upright original picture (height, width, 3), RGB. Holds one picture at a time.

A video is decoded from its beginning where a position is not after the last one: ask in ascending order. Raises
Animal4dError where a picture cannot be read any more.
"""


def original_frames(clip: Clip, source: Path | str) -> OriginalFrames | None:
    """Those of a clip that was read from `source`; None where its working images lack no pixels of them.

    Raises Animal4dError where the source is not there any more, or has pictures of another size by now.
    """
    if float(clip.crop.scale.max()) <= 1:
        return None
    numbers, size = clip.frame_numbers.tolist(), clip.crop.original_size
    address = parse_address(source)
    if address is not None:
        return _from_files(_files_of(address), numbers, size)
    frames = open_frames(frames_and_masks(Path(source), None)[0], None)
    if tuple(frames.size) != tuple(size):
        raise Animal4dError(
            f"{source}: its pictures are {size_in_words(frames.size)} now, but were {size_in_words(size)} when the "
            "clip was read; restore them, or start again with `reconstruct --overwrite`"
        )
    if isinstance(frames, FolderSource):
        return _from_files(dict(enumerate(frames.files)), numbers, size)
    return _FromVideo(frames, numbers)


def _files_of(address: SequenceAddress) -> dict[int, Path]:
    index = open_index(address.root) if address.layout == "cop3d" else open_external(address.root)
    return {frame.number: frame.image_path for frame in index.frames(address.sequence)}


def _from_files(files: dict[int, Path], numbers: Sequence[int], size: tuple[int, int]) -> OriginalFrames:
    def read(frame: int) -> Image:
        return read_frame(files[numbers[frame]], size, "the clip was read with pictures of")

    return read


class _FromVideo:
    def __init__(self, video: FrameSource, numbers: Sequence[int]) -> None:
        self._video = video
        self._numbers = numbers
        self._coming: Iterator[Image] = iter(())
        self._next = 0
        """Position of the picture that `_coming` gives next."""

    def __call__(self, frame: int) -> Image:
        if not 0 < self._next <= frame:
            self._coming, self._next = self._video.read(self._numbers), 0
        for picture in self._coming:
            self._next += 1
            if self._next > frame:
                return picture
        raise Animal4dError(f"{self._video.path}: frame {self._numbers[frame]} cannot be read any more")
