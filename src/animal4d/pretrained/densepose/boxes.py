"""Boxes in pixels (left, top, right, bottom): anchors, how a network moves them, and the best of those that overlap."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_LARGEST_GROWTH = math.log(1000 / 16)
"""Largest logarithm of a factor by which a box is scaled, as in Detectron2."""


def grid_anchors(
    size: tuple[int, int], stride: int, side: float, ratios: tuple[float, ...]
) -> Float[Tensor, "anchors 4"]:
    """Boxes of area `side ** 2` and of several ratios of height to width, around the corners of a grid of `size`
    (height, width) cells: row by row, all ratios of a cell together."""
    widths = [math.sqrt(side**2 / ratio) for ratio in ratios]
    cell = torch.tensor([[-w / 2, -r * w / 2, w / 2, r * w / 2] for w, r in zip(widths, ratios, strict=True)])
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) * stride for n in size), indexing="ij")
    corners = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
    return (corners + cell).reshape(-1, 4)


def moved_boxes(
    boxes: Float[Tensor, "n 4"], deltas: Float[Tensor, "n 4"], weights: tuple[float, float]
) -> Float[Tensor, "n 4"]:
    """Boxes moved and scaled as a network says (Girshick et al. 2014, appendix C).

    `deltas` are shifts in box sizes and logarithms of factors; they are divided by `weights` (of shifts, of factors).
    """
    size = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] / weights[0] * size
    half = 0.5 * size * (deltas[:, 2:] / weights[1]).clamp(max=_LARGEST_GROWTH).exp()
    return torch.cat((center - half, center + half), dim=1)


def clipped(boxes: Float[Tensor, "n 4"], size: tuple[int, int]) -> Float[Tensor, "n 4"]:
    """What of the boxes lies in a picture of `size` (height, width)."""
    height, width = size
    return torch.stack(
        (
            boxes[:, 0].clamp(0, width),
            boxes[:, 1].clamp(0, height),
            boxes[:, 2].clamp(0, width),
            boxes[:, 3].clamp(0, height),
        ),
        dim=1,
    )


def areas(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def not_empty(boxes: Float[Tensor, "n 4"]) -> Bool[Tensor, "n"]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def overlaps(boxes: Float[Tensor, "n 4"], others: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of all pairs; zero where both are empty."""
    corner = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    inner = (torch.minimum(boxes[:, None, 2:], others[None, :, 2:]) - corner).clamp(min=0)
    intersection = inner[..., 0] * inner[..., 1]
    union = areas(boxes)[:, None] + areas(others)[None] - intersection
    return torch.where(union > 0, intersection / union, 0)


def best_of_overlapping(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n"], groups: Int[Tensor, "n"], most_overlap: float
) -> Int[Tensor, "kept"]:
    """Places of the boxes that overlap no better one of their group by more than `most_overlap`, best first."""
    kept = []
    for group in groups.unique():
        members = (groups == group).nonzero().squeeze(1)
        members = members[scores[members].argsort(descending=True, stable=True)]
        kept.append(members[_greedy(boxes[members], most_overlap).to(members.device)])
    if not kept:
        return torch.zeros(0, dtype=torch.long, device=boxes.device)
    places = torch.cat(kept)
    return places[scores[places].argsort(descending=True, stable=True)]


def _greedy(boxes: Float[Tensor, "n 4"], most_overlap: float) -> Bool[Tensor, "n"]:
    """Which of the boxes, best first, stay."""
    too_much = (overlaps(boxes, boxes) > most_overlap).cpu().numpy()
    dropped = np.zeros(len(boxes), bool)
    for place in range(len(boxes)):
        if not dropped[place]:
            dropped[place + 1 :] |= too_much[place, place + 1 :]
    return torch.from_numpy(~dropped)
