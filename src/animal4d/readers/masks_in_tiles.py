"""An animal seen through four overlapping tiles: legs that are thinner than a pixel of the network's map of the whole
animal are wider there. What is seen is told from other animals beside it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from animal4d.body.model import PART_NAMES
from animal4d.eyes.eyes import Eyes
from animal4d.eyes.labels import CROP, MAP
from animal4d.readers.crop import Box, Square, cut_image, square_around
from animal4d.readers.masks_finding import LEAST_SIDE
from animal4d.readers.masks_in_windows import MaskInWindow, SeenMask, in_window, resampled
from animal4d.readers.source import Image

TILE = 0.65
"""Side of a tile, as a fraction of the square around the animal."""
_MARGIN = 0.04
"""Space around the animal in the square that the tiles cover."""
_LEAST_SAY = 0.02
"""Of a tile at its border; in its middle it is 1."""
_LIMBS = [1 + place for place, name in enumerate(PART_NAMES) if name.endswith("leg") or name == "tail"]
_LARGEST_LIMB = 0.12
"""Of the animal's area."""
_LIMB_SHARE = 0.5
_JUTS_OUT = 0.012
"""Of the window's longer side: what lies nearer to the mask is only a better outline."""
_NEAR = 0.05
"""Of the window's longer side: pieces further from the animal's mask are something else."""


def tiles_over(box: Box) -> list[Square]:
    """The tiles in the corners of the square around a box."""
    left, top, side = square_around(box, _MARGIN, LEAST_SIDE)
    tile = max(LEAST_SIDE, round(TILE * side))
    rest = side - tile
    return [(left + x, top + y, tile) for y in (0, rest) for x in (0, rest)]


def seen_in_tiles(
    eyes: Eyes, image: Image, box: Box, on: SeenMask, guide: MaskInWindow | None = None
) -> NDArray[np.float32]:
    """Probabilities (height, width, 2) of the animal, and of its legs or tail, in the working pixels of the window of
    `on`, by a look at every tile over the box: the tiles' mean, in which a tile's middle has the most say.

    `guide`, of zeros and ones, tells the network where the animal may be. Zero where no tile reaches.
    """
    tiles = tiles_over(box)
    pictures = np.stack([cut_image(image, np.array(tile[:2]), tile[2], CROP) for tile in tiles])
    told = None
    if guide is not None:
        inside = [in_window(guide, _bounds(tile), (CROP, CROP)) > 0.5 for tile in tiles]
        told = torch.from_numpy(np.stack(inside).astype(np.float32))
    look = eyes.look(torch.from_numpy(pictures), told)
    maps = torch.stack((look.foreground, look.parts[:, _LIMBS].sum(1)), dim=-1).float().numpy()
    shape = on.mask.shape
    taper = np.hanning(MAP + 2)[1:-1]
    say = (np.outer(taper, taper) + _LEAST_SAY).astype(np.float32)
    total, weights = np.zeros((*shape, 2), np.float32), np.full((*shape, 1), 1e-6, np.float32)
    for tile, seen in zip(tiles, maps, strict=True):
        weight = resampled(say, _bounds(tile), on.window, shape)[..., None]
        total += weight * resampled(seen, _bounds(tile), on.window, shape)
        weights += weight
    return total / weights


def pieces_near(seen: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """What was seen (height, width, 2) without those pieces of the animal that lie apart from its mask."""
    count, pieces = cv2.connectedComponents((seen[..., 0] > 0.5).astype(np.uint8))
    labels = np.asarray(pieces, dtype=np.intp)
    kept = np.zeros(count, bool)
    kept[0] = True
    kept[np.unique(labels[_grown(mask, _NEAR)])] = True
    return np.where(kept[labels][..., None], seen, 0.0).astype(np.float32)


def without_others(
    animal: NDArray[np.bool_], seen: NDArray[np.floating], mask: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """The animal's pixels, of those that jut out from its mask only what may be a leg or tail that the mask lacks: by
    size, and by what was seen there (height, width, 2). The rest is another animal's."""
    beside = animal & ~_grown(mask, _JUTS_OUT)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(beside.astype(np.uint8), connectivity=8)
    labels = np.asarray(pieces, dtype=np.intp)
    as_animal, as_limb = (np.bincount(labels.ravel(), seen[..., channel].ravel(), count) for channel in (0, 1))
    small = stats[:, cv2.CC_STAT_AREA] < _LARGEST_LIMB * np.count_nonzero(mask > 0.5)
    limb = small & (as_limb > _LIMB_SHARE * as_animal)
    return animal & (~beside | limb[labels])


def _grown(mask: NDArray[np.float32], fraction: float) -> NDArray[np.bool_]:
    """The mask with what is as near to it as this fraction of the window's longer side."""
    reach = max(1, round(fraction * max(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate((mask > 0.5).astype(np.uint8), kernel) > 0


def _bounds(tile: Square) -> tuple[int, int, int, int]:
    left, top, side = tile
    return left, top, left + side, top + side
