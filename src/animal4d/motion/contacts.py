"""Which paws stand on the ground, and how the animal moves over it, from the motion itself.

A standing paw is low and goes with the ground. Where the camera's path is known, the ground rests in the world. Where
it is not, a fit knows only how the animal moves in the camera's frame: it may walk on the spot there, or turn because
the camera goes round it. Then the ground is what the low paws agree on, found by iteratively reweighted least squares;
its motion, taken the other way round, is the animal's path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.geometry.rotations import rotation_about
from animal4d.motion.motion import Motion, headings
from animal4d.motion.skeleton import Skeleton
from animal4d.motion.windows import smooth_cover, smoothed, with_hysteresis

PathFrom = Literal["given", "feet"]
_FLOOR_QUANTILE = 0.1
_FLOOR_SECONDS = 0.5
"""Every paw is thought to stand once in twice this time, where the ground is not known."""
_HIGHEST_FLOOR: dict[PathFrom, float] = {"given": 0.12, "feet": 0.3}
"""Leg lengths: a paw that never comes lower than this above the lowest one does not stand at all. A camera thought to
be level, but tilted, lifts paws on one side."""
_LOW = 0.05
"""Leg lengths above the paw's own floor: the height at which a paw counts little for the ground's motion."""
_SLIP_AT_REST = 0.25
"""Leg lengths per second that are no slip yet: what trembles in a fit is no step."""
_HURRY = 0.4
"""Weight of going faster than the ground, or sideways, against staying behind it: paws that swing go forward."""
_SHORTEST = 0.07
"""Seconds that a stance lasts at least."""
_FEWEST = 3
"""Frames from which velocities can be had."""
_SMOOTHING = 0.25
"""Seconds over which the ground's motion is taken to be steady."""
_ROUNDS = 3
"""More of them settle on the slowest paws, those that turn round."""
_TURN_PRIOR = 0.5
"""Weight of walking straight against a foot's velocity at a distance of one leg length."""


@dataclass(frozen=True)
class _Thresholds:
    """For a stance to begin (`enter`) and to go on (`stay`): leg lengths above the paw's own floor, and slip over the
    ground as a share of the animal's speed."""

    enter_height: float
    stay_height: float
    enter_slip: float
    stay_slip: float


_THRESHOLDS: dict[PathFrom, _Thresholds] = {
    "given": _Thresholds(enter_height=0.04, stay_height=0.06, enter_slip=0.2, stay_slip=0.3),
    # Wide, where the ground itself is made of what paws do: whatever goes back with some speed stands.
    "feet": _Thresholds(enter_height=0.06, stay_height=0.1, enter_slip=0.6, stay_slip=0.85),
}


@dataclass(frozen=True)
class _Ground:
    """How the ground passes below the animal, in the frame that goes and turns with it."""

    velocity: Float[Tensor, "frames 2"]
    turn: Float[Tensor, "frames"]
    """Radians per second."""

    def at(self, places: Float[Tensor, "frames feet 2"]) -> Float[Tensor, "frames feet 2"]:
        across = torch.stack((-places[..., 1], places[..., 0]), dim=-1)
        return self.velocity[:, None] + self.turn[:, None, None] * across


def grounded(
    skeleton: Skeleton,
    joint_rotations: Float[Tensor, "frames joints 3 3"],
    root: Float[Tensor, "frames 3"],
    fps: float,
    path_from: PathFrom,
) -> Motion:
    """A motion with its stances; with `path_from` "feet" its path and its heading over the ground are made anew."""
    rotations, root = joint_rotations.double(), root.double()
    motion = Motion(rotations, root, torch.zeros(len(root), 4, dtype=torch.bool), fps, root.new_zeros(2))
    most = _THRESHOLDS[path_from]
    soles = skeleton.soles(rotations, root)
    floors = _floors(soles[..., 2], path_from, fps, skeleton.leg_length)
    heights = (soles[..., 2] - floors) / skeleton.leg_length
    if len(root) < _FEWEST:
        return replace(motion, stance=heights < most.stay_height)
    places, velocities, ground = _in_the_animals_frame(soles, motion)
    if path_from == "feet":
        low = torch.exp(-0.5 * (heights.clamp(min=0) / _LOW) ** 2)
        ground = _agreed_ground(places, velocities, low, fps, skeleton.leg_length)
        motion = _along(motion, ground, floors.mean(1))
    speed = smoothed(ground.velocity.norm(dim=-1), _SMOOTHING * fps)[:, None]
    slip = _slip(velocities, ground.at(places), _SLIP_AT_REST * skeleton.leg_length)
    enter = (heights < most.enter_height) & (slip <= most.enter_slip * speed)
    stay = (heights < most.stay_height) & (slip <= most.stay_slip * speed)
    shortest = max(2, round(_SHORTEST * fps))
    stance = [with_hysteresis(enter[:, foot], stay[:, foot], shortest) for foot in range(4)]
    return replace(motion, stance=torch.stack(stance, dim=1))


def _derivative(values: Float[Tensor, "frames *others"], fps: float) -> Float[Tensor, "frames *others"]:
    return torch.gradient(values, dim=0)[0] * fps


def _in_the_animals_frame(
    soles: Float[Tensor, "frames 4 3"], motion: Motion
) -> tuple[Float[Tensor, "frames 4 2"], Float[Tensor, "frames 4 2"], _Ground]:
    """Places of the soles over the ground plan, their velocities, and the motion of the resting world."""
    heading = headings(motion.joint_rotations)
    back = rotation_about("z", -heading)[:, :2, :2]
    places = ((soles[..., :2] - motion.root[:, None, :2])[..., None, :] @ back[:, None].mT)[..., 0, :]
    passing = -(back @ _derivative(motion.root[:, :2], motion.fps)[..., None])[..., 0]
    return places, _derivative(places, motion.fps), _Ground(passing, -_derivative(heading, motion.fps))


def _slip(
    velocities: Float[Tensor, "frames 4 2"], ground: Float[Tensor, "frames 4 2"], at_rest: float
) -> Float[Tensor, "frames 4"]:
    """Speed by which a paw stays behind the ground, or, with less weight, differs from it otherwise."""
    apart = ground - velocities
    back = torch.nn.functional.normalize(ground, dim=-1)
    behind = (apart * back).sum(-1)
    aside = (apart - behind[..., None] * back).norm(dim=-1)
    return torch.hypot(torch.where(behind > 0, behind, _HURRY * behind), _HURRY * aside).sub(at_rest).clamp(min=0)


def _floors(
    soles: Float[Tensor, "frames 4"], path_from: PathFrom, fps: float, leg_length: float
) -> Float[Tensor, "frames 4"]:
    """Heights of the soles when they stand, of their heights at all times: a fit holds one paw a little higher than
    another, and where the ground is not known, the animal slowly rises or sinks."""
    if path_from == "feet":
        floors = -smooth_cover(-soles, round(_FLOOR_SECONDS * fps))
    else:
        floors = torch.quantile(soles, _FLOOR_QUANTILE, dim=0).expand_as(soles)
    lowest = floors.amin(1, keepdim=True)
    return torch.minimum(floors, lowest + _HIGHEST_FLOOR[path_from] * leg_length)


def _agreed_ground(
    places: Float[Tensor, "frames 4 2"],
    velocities: Float[Tensor, "frames 4 2"],
    low: Float[Tensor, "frames 4"],
    fps: float,
    leg_length: float,
) -> _Ground:
    """The steady rigid motion that low paws share, with Cauchy weights on what they disagree by."""
    frames = len(places)
    ones, zeros = torch.ones(frames, 4), torch.zeros(frames, 4)
    # Rows of velocity = A (vx, vy, turn).
    rows = torch.stack(
        (
            torch.stack((ones, zeros, -places[..., 1]), dim=-1),
            torch.stack((zeros, ones, places[..., 0]), dim=-1),
        ),
        dim=-2,
    ).double()
    prior = torch.diag(torch.tensor([1e-6, 1e-6, _TURN_PRIOR * leg_length**2], dtype=torch.float64))
    # Paws swing forward and stand backward: those that go backward come first.
    weights = low * torch.sigmoid(-velocities[..., 0] / (0.5 * leg_length))
    ground = _Ground(torch.zeros(frames, 2).double(), torch.zeros(frames).double())
    for _ in range(_ROUNDS):
        weighted = weights[..., None, None] * rows
        normal = smoothed((weighted.mT @ rows).sum(1), _SMOOTHING * fps) + prior
        right = smoothed((weighted.mT @ velocities[..., None]).sum(1)[..., 0], _SMOOTHING * fps)
        solution = torch.linalg.solve(normal, right[..., None])[..., 0]
        ground = _Ground(solution[:, :2], solution[:, 2])
        slip = _slip(velocities, ground.at(places), _SLIP_AT_REST * leg_length)
        tolerated = 0.3 * ground.velocity.norm(dim=-1)[:, None] + 0.1 * leg_length
        weights = low / (1 + (slip / tolerated) ** 2)
    return ground


def _along(motion: Motion, ground: _Ground, floor: Float[Tensor, "frames"]) -> Motion:
    """The motion with the path over a level ground at rest; it begins over the place where it began."""
    heading = headings(motion.joint_rotations)
    turning = -ground.turn / motion.fps
    steps = 0.5 * (turning[1:] + turning[:-1])
    wanted = torch.cat((heading[:1], heading[0] + steps.cumsum(0)))
    velocity = -(rotation_about("z", wanted)[:, :2, :2] @ ground.velocity[..., None])[..., 0] / motion.fps
    place = torch.cat((motion.root[:1, :2], motion.root[0, :2] + (0.5 * (velocity[1:] + velocity[:-1])).cumsum(0)))
    rotations = motion.joint_rotations.clone()
    rotations[:, 0] = rotation_about("z", wanted - heading) @ rotations[:, 0]
    return replace(
        motion, joint_rotations=rotations, root=torch.cat((place, motion.root[:, 2:] - floor[:, None]), dim=1)
    )
