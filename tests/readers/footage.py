"""Small synthetic footage: a textured disc that moves over a textured background, written in every way people do."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 96, 128


def masks(count: int, radius: int = 14) -> NDArray[np.bool_]:
    """A disc that moves to the right by 2 pixels a frame."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    return np.stack([np.hypot(columns - 40 - 2 * i, rows - 50) < radius for i in range(count)])


def frames(count: int) -> NDArray[np.uint8]:
    """The disc in warm, the background in cold colours; the upper left corner is white."""
    rng = np.random.default_rng(0)
    cold = rng.integers(0, 90, (HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
    cold[..., 2] += 120
    warm = rng.integers(0, 60, (HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
    warm[..., 0] += 190
    cold[:20, :20] = 255
    result = [np.where(mask[..., None], np.roll(warm, 2 * i, axis=1), cold) for i, mask in enumerate(masks(count))]
    return np.stack(result).clip(0, 255).astype(np.uint8)


def write_folder(folder: Path, images: NDArray, stem: str = "{:05d}", suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / (stem.format(index) + suffix))
    return folder


def write_masks(folder: Path, count: int) -> Path:
    return write_folder(folder, masks(count).astype(np.uint8) * 255)


def write_video(
    path: Path,
    images: NDArray[np.uint8],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    milliseconds: Sequence[int] | None = None,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], pixel_format
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write (a b; c d) into an mp4's track header, as phones do: (x', y') = (a x + c y, b x + d y) + shift."""
    data = path.read_bytes()
    identity = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    place = data.index(identity, data.index(b"tkhd"))
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 0x40000000)
    path.write_bytes(data[:place] + matrix + data[place + len(identity) :])


def camera_entries(count: int, seed: int = 0) -> list[dict]:
    """Cameras as `cameras.json` holds them, with random poses."""
    rng = np.random.default_rng(seed)
    entries = []
    for index in range(count):
        pose = np.eye(4)
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        pose[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
        pose[:3, 3] = rng.normal(size=3)
        entries.append(
            {
                "frame": index,
                "time": index / 30,
                "image_size": [HEIGHT, WIDTH],
                "K": [[150.0, 0.0, 60.0], [0.0, 152.0, 50.0], [0.0, 0.0, 1.0]],
                "world_to_camera": pose.tolist(),
            }
        )
    return entries


def write_cameras(path: Path, entries: list[dict]) -> Path:
    path.write_text(json.dumps({"fps": 30, "frames": entries}))
    return path
