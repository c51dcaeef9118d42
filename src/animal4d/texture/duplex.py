"""The published texture: a radiance volume between two shells, marched with 64 samples a ray.

Duplex mesh (Wan et al. 2023) as Animal Avatars and 4D-Animal use it: a feature grid in canonical space, decoded by a
small network to density and colour. Meant for a GPU: 15,000 rays are a million samples. On CUDA the gradient of the
grid is added up in any order, so that two runs differ in the last bits; on a CPU they are the same.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from animal4d.texture.hits import ShellHits

SAMPLES = 64
GRID_SIZE, CHANNELS = 64, 32
BOX = ((-1.0, -0.5, -1.0), (2.0, 0.5, 0.5))
"""Lowest and highest corner of the grid in canonical space (x, y, z)."""
HIDDEN = 32
"""Width of the trunk; the published page gives its three layers only."""
GRID_RATE, DECODER_RATE = 0.1, 0.01
MEMORY = 1 << 30
_FLOAT = 4


class DuplexTexture(nn.Module):
    """A feature grid with a decoder: trunk of three layers, one layer each to density and colour.

    `memory` bounds, in bytes, what rendering keeps for its gradient at any time: rays are rendered in chunks, and
    where one chunk does not hold all, a chunk is computed again on the way back instead of being kept.
    """

    low: Tensor
    high: Tensor

    def __init__(self, seed: int = 0, grid_size: int = GRID_SIZE, samples: int = SAMPLES, memory: int = MEMORY) -> None:
        super().__init__()
        self.samples, self.memory = samples, memory
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.grid = nn.Parameter(0.1 * torch.randn(1, CHANNELS, grid_size, grid_size, grid_size))
            widths = (CHANNELS, HIDDEN, HIDDEN, HIDDEN)
            layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
            self.trunk = nn.Sequential(*layers)
            self.density_head = nn.Linear(HIDDEN, 1)
            self.color_head = nn.Linear(HIDDEN, 3)
        self.register_buffer("low", torch.tensor(BOX[0]), persistent=False)
        self.register_buffer("high", torch.tensor(BOX[1]), persistent=False)

    @property
    def rays_per_side(self) -> int:
        """One ray goes through the middle of every pixel, as published."""
        return 1

    def parameter_groups(self) -> list[dict[str, Any]]:
        decoder = [
            parameter for part in (self.trunk, self.density_head, self.color_head) for parameter in part.parameters()
        ]
        return [{"params": [self.grid], "lr": GRID_RATE}, {"params": decoder, "lr": DECODER_RATE}]

    @property
    def bytes_per_ray(self) -> int:
        """What the gradient keeps of a ray: per sample its place, its features, every layer before and after its
        activation, density and colour with what compositing makes of them."""
        per_sample = 3 + CHANNELS + 2 * 3 * HIDDEN + 2 * 4 + 8
        return _FLOAT * self.samples * per_sample

    @property
    def rays_per_chunk(self) -> int:
        return max(1, self.memory // self.bytes_per_ray)

    def render(self, hits: ShellHits) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays"]]:
        """Colour over black and opacity (see `Texture`)."""
        chunks = [hits[start : start + self.rays_per_chunk] for start in range(0, len(hits), self.rays_per_chunk)]
        if len(chunks) <= 1:
            return self._march(hits.entry, hits.exit, hits.length)
        done = [
            checkpoint(self._march, part.entry, part.exit, part.length, use_reentrant=False, preserve_rng_state=False)
            for part in chunks
        ]
        colors, opacities = zip(*done, strict=True)
        return torch.cat(colors), torch.cat(opacities)

    def _march(
        self, entry: Float[Tensor, "rays 3"], exit: Float[Tensor, "rays 3"], length: Float[Tensor, "rays"]
    ) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays"]]:
        along = (torch.arange(self.samples, dtype=entry.dtype, device=entry.device) + 0.5) / self.samples
        points = entry[:, None] + along[:, None] * (exit - entry)[:, None]
        density, color = self.decode(points.flatten(0, 1))
        depth = density.unflatten(0, (-1, self.samples)) * (length / self.samples)[:, None]
        return composite(depth, color.unflatten(0, (-1, self.samples)))

    def decode(self, points: Float[Tensor, "points 3"]) -> tuple[Float[Tensor, "points"], Float[Tensor, "points 3"]]:
        """Density per thickness of the shell, and colour, at places of canonical space. Beyond its box the grid goes
        on with the values of its border."""
        if len(points) == 0:  # grid_sample refuses to look up nothing
            return points.new_zeros(0), points.new_zeros(0, 3)
        scaled = 2 * (points - self.low) / (self.high - self.low) - 1
        features = nn.functional.grid_sample(
            self.grid, scaled.view(1, 1, 1, -1, 3), padding_mode="border", align_corners=True
        )
        hidden = self.trunk(features[0, :, 0, 0].T)
        return nn.functional.softplus(self.density_head(hidden)).squeeze(1), self.color_head(hidden).sigmoid()


def composite(
    depth: Float[Tensor, "rays samples"], color: Float[Tensor, "rays samples 3"]
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays"]]:
    """Colour over black and opacity of samples behind each other, from their optical depths (density times length):
    emission and absorption (Max 1995)."""
    total = depth.cumsum(1)
    weights = torch.exp(depth - total) - torch.exp(-total)
    return (weights[..., None] * color).sum(1), -torch.expm1(-total[:, -1])
