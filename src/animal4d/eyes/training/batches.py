"""Batches of synthesised samples: made in another process, in the same order however often a run is interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from animal4d.body.model import PART_NAMES
from animal4d.eyes.network import network_input
from animal4d.eyes.training.degradations import UNKNOWN
from animal4d.eyes.training.samples import Sample, make_sample

_MIRRORED_LABELS = (
    0,
    *(
        1 + PART_NAMES.index(name.replace("left", "right") if "left" in name else name.replace("right", "left"))
        for name in PART_NAMES
    ),
)
_PREFETCHED = 24
"""Batches that wait to be learnt from, of all processes together."""


@dataclass(frozen=True)
class Batch:
    """Samples as the network and its losses take them."""

    input: Float[Tensor, "n 4 192 192"]
    """Of `animal4d.eyes.network.network_input`."""
    parts: Int[Tensor, "n 48 48"]
    foreground: Float[Tensor, "n 48 48"]
    vertex: Int[Tensor, "n 48 48"]
    """-1 where no surface is seen."""
    view: Float[Tensor, "n 3"]

    def __len__(self) -> int:
        return len(self.view)

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def make_batch(samples: Sequence[Sample]) -> Batch:
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    masks = torch.from_numpy(np.stack([sample.mask_input for sample in samples])).float()
    return Batch(
        # A mask that nobody made becomes 0.
        input=network_input(images, ((masks - UNKNOWN) / 127).clamp(-1, 1)),
        parts=torch.from_numpy(np.stack([sample.parts for sample in samples])).long(),
        foreground=torch.from_numpy(np.stack([sample.foreground for sample in samples])).float(),
        vertex=torch.from_numpy(np.stack([sample.vertex for sample in samples])).long(),
        view=torch.from_numpy(np.stack([sample.view for sample in samples])).float(),
    )


def mirrored(batch: Batch, mirror: Int[Tensor, "vertices"]) -> Batch:
    """The same animals in a mirror: their left is their right. `mirror` gives every vertex that on the other side."""
    vertex = torch.where(batch.vertex >= 0, mirror[batch.vertex.clamp_min(0)], batch.vertex)
    return Batch(
        input=batch.input.flip(3),
        parts=batch.parts.new_tensor(_MIRRORED_LABELS)[batch.parts].flip(2),
        foreground=batch.foreground.flip(2),
        vertex=vertex.flip(2),
        view=batch.view * batch.view.new_tensor((1.0, -1.0, 1.0)),
    )


def joined(batches: Sequence[Batch]) -> Batch:
    return Batch(*(torch.cat([getattr(batch, field.name) for batch in batches]) for field in fields(Batch)))


@dataclass(frozen=True)
class Samples(Dataset):
    """Batches of samples of a seed by their number."""

    seed: int
    size: int

    def __getitem__(self, number: int) -> Batch:
        first = number * self.size
        return make_batch([make_sample(self.seed, first + k) for k in range(self.size)])


def batches(seed: int, size: int, start: int, stop: int, processes: int) -> Iterator[Batch]:
    """Batches `start` to `stop` of the endless sequence that the seed stands for.

    `processes` others make them ahead of time; with 0 they are made when they are asked for.
    """
    loader = DataLoader(
        Samples(seed, size),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=processes,
        prefetch_factor=max(_PREFETCHED // processes, 2) if processes else None,
        multiprocessing_context="spawn" if processes else None,
    )
    yield from loader
