"""Contacts that are found again, and feet that stand on another shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.geometry.rotations import angle_between, rotation_about
from animal4d.motion.contacts import grounded
from animal4d.motion.feet import planted
from animal4d.motion.measures import measure_feet
from animal4d.motion.motion import headings
from animal4d.motion.skeleton import skeleton_of
from animal4d.motion.transfer import carried_over
from motion.animals import FPS, gait_of, individual

GAITS = ("walk", "trot", "gallop")
MEAN = skeleton_of(individual("mean"))


@pytest.mark.parametrize("gait", GAITS)
def test_stances_are_found_where_they_are(gait: str) -> None:
    true = gait_of(MEAN, gait, frames=60)
    found = grounded(MEAN, true.joint_rotations, true.root, FPS, "given")
    # A cycloid leaves the ground without speed: a frame or two around a stance look like it.
    assert bool(found.stance[true.stance].double().mean() > 0.98)
    wide = torch.nn.functional.max_pool1d(true.stance.double().T, 5, stride=1, padding=2).T > 0
    inside = slice(2, -2)  # a stance just before the clip is not known
    assert not bool((found.stance & ~wide)[inside].any())
    torch.testing.assert_close(found.root, true.root)


@pytest.mark.parametrize("gait", GAITS)
def test_feet_tell_the_path_of_an_animal_on_the_spot_before_a_camera_that_goes_round(gait: str) -> None:
    true = gait_of(MEAN, gait, frames=60)
    filmed = true.on_the_spot()
    turn = rotation_about("z", torch.linspace(0.3, -0.6, 60, dtype=torch.float64))
    rotations = filmed.joint_rotations.clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    root = (turn @ filmed.root[..., None])[..., 0]
    found = grounded(MEAN, rotations, root, FPS, "feet")
    assert found.speed == pytest.approx(true.speed, rel=0.15)
    heading = headings(found.joint_rotations)
    assert float(heading.max() - heading.min()) < 0.15  # it walks straight, though it turns by 0.9 in the camera


def test_a_turn_over_the_ground_is_no_slip_where_the_path_is_given() -> None:
    """Every frame of a gait turned about the same far centre: paws stand on an arc's chord."""
    true = gait_of(MEAN, "walk", frames=60).moved(1.1, torch.zeros(2).double(), torch.tensor([3.0, -2.0]).double())
    found = grounded(MEAN, true.joint_rotations, true.root, FPS, "given")
    unturned = gait_of(MEAN, "walk", frames=60)
    assert torch.equal(found.stance, grounded(MEAN, unturned.joint_rotations, unturned.root, FPS, "given").stance)


@settings(max_examples=4, deadline=None)
@given(
    gait=st.sampled_from(GAITS),
    source=st.sampled_from(("mean", "greyhound", "horse", "cat")),
    legs=st.floats(-0.25, 0.25),
    seed=st.integers(0, 100),
)
def test_feet_neither_slide_nor_sink_on_another_shape(gait: str, source: str, legs: float, seed: int) -> None:
    """Judged over the true stances of the source, not those that were found."""
    model = MEAN.body.model
    betas = 0.7 * torch.randn(model.n_betas, generator=torch.Generator().manual_seed(seed))
    scales = torch.tensor([legs, 0.1, 0, 0, 0, 0, 0])
    target = skeleton_of(model.with_shape(betas, scales))
    theirs = skeleton_of(individual(source))
    true = gait_of(theirs, gait, frames=40)
    found = grounded(theirs, true.joint_rotations, true.root, FPS, "given")
    result = planted(target, carried_over(found, theirs, target))
    measures = measure_feet(target, result, true.stance)
    assert len(measures.slides) >= 4
    assert measures.worst_slide < 0.02
    assert measures.deepest < 0.01
    ratio = target.leg_length / theirs.leg_length
    assert result.speed == pytest.approx(true.speed * ratio, rel=0.03)
    # What is corrected is corrected smoothly. A paw that swings accelerates by up to 0.2 leg lengths per squared frame.
    places = target.forward(result.joint_rotations, result.root)[1] / target.leg_length
    assert float((places[2:] - 2 * places[1:-1] + places[:-2]).norm(dim=-1).max()) < 0.6


@pytest.mark.parametrize("gait", GAITS)
def test_ones_own_motion_on_ones_own_shape_stays_what_it_is(gait: str) -> None:
    true = gait_of(MEAN, gait)
    found = grounded(MEAN, true.joint_rotations, true.root, FPS, "given")
    result = planted(MEAN, carried_over(found, MEAN, MEAN))
    legs = {joint for foot in MEAN.feet for joint in foot.leg.joints}
    others = [joint for joint in range(1, 35) if joint not in legs]
    assert torch.equal(result.joint_rotations[:, others], true.joint_rotations[:, others])
    assert angle_between(result.joint_rotations[:, 0], true.joint_rotations[:, 0]).max() < 0.02
    torch.testing.assert_close(result.root[:, :2], true.root[:, :2])
    apart = MEAN.forward(result.joint_rotations, result.root)[1] - MEAN.forward(true.joint_rotations, true.root)[1]
    assert float(apart.norm(dim=-1).mean()) < 0.03 * MEAN.leg_length


def test_exact_contacts_leave_legs_as_they_are() -> None:
    """With the true stances there is nothing to correct but the paws' tilt around them."""
    true = gait_of(MEAN, "walk")
    result = planted(MEAN, true)
    apart = MEAN.forward(result.joint_rotations, result.root)[1] - MEAN.forward(true.joint_rotations, true.root)[1]
    assert float(apart[true.stance.all(1)].norm(dim=-1).max() if true.stance.all(1).any() else 0) < 0.01
    assert float(apart.norm(dim=-1).mean()) < 0.005 * MEAN.leg_length


def test_sliding_and_sinking_are_measured() -> None:
    true = gait_of(MEAN, "walk", frames=40)
    still = measure_feet(MEAN, true)
    assert still.worst_slide < 0.005 and still.deepest < 0.01
    slipping = true.root.clone()
    slipping[:, 0] += 0.01 * torch.arange(40)
    slipping[:, 2] -= 0.1
    measured = measure_feet(MEAN, replace(true, root=slipping))
    frames = max(int(column.sum()) for column in true.stance.T)
    assert measured.worst_slide > 0.05 and measured.worst_slide < 0.01 * frames / 0.5
    assert measured.deepest == pytest.approx(0.1 / min(foot.leg.reach for foot in MEAN.feet), rel=0.2)
    on_the_spot = measure_feet(MEAN, true.on_the_spot())
    assert on_the_spot.worst_slide == pytest.approx(still.worst_slide, abs=1e-6)
    assert on_the_spot.speed == pytest.approx(still.speed)


def test_the_skin_of_the_feet_poses_as_the_whole_body_does() -> None:
    """Recentred and with pose correctives, as SMAL files may be."""
    correctives = 0.002 * torch.randn(9 * 34, MEAN.body.model.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    model = replace(MEAN.body.model, pose_correctives=correctives, recentre_vertices=(10, 700))
    skeleton = skeleton_of(model.with_shape())
    motion = gait_of(MEAN, "trot", frames=3)
    translation = motion.root - skeleton.body.joints[0]
    whole = skeleton.body.with_pose(motion.joint_rotations.float(), translation.float()).vertices[..., 2]
    owners = model.skinning_weights.argmax(1)
    heights = skeleton.foot_heights(motion.joint_rotations, motion.root)
    for number, foot in enumerate(skeleton.feet):
        lowest = whole[:, torch.isin(owners, torch.tensor(foot.leg.joints[2:]))].amin(1)
        torch.testing.assert_close(heights[:, number].float(), lowest, atol=1e-5, rtol=0)


def test_one_frame_is_a_motion_too() -> None:
    true = gait_of(MEAN, "stand", frames=2).part(0, 0)
    found = grounded(MEAN, true.joint_rotations, true.root, FPS, "feet")
    result = planted(MEAN, carried_over(found, MEAN, MEAN))
    assert len(result) == 1 and bool(found.stance.all())
    assert np.isfinite(result.root.numpy()).all()
