"""What the network is taught: one loss per output, each averaged over what it looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from animal4d.eyes.network import EyesOutput, view_directions
from animal4d.eyes.training.batches import Batch
from animal4d.eyes.training.surface_targets import SurfaceTargets

LABEL_WEIGHTS = (0.4, 1.2, 0.7, 2.0, 1.5, 1.5, 1.5, 1.5)
"""Of the labels: background and torso are large, tail and legs small."""
VIEW_SHARPNESS = 20.0
"""Concentration of the targets over the view's directions: half their height 15 degrees off, as far as directions lie
apart."""
LEAST_ERROR = 0.01
"""In body lengths: nearer than the anchors tell."""
SURFACE_PIXELS = 4096
"""So many pixels of a batch, evenly chosen, are compared with the anchors."""
_LOG_ANCHORS_PER_SCALE = math.log(12.0)


@dataclass(frozen=True)
class LossWeights:
    foreground: float = 1.0
    dice: float = 0.5
    parts: float = 2.0
    surface: float = 0.5
    confidence: float = 0.1
    view: float = 0.5


def starting_log_scale() -> Tensor:
    """Logarithm of what the cosine between pixel and anchor is multiplied by, before it is learnt."""
    return torch.tensor(_LOG_ANCHORS_PER_SCALE)


def eyes_losses(
    output: EyesOutput,
    batch: Batch,
    vertex_embeddings: Float[Tensor, "vertices 16"],
    log_scale: Float[Tensor, ""],
    surface: SurfaceTargets,
) -> dict[str, Float[Tensor, ""]]:
    """Unweighted losses by the names of `LossWeights`."""
    surface_loss, confidence = _surface_losses(output, batch, vertex_embeddings, log_scale, surface)
    return {
        "foreground": F.binary_cross_entropy_with_logits(output.foreground, batch.foreground),
        "dice": _dice(output.foreground.sigmoid(), batch.foreground),
        "parts": F.cross_entropy(output.parts, batch.parts, weight=output.parts.new_tensor(LABEL_WEIGHTS)),
        "surface": surface_loss,
        "confidence": confidence,
        "view": view_loss(output.view_logits, batch.view),
    }


def _dice(probability: Float[Tensor, "n h w"], coverage: Float[Tensor, "n h w"]) -> Float[Tensor, ""]:
    """One minus the Dice overlap (Milletari et al. 2016), which weighs small animals as large ones."""
    both = 2 * (probability * coverage).sum((1, 2)) + 1.0
    either = (probability + coverage).sum((1, 2)) + 1.0
    return (1 - both / either).mean()


def view_loss(logits: Float[Tensor, "n directions"], view: Float[Tensor, "n 3"]) -> Float[Tensor, ""]:
    """Cross-entropy against a von Mises-Fisher density around the true view: doubt between two sides is not a view
    between them."""
    target = (VIEW_SHARPNESS * view @ view_directions().to(view).T).softmax(dim=-1)
    return F.cross_entropy(logits, target)


def _surface_losses(
    output: EyesOutput, batch: Batch, vertex_embeddings: Tensor, log_scale: Tensor, surface: SurfaceTargets
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy over the anchors against a Gaussian on the surface; and the Laplace likelihood of the distance to
    the best anchor under the error that the network expects (Kendall and Gal 2017)."""
    item, row, column = torch.nonzero(batch.vertex >= 0, as_tuple=True)
    stride = max(-(-len(item) // SURFACE_PIXELS), 1)
    item, row, column = item[::stride], row[::stride], column[::stride]
    if len(item) == 0:
        nothing = output.embedding.sum() * 0
        return nothing, nothing
    vertex = batch.vertex[item, row, column]
    cosines = output.embedding[item, :, row, column] @ vertex_embeddings[surface.anchors].T
    logits = log_scale.exp() * cosines
    loss = F.cross_entropy(logits, surface.targets[vertex])
    best = logits.detach().argmax(dim=1)
    error = surface.distances[vertex, best].clamp_min(LEAST_ERROR)
    log_error = output.log_error[item, row, column]
    return loss, (error * (-log_error).exp() + log_error).mean()
