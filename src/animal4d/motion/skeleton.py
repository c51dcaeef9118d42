"""The skeleton of one individual and its feet, without the skin: fast forward kinematics for the work on legs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.body.model import ShapedBody
from animal4d.export.scale import length_of
from animal4d.synth.legs import Leg, legs_of

_SOLE_THICKNESS = 0.25
"""Share of the height of a paw joint above the ground, up to which the vertices of a paw count to its sole."""


@dataclass(frozen=True)
class Foot:
    """What stands on the ground at the end of a leg."""

    leg: Leg
    sole: Float[Tensor, "3"]
    """Middle of the sole, from the paw joint in its axes."""
    vertices: Int[Tensor, "foot"]
    """Of the paw and of the bone above it, in the skeleton's `feet_body`."""


@dataclass(frozen=True)
class Skeleton:
    """Joints turn as one piece with the bones below them; limb scales are in the bones' lengths."""

    body: ShapedBody
    parents: tuple[int, ...]
    bones: Float[Tensor, "joints 3"]
    """From the parent to the joint in the parent's axes; zero for the root."""
    feet: tuple[Foot, ...]
    """In the order of `synth.legs.LEGS`."""
    feet_body: ShapedBody
    """The skin of the feet alone: a few hundred vertices that pose as those of the whole body do."""

    @property
    def leg_length(self) -> float:
        """Mean over the four legs, all bones in line: the unit in which feet are judged."""
        return sum(foot.leg.reach for foot in self.feet) / len(self.feet)

    @cached_property
    def body_length(self) -> float:
        """Nose to tail base at rest: the unit in which ways are told."""
        return length_of(self.body)

    def forward(
        self, joint_rotations: Float[Tensor, "frames joints 3 3"], root: Float[Tensor, "frames 3"]
    ) -> tuple[Float[Tensor, "frames joints 3 3"], Float[Tensor, "frames joints 3"]]:
        """Orientation and place of every joint in the world."""
        turned, places = [joint_rotations[:, 0]], [root]
        for joint, parent in enumerate(self.parents[1:], start=1):
            turned.append(turned[parent] @ joint_rotations[:, joint])
            places.append(places[parent] + turned[parent] @ self.bones[joint])
        return torch.stack(turned, dim=1), torch.stack(places, dim=1)

    def soles(
        self, joint_rotations: Float[Tensor, "frames joints 3 3"], root: Float[Tensor, "frames 3"]
    ) -> Float[Tensor, "frames 4 3"]:
        """Middle of every sole in the world."""
        turned, places = self.forward(joint_rotations, root)
        paws = [foot.leg.joints[3] for foot in self.feet]
        soles = torch.stack([foot.sole for foot in self.feet])
        return places[:, paws] + (turned[:, paws] @ soles[..., None])[..., 0]

    @torch.no_grad()
    def foot_heights(
        self, joint_rotations: Float[Tensor, "frames joints 3 3"], root: Float[Tensor, "frames 3"]
    ) -> Float[Tensor, "frames 4"]:
        """Height of the lowest vertex of every foot of the skinned mesh."""
        translation = (root - self.body.joints[0]).float()
        vertices = self.feet_body.with_pose(joint_rotations.float(), translation).vertices[..., 2]
        return torch.stack([vertices[:, foot.vertices].amin(1) for foot in self.feet], dim=1).double()


@torch.no_grad()
def skeleton_of(body: ShapedBody) -> Skeleton:
    """Of an individual without batch axes, on the CPU."""
    model = body.model
    rest = body.with_pose(torch.eye(3).expand(model.n_joints, 3, 3))
    dominant = model.skinning_weights.argmax(dim=1)
    feet: list[Foot] = []
    chosen: list[Tensor] = []
    for leg in legs_of(body):
        paw = leg.joints[3]
        around = rest.vertices[dominant == paw].double() - rest.joints[paw].double()
        lowest = around[:, 2].min()
        sole = around[around[:, 2] <= lowest * (1 - _SOLE_THICKNESS)].mean(0)
        sole[2] = lowest
        chosen.append(((dominant == paw) | (dominant == leg.joints[2])).nonzero().flatten())
        first = sum(map(len, chosen[:-1]))
        feet.append(Foot(leg, sole, torch.arange(first, first + len(chosen[-1]))))
    return Skeleton(body, model.parents, body.bones, tuple(feet), _skin_of(body, torch.cat(chosen)))


def _skin_of(body: ShapedBody, vertices: Int[Tensor, "chosen"]) -> ShapedBody:
    """Only these vertices, in this order, and behind them those that the body is centred on, if any."""
    model = body.model
    anchors = model.recentre_vertices
    if anchors is not None:
        vertices = torch.cat((vertices, torch.tensor(anchors)))
        anchors = (len(vertices) - 2, len(vertices) - 1)
    correctives = model.pose_correctives
    skin = replace(
        model,
        v_template=model.v_template[vertices],
        skinning_weights=model.skinning_weights[vertices],
        pose_correctives=None if correctives is None else correctives[:, vertices],
        recentre_vertices=anchors,
    )
    return replace(body, model=skin, vertices=body.vertices[vertices])
