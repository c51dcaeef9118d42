"""Features of a box in a grid of fixed size, without rounding its place (RoIAlign; He et al. 2017)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.pretrained.densepose.boxes import areas

_SAMPLES = 2
"""Points along each side of a cell whose mean is taken."""
_CANONICAL_SIDE = 224.0
_CANONICAL_LEVEL = 4
_FINEST_LEVEL = 2


def roi_align(
    level: Float[Tensor, "channels h w"], boxes: Float[Tensor, "n 4"], stride: int, side: int
) -> Float[Tensor, "n channels side side"]:
    """Means of 2 x 2 bilinear samples in each of `side` x `side` cells of a box.

    This is Detectron's first version ("ROIAlign", not "ROIAlignV2"), with which the animals' network was trained: a
    box in pixels is divided by the level's stride, and WHOLE numbers are then the centres of the level's pixels, so
    that everything is read half a pixel from where it lies. Boxes are at least one pixel of the level wide. Samples
    more than one pixel outside of the level are zero, others there take the nearest pixel.
    """
    channels, height, width = level.shape
    scaled = boxes / stride
    extent = (scaled[:, 2:] - scaled[:, :2]).clamp(min=1.0)
    steps = (torch.arange(side * _SAMPLES, device=boxes.device).to(boxes) + 0.5) / (side * _SAMPLES)
    places = scaled[:, None, :2] + extent[:, None] * steps[:, None]
    columns, column_weights = _pixels_of_cells(places[..., 0], width)
    rows, row_weights = _pixels_of_cells(places[..., 1], height)
    # Every cell is a weighted sum of few pixels: rows times columns.
    pixels = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    summed = torch.nn.functional.embedding_bag(
        pixels.reshape(len(boxes) * side**2, -1),
        level.permute(1, 2, 0).reshape(height * width, channels),
        mode="sum",
        per_sample_weights=weights.reshape(len(boxes) * side**2, -1).to(level),
    )
    return summed.reshape(len(boxes), side, side, channels).permute(0, 3, 1, 2)


def _pixels_of_cells(
    places: Float[Tensor, "n samples"], length: int
) -> tuple[Int[Tensor, "n cells pixels"], Float[Tensor, "n cells pixels"]]:
    """Along one direction: the pixels that the samples of each cell lie between, and their weights in the mean."""
    counts = ((places >= -1.0) & (places <= length)).to(places) / _SAMPLES
    inside = places.clamp(0, length - 1)
    before = inside.floor().clamp(max=max(length - 2, 0))
    behind = (before + 1).clamp(max=length - 1)
    share = inside - before
    pixels = torch.stack((before, behind), dim=-1).long()
    weights = torch.stack((1 - share, share), dim=-1) * counts[..., None]
    cells = (len(places), -1, 2 * _SAMPLES)
    return pixels.reshape(cells), weights.reshape(cells)


def roi_align_pyramid(
    levels: tuple[Float[Tensor, "1 channels h w"], ...],
    boxes: Float[Tensor, "n 4"],
    strides: tuple[int, ...],
    side: int,
) -> Float[Tensor, "n channels side side"]:
    """Each box on the level that its size belongs to (Lin et al. 2017, equation 1); levels begin with p2."""
    size = areas(boxes).sqrt()
    level_of = (_CANONICAL_LEVEL + (size / _CANONICAL_SIDE + 1e-8).log2()).floor().long() - _FINEST_LEVEL
    level_of = level_of.clamp(0, len(levels) - 1)
    result = boxes.new_zeros(len(boxes), levels[0].shape[1], side, side)
    for number, (level, stride) in enumerate(zip(levels, strides, strict=False)):
        chosen = (level_of == number).nonzero().squeeze(1)
        if len(chosen):
            result[chosen] = roi_align(level[0], boxes[chosen], stride, side)
    return result
