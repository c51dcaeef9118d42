"""Gaits at other speeds: strides and stances follow, feet stand, the gait is the one that animals take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.motion.feet import planted
from animal4d.motion.measures import measure_feet
from animal4d.motion.skeleton import skeleton_of
from animal4d.motion.sources import of_gait
from animal4d.synth.gaits import GAITS, animate
from animal4d.synth.legs import legs_of
from animal4d.synth.pace import Pace, froude_number, gait_for, pace_at, speeds_of
from animal4d.synth.plan import stand_of
from motion.animals import individual

MEAN = skeleton_of(individual("mean"))
HIP_HEIGHT = stand_of(MEAN.body, legs_of(MEAN.body)).hip_height
GRAVITY = 9.81 * MEAN.body_length / 0.75
FPS = 120.0


@settings(max_examples=60, deadline=None)
@given(gait=st.sampled_from(sorted(GAITS)), share=st.floats(0.0, 0.95), height=st.floats(0.2, 1.5))
def test_strides_lengthen_and_stances_shorten_with_the_speed(gait: str, share: float, height: float) -> None:
    low, high = speeds_of(gait, height, GRAVITY)
    speed = low * (high / low) ** share
    slower, faster = (pace_at(gait, at, height, GRAVITY) for at in (speed, 1.05 * speed))
    assert faster.period * faster.speed > slower.period * slower.speed  # longer strides
    assert faster.period < slower.period  # and more of them
    assert faster.duty <= slower.duty
    # Alexander (1976), wherever legs reach as far.
    relative = slower.period * slower.speed / height
    assert relative <= 2.3 * froude_number(speed, height, GRAVITY) ** 0.3 + 1e-9


@pytest.mark.parametrize("gait", sorted(GAITS))
def test_at_a_gaits_own_speed_the_relation_and_the_gait_agree(gait: str) -> None:
    """Two sources: the gaits were made by hand from pictures of dogs."""
    own = GAITS[gait]
    speed = animate(MEAN.body, gait, np.arange(2) / FPS).speed
    pace = pace_at(gait, speed, HIP_HEIGHT, GRAVITY)
    assert pace.period * speed / HIP_HEIGHT == pytest.approx(own.excursion / own.duty, rel=0.15)
    assert pace.duty == pytest.approx(own.duty, rel=0.2)


@pytest.mark.parametrize("animal", ["mean", "dachshund"])
@pytest.mark.parametrize("gait", sorted(GAITS))
def test_at_any_speed_feet_neither_slide_nor_sink(gait: str, animal: str) -> None:
    skeleton = skeleton_of(individual(animal))
    height = stand_of(skeleton.body, legs_of(skeleton.body)).hip_height
    gravity = 9.81 * skeleton.body_length / 0.75
    for speed in np.geomspace(*speeds_of(gait, height, gravity), 3):
        pace = pace_at(gait, float(speed), height, gravity)
        made = of_gait(animate(skeleton.body, gait, np.arange(20) / 30.0, pace=pace), 30.0)
        for motion in (made, planted(skeleton, made)):
            measures = measure_feet(skeleton, motion)
            assert measures.worst_slide < 0.02 and measures.deepest < 0.01
            assert measures.speed * skeleton.body_length == pytest.approx(float(speed), rel=0.03)


def test_a_stance_lasts_as_long_as_the_pace_says() -> None:
    speed = 2 * animate(MEAN.body, "trot", np.arange(2) / FPS).speed
    pace = pace_at("trot", speed, HIP_HEIGHT, GRAVITY)
    stance = animate(MEAN.body, "trot", np.arange(600) / FPS, pace=pace).stance
    landings = np.flatnonzero(stance[1:, 0] & ~stance[:-1, 0])
    assert np.diff(landings).mean() / FPS == pytest.approx(pace.period, rel=0.03)
    assert stance[landings[0] + 1 : landings[-1] + 1, 0].mean() == pytest.approx(pace.duty, abs=0.03)


def test_a_hurried_paw_goes_smoothly_and_arrives() -> None:
    """At the pace of a run, paws go on from stance to stance without a jump or a halt in between."""
    pace = Pace(speed=3.0, period=0.4, duty=0.25, hurry=0.2)
    motion = animate(MEAN.body, "gallop", np.arange(240) / 480.0, pace=pace)
    paws = MEAN.soles(motion.joint_rotations.double(), (motion.root + motion.translation).double())[..., 0].numpy()
    steps = np.diff(paws, axis=0)
    assert steps.min() > -0.01
    assert np.abs(np.diff(steps, axis=0)).max() < 0.02


def test_animals_walk_trot_and_gallop_as_the_speed_grows() -> None:
    assert [gait_for(froude) for froude in (0.05, 0.4, 0.6, 2.0, 3.0, 12.0)] == [
        "walk", "walk", "trot", "trot", "gallop", "gallop",
    ]  # fmt: skip
