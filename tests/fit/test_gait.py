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
from animal4d.fit.split import split_frames
from animal4d.fit.world import fit_cameras
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from fit.scenes import clip_of_masks, rest_masks, start_at, turning_views

MODEL = load_builtin_template()
FRAMES = 8


def make(masks: torch.Tensor, rotations: torch.Tensor, origins: torch.Tensor) -> tuple[AnimalParameters, Objective]:
    clip = clip_of_masks(masks)
    start = start_at(clip, rotations, origins, torch.zeros(MODEL.n_betas))
    cameras = Cameras(clip.intrinsics, fit_cameras(clip, start), clip.image_size)
    cues = make_cues(clip)
    parameters = AnimalParameters(
        MODEL,
        start,
        cues.features.pooled,
        torch.arange(FRAMES) / FRAMES,
        cameras,
        torch.ones(FRAMES, dtype=torch.bool),
        2 * torch.pi * torch.arange(FRAMES) / FRAMES,
    )
    with torch.no_grad():
        for parameter in parameters.parameters():
            parameter.zero_()
    split = split_frames(clip.mask_valid)
    return parameters, Objective(clip, cues.tracks, MODEL, cameras, split, replace(FitConfig(), steps=1))


@pytest.fixture
def few_phases(monkeypatch):
    monkeypatch.setattr(gait, "_PHASES", 4)
    monkeypatch.setattr(gait, "_HIND_LEADS", 2)


def test_swinging_legs_are_found_again(few_phases):
    rotations, origins = turning_views(FRAMES, yaw=5, turn=0), torch.tensor([0.0, 0.0, 3.2]).repeat(FRAMES, 1)
    teacher, _ = make(rest_masks(MODEL, rotations, origins), rotations, origins)
    with torch.no_grad():
        teacher.cycle.copy_(gait._swing(teacher.cycle, gait._AMPLITUDE, torch.pi / 2, torch.pi / 2))
        vertices = teacher().posed(torch.arange(FRAMES)).vertices
    cameras = Cameras(
        torch.linalg.inv(teacher.inverse_intrinsics),
        fit_cameras(clip_of_masks(torch.ones(FRAMES, 96, 96)), teacher.start),
        (96, 96),
    )
    walking = rasterize(cameras.transform(vertices), MODEL.faces, cameras.intrinsics, (96, 96)).covered.float()

    parameters, objective = make(walking, rotations, origins)
    train = objective.split.train
    before = float(objective.iou(parameters(), train).mean())
    gain = gait.swing_legs(parameters, objective)
    after = float(objective.iou(parameters(), train).mean())
    assert gain > 0.02
    assert after == pytest.approx(before + gain, abs=1e-5)
    assert after > 0.97


def test_an_animal_that_stands_keeps_its_legs(few_phases):
    rotations, origins = turning_views(FRAMES, yaw=5, turn=0), torch.tensor([0.0, 0.0, 3.2]).repeat(FRAMES, 1)
    parameters, objective = make(rest_masks(MODEL, rotations, origins), rotations, origins)
    assert gait.swing_legs(parameters, objective) == 0
    assert not parameters.cycle.any()
