"""Motions of the built-in body: footfalls, contact with the ground, comfort of the joints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.body.model import ShapedBody
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.errors import Animal4dError
from animal4d.geometry.rotations import axis_angle_from_matrix
from animal4d.synth.gaits import GAITS, MOTIONS, animate
from animal4d.synth.legs import LEGS, bone_angle, legs_of, required_reach, solve_leg

ANIMALS = ("mean", "dachshund", "greyhound", "horse")
TIMES = np.arange(90) / 60.0


def individual(name: str) -> ShapedBody:
    model = load_builtin_template()
    return model.with_shape() if name == "mean" else model.with_shape(load_species_betas()[name])


def landings(stance: np.ndarray) -> list[str]:
    """Names of the legs in the order in which they land, over the whole motion."""
    frames, legs = np.nonzero(stance[1:] & ~stance[:-1])
    return [LEGS[leg] for leg in legs[np.argsort(frames, kind="stable")]]


@pytest.mark.parametrize(
    ("gait", "sequence"),
    [
        ("walk", ["back_left", "front_left", "back_right", "front_right"]),
        ("gallop", ["back_left", "back_right", "front_right", "front_left"]),
    ],
)
def test_feet_land_in_the_order_of_the_gait(gait: str, sequence: list[str]) -> None:
    order = landings(animate(individual("mean"), gait, np.arange(600) / 300.0).stance)
    assert len(order) >= 8
    shift = sequence.index(order[0])
    assert order == [sequence[(shift + step) % 4] for step in range(len(order))]


def test_trot_moves_diagonal_pairs_with_a_suspension() -> None:
    stance = animate(individual("mean"), "trot", np.arange(600) / 300.0).stance
    front_left, front_right, back_left, back_right = stance.T
    assert np.array_equal(front_left, back_right)
    assert np.array_equal(front_right, back_left)
    assert not (front_left & front_right).any()
    assert (~stance.any(axis=1)).any()


def test_walk_always_has_two_feet_on_the_ground() -> None:
    assert animate(individual("mean"), "walk", TIMES).stance.sum(axis=1).min() >= 2


@pytest.mark.parametrize("animal", ANIMALS)
@pytest.mark.parametrize("motion", MOTIONS)
def test_paws_stand_still_on_the_ground_and_nothing_sinks(motion: str, animal: str) -> None:
    body = individual(animal)
    played = animate(body, motion, TIMES, seed=3)
    posed = body.with_pose(played.joint_rotations, played.translation)
    lowest = posed.vertices[..., 2].amin(dim=1)
    assert lowest.min() > -0.006
    if played.stance.any(axis=1).all():
        assert lowest.max() < 0.006
    for number, leg in enumerate(legs_of(body)):
        paw = posed.joints[:, leg.joints[3]].numpy()
        standing = played.stance[1:, number] & played.stance[:-1, number]
        assert np.abs(np.diff(paw, axis=0))[standing].max(initial=0.0) < 0.003


@pytest.mark.parametrize("motion", sorted(GAITS))
def test_the_body_travels_as_fast_as_its_speed_says(motion: str) -> None:
    body = individual("mean")
    played = animate(body, motion, TIMES)
    travelled = played.translation[-1, 0] - played.translation[0, 0]
    assert float(travelled) / (TIMES[-1] - TIMES[0]) == pytest.approx(played.speed, rel=0.05)
    assert played.speed > 0.3


@pytest.mark.parametrize(("motion", "slack"), [("walk", 0.02), ("trot", 0.1), ("look_around", 0.02), ("gallop", 0.5)])
def test_joints_stay_within_their_limits(motion: str, slack: float) -> None:
    body = individual("mean")
    turned = axis_angle_from_matrix(animate(body, motion, TIMES).joint_rotations)
    limits = body.model.joint_limits
    beyond = torch.maximum(turned - limits[..., 1], limits[..., 0] - turned)
    assert beyond.max() < slack


@pytest.mark.parametrize("motion", MOTIONS)
def test_motions_are_smooth(motion: str) -> None:
    body = individual("mean")
    rate = 240.0
    played = animate(body, motion, np.arange(240) / rate)
    joints = body.with_pose(played.joint_rotations, played.translation).joints
    acceleration = (joints[2:] - 2 * joints[1:-1] + joints[:-2]).norm(dim=-1) * rate**2
    # A paw that swings by s in t accelerates by about 2 pi s / t^2: 600 in a gallop.
    assert acceleration.max() < 900
    jump = (joints[1:] - joints[:-1]).norm(dim=-1).max()
    assert jump < 0.08


def test_placing_turns_the_motion_about_the_vertical() -> None:
    body = individual("mean")
    played = animate(body, "trot", TIMES[:4])
    placed = played.placed(np.pi / 2, np.array([1.0, 2.0, 0.0]))
    before = body.with_pose(played.joint_rotations, played.translation).vertices
    after = body.with_pose(placed.joint_rotations, placed.translation).vertices
    expected = torch.stack((1 - before[..., 1], 2 + before[..., 0], before[..., 2]), dim=-1)
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_motion_and_another_a_different_one() -> None:
    body = individual("mean")
    first, again, other = (animate(body, "walk", TIMES[:5], seed) for seed in (1, 1, 2))
    assert torch.equal(first.joint_rotations, again.joint_rotations)
    assert not torch.allclose(first.joint_rotations, other.joint_rotations)


def test_an_unknown_motion_names_the_known_ones() -> None:
    with pytest.raises(Animal4dError, match="look_around"):
        animate(individual("mean"), "moonwalk", TIMES)


@settings(max_examples=40, deadline=None)
@given(
    leg_index=st.integers(0, 3),
    ahead=st.floats(-0.2, 0.2),
    sideways=st.floats(-0.08, 0.08),
    up=st.floats(0.03, 0.2),
    lean=st.floats(-0.3, 0.3),
)
def test_a_leg_reaches_every_target_within_its_reach(
    leg_index: int, ahead: float, sideways: float, up: float, lean: float
) -> None:
    body = individual("mean")
    model = body.model
    leg = legs_of(body)[leg_index]
    origin = body.joints[leg.joints[0]].double().numpy()
    target = origin + leg.bones.sum(0) + np.array([ahead, sideways, up])
    angle = leg.rest_angles[2:] + bone_angle(target - origin) - bone_angle(leg.bones.sum(0)) + lean
    if required_reach(leg, origin[None], target[None], angle)[0] > 0.98:
        return
    local = solve_leg(leg, np.eye(3)[None], origin[None], target[None], angle, np.eye(3)[None])
    rotations = torch.eye(3).repeat(1, model.n_joints, 1, 1)
    rotations[:, list(leg.joints)] = torch.tensor(local, dtype=torch.float32)
    posed = body.with_pose(rotations)
    np.testing.assert_allclose(posed.joints[0, leg.joints[3]].numpy(), target, atol=2e-4)
    torch.testing.assert_close(posed.joint_transforms[0, leg.joints[3]], torch.eye(3), atol=1e-4, rtol=0)
