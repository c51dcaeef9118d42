"""Positional embedding of normalised time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """Cosines, then sines, of time multiplied by frequencies spaced linearly from 1 to `highest` (radians)."""

    frequencies: Tensor

    def __init__(self, n_frequencies: int = 4, highest: float = 8.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(1.0, highest, n_frequencies), persistent=False)

    @property
    def channels(self) -> int:
        return 2 * len(self.frequencies)

    def forward(self, times: Float[Tensor, "frames"]) -> Float[Tensor, "frames channels"]:
        angles = times[:, None] * self.frequencies
        return torch.cat((angles.cos(), angles.sin()), dim=1)
