"""Video files as a source of frames, by PyAV: upright, with their own times, decoded one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from animal4d.errors import Animal4dError
from animal4d.readers.source import Image, Selection, frame_range

_NOT_VIDEO_FORMATS = {"tty", "lrc"}
"""FFmpeg "plays" text files as well."""


class VideoSource:
    """One video stream. Frame numbers count decoded frames; times come from the file, whatever its rate does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        with _opened(path) as (container, stream):
            ratio = stream.sample_aspect_ratio
            self._pixel_aspect = float(ratio) if ratio else 1.0
            self._rate = float(stream.average_rate or stream.guessed_rate or 30)
            self._declared_frames = stream.frames
            if not stream.frames and container.duration and len(container.streams) == 1:
                self._declared_frames = int(container.duration / av.time_base * self._rate)
            first = next(self._decode(container, stream), None)
            if first is None:
                raise Animal4dError(f"{path} holds no frames")
            self._turn = _display_matrix(first)
            self.size = self._upright(first).shape[:2]
        if abs(self._pixel_aspect - 1) > 0.01:
            self.warnings.append(f"pixels {self._pixel_aspect:.3f} times as wide as high were made square")

    @property
    def stems(self) -> None:
        return None

    def count(self) -> int:
        with _opened(self.path) as (container, stream):
            return sum(1 for _ in self._decode(container, stream))

    def select(self, start: int, stop: int | None, stride: int, max_frames: int | None) -> Selection:
        chosen = frame_range(start, stop, stride, max_frames, total=None)
        numbers: list[int] = []
        times: list[float] = []
        first_time: float | None = None
        total = 0
        with _opened(self.path) as (container, stream):
            for number, frame in enumerate(self._decode(container, stream)):
                if number >= chosen.stop:
                    break
                total = number + 1
                time = number / self._rate if frame.time is None else float(frame.time)
                first_time = time if first_time is None else first_time
                if number in chosen:
                    numbers.append(number)
                    times.append(time - first_time)
        if not numbers:
            raise Animal4dError(f"{self.path} has {total} frames; none is left from --start {start} on")
        if total < min(0.95 * self._declared_frames, chosen.stop):
            self.warnings.append(
                f"{self.path.name} announces about {self._declared_frames} frames, but only {total} could be read: it "
                "seems to be truncated"
            )
        duration = times[-1] - times[0]
        fps = (len(times) - 1) / duration if duration > 0 else self._rate / stride
        return Selection(tuple(numbers), tuple(times), fps)

    def read(self, numbers: Sequence[int]) -> Iterator[Image]:
        wanted = iter(numbers)
        target = next(wanted, None)
        with _opened(self.path) as (container, stream):
            for number, frame in enumerate(self._decode(container, stream)):
                if target is None:
                    return
                if number == target:
                    image = self._upright(frame)
                    if image.shape[:2] != self.size:
                        raise Animal4dError(
                            f"{self.path}: frame {number} is {image.shape[1]}x{image.shape[0]} but the first is "
                            f"{self.size[1]}x{self.size[0]}: all frames must have one size"
                        )
                    yield image
                    target = next(wanted, None)
        if target is not None:
            raise Animal4dError(f"{self.path}: frame {target} cannot be read; stop before it with --stop {target}")

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """All frames in order; Animal4dError names the first that is damaged."""
        number = 0
        try:
            for packet in container.demux(stream):
                for frame in packet.decode():
                    if frame.is_corrupt or packet.is_corrupt:
                        raise Animal4dError(_damaged(self.path, number, "its data are damaged or cut off"))
                    yield frame
                    number += 1
        except FFmpegError as error:
            raise Animal4dError(_damaged(self.path, number, error.strerror or str(error))) from error

    def _upright(self, frame: VideoFrame) -> Image:
        image = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        if abs(self._pixel_aspect - 1) > 0.01:
            size = (max(1, round(image.shape[1] * self._pixel_aspect)), image.shape[0])
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return np.ascontiguousarray(_turned(image, self._turn))


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """a, b, c, d of the file's display matrix: row vectors, (x', y') = (x, y) @ [[a, b], [c, d]]."""
    # Asked of one frame only: side data keep their frame alive until the garbage collector runs.
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(side_data), dtype=np.int32)[:5].tolist()
    return a, b, c, d


def _turned(image: Image, matrix: tuple[int, int, int, int] | None) -> Image:
    """The picture turned by quarters and mirrored; nothing else comes out of cameras."""
    if matrix is None:
        return image
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.transpose(1, 0, 2)  # x' comes from y (its sign is c's), y' from x (its sign is b's)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    image = image[:, ::-1] if flip_x else image
    return image[::-1] if flip_y else image


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        container = av.open(str(path), mode="r")
    except (FFmpegError, OSError, ValueError) as error:
        raise Animal4dError(
            f"{path} is not a video that FFmpeg can read ({getattr(error, 'strerror', None) or error})"
        ) from error
    with container:
        if not container.streams.video or container.format.name in _NOT_VIDEO_FORMATS:
            raise Animal4dError(f"{path} is not a video: it holds no pictures")
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"  # with threads per frame, errors would be told of the wrong frame
        yield container, stream


def _damaged(path: Path, number: int, reason: str) -> str:
    remedy = f"stop before it with --stop {number}, or re-encode the video" if number else "re-encode the video"
    return f"{path}: frame {number} cannot be decoded ({reason}): {remedy}"
