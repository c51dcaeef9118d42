"""Loops that close, and motions that fade into each other."""

from __future__ import annotations

import pytest
import torch

from animal4d.errors import Animal4dError
from animal4d.geometry.rotations import angle_between, matrix_from_axis_angle
from animal4d.motion.crossfade import crossfaded
from animal4d.motion.feet import planted
from animal4d.motion.loop import SHORTEST, best_loop
from animal4d.motion.measures import measure_feet
from animal4d.motion.motion import Motion, headings
from animal4d.motion.skeleton import skeleton_of
from motion.animals import FPS, gait_of, individual

MEAN = skeleton_of(individual("mean"))


def disturbed(motion: Motion, seed: int) -> Motion:
    """As a fit has it: slow errors of all joints, and a slow turn."""
    generator = torch.Generator().manual_seed(seed)
    knots = 0.06 * torch.randn(1, 105, 6, generator=generator, dtype=torch.float64)
    drift = torch.nn.functional.interpolate(knots, size=len(motion), mode="linear", align_corners=True)[0].T
    drift = drift.unflatten(1, (35, 3))
    drift[:, 0, 2] += torch.linspace(0, 0.5, len(motion))
    rotations = matrix_from_axis_angle(drift) @ motion.joint_rotations
    return Motion(rotations, motion.root, motion.stance, motion.fps, motion.ground_velocity)


def steps(motion: Motion) -> torch.Tensor:
    """Way of every joint from frame to frame, in leg lengths, on the ground that goes along."""
    places = MEAN.forward(motion.joint_rotations, motion.root)[1] / MEAN.leg_length
    return places.diff(dim=0)


@pytest.mark.parametrize(("gait", "seed"), [("walk", 0), ("trot", 1), ("gallop", 2)])
def test_a_loop_closes_in_pose_and_velocity(gait: str, seed: int) -> None:
    source = disturbed(gait_of(MEAN, gait, frames=70), seed)
    found = best_loop(MEAN, source)
    loop = planted(MEAN, found.motion)
    assert loop.cyclic and loop.seconds >= SHORTEST - 1e-9
    assert found.gap < 0.15
    assert angle_between(loop.joint_rotations[0], loop.joint_rotations[-1]).max() < 1e-4
    assert float((loop.root[-1] - loop.root[0])[2]) == pytest.approx(0, abs=1e-6)
    assert bool((loop.stance[0] == loop.stance[-1]).all())
    # Over the seam the joints accelerate no more than elsewhere.
    twice = steps(loop.repeated(2))
    accelerations = twice.diff(dim=0).norm(dim=-1)
    seam = len(loop) - 2
    assert float(accelerations[seam].mean()) < 2.0 * float(accelerations.mean())
    assert float(accelerations[seam - 1 : seam + 2].max()) <= 1.05 * float(accelerations.max())
    measures = measure_feet(MEAN, loop.repeated(2))
    assert measures.worst_slide < 0.02 and measures.deepest < 0.01


def test_a_loop_goes_straight_on_or_stays_in_place() -> None:
    loop = best_loop(MEAN, disturbed(gait_of(MEAN, "trot", frames=70), 3)).motion
    twice = loop.repeated(2)
    assert len(twice) == 2 * len(loop) - 1
    step = loop.root[-1] - loop.root[0]
    torch.testing.assert_close(twice.root[-1] - twice.root[0], 2 * step)
    heading = headings(twice.joint_rotations)
    assert float((heading[-1] - heading[0]).abs()) < 1e-6
    here = loop.on_the_spot()
    torch.testing.assert_close(here.root[0], here.root[-1])
    assert here.speed == pytest.approx(loop.speed)


def test_the_cycle_of_a_gait_is_whole_strides() -> None:
    """The trot's stride is found from its footfalls."""
    motion = gait_of(MEAN, "trot", frames=90)
    landings = (motion.stance[1:, 0] & ~motion.stance[:-1, 0]).nonzero().flatten()
    stride = float(landings.diff().double().mean())
    found = best_loop(MEAN, motion)
    strides = (found.last - found.first) / stride
    assert abs(strides - round(strides)) < 1.0 / stride and round(strides) >= 1


def test_too_short_for_a_loop() -> None:
    with pytest.raises(Animal4dError, match="--loop"):
        best_loop(MEAN, gait_of(MEAN, "walk", frames=12))


def test_a_fade_leads_from_one_motion_to_the_other_without_a_jump() -> None:
    first, second = gait_of(MEAN, "walk"), gait_of(MEAN, "trot", seed=4)
    second = second.moved(2.0, torch.zeros(2).double(), torch.tensor([5.0, 1.0]).double())
    result = planted(MEAN, crossfaded(MEAN, first, second, 0.3))
    torch.testing.assert_close(result.root[0, :2], first.root[0, :2])
    assert len(result) > len(first) + 10
    heading = headings(result.joint_rotations)
    assert float((heading - heading[0]).abs().max()) < 0.2
    ways = steps(result).norm(dim=-1)
    before, after = steps(first).norm(dim=-1).max(), steps(second).norm(dim=-1).max()
    assert float(ways.max()) < 1.3 * float(torch.maximum(before, after))
    measures = measure_feet(MEAN, result)
    assert measures.worst_slide < 0.02 and measures.deepest < 0.01
    # It leaves as a walk and arrives as a trot.
    early, late = result.part(0, 20), result.part(len(result) - 15, len(result) - 1)
    assert early.speed == pytest.approx(first.speed, rel=0.2)
    assert late.speed == pytest.approx(second.speed, rel=0.2)


def test_a_fade_needs_motions_that_last() -> None:
    with pytest.raises(Animal4dError, match="shorter fade"):
        crossfaded(MEAN, gait_of(MEAN, "walk", frames=8), gait_of(MEAN, "trot"), 0.5)


@pytest.mark.parametrize("fps", [12.0, 24.0, 60.0])
def test_another_rate_is_the_same_motion(fps: float) -> None:
    motion = gait_of(MEAN, "walk", frames=61)
    again = motion.resampled(fps)
    assert again.fps == fps and len(again) == round(2 * fps) + 1
    assert again.speed == pytest.approx(motion.speed, rel=1e-6)
    back = again.resampled(FPS)
    if fps > FPS:
        assert angle_between(back.joint_rotations, motion.joint_rotations).max() < 1e-4
