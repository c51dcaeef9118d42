"""Tracks by CoTracker3 (Karaev et al. 2024, arXiv 2410.11831), where the user has its code and its weights.

The code is the installed package `cotracker`, or a local folder in the layout of torch.hub; nothing is downloaded. The
weights are read as plain tensors. Note its licence: CC BY-NC 4.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from animal4d.cues.query_points import FollowPoints, QueryTracks
from animal4d.errors import Animal4dError
from animal4d.pretrained.packages import COTRACKER_HUB_FOLDER, COTRACKER_INSTALL, is_installed
from animal4d.pretrained.state_dicts import load_state, plain_state


@dataclass(frozen=True)
class CoTrackerTracks(QueryTracks):
    """The offline model: a window of frames at once, points that were hidden are found again."""

    name: ClassVar[str] = "cotracker3"
    version: ClassVar[int] = 1

    def follower(self, weights: Path) -> FollowPoints:
        """`weights`: `scaled_offline.pth`."""
        predictor = _load(weights).to(self.device)

        def follow(
            frames: UInt8[Tensor, "frames height width 3"], queries: Float[Tensor, "points 3"]
        ) -> tuple[Float[Tensor, "frames points 2"], Bool[Tensor, "frames points"]]:
            video = frames.permute(0, 3, 1, 2)[None].float().to(self.device)
            # The predictor keeps the published threshold of 0.9 on visibility to itself.
            places, seen = predictor(video, queries=queries[None].to(self.device), backward_tracking=True)
            return places[0], seen[0]

        return follow


def cotracker_available() -> bool:
    """Whether its code is here: the package, or torch.hub's local folder."""
    return is_installed("cotracker") or _hub_folder().is_dir()


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / COTRACKER_HUB_FOLDER


def _load(weights: Path) -> nn.Module:
    if not cotracker_available():
        raise Animal4dError(
            f"CoTracker's code is not here: {COTRACKER_INSTALL}, or put its repository at {_hub_folder()}"
        )
    try:
        predictor = _predictor()
    except ImportError as error:
        raise Animal4dError(f"CoTracker's code cannot be imported ({error}): install what it needs") from error
    state = plain_state(weights, "cotracker3")
    load_state(predictor.model, state.get("model", state), weights, "cotracker3")
    return predictor.eval()


def _predictor() -> Any:
    """The published predictor without weights."""
    if is_installed("cotracker"):
        from cotracker.predictor import CoTrackerPredictor  # pyright: ignore[reportMissingImports]

        return CoTrackerPredictor(checkpoint=None, offline=True, v2=False, window_len=60)
    return torch.hub.load(str(_hub_folder()), "cotracker3_offline", source="local", pretrained=False)
