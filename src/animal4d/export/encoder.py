"""Video files, frame by frame: H.264 where FFmpeg has it, MPEG-4 otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from animal4d.files.atomic import atomic_path

_CODECS = (
    {"name": "libx264", "options": {"crf": "18", "preset": "veryfast"}},
    {"name": "mpeg4", "options": {"q": "3"}},
)


def write_video(path: Path, frames: Iterable[UInt8[ndarray, "height width 3"]], fps: float) -> None:
    """Write an .mp4 that every player reads (yuv420p). Frames are taken one at a time and must be of even size.

    Slower than one frame per second is written as one per second.
    """
    codec = next(codec for codec in _CODECS if codec["name"] in av.codecs_available)
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = None
        for frame in frames:
            if stream is None:
                rate = Fraction(max(fps, 1.0)).limit_denominator(1001)
                stream = container.add_stream(codec["name"], rate=rate, options=codec["options"])
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())
