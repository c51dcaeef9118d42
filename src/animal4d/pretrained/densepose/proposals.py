"""Where anything may be: the region proposal network on the feature pyramid (Ren et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animal4d.pretrained.densepose.backbone import CHANNELS, STRIDES, Pyramid
from animal4d.pretrained.densepose.boxes import best_of_overlapping, clipped, grid_anchors, moved_boxes, not_empty
from animal4d.pretrained.densepose.layers import ReluConv

_SIDES = (32.0, 64.0, 128.0, 256.0, 512.0)
"""Of the anchors of each level, in pixels of the network's picture."""
_RATIOS = (0.5, 1.0, 2.0)
_OF_A_LEVEL = 1000
_KEPT = 1000
_MOST_OVERLAP = 0.7


@dataclass(frozen=True)
class Proposals:
    """Boxes that may hold something, best first."""

    boxes: Float[Tensor, "n 4"]
    """In pixels of the network's picture."""
    logits: Float[Tensor, "n"]


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = ReluConv(CHANNELS, CHANNELS)
        self.objectness_logits = nn.Conv2d(CHANNELS, len(_RATIOS), 1)
        self.anchor_deltas = nn.Conv2d(CHANNELS, 4 * len(_RATIOS), 1)

    def forward(self, level: Float[Tensor, "1 256 h w"]) -> tuple[Float[Tensor, "a"], Float[Tensor, "a 4"]]:
        """Logits and deltas of the level's anchors, in the order of `boxes.grid_anchors`."""
        maps = self.conv(level)
        logits = self.objectness_logits(maps)[0].permute(1, 2, 0).flatten()
        deltas = self.anchor_deltas(maps)[0].permute(1, 2, 0).reshape(-1, 4)
        return logits, deltas


class ProposalGenerator(nn.Module):
    """The best boxes over all levels."""

    def __init__(self) -> None:
        super().__init__()
        self.rpn_head = _Head()

    def forward(self, pyramid: Pyramid, size: tuple[int, int]) -> Proposals:
        """`size` (height, width) is that of the picture without the padding."""
        boxes, logits, levels = [], [], []
        for number, (level, stride, side) in enumerate(zip(pyramid, STRIDES, _SIDES, strict=True)):
            score, deltas = self.rpn_head(level)
            anchors = grid_anchors((level.shape[2], level.shape[3]), stride, side, _RATIOS).to(score)
            score, best = score.topk(min(_OF_A_LEVEL, len(score)))
            boxes.append(moved_boxes(anchors[best], deltas[best], (1.0, 1.0)))
            logits.append(score)
            levels.append(torch.full_like(best, number))
        box, logit, level = torch.cat(boxes), torch.cat(logits), torch.cat(levels)
        good = box.isfinite().all(1) & logit.isfinite()
        box = clipped(box, size)
        good &= not_empty(box)
        box, logit, level = box[good], logit[good], level[good]
        kept = best_of_overlapping(box, logit, level, _MOST_OVERLAP)[:_KEPT]
        return Proposals(box[kept], logit[kept])
