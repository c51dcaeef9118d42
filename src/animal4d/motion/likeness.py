"""How alike two moments of a motion are, wherever the animal stands and whichever way it looks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.geometry.rotations import rotation_about
from animal4d.motion.motion import Motion, headings
from animal4d.motion.skeleton import Skeleton

_VELOCITY_SECONDS = 0.1
"""A velocity counts as the way made in this time."""


def features(skeleton: Skeleton, motion: Motion) -> Float[Tensor, "frames features"]:
    """Places and velocities of the joints in the frame that goes and turns with the animal, in leg lengths; scaled so
    that the squared distance of two moments is a mean over the joints."""
    places = skeleton.forward(motion.joint_rotations, motion.root)[1]
    over_ground = torch.cat((motion.root[:, :2], torch.zeros_like(motion.root[:, :1])), dim=1)
    back = rotation_about("z", -headings(motion.joint_rotations))
    local = (places - over_ground[:, None]) @ back.mT
    if len(local) > 1:
        velocity = torch.gradient(local, dim=0)[0] * motion.fps * _VELOCITY_SECONDS
    else:
        velocity = torch.zeros_like(local)
    both = torch.cat((local, velocity), dim=2).flatten(1)
    return both / skeleton.leg_length / local.shape[1] ** 0.5
