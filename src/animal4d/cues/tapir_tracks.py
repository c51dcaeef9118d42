"""Tracks by BootsTAPIR (Doersch et al. 2024, arXiv 2402.00847), as the published data was tracked.

Needs the package `tapnet` with its PyTorch model, and `bootstapir_checkpoint_v2.pt`; nothing is downloaded. The weights
are read as plain tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from animal4d.cues.query_points import FollowPoints, QueryTracks
from animal4d.errors import Animal4dError
from animal4d.pretrained.packages import TAPIR_INSTALL, is_installed
from animal4d.pretrained.state_dicts import load_state, plain_state

_LEAST_VISIBILITY = 0.5
"""Published: seen where (1 - P(hidden)) * (1 - P(far off)) is above it."""
_SIZE_MULTIPLE = 8


@dataclass(frozen=True)
class TapirTracks(QueryTracks):
    """The whole window at once, each point matched in every frame and then refined."""

    name: ClassVar[str] = "bootstapir"
    version: ClassVar[int] = 1

    def follower(self, weights: Path) -> FollowPoints:
        """`weights`: `bootstapir_checkpoint_v2.pt`."""
        model = _load(weights).to(self.device)

        def follow(
            frames: UInt8[Tensor, "frames height width 3"], queries: Float[Tensor, "points 3"]
        ) -> tuple[Float[Tensor, "frames points 2"], Bool[Tensor, "frames points"]]:
            video, scale = _resized(frames)
            # It asks for time, y, x in raster coordinates: (0, 0) is the corner of the first pixel.
            asked = torch.stack(
                (queries[:, 0], (queries[:, 2] + 0.5) * scale[1], (queries[:, 1] + 0.5) * scale[0]), dim=-1
            )
            said = model(video[None].to(self.device), asked[None].to(self.device))
            places = said["tracks"][0].cpu().transpose(0, 1) / torch.tensor(scale) - 0.5
            seen = (1 - said["occlusion"][0].sigmoid()) * (1 - said["expected_dist"][0].sigmoid())
            return places, (seen > _LEAST_VISIBILITY).cpu().T

        return follow


def tapir_available() -> bool:
    """Whether its package is installed."""
    return is_installed("tapnet")


def _resized(
    frames: UInt8[Tensor, "frames height width 3"],
) -> tuple[Float[Tensor, "frames height width 3"], tuple[float, float]]:
    """Frames in [-1, 1] whose sides are multiples of 8, and what x and y were multiplied with."""
    height, width = frames.shape[1:3]
    size = [max(round(side / _SIZE_MULTIPLE), 1) * _SIZE_MULTIPLE for side in (height, width)]
    video = frames.float() / 255 * 2 - 1
    if size != [height, width]:
        video = nn.functional.interpolate(video.permute(0, 3, 1, 2), size, mode="bilinear").permute(0, 2, 3, 1)
    return video, (size[1] / width, size[0] / height)


def _load(weights: Path) -> nn.Module:
    try:
        from tapnet.torch.tapir_model import TAPIR  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Animal4dError(f"TAPIR's code cannot be imported ({error}): {TAPIR_INSTALL}") from error
    model = TAPIR(pyramid_level=1)
    load_state(model, plain_state(weights, "bootstapir"), weights, "bootstapir")
    return model.eval()
