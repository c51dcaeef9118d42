"""DensePose CSE that is told what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from animal4d.pretrained.densepose.heads import Embedder, FoundBoxes
from animal4d.pretrained.densepose.meshes import CATEGORIES
from animal4d.pretrained.densepose.network import AnimalSurface, Glance


class ToldNetwork:
    """Sees the given animals, best first: those of each picture in the order in which pictures are shown."""

    def __init__(self, animals: Sequence[Sequence[AnimalSurface]], embedder: Embedder | None = None) -> None:
        self.animals = [sorted(seen, key=lambda animal: -animal.score) for seen in animals]
        self.roi_heads: Any = SimpleNamespace(embedder=embedder)
        self.shown: list[NDArray[np.uint8]] = []
        self.channel_orders: list[str] = []

    def glance(self, picture: NDArray[np.uint8], least_score: float = 0.5, channel_order: str = "bgr") -> Glance:
        seen = [animal for animal in self.animals[len(self.shown)] if animal.score > least_score]
        self.shown.append(picture)
        self.channel_orders.append(channel_order)
        self._seen = seen
        boxes = torch.stack([animal.box for animal in seen]) if seen else torch.zeros(0, 4)
        classes = torch.tensor([CATEGORIES.index(animal.category) for animal in seen], dtype=torch.long)
        found = FoundBoxes(boxes, torch.tensor([animal.score for animal in seen]), classes)
        return Glance(found, boxes, ())

    def surfaces(self, glance: Glance, chosen: Sequence[int]) -> list[AnimalSurface]:
        del glance
        return [self._seen[place] for place in chosen]


def outlined(animal: Tensor, box: Sequence[float], category: str = "dog", score: float = 0.9) -> AnimalSurface:
    """An animal without a surface; `animal` (112, 112) is true where the box shows it."""
    logits = torch.where(animal, 8.0, -8.0)
    return AnimalSurface(
        category, score, torch.tensor([*map(float, box)]), torch.zeros(16, 112, 112), torch.stack((-logits, logits))
    )
