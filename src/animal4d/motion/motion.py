"""`Motion`: what an individual does, apart from its shape. Where the ground is, which paws stand, how fast time runs.

World: z up, the ground at z = 0, units of the template.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.body.model import ShapedBody
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.quaternions import matrix_from_quaternion, slerp
from animal4d.geometry.rotations import quaternion_from_matrix, rotation_about


@dataclass(frozen=True)
class Motion:
    """Joint rotations and the path of the root at a steady rate."""

    joint_rotations: Float[Tensor, "frames joints 3 3"]
    """Index 0 turns the body into the world, the others are relative to their parents."""
    root: Float[Tensor, "frames 3"]
    """Place of the root joint."""
    stance: Bool[Tensor, "frames 4"]
    """Which paws stand on the ground, in the order of `synth.legs.LEGS`."""
    fps: float
    ground_velocity: Float[Tensor, "2"]
    """How the ground passes under an animal that moves on the spot, in units per second; zero where it travels."""
    cyclic: bool = False
    """The last frame is the first again, moved along by a cycle's path."""

    def __len__(self) -> int:
        return len(self.root)

    @property
    def times(self) -> Float[Tensor, "frames"]:
        """Seconds from the first frame."""
        return torch.arange(len(self), dtype=torch.float64) / self.fps

    @property
    def seconds(self) -> float:
        return (len(self) - 1) / self.fps

    @property
    def speed(self) -> float:
        """Units per second over the ground, along the straight line from the first to the last place."""
        if len(self) < 2:
            return 0.0
        travelled = self.root[-1, :2] - self.root[0, :2]
        return float((travelled / self.seconds - self.ground_velocity).norm())

    def translation(self, body: ShapedBody) -> Float[Tensor, "frames 3"]:
        """As `with_pose` takes it for this individual."""
        return self.root - body.joints[0].to(self.root)

    def part(self, first: int, last: int) -> Motion:
        """Frames from `first` to `last`, both included."""
        frames = slice(first, last + 1)
        return replace(
            self, joint_rotations=self.joint_rotations[frames], root=self.root[frames], stance=self.stance[frames],
            cyclic=False,
        )  # fmt: skip

    def moved(self, turn: float, about: Float[Tensor, "2"], to: Float[Tensor, "2"]) -> Motion:
        """Turned about the vertical through `about` by `turn` radians, which then lies at `to`."""
        rotation = rotation_about("z", torch.tensor(turn, dtype=torch.float64))
        rotations = self.joint_rotations.clone()
        rotations[:, 0] = rotation @ rotations[:, 0]
        place = (self.root[:, :2] - about) @ rotation[:2, :2].T + to
        return replace(self, joint_rotations=rotations, root=torch.cat((place, self.root[:, 2:]), dim=1))

    def repeated(self, times: int) -> Motion:
        """A cyclic motion so many times in a row, each from where the last one ended."""
        if not self.cyclic:
            raise ValueError("only a cyclic motion can be repeated")
        step = torch.cat((self.root[-1, :2] - self.root[0, :2], self.root.new_zeros(1)))
        cycle = len(self) - 1
        root = torch.cat([self.root[:cycle] + number * step for number in range(times)] + [self.root[-1:]])
        root[-1] = self.root[0] + times * step
        rotations = torch.cat([self.joint_rotations[:cycle]] * times + [self.joint_rotations[-1:]])
        stance = torch.cat([self.stance[:cycle]] * times + [self.stance[-1:]])
        return replace(self, joint_rotations=rotations, root=root, stance=stance)

    def resampled(self, fps: float) -> Motion:
        """At another rate: rotations on the shortest arcs, places on straight lines, stances of the nearest frame."""
        if len(self) < 2 or math.isclose(fps, self.fps):
            return replace(self, fps=fps)
        count = int(self.seconds * fps + 1e-4) + 1
        if self.cyclic:  # a whole number of frames, so that the end stays the beginning
            count = max(round(self.seconds * fps), 1) + 1
            fps = (count - 1) / self.seconds
        place = torch.arange(count, dtype=torch.float64) * self.fps / fps
        before = place.long().clamp(max=len(self) - 2)
        share = (place - before).clamp(0, 1)
        quaternions = quaternion_from_matrix(self.joint_rotations)
        turned = slerp(quaternions[before], quaternions[before + 1], share[:, None])
        return replace(
            self,
            joint_rotations=matrix_from_quaternion(turned),
            root=torch.lerp(self.root[before], self.root[before + 1], share[:, None]),
            stance=self.stance[(before + share.round().long())],
            fps=fps,
        )

    def on_the_spot(self) -> Motion:
        """The same without its steady progress over the ground, which passes below instead."""
        if len(self) < 2:
            return self
        velocity = (self.root[-1, :2] - self.root[0, :2]) / self.seconds
        root = self.root.clone()
        root[:, :2] -= self.times[:, None] * velocity
        return replace(self, root=root, ground_velocity=self.ground_velocity - velocity)


def headings(joint_rotations: Float[Tensor, "frames joints 3 3"]) -> Float[Tensor, "frames"]:
    """Direction over the ground in which the root's x axis points, in radians without jumps."""
    ahead = joint_rotations[:, 0, :2, 0]
    return unwrapped(torch.atan2(ahead[:, 1], ahead[:, 0]))


def unwrapped(angles: Float[Tensor, "frames"]) -> Float[Tensor, "frames"]:
    """Without jumps by whole turns."""
    steps = (angles.diff() + math.pi) % (2 * math.pi) - math.pi
    return torch.cat((angles[:1], angles[:1] + steps.cumsum(0)))


def as_reconstruction(run: Reconstruction, body: ShapedBody, motion: Motion) -> Reconstruction:
    """The animal of a run with another motion, for whatever exports or draws reconstructions.

    No camera has seen it: that of the run's first frame stands in.
    """
    frames = len(motion)
    numbers = torch.arange(frames)
    first = torch.zeros(frames, dtype=torch.long)
    return replace(
        run,
        joint_rotations=motion.joint_rotations.float(),
        translation=motion.translation(body).float(),
        intrinsics=run.intrinsics[first],
        world_to_camera=run.world_to_camera[first],
        crop=replace(run.crop, origin=run.crop.origin[first], scale=run.crop.scale[first]),
        frame_numbers=numbers,
        times=motion.times.float(),
        fps=motion.fps,
        joint_uncertainty=None,
    )
