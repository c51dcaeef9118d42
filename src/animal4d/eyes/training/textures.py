"""A pool of pictures to build backgrounds from: procedural textures, and the photographs that scikit-image ships."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from animal4d.errors import Animal4dError
from animal4d.eyes.training.coats import draw_color
from animal4d.eyes.training.scenes import render_scenes

SIDE = 288
"""Side of a picture of the pool, in pixels."""
N_TAME, N_WILD, N_SCENES = 150, 70, 32
"""Pictures with colours that occur outdoors and in rooms, those with any, and rendered scenery, in this order."""

Picture = Float[ndarray, "SIDE SIDE 3"]

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
    "coins.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "page.png",
    "retina.jpg",
    "text.png",
)
"""Files in scikit-image's wheel. Its cat is left out: an animal without a label would teach the opposite."""
N_PLAUSIBLE = 9
"""The first so many may stand behind an animal; the others are but textures."""


@lru_cache(maxsize=1)
def photographs() -> tuple[UInt8[ndarray, "height width 3"], ...]:
    """The photographs, sRGB. Raises Animal4dError where scikit-image is not installed."""
    try:
        import skimage
    except ImportError as error:
        raise Animal4dError(
            'the training backgrounds need scikit-image: install it with pip install "animal4d[build]"'
        ) from error
    folder = Path(skimage.__file__).parent / "data"
    pictures = []
    for name in PHOTOGRAPHS:
        try:
            with Image.open(folder / name) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
        except OSError as error:
            raise Animal4dError(
                f"{folder / name} is missing or broken: install scikit-image 0.24 or newer again"
            ) from error
    return tuple(pictures)


@lru_cache(maxsize=2)
def texture_pool(seed: int) -> UInt8[ndarray, "textures SIDE SIDE 3"]:
    """Pictures drawn from the seed, sRGB."""
    rng = np.random.default_rng([seed, 201])
    makers = list(_MAKERS)
    shares = np.array([_MAKERS[maker] for maker in makers])
    pool = np.empty((N_TAME + N_WILD + N_SCENES, SIDE, SIDE, 3), np.uint8)
    for number in range(N_TAME + N_WILD):
        wild = number >= N_TAME
        picture = makers[rng.choice(len(makers), p=shares / shares.sum())](rng, wild)
        pool[number] = np.clip(255 * picture + 0.5, 0, 255)
    pool[N_TAME + N_WILD :] = render_scenes(seed, N_SCENES, SIDE)
    return pool


def octaves(rng: np.random.Generator, side: int, coarsest: int, decay: float, channels: int = 1) -> ndarray:
    """Noise of all scales down to the pixel, in about [-1, 1]: random grids of doubling density, enlarged and added."""
    total = np.zeros((side, side, channels), np.float32)
    weight, cells, norm = 1.0, coarsest, 0.0
    while cells < side:
        grid = rng.uniform(-1, 1, (cells, cells, channels)).astype(np.float32)
        total += weight * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC).reshape(total.shape)
        norm += weight
        weight *= decay
        cells *= 2
    return total / max(norm, 1e-6) * 1.6


def _palette(rng: np.random.Generator, wild: bool) -> Float[ndarray, "4 3"]:
    """Four colours that go together: plants, earth and fur, greys, or any where it may be `wild`."""
    kind = rng.uniform(0.0, 1.4 if wild else 0.85)
    if kind < 0.3:  # plants
        green = np.array([rng.uniform(0.15, 0.55), rng.uniform(0.3, 0.65), rng.uniform(0.05, 0.35)])
        return np.clip(green * rng.uniform(0.4, 1.5, (4, 1)) + rng.normal(0, 0.05, (4, 3)), 0, 1)
    if kind < 0.65:
        return np.stack([draw_color(rng) for _ in range(4)])
    if kind < 0.85:  # greys
        return np.clip(rng.uniform(0.05, 0.95, (4, 1)) + rng.normal(0, 0.03, (4, 3)), 0, 1)
    return rng.uniform(0, 1, (4, 3))


def _mixed(palette: Float[ndarray, "4 3"], first: ndarray, second: ndarray) -> Picture:
    first, second = np.clip(first, 0, 1), np.clip(second, 0, 1)
    low = palette[0] * (1 - first) + palette[1] * first
    high = palette[2] * (1 - first) + palette[3] * first
    return low * (1 - second) + high * second


def _noise(rng: np.random.Generator, wild: bool) -> Picture:
    fields = octaves(rng, SIDE, int(rng.choice([2, 4, 8, 16])), rng.uniform(0.4, 0.95), 2)
    contrast = rng.uniform(0.4, 1.5)
    return _mixed(_palette(rng, wild), 0.5 + contrast * fields[..., :1], 0.5 + contrast * fields[..., 1:])


def _grass(rng: np.random.Generator, wild: bool) -> Picture:
    palette = _palette(rng, wild)
    picture = _mixed(palette, 0.5 + octaves(rng, SIDE, 4, 0.6), np.zeros((SIDE, SIDE, 1)))
    picture = np.ascontiguousarray(picture * 0.6, np.float32)
    length, lean = rng.uniform(8, 45), rng.normal(0, 0.3)
    for x, y in rng.uniform(-10, SIDE + 10, (int(rng.integers(700, 2500)), 2)):
        tip = (int(x + length * (lean + rng.normal(0, 0.3))), int(y - length * rng.uniform(0.5, 1.2)))
        color = palette[rng.integers(4)] * rng.uniform(0.5, 1.4)
        cv2.line(picture, (int(x), int(y)), tip, color.tolist(), int(rng.integers(1, 3)), cv2.LINE_AA)
    return picture


def _tiles(rng: np.random.Generator, wild: bool) -> Picture:
    width, height = rng.uniform(12, 90), rng.uniform(12, 90)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    row = np.floor(rows / height)
    shifted = columns + (row % 2) * width * rng.choice([0.0, 0.5])
    column = np.floor(shifted / width)
    cell = rng.uniform(0, 1, (64, 64))[row.astype(int) % 64, column.astype(int) % 64][..., None]
    seam = ((rows % height) < rng.uniform(1, 4)) | ((shifted % width) < rng.uniform(1, 4))
    palette = _palette(rng, wild)
    picture = palette[0] * (1 - cell) + palette[1] * cell + 0.1 * octaves(rng, SIDE, 16, 0.8)
    return np.where(seam[..., None], palette[2], picture)


def _planks(rng: np.random.Generator, wild: bool) -> Picture:
    grid = rng.uniform(-1, 1, (SIDE, int(rng.integers(2, 12)), 1)).astype(np.float32)
    grain = cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)[..., None]
    board = np.floor(np.arange(SIDE) / rng.uniform(15, 60)).astype(int)
    tint = rng.uniform(-0.4, 0.4, 64)[board][:, None, None]
    picture = _mixed(_palette(rng, wild), 0.5 + 0.4 * grain + tint, np.full((SIDE, SIDE, 1), rng.uniform(0, 0.3)))
    edge = np.diff(board, prepend=0) > 0
    picture[edge] *= 0.4
    return picture if rng.random() < 0.5 else picture.transpose(1, 0, 2)


def _gradient(rng: np.random.Generator, wild: bool) -> Picture:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    angle = rng.uniform(0, 2 * np.pi)
    along = (np.cos(angle) * rows + np.sin(angle) * columns)[..., None]
    waves = 0.15 * rng.random() * octaves(rng, SIDE, 2, 0.5, 2)
    return _mixed(_palette(rng, wild), along + waves[..., :1], 0.3 + waves[..., 1:])


def _clutter(rng: np.random.Generator, wild: bool) -> Picture:
    picture = np.ascontiguousarray(_noise(rng, wild), np.float32)
    palette = np.concatenate((_palette(rng, wild), _palette(rng, wild)))
    for _ in range(int(rng.integers(15, 90))):
        color = (palette[rng.integers(8)] * rng.uniform(0.5, 1.3)).tolist()
        place = rng.uniform(0, SIDE, 2)
        size = rng.uniform(4, 20) if rng.random() < 0.7 else rng.uniform(20, 80)
        kind = rng.integers(4)
        if kind == 0:
            corners = place + rng.normal(0, size, (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(picture, [corners.astype(np.int32)], color, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(size * rng.uniform(0.3, 1)) + 1, int(size) + 1)
            cv2.ellipse(picture, place.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA)
        elif kind == 2:
            end = place + rng.normal(0, 3 * size, 2)
            cv2.line(picture, place.astype(int).tolist(), end.astype(int).tolist(), color, int(rng.integers(1, 12)),
                     cv2.LINE_AA)  # fmt: skip
        else:
            corner = place + rng.uniform(5, 2.5 * size, 2)
            cv2.rectangle(picture, place.astype(int).tolist(), corner.astype(int).tolist(), color, -1)
    return picture + 0.08 * octaves(rng, SIDE, 32, 0.9)


def _leaves(rng: np.random.Generator, wild: bool) -> Picture:
    """Foliage, gravel, fallen leaves: many small ellipses with a lit and a dark side."""
    palette = _palette(rng, wild)
    picture = np.ascontiguousarray(np.broadcast_to(palette[0] * rng.uniform(0.1, 0.6), (SIDE, SIDE, 3)), np.float32)
    size = rng.uniform(2.5, 11)
    slender = rng.uniform(0.3, 1.0)
    for x, y in rng.uniform(0, SIDE, (int(min(2200, 60000 / size**2)), 2)):
        color = palette[rng.integers(4)] * rng.uniform(0.3, 1.4)
        axes = (max(1, int(size * rng.uniform(0.5, 1.3))), max(1, int(size * slender)))
        cv2.ellipse(picture, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, color.tolist(), -1, cv2.LINE_AA)
    return picture


def _photograph(rng: np.random.Generator, wild: bool) -> Picture:
    pictures = photographs()
    picture = pictures[rng.integers(len(pictures) if wild else N_PLAUSIBLE)]
    side = int(min(picture.shape[:2]) * np.exp(rng.uniform(np.log(0.2), 0)))
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in picture.shape[:2])
    crop = picture[top : top + side, left : left + side]
    crop = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC)
    crop = crop.astype(np.float32) / 255
    if np.ptp(crop, axis=2).max() < 0.02:  # grey ones get the colours of a ramp
        palette = _palette(rng, wild)
        crop = palette[0] * (1 - crop) + palette[1] * crop
    return crop


_MAKERS: dict[Callable[[np.random.Generator, bool], Picture], float] = {
    _noise: 0.16,
    _grass: 0.10,
    _tiles: 0.08,
    _planks: 0.06,
    _gradient: 0.07,
    _clutter: 0.15,
    _leaves: 0.10,
    _photograph: 0.28,
}
