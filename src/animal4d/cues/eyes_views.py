"""From where every frame sees the animal, by the built-in network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.eyes_pass import PROVIDER, EyesPass


@dataclass(frozen=True)
class Views:
    """The camera's direction in every frame, and how well the frame could be read."""

    direction: Float[Tensor, "frames 3"]
    """Unit vector from the animal to the camera in the frame of its trunk (x ahead, y left, z up); zero where nothing
    is known."""
    confidence: Float[Tensor, "frames"]
    """Of the direction, in [0, 1]."""
    clarity: Float[Tensor, "frames"]
    """Mean confidence of the surface map over the animal, in [0, 1]; zero where the frame was not looked at."""

    def __len__(self) -> int:
        return len(self.confidence)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name).cpu().numpy() for name in ("direction", "confidence", "clarity")}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Views:
        return Views(*(torch.from_numpy(arrays[name]).float() for name in ("direction", "confidence", "clarity")))


@dataclass(frozen=True, eq=False)
class EyesViews:
    """The network's views, believed as far as the frame is clear and the frames around it agree."""

    name: ClassVar[str] = PROVIDER
    kind: ClassVar[str] = "builtin"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "views"

    eyes_pass: EyesPass
    seconds: float = 0.3
    """Standard deviation of the neighbourhood in which frames should agree."""

    def config(self) -> dict[str, Any]:
        return {"weights": self.eyes_pass.eyes.version, "seconds": self.seconds}

    def __call__(self, clip: Clip) -> Views:
        sight = self.eyes_pass.sight(clip)
        direction, clarity = torch.zeros(len(clip), 3), torch.zeros(len(clip))
        direction[sight.frames] = torch.nn.functional.normalize(sight.view.float(), dim=-1)
        clarity[sight.frames] = sight.clarity().float().clamp(0, 1)
        return Views(direction, clarity * _agreement(direction, clarity, clip.times.cpu(), self.seconds), clarity)


def _agreement(
    direction: Float[Tensor, "frames 3"],
    weight: Float[Tensor, "frames"],
    times: Float[Tensor, "frames"],
    seconds: float,
) -> Float[Tensor, "frames"]:
    """Cosine between a frame's direction and the mean of those around it, times the length of that mean: 1 where all
    agree, 0 where they point everywhere or the frame contradicts."""
    kernel = torch.exp(-0.5 * ((times[:, None] - times[None]) / seconds) ** 2) * weight[None]
    mean = kernel @ direction / kernel.sum(1, keepdim=True).clamp_min(1e-6)
    return (mean * direction).sum(1).clamp(0, 1)
