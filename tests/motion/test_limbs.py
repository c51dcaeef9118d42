"""Legs that reach for a place and change as little as they can."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.geometry.rotations import angle_between, matrix_from_axis_angle
from animal4d.motion.limbs import reach_for
from animal4d.motion.skeleton import skeleton_of
from motion.animals import individual

SKELETON = skeleton_of(individual("mean"))


def posed(seed: int, frames: int = 3):
    """Legs of a fit bend sideways too."""
    generator = torch.Generator().manual_seed(seed)
    rotations = matrix_from_axis_angle(0.15 * torch.randn(frames, 35, 3, generator=generator, dtype=torch.float64))
    for foot in SKELETON.feet:
        bend = torch.zeros(3, dtype=torch.float64)
        bend[1] = -0.5 if foot.leg.is_front else 0.5
        rotations[:, foot.leg.joints[1]] = matrix_from_axis_angle(bend) @ rotations[:, foot.leg.joints[1]]
    return rotations, torch.randn(frames, 3, generator=generator, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    foot=st.integers(0, 3),
    ahead=st.floats(-0.1, 0.1),
    aside=st.floats(-0.05, 0.05),
    up=st.floats(0.0, 0.1),
)
def test_a_paw_goes_where_it_is_wanted(seed, foot, ahead, aside, up) -> None:
    rotations, root = posed(seed)
    turned, places = SKELETON.forward(rotations, root)
    leg = SKELETON.feet[foot].leg
    hip, paw = places[:, leg.joints[0]], places[:, leg.joints[3]]
    target = paw + torch.tensor([ahead, aside, up], dtype=torch.float64)
    if (target - hip).norm(dim=-1).max() > 0.98 * leg.reach:
        return
    orientation = matrix_from_axis_angle(torch.tensor([0.0, 0.2, 0.4], dtype=torch.float64)).expand(3, 3, 3)
    rotations[:, list(leg.joints)] = reach_for(SKELETON, foot, turned, places, target, orientation)
    turned, places = SKELETON.forward(rotations, root)
    torch.testing.assert_close(places[:, leg.joints[3]], target, atol=1e-6, rtol=0)
    torch.testing.assert_close(turned[:, leg.joints[3]], orientation, atol=1e-9, rtol=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), foot=st.integers(0, 3))
def test_a_paw_that_is_there_already_changes_nothing(seed, foot) -> None:
    rotations, root = posed(seed)
    turned, places = SKELETON.forward(rotations, root)
    joints = list(SKELETON.feet[foot].leg.joints)
    solved = reach_for(SKELETON, foot, turned, places, places[:, joints[3]], turned[:, joints[3]])
    assert angle_between(solved, rotations[:, joints]).max() < 1e-5


def test_out_of_reach_the_leg_is_straight_and_points_there() -> None:
    rotations, root = posed(1)
    turned, places = SKELETON.forward(rotations, root)
    leg = SKELETON.feet[2].leg
    hip = places[:, leg.joints[0]]
    down = torch.tensor([0.3, 0.0, -1.0], dtype=torch.float64)
    down = down / down.norm()
    rotations[:, list(leg.joints)] = reach_for(SKELETON, 2, turned, places, hip + 2 * down, turned[:, leg.joints[3]])
    reached = SKELETON.forward(rotations, root)[1][:, leg.joints[3]] - hip
    assert (reached.norm(dim=-1) > 0.97 * leg.reach).all()
    assert (reached @ down / reached.norm(dim=-1) > 0.999).all()


def test_joints_are_where_the_model_has_them() -> None:
    rotations, root = posed(2)
    places = SKELETON.forward(rotations, root)[1]
    wanted = SKELETON.body.with_pose(rotations.float(), (root - SKELETON.body.joints[0]).float()).joints
    torch.testing.assert_close(places.float(), wanted, atol=1e-5, rtol=0)
