"""Patch features by DINO, DINOv2 or DINOv3, at 480 x 480 pixels as published.

Every channel is scaled to [0, 1] within a frame. A patch of a clip's window is about the size of a paw; what is kept
are means over blocks of them, whose mean over the frame is the published network's input just the same. The pooled
features are means over parts of the animal's box, as of the hand-made features, and stand beside these: DINO knows what
a head is, the hand-made ones keep the shape of the mask. The fit has a weight for every pooled channel, so the
thousands of DINO's are turned to the few directions in which the clip's frames differ most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from animal4d.clip import Clip
from animal4d.cues.cache import Provider
from animal4d.cues.eyes_features import beside, centered
from animal4d.cues.features import BuiltinFeatures, PatchFeatures, min_max, pooled_in_box
from animal4d.pretrained.dino import PUBLISHED_SIZE, read_dino
from animal4d.pretrained.transformers_folder import folder_checksum


@dataclass(frozen=True, eq=False)
class DinoFeatures:
    """Patch features by a network in a folder as `transformers` keeps it (`config.json`, `model.safetensors`)."""

    name: ClassVar[str] = "dino"
    kind: ClassVar[str] = "pretrained"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "features"

    folder: Path
    device: torch.device | str = "cpu"
    size: int = PUBLISHED_SIZE
    """Side of the network's input in pixels; the nearest multiple of its patch is taken (476 with DINOv2)."""
    grid: int = 20
    """Blocks along a side that are kept at most; with 60 every patch of DINO ViT-S/8."""
    components: int = 64
    """Channels that the pooled features are turned to."""
    parts: int = 4
    """Parts of the animal's box along a side, for the pooled features."""
    others: Provider[PatchFeatures] = field(default_factory=BuiltinFeatures)
    """Whose pooled features come first: the hand-made ones, or with those of the built-in network (`EyesFeatures`)."""
    batch: int | None = None
    """Frames at once; by the memory where it is not said."""
    progress: Callable[[str, int, int], None] | None = None
    """Called as `progress(what, done, of)`."""

    def config(self) -> dict[str, Any]:
        return {
            "weights": folder_checksum(self.folder),
            "size": self.size,
            "grid": self.grid,
            "components": self.components,
            "parts": self.parts,
            "others": [self.others.name, self.others.version, self.others.config()],
        }

    def __call__(self, clip: Clip) -> PatchFeatures:
        """Raises Animal4dError where `transformers` or the network is missing or broken."""
        dino = read_dino(self.folder, self.device)
        step = self.batch or dino.batch(dino.side(self.size))
        patches, pooled = [], []
        for start in range(0, len(clip), step):
            frames, masks = clip.frames[start : start + step], clip.masks[start : start + step].cpu()
            seen = min_max(dino.patch_features(frames, self.size)).cpu()
            patches.append(_block_means(seen, self.grid).half().float())
            pooled.append(pooled_in_box(seen, masks, self.parts))
            if self.progress is not None:
                self.progress("features by DINO", min(start + step, len(clip)), len(clip))
        made = self.others(clip)
        principal = _principal(torch.cat(pooled), self.components)
        return replace(made, patches=torch.cat(patches), pooled=beside(made.pooled, principal))


def _block_means(
    patches: Float[Tensor, "frames patches channels"], grid: int
) -> Float[Tensor, "frames blocks channels"]:
    """Means over the smallest square blocks of which at most `grid` lie along a side and that divide it evenly."""
    side = round(patches.shape[1] ** 0.5)
    block = next(size for size in range(1, side + 1) if side % size == 0 and side // size <= max(grid, 1))
    maps = patches.transpose(1, 2).unflatten(2, (side, side))
    return avg_pool2d(maps, block).flatten(2).transpose(1, 2)


def _principal(features: Float[Tensor, "frames channels"], components: int) -> Float[Tensor, "frames components"]:
    """The first principal components of the frames: distances between frames are kept as well as so few channels
    can."""
    away = centered(features).double()
    values, vectors = torch.linalg.eigh(away @ away.T)
    scores = (vectors * values.clamp_min(0).sqrt()).flip(1)[:, :components]
    # An eigenvector has no sign of its own; the same frames are to give the same channels.
    largest = scores.gather(0, scores.abs().argmax(0, keepdim=True))
    return (scores * torch.where(largest < 0, -1.0, 1.0)).float()
