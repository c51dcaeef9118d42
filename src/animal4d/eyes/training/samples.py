"""One training sample of the built-in network: a crop that shows a synthetic animal, and what is true of it.

Everything follows from (seed, index). Pools (textures, gaits, other animals) follow from the seed alone; each process
makes them when it first needs them, in a few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from animal4d.eyes.labels import CROP, LABELS, MAP
from animal4d.eyes.training.animals import Animal, draw_animal
from animal4d.eyes.training.backgrounds import Image, draw_background
from animal4d.eyes.training.degradations import degrade_mask, photograph
from animal4d.eyes.training.occluders import occlude
from animal4d.eyes.training.shading import FINE, Raster, draw_light, draw_raster, ground_shadow, shade
from animal4d.eyes.training.textures import octaves
from animal4d.eyes.training.views import View, draw_view, view_vector
from animal4d.synth.render import tone
from animal4d.synth.scenery import Sun

_BLOCK = FINE // MAP
_N_OTHERS = 40
"""Other animals in the pool, for backgrounds."""
_N_WARPS = 24


@dataclass(frozen=True)
class Sample:
    """A crop and its labels."""

    image: UInt8[ndarray, "CROP CROP 3"]
    """sRGB."""
    mask_input: UInt8[ndarray, "CROP CROP"]
    """The animal as a segmenter would mask it, 0 or 255; 128 everywhere where there is no mask."""
    parts: UInt8[ndarray, "MAP MAP"]
    """0 background, else index into `PART_NAMES` plus one: the part that covers most of the animal's share, where the
    animal covers at least half of the map pixel."""
    foreground: Float[ndarray, "MAP MAP"]
    """float16: share of each map pixel that shows the animal, occluders taken off."""
    vertex: Int[ndarray, "MAP MAP"]
    """int16: nearest template vertex seen at the map pixel's centre, -1 where none is."""
    view: Float[ndarray, "3"]
    """Unit vector from the animal to the camera in the frame of its trunk (x ahead, y to its left, z up)."""


def make_sample(seed: int, index: int) -> Sample:
    """The sample with a number. Deterministic in (seed, index); any process makes the same."""
    rng = np.random.default_rng([seed, index])
    while True:
        animal = draw_animal(rng, seed)
        view = draw_view(rng, animal)
        raster = draw_raster(animal, view)
        # Where the frame cuts off nearly all of it, there is nothing to learn.
        if ((raster.label[::2, ::2] > 0) * _frame_mask(view)).mean() > 0.06:
            return _compose(rng, seed, animal, view, raster)


def _compose(rng: np.random.Generator, seed: int, animal: Animal, view: View, raster: Raster) -> Sample:
    # Two of three are meant to look like photographs; the rest is to leave no colour or texture to rely on.
    wild = rng.random() < 0.33
    light = draw_light(rng)
    natural = not wild or rng.random() < 0.4
    layer = _furry(rng, seed, _toned(rng, shade(rng, animal, view, raster, light, natural), light))
    ground = animal.ground - (rng.uniform(0, 0.35) if rng.random() < 0.06 else 0.0)

    image = draw_background(rng, seed, view, ground, wild)
    bait = np.zeros((CROP, CROP), bool)
    if rng.random() < 0.3:
        bait |= _place_other(rng, seed, image)
    if rng.random() < 0.75:
        shadow = ground_shadow(rng, animal, view, light, ground)
        image = image * (1 - shadow[..., None]).astype(np.float32)
        bait |= shadow > 0.3
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), rng.uniform(0.8, 5.0))
    if rng.random() < (0.2 if wild else 0.05):  # a coat like its surroundings
        coverage = layer[..., 3].sum()
        image = image + rng.uniform(0.5, 1) * (layer[..., :3].sum((0, 1)) / max(coverage, 1) - image.mean((0, 1)))
    image = np.clip(image, 0, 1) * (1 - layer[..., 3:]) + layer[..., :3]

    hidden = occlude(rng, seed, image, layer[..., 3] > 0.5, wild)
    visible = 1 - hidden
    frame = _frame_mask(view)
    image = _outside(rng, image, frame)
    visible = visible * frame
    alpha = layer[..., 3] * visible

    seen = cv2.resize((visible > 0.5).astype(np.uint8), (FINE, FINE), interpolation=cv2.INTER_NEAREST) > 0
    parts, foreground, vertex = reduce_labels(raster, alpha, seen)
    whole = np.where(seen, raster.label, 0)[::2, ::2]
    return Sample(
        image=photograph(rng, image.astype(np.float32), rng.uniform(0.4, 1) if wild else rng.beta(1, 2)),
        mask_input=degrade_mask(rng, alpha > 0.5, whole, bait & (frame > 0)),
        parts=parts,
        foreground=foreground,
        vertex=vertex,
        view=view_vector(animal, view.center),
    )


def reduce_labels(
    raster: Raster, alpha: Float[ndarray, "CROP CROP"], seen: UInt8[ndarray, "FINE FINE"]
) -> tuple[UInt8[ndarray, "MAP MAP"], Float[ndarray, "MAP MAP"], Int[ndarray, "MAP MAP"]]:
    """Parts, foreground and vertices at a quarter of the crop's resolution. `seen` is where nothing stands in front."""
    label = np.where(seen, raster.label, 0)
    rows = np.arange(FINE) // _BLOCK
    slot = (rows[:, None] * MAP + rows) * LABELS + label
    counts = np.bincount(slot.ravel(), minlength=MAP * MAP * LABELS).reshape(MAP, MAP, LABELS)
    parts = 1 + counts[..., 1:].argmax(-1)
    parts[2 * counts[..., 1:].sum(-1) < _BLOCK * _BLOCK] = 0
    foreground = cv2.resize(alpha, (MAP, MAP), interpolation=cv2.INTER_AREA).clip(0, 1)
    middle = slice(_BLOCK // 2, None, _BLOCK)
    vertex = np.where(seen, raster.vertex, -1)[middle, middle]
    return parts.astype(np.uint8), foreground.astype(np.float16), vertex.astype(np.int16)


def _toned(
    rng: np.random.Generator, linear: Float[ndarray, "CROP CROP 4"], light: Sun
) -> Float[ndarray, "CROP CROP 4"]:
    """The layer in sRGB, still multiplied by its coverage. The camera exposes for the light, more or less."""
    alpha = linear[..., 3]
    exposure = float(np.exp(rng.normal(0, 0.3))) / max(0.25, float((light.ambient + 0.6 * light.color).mean()))
    layer = linear.copy()
    row, column = np.nonzero(alpha)
    share = alpha[row, column, None]
    layer[row, column, :3] = share * tone(exposure * (linear[row, column, :3] / share))
    return layer


@lru_cache(maxsize=2)
def _warps(seed: int) -> Float[ndarray, "warps CROP CROP 2"]:
    """Displacements in about [-1, 1] with the grain of fur: fine noise, drawn out along a direction."""
    rng = np.random.default_rng([seed, 301])
    fields = []
    for _ in range(_N_WARPS):
        field = octaves(rng, CROP, int(rng.choice([24, 48, 96])), 0.9, 2)
        if rng.random() < 0.6:
            kernel = np.zeros((9, 9), np.float32)
            reach = 4 * np.array([np.cos(angle := rng.uniform(0, np.pi)), np.sin(angle)])
            ends = [tuple(np.round(4 + sign * reach).astype(int).tolist()) for sign in (-1, 1)]
            cv2.line(kernel, ends[0], ends[1], 1.0, 1)
            field = 2.0 * cv2.filter2D(field, -1, kernel / kernel.sum())
        fields.append(field)
    return np.stack(fields)


def _furry(rng: np.random.Generator, seed: int, layer: Float[ndarray, "CROP CROP 4"]) -> Float[ndarray, "CROP CROP 4"]:
    """Frays the silhouette by a pixel or two."""
    if rng.random() < 0.3:
        return layer
    warps = _warps(seed)
    field = np.roll(warps[rng.integers(len(warps))], rng.integers(0, CROP, 2).tolist(), (0, 1))
    amount = np.float32(rng.uniform(0.3, 1.5) if rng.random() < 0.8 else rng.uniform(1.5, 2.6))
    rows, columns = np.mgrid[0:CROP, 0:CROP].astype(np.float32)
    return cv2.remap(layer, columns + amount * field[..., 0], rows + amount * field[..., 1], cv2.INTER_LINEAR)


@lru_cache(maxsize=2)
def _others(seed: int) -> UInt8[ndarray, "others CROP CROP 4"]:
    """Layers of other animals, sRGB times coverage."""
    rng = np.random.default_rng([seed, 302])
    layers = []
    while len(layers) < _N_OTHERS:
        animal = draw_animal(rng, seed)
        view = draw_view(rng, animal)
        light = draw_light(rng)
        layer = _toned(rng, shade(rng, animal, view, draw_raster(animal, view), light, True), light)
        layers.append(np.clip(255 * layer, 0, 255).astype(np.uint8))
    return np.stack(layers)


def _place_other(rng: np.random.Generator, seed: int, image: Image) -> UInt8[ndarray, "CROP CROP"]:
    """Another animal behind this one, smaller or partly out of the picture; returns where it is."""
    others = _others(seed)
    layer = others[rng.integers(len(others))].astype(np.float32) / 255
    scale = rng.uniform(0.25, 1.05)
    angle = rng.uniform(0, 2 * np.pi)
    off = CROP * (0.25 + 0.45 * scale) * np.array([np.cos(angle), 0.5 * np.sin(angle)])
    move = 0.5 * CROP * (1 - scale) + off
    mirrored = rng.random() < 0.5
    matrix = np.array([[-scale if mirrored else scale, 0, move[0] + (scale * CROP if mirrored else 0)],
                       [0, scale, move[1]]], np.float32)  # fmt: skip
    placed = cv2.warpAffine(layer, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR)
    image[:] = image * (1 - placed[..., 3:]) + placed[..., :3]
    return placed[..., 3] > 0.5


def _frame_mask(view: View) -> Float[ndarray, "CROP CROP"]:
    """1 at pixels that were filmed."""
    left, top, right, bottom = view.frame
    place = np.arange(CROP) + 0.5
    inside = ((place > top) & (place < bottom))[:, None] & ((place > left) & (place < right))
    return inside.astype(np.float32)


def _outside(rng: np.random.Generator, image: Image, frame: Float[ndarray, "CROP CROP"]) -> Image:
    """Pixels beyond the frame, as croppers fill them: the frame's border drawn out, black, or grey."""
    if frame.all() or not frame.any():
        return image
    how = rng.random()
    if how < 0.35:
        return np.where(frame[..., None] > 0, image, 0.0 if how < 0.25 else 0.5)
    rows, columns = np.flatnonzero(frame.any(1)), np.flatnonzero(frame.any(0))
    row = np.clip(np.arange(CROP), rows[0], rows[-1])
    column = np.clip(np.arange(CROP), columns[0], columns[-1])
    return image[row][:, column]
