"""Parts by the built-in network, with the four legs told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.body.model import PART_NAMES
from animal4d.clip import Clip
from animal4d.cues.eyes_pass import PROVIDER, EyesPass
from animal4d.cues.parts import NONE, PART_LABELS, UNKNOWN, Parts


@dataclass(frozen=True, eq=False)
class EyesParts:
    """The most probable part of every pixel of the mask; "unknown" where none is probable enough."""

    name: ClassVar[str] = PROVIDER
    kind: ClassVar[str] = "builtin"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "parts"

    eyes_pass: EyesPass
    least_probability: float = 0.6
    """Of the part, among all parts, for a pixel to be labelled."""

    def config(self) -> dict[str, Any]:
        return {"weights": self.eyes_pass.eyes.version, "least_probability": self.least_probability}

    def __call__(self, clip: Clip) -> Parts:
        """Labels of `PART_LABELS` within the masks; frames without a mask have none."""
        sight = self.eyes_pass.sight(clip)
        labels = torch.full((len(clip), *clip.image_size), NONE, dtype=torch.uint8)
        inside = ((clip.masks > 0.5) & clip.inside_frame()).cpu()
        table = torch.tensor([PART_LABELS[name] for name in PART_NAMES], dtype=torch.uint8)
        for index, frame in enumerate(sight.frames.tolist()):
            probability = _in_working_image(
                sight.parts[index], sight.origins[index], float(sight.sides[index]), clip.image_size
            )
            # The mask says that it is the animal; the question is only which part of it.
            animal = probability[1:]
            best, part = animal.max(0)
            sure = best > self.least_probability * animal.sum(0).clamp_min(1e-6)
            # Where the network sees background, mask or network is wrong: no part is taken for granted there.
            sure &= probability[0] < 0.5
            shown = torch.where(sure, table[part], torch.tensor(UNKNOWN, dtype=torch.uint8))
            labels[frame] = torch.where(inside[frame], shown, torch.tensor(NONE, dtype=torch.uint8))
        return Parts(labels)


def _in_working_image(
    maps: Float[Tensor, "channels map map"], origin: Float[Tensor, "2"], side: float, size: tuple[int, int]
) -> Float[Tensor, "channels height width"]:
    """Maps of a crop at the centres of the working pixels, bilinear; beyond the crop its border is repeated."""
    x = 2 * (torch.arange(size[1]) + 0.5 - origin[0]) / side - 1
    y = 2 * (torch.arange(size[0]) + 0.5 - origin[1]) / side - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    sampled = torch.nn.functional.grid_sample(
        maps[None].float(), grid[None], padding_mode="border", align_corners=False
    )
    return sampled[0]
