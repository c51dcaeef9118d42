"""How well the network reads samples that it never learns from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.body.model import PART_NAMES
from animal4d.eyes.network import EyesNetwork, EyesOutput
from animal4d.eyes.training.batches import Batch
from animal4d.eyes.training.surface_targets import SurfaceTargets

SEED_OFFSET = 1_000_003
"""The validation samples are those of the seed that lies so far from that of training."""
_LEGS = tuple(
    (1 + PART_NAMES.index(f"{pair}_left_leg"), 1 + PART_NAMES.index(f"{pair}_right_leg")) for pair in ("front", "back")
)
_SIDE = 0.25
"""A view counts as from the side where so much of its unit vector points to the left or the right."""


@torch.no_grad()
def validate(
    network: EyesNetwork,
    vertex_embeddings: Float[Tensor, "vertices 16"],
    batches: Sequence[Batch],
    surface: SurfaceTargets,
) -> dict[str, float]:
    """Metrics over all samples together: overlaps, shares, degrees and body lengths (see `measures`)."""
    network.eval()
    outputs = [network(batch.input) for batch in batches]
    network.train()
    return measures(outputs, batches, vertex_embeddings, surface)


def measures(
    outputs: Sequence[EyesOutput],
    batches: Sequence[Batch],
    vertex_embeddings: Float[Tensor, "vertices 16"],
    surface: SurfaceTargets,
) -> dict[str, float]:
    """`foreground_iou` (mean of the samples), `part_iou` (mean of the seven parts over all pixels) and each part's,
    `leg_side` (of the visible leg pixels that are read as a leg, how many are on the right side), `surface_error`
    (median, body lengths), `view_error` (median, degrees), `heading` (of the views from the side, how many are read
    from the same side: whether the head is left or right in the picture).
    """
    labels = torch.cat([batch.parts for batch in batches])
    predicted = torch.cat([output.parts.argmax(1) for output in outputs])
    coverage = torch.cat([batch.foreground for batch in batches]) > 0.5
    found = torch.cat([output.foreground for output in outputs]) > 0
    overlap = (coverage & found).sum((1, 2)) / (coverage | found).sum((1, 2)).clamp_min(1)
    parts = part_overlaps(predicted, labels)
    view = torch.cat([batch.view for batch in batches])
    seen = torch.cat([output.view for output in outputs])
    angle = (view * seen).sum(-1).clamp(-1, 1).acos().rad2deg()
    side = view[:, 1].abs() > _SIDE
    same_side = (view[:, 1] * seen[:, 1] > 0)[side]
    values = {
        "foreground_iou": overlap.mean(),
        "part_iou": torch.stack(list(parts.values())).nanmean(),
        "leg_side": leg_side_share(predicted, labels),
        "surface_error": _surface_error(outputs, batches, vertex_embeddings, surface),
        "view_error": angle.median(),
        "heading": same_side.float().mean(),
    }
    return {name: round(float(value), 4) for name, value in values.items()} | {
        f"part_iou/{name}": round(float(value), 4) for name, value in parts.items()
    }


def part_overlaps(predicted: Int[Tensor, "n h w"], labels: Int[Tensor, "n h w"]) -> dict[str, Float[Tensor, ""]]:
    """Intersection over union of every part over all pixels; NaN where a part is neither there nor found."""
    overlaps = {}
    for label, name in enumerate(PART_NAMES, start=1):
        ours, true = predicted == label, labels == label
        overlaps[name] = (ours & true).sum() / (ours | true).sum().float()
    return overlaps


def leg_side_share(predicted: Int[Tensor, "n h w"], labels: Int[Tensor, "n h w"]) -> Float[Tensor, ""]:
    """Of the leg pixels that are read as a leg, the share that is read as the animal's right side."""
    left = labels.new_tensor([pair[0] for pair in _LEGS])
    right = labels.new_tensor([pair[1] for pair in _LEGS])
    true_left, true_right = torch.isin(labels, left), torch.isin(labels, right)
    read_left, read_right = torch.isin(predicted, left), torch.isin(predicted, right)
    correct = (true_left & read_left) | (true_right & read_right)
    legs = (true_left | true_right) & (read_left | read_right)
    return correct.sum() / legs.sum().float()


def _surface_error(
    outputs: Sequence[EyesOutput], batches: Sequence[Batch], vertex_embeddings: Tensor, surface: SurfaceTargets
) -> Float[Tensor, ""]:
    """Median distance between the true vertex and the anchor most like the pixel."""
    errors = []
    for output, batch in zip(outputs, batches, strict=True):
        item, row, column = torch.nonzero(batch.vertex >= 0, as_tuple=True)
        best = (output.embedding[item, :, row, column] @ vertex_embeddings[surface.anchors].T).argmax(1)
        errors.append(surface.distances[batch.vertex[item, row, column], best])
    return torch.cat(errors).median()
