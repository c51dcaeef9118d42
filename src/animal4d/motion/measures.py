"""How well feet stand: what slides and what sinks, in shares of the leg's length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.motion.motion import Motion
from animal4d.motion.skeleton import Skeleton
from animal4d.motion.windows import runs

_TOUCHING = 0.01
"""Leg lengths above the ground."""


@dataclass(frozen=True)
class FootMeasures:
    """Of a motion on an individual."""

    slides: Float[Tensor, "stances"]
    """Per stance, the distance over the ground between the two farthest places of the sole, in lengths of its leg."""
    touching_slides: Float[Tensor, "touches"]
    """The same over all frames in a row in which the foot's lowest vertex is less than 1 % of the leg's length above
    the ground, whether the paw is meant to stand or not."""
    sinking: Float[Tensor, "frames 4"]
    """How deep the lowest vertex of every foot is below the ground, in lengths of its leg."""
    speed: float
    """Body lengths per second."""

    @property
    def worst_slide(self) -> float:
        return float(self.slides.max()) if len(self.slides) else 0.0

    @property
    def worst_touching_slide(self) -> float:
        return float(self.touching_slides.max()) if len(self.touching_slides) else 0.0

    @property
    def mean_slide(self) -> float:
        return float(self.slides.mean()) if len(self.slides) else 0.0

    @property
    def deepest(self) -> float:
        return float(self.sinking.max())


def measure_feet(skeleton: Skeleton, motion: Motion, stance: Bool[Tensor, "frames 4"] | None = None) -> FootMeasures:
    """Slides over the stances of the motion, or over other ones, such as the true ones."""
    stance = motion.stance if stance is None else stance
    soles = skeleton.soles(motion.joint_rotations, motion.root)[..., :2]
    soles = soles - (motion.times[:, None] * motion.ground_velocity)[:, None]
    reaches = torch.tensor([foot.leg.reach for foot in skeleton.feet], dtype=torch.float64)
    soles = soles / reaches[:, None]
    heights = skeleton.foot_heights(motion.joint_rotations, motion.root)
    return FootMeasures(
        slides=_slides(soles, stance),
        touching_slides=_slides(soles, heights < _TOUCHING * reaches),
        sinking=(-heights).clamp(min=0) / reaches,
        speed=motion.speed / skeleton.body_length,
    )


def _slides(soles: Float[Tensor, "frames 4 2"], standing: Bool[Tensor, "frames 4"]) -> Float[Tensor, "stances"]:
    slides = []
    for foot in range(4):
        for first, last in runs(standing[:, foot]):
            places = soles[first : last + 1, foot]
            slides.append(torch.cdist(places, places).max())
    return torch.stack(slides) if slides else soles.new_zeros(0)
