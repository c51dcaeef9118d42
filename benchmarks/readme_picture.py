"""Draws the README's pictures from the overlay of a finished run of our own synthetic clip (`make demo` first).

python benchmarks/readme_picture.py runs/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH = 1000
LARGEST = 2_000_000
"""Bytes that the animation may take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"))
    arguments = parser.parse_args()

    with av.open(str(arguments.run / "overlay.mp4")) as container:
        rate = float(container.streams.video[0].average_rate or 24)
        frames = [frame.to_image() for frame in container.decode(video=0)]
    size = (WIDTH, round(frames[0].height * WIDTH / frames[0].width))
    frames = [frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
    _write_still(frames, IMAGES / "demo.png")
    _write_animation(frames, 1000 / rate, IMAGES / "demo.webp")


def _write_still(frames: list[Image.Image], path: Path) -> None:
    """Three frames below one another."""
    chosen = [frames[place * (len(frames) - 1) // 2] for place in range(3)]
    sheet = Image.new("RGB", (chosen[0].width, sum(frame.height for frame in chosen)))
    for row, frame in enumerate(chosen):
        sheet.paste(frame, (0, row * frame.height))
    sheet.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def _write_animation(frames: list[Image.Image], milliseconds: float, path: Path) -> None:
    """The best quality that is small enough."""
    for quality in (80, 70, 60, 50, 40, 30):
        first, *others = frames
        first.save(
            path, save_all=True, append_images=others, duration=round(milliseconds), loop=0, quality=quality, method=4
        )
        if path.stat().st_size <= LARGEST:
            break
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, quality {quality}")


if __name__ == "__main__":
    main()
