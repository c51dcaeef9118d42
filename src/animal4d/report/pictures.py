"""The pictures of overlay.mp4 for a page: one strip per frame, small enough for a file that is sent around."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from animal4d.errors import Animal4dError
from animal4d.export.video import CAPTION, GAP, MARGIN

PANES = ("input", "mesh", "textured", "turntable")
"""Of a strip, from left to right: as overlay.mp4 has them."""
_QUALITIES = (80, 65, 50)
_LEAST_SIDE = 160


@dataclass(frozen=True)
class Strips:
    """The four panes of every shown frame side by side, as WebP."""

    side: int
    """Of a pane, in pixels."""
    images: list[bytes]
    frames: list[int]
    """For each frame of the clip the index of its strip: where not all fit, neighbours share one."""


def read_strips(overlay: Path, n_frames: int, budget: int) -> Strips:
    """All frames in at most `budget` bytes: with coarser, then smaller, then fewer pictures where they do not fit.

    Raises Animal4dError where the video is damaged, or not of this clip.
    """
    strips = read_panes(overlay, n_frames)
    side = strips[0].shape[0]
    for used_side in (side, max(side * 3 // 4, _LEAST_SIDE)):
        for quality in _QUALITIES:
            # A few frames tell what all will take.
            sample = strips[:: max(1, n_frames // 8)]
            expected = sum(len(_encode(strip, used_side, quality)) for strip in sample) / len(sample) * n_frames
            if expected < 0.95 * budget:
                images = [_encode(strip, used_side, quality) for strip in strips]
                if sum(map(len, images)) <= budget:
                    return Strips(used_side, images, list(range(n_frames)))
    side, quality = max(side * 3 // 4, _LEAST_SIDE), _QUALITIES[-1]
    step = 2
    while step < n_frames:
        images = [_encode(strip, side, quality) for strip in strips[::step]]
        if sum(map(len, images)) <= budget:
            break
        step += 1
    images = [_encode(strip, side, quality) for strip in strips[::step]]
    return Strips(side, images, [min(round(frame / step), len(images) - 1) for frame in range(n_frames)])


def read_panes(overlay: Path, n_frames: int) -> list[UInt8[ndarray, "side total 3"]]:
    """The panes of every frame side by side, without margins and captions.

    Raises Animal4dError where the video is damaged, or not of this clip.
    """
    strips = [_panes(frame, overlay) for frame in _decode(overlay)]
    if len(strips) != n_frames:
        raise Animal4dError(
            f"{overlay} shows {len(strips)} frames, the reconstruction has {n_frames}; write the results anew with "
            "`reconstruct --resume`"
        )
    return strips


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def small_picture(path: Path, side: int, nearest: bool = False) -> bytes:
    """A picture as WebP, no larger than `side`. Raises Animal4dError where it cannot be read."""
    try:
        with Image.open(path) as image:
            image.thumbnail((side, side), Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS)
            return _webp(image.convert("RGB"), 85)
    except (OSError, ValueError) as error:
        raise Animal4dError(f"{path} cannot be read ({error}); write the results anew with --resume") from error


def _decode(overlay: Path) -> Iterator[UInt8[ndarray, "height width 3"]]:
    try:
        with av.open(str(overlay)) as video:
            for frame in video.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (FFmpegError, OSError, IndexError) as error:
        raise Animal4dError(f"{overlay} is damaged ({error}); write it anew with `reconstruct --resume`") from error


def _panes(frame: UInt8[ndarray, "height width 3"], overlay: Path) -> UInt8[ndarray, "side total 3"]:
    height, width = frame.shape[:2]
    side = (width - 2 * MARGIN - (len(PANES) - 1) * GAP) // len(PANES)
    top = GAP + CAPTION
    if side < 16 or top + side > height:
        raise Animal4dError(f"{overlay} is not the overlay of a run; write it anew with `reconstruct --resume`")
    lefts = [MARGIN + index * (side + GAP) for index in range(len(PANES))]
    return np.concatenate([frame[top : top + side, left : left + side] for left in lefts], axis=1)


def _encode(strip: UInt8[ndarray, "side total 3"], side: int, quality: int) -> bytes:
    image = Image.fromarray(strip)
    if side != strip.shape[0]:
        image = image.resize((side * len(PANES), side), Image.Resampling.LANCZOS)
    return _webp(image, quality)


def _webp(image: Image.Image, quality: int) -> bytes:
    written = io.BytesIO()
    image.save(written, "WEBP", quality=quality, method=3)
    return written.getvalue()
