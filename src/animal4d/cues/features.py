"""Built-in patch features: the stand-in for DINO, without weights to download.

The working image is divided into a grid of patches. Each patch is described by its colour (mean and spread), by a
histogram of gradient orientations, by the mask (how much of the patch it covers, and which way the outline runs) and
by its place in the animal's box. As with DINO's features, every channel is scaled to [0, 1] within a frame.

They know nothing of anatomy. What lets a network read a pose from them is mostly the shape of the mask, which is why
the pooled features keep the parts of the animal's box apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from animal4d.clip import Clip

ORIENTATIONS = 8
CHANNELS = (
    *("red", "green", "blue"),
    *("red spread", "green spread", "blue spread"),
    *(f"gradient {180 * bin_index // ORIENTATIONS} degrees" for bin_index in range(ORIENTATIONS)),
    *("mask", "outline cos", "outline sin"),
    *("x in box", "y in box"),
)
_BATCH = 32


@dataclass(frozen=True)
class PatchFeatures:
    """Features of patches, and their means."""

    patches: Float[Tensor, "frames patches channels"]
    """Row by row, in [0, 1]."""
    pooled: Float[Tensor, "frames pooled"]
    """Mean over all patches, then the means over each part of the animal's box, weighted by the mask."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Patches whose values are exact in half precision are kept so."""
        half = self.patches.half()
        exact = torch.equal(half.float(), self.patches)
        return {"patches": (half if exact else self.patches).numpy(), "pooled": self.pooled.numpy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> PatchFeatures:
        return PatchFeatures(torch.from_numpy(arrays["patches"]).float(), torch.from_numpy(arrays["pooled"]).float())


@dataclass(frozen=True)
class BuiltinFeatures:
    """The built-in provider of patch features."""

    name: ClassVar[str] = "builtin-patches"
    kind: ClassVar[str] = "builtin"
    version: ClassVar[int] = 1

    grid: int = 32
    """Patches along a side."""
    parts: int = 4
    """Parts of the animal's box along a side, for the pooled features."""

    @property
    def cue(self) -> str:
        return "features"

    def config(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, clip: Clip) -> PatchFeatures:
        batches = [slice(start, start + _BATCH) for start in range(0, len(clip), _BATCH)]
        patches = torch.cat([self._patches(clip.frames[batch].cpu(), clip.masks[batch].cpu()) for batch in batches])
        pooled = torch.cat([pooled_in_box(patches[batch], clip.masks[batch].cpu(), self.parts) for batch in batches])
        return PatchFeatures(patches, pooled)

    def _patches(
        self, frames: Tensor, masks: Float[Tensor, "frames height width"]
    ) -> Float[Tensor, "frames patches channels"]:
        colors = frames.permute(0, 3, 1, 2).float() / 255
        mean = self._pool(colors)
        spread = (self._pool(colors.square()) - mean.square()).clamp_min(0).sqrt()
        dx, dy = _gradients(colors.mean(dim=1))
        outline_x, outline_y = _gradients(masks)
        # The doubled angle makes the two sides of a limb agree about the way it runs.
        along = torch.stack([outline_x.square() - outline_y.square(), 2 * outline_x * outline_y], dim=1)
        x, y = _place_in_box(masks, self.grid)
        channels = torch.cat(
            [mean, spread, self._pool(_oriented(dx, dy)), self._pool(masks[:, None]), self._pool(along), x, y], dim=1
        )
        return min_max(channels.flatten(2).transpose(1, 2))

    def _pool(
        self, images: Float[Tensor, "frames channels height width"]
    ) -> Float[Tensor, "frames channels grid grid"]:
        return adaptive_avg_pool2d(images, self.grid)


def pooled_in_box(
    patches: Float[Tensor, "frames patches channels"], masks: Float[Tensor, "frames height width"], parts: int
) -> Float[Tensor, "frames pooled"]:
    """What `PatchFeatures.pooled` holds of a square grid of patches: the mean over all of them, the means over
    `parts x parts` parts of the animal's box, weighted by the mask, and the share of each part that the mask covers."""
    grid = round(patches.shape[1] ** 0.5)
    x, y = (place.flatten(1) for place in _place_in_box(masks, grid))
    covered = adaptive_avg_pool2d(masks[:, None], grid).flatten(1)
    column, row = ((place * parts).long().clamp(0, parts - 1) for place in (x, y))
    in_box = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
    membership = torch.nn.functional.one_hot(row * parts + column, parts**2) * in_box[..., None]
    weights = membership * covered[..., None]
    means = weights.transpose(1, 2) @ patches / weights.sum(dim=1)[..., None].clamp_min(1e-3)
    # The share of a part that the animal covers is its low-resolution silhouette.
    coverage = weights.sum(dim=1) / membership.sum(dim=1).clamp_min(1)
    return torch.cat([patches.mean(dim=1), means.flatten(1), coverage], dim=-1)


def _gradients(images: Float[Tensor, "frames height width"]) -> tuple[Tensor, Tensor]:
    """Central differences along x and y."""
    padded = pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def _oriented(dx: Tensor, dy: Tensor) -> Float[Tensor, "frames orientations height width"]:
    """Gradient magnitude, shared between the two nearest of the undirected orientations."""
    place = torch.atan2(dy, dx).remainder(torch.pi) * (ORIENTATIONS / torch.pi)
    bins = torch.arange(ORIENTATIONS, device=dx.device)[None, :, None, None]
    distance = (place[:, None] - bins).abs()
    distance = torch.minimum(distance, ORIENTATIONS - distance)
    return (1 - distance).clamp_min(0) * torch.hypot(dx, dy)[:, None]


def _place_in_box(
    masks: Float[Tensor, "frames height width"], grid: int
) -> tuple[Float[Tensor, "frames 1 grid grid"], Float[Tensor, "frames 1 grid grid"]]:
    """Centres of the patches in units of the mask's box (the whole image without mask), clamped a little outside."""
    binary = masks > 0.5
    centers = (torch.arange(grid, device=masks.device) + 0.5) / grid
    places = []
    for occupied in (binary.any(dim=1), binary.any(dim=2)):
        size = occupied.shape[1]
        low = occupied.int().argmax(dim=1) / size
        high = 1 - occupied.flip(1).int().argmax(dim=1) / size
        places.append(((centers - low[:, None]) / (high - low)[:, None].clamp_min(1 / size)).clamp(-0.25, 1.25))
    x, y = places
    return x[:, None, None, :].expand(-1, 1, grid, -1), y[:, None, :, None].expand(-1, 1, -1, grid)


def min_max(features: Float[Tensor, "frames patches channels"]) -> Float[Tensor, "frames patches channels"]:
    """Every channel scaled to [0, 1] within a frame, as the published method scales DINO's features."""
    low, high = features.amin(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)
    return (features - low) / (high - low).clamp_min(1e-6)
