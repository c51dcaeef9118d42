"""Patch features with those of the built-in network beside them.

The hand-made features keep the shape of the mask, which speaks of the pose; the network's pooled features know what a
head is. The dense feature network of the fit sees both, with the same say.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.eyes_pass import PROVIDER, EyesPass
from animal4d.cues.features import BuiltinFeatures, PatchFeatures


@dataclass(frozen=True, eq=False)
class EyesFeatures:
    """Hand-made patch features; the network's join the pooled ones."""

    name: ClassVar[str] = PROVIDER
    kind: ClassVar[str] = "builtin"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "features"

    eyes_pass: EyesPass
    patches: BuiltinFeatures = field(default_factory=BuiltinFeatures)

    def config(self) -> dict[str, Any]:
        return {"weights": self.eyes_pass.eyes.version, "patches": self.patches.config()}

    def __call__(self, clip: Clip) -> PatchFeatures:
        made = self.patches(clip)
        sight = self.eyes_pass.sight(clip)
        seen = torch.zeros(len(clip), sight.features.shape[1])
        seen[sight.frames] = centered(sight.features.float())
        return replace(made, pooled=beside(made.pooled, seen))


def beside(
    pooled: Float[Tensor, "frames channels"], more: Float[Tensor, "frames others"]
) -> Float[Tensor, "frames both"]:
    """Pooled features with others, which are given as much variance over the clip, so that neither drowns the other."""
    ours, theirs = centered(pooled).square().sum(), more.square().sum()
    return torch.cat((pooled, more * (ours / theirs.clamp_min(1e-12)).sqrt()), dim=1)


def centered(features: Float[Tensor, "frames channels"]) -> Float[Tensor, "frames channels"]:
    """With zero mean over the clip."""
    return features - features.mean(0) if len(features) else features
