"""Paths: natural order, pictures in a folder, and joins that cannot leave their root."""

from __future__ import annotations

import re
from pathlib import Path

from animal4d.errors import Animal4dError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `frame9` before `frame10`."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def list_images(folder: Path) -> list[Path]:
    """Pictures directly inside of a folder, in natural order; hidden files are left out."""
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ),
        key=natural_key,
    )


def join_inside(root: Path | str, relative: str) -> Path:
    """`root / relative`, refused where the result would lie outside of `root` (as `../x`, `/x` or a link could)."""
    root = Path(root).resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise Animal4dError(f'"{relative}" leads out of {root}; paths in data files must stay inside of their folder')
    return path
