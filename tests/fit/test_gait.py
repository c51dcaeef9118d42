"""Legs that swing in the masks are found to swing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.config import FitConfig
from animal4d.cues.cues import make_cues
from animal4d.fit import gait
from animal4d.fit.objective import Objective
from animal4d.fit.parameters import AnimalParameters
from animal4d.fit.reconstruct import SilentProgress, _choose_gait
from animal4d.fit.split import split_frames
from animal4d.fit.trainer import StepReport, Trainer
from animal4d.fit.world import fit_cameras
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from fit.scenes import clip_of_masks, rest_masks, start_at, turning_views

MODEL = load_builtin_template()
FRAMES = 24
SECONDS = torch.arange(FRAMES) / 12.0


def make(masks: torch.Tensor, rotations: torch.Tensor, origins: torch.Tensor) -> tuple[AnimalParameters, Objective]:
    clip = clip_of_masks(masks)
    start = start_at(clip, rotations, origins, torch.zeros(MODEL.n_betas))
    cameras = Cameras(clip.intrinsics, fit_cameras(clip, start), clip.image_size)
    cues = make_cues(clip)
    parameters = AnimalParameters(
        MODEL,
        start,
        cues.features.pooled,
        SECONDS,
        cameras,
        torch.ones(FRAMES, dtype=torch.bool),
    )
    with torch.no_grad():
        for parameter in parameters.parameters():
            parameter.zero_()
    split = split_frames(clip.mask_valid)
    return parameters, Objective(clip, clip.masks, cues, MODEL, cameras, split, replace(FitConfig(), steps=1))


def still() -> tuple[torch.Tensor, torch.Tensor]:
    return turning_views(FRAMES, yaw=5, turn=0), torch.tensor([0.0, 0.0, 3.2]).repeat(FRAMES, 1)


@pytest.fixture(scope="module")
def walking() -> torch.Tensor:
    """Masks of 1.5 strides a second."""
    rotations, origins = still()
    teacher, _ = make(rest_masks(MODEL, rotations, origins), rotations, origins)
    taught = gait.Gait(1.5, gait.Swing(0.0, 0.4, torch.pi / 2), gait.Swing(0.0, 0.4, torch.pi), 0.0)
    gait.swing_legs(taught, teacher)
    with torch.no_grad():
        vertices = teacher().posed(torch.arange(FRAMES)).vertices
    cameras = Cameras(
        torch.linalg.inv(teacher.inverse_intrinsics),
        fit_cameras(clip_of_masks(torch.ones(FRAMES, 96, 96)), teacher.start),
        (96, 96),
    )
    return rasterize(cameras.transform(vertices), MODEL.faces, cameras.intrinsics, (96, 96)).covered.float()


def test_swinging_legs_are_found_again(walking):
    parameters, objective = make(walking, *still())
    train = objective.split.train
    before = float(objective.iou(parameters(), train).mean())
    found = gait.candidate_gaits(parameters, objective, count=2)
    # Over two seconds an error of 0.03 strides a second is a phase error of 3 % of a stride at the ends.
    assert found[0].stride_frequency == pytest.approx(1.5, abs=0.03)
    assert found[0].gain > gait.LEAST_GAIN
    gait.swing_legs(found[0], parameters)
    assert parameters.has_rhythm
    after = float(objective.iou(parameters(), train).mean())
    assert after > before + 0.02
    assert after > 0.97


def test_an_animal_that_stands_has_no_gait():
    rotations, origins = still()
    parameters, objective = make(rest_masks(MODEL, rotations, origins), rotations, origins)
    assert gait.candidate_gaits(parameters, objective, count=2) == []
    assert not parameters.has_rhythm
    assert not parameters.cycle.any()


def test_legs_turn_as_a_swing_says():
    rotations, origins = still()
    parameters, _ = make(rest_masks(MODEL, rotations, origins), rotations, origins)
    swing = gait.Swing(0.1, 0.3, 0.7)
    gait.swing_legs(gait.Gait(1.5, swing, swing, 0.0), parameters)
    with torch.no_grad():
        turned = parameters().joint_rotations
    wave = 0.3 * torch.cos(2 * torch.pi * 1.5 * (SECONDS - SECONDS.mean()) - 0.7)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        leg = turned[:, MODEL.joint_names.index(f"front_{side}_shoulder")]
        torch.testing.assert_close((leg[:, 0, 2] / leg[:, 0, 0]), 0.1 + sign * wave, atol=1e-5, rtol=0)


@pytest.mark.parametrize("walks", [True, False])
def test_the_fit_goes_on_with_the_gait_that_foretells_best(walking, walks):
    rotations, origins = still()
    masks = walking if walks else rest_masks(MODEL, rotations, origins)
    parameters, objective = make(masks, rotations, origins)
    config = replace(FitConfig(), steps=40, gait_steps=8, batch_frames=8, surface_samples=500, mask_samples=400)
    trainer = Trainer(objective, parameters, config, steps=40, seed=0)
    heard: list[tuple[str, int, int]] = []

    class Listener(SilentProgress):
        def step(self, stage: str, report: StepReport) -> None:
            heard.append((stage, report.step, report.steps))

    _choose_gait(trainer, config, Listener())
    assert trainer.gait_known
    assert trainer.parameters.has_rhythm == walks
    # The short fit of the best is not taken twice; where there is nothing to compare, there is none.
    assert trainer.step == (8 if walks else 0)
    assert heard[-1:] == ([(heard[-1][0], 8, 8)] if walks else [])
    assert len(heard) % 8 == 0
