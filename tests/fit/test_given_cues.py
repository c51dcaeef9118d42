"""Cues that came with a clip steer the fit; cues that are left out do not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.config import Config, FitConfig, LossWeights, constant, from_dict, to_dict
from animal4d.cues.cues import CueProviders, Cues
from animal4d.cues.parts import HEAD, LEG, TAIL, TORSO, Parts
from animal4d.cues.sparse_keypoints import SparseKeypoints
from animal4d.cues.surface import SurfacePoints
from animal4d.errors import Animal4dError
from animal4d.fit.objective import Objective, frames_that_teach
from animal4d.fit.parameters import AnimalParameters
from animal4d.fit.presets import preset
from animal4d.fit.reconstruct import SilentProgress, fit_clip, reconstruct
from animal4d.fit.split import split_frames
from animal4d.fit.world import fit_cameras
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from fit.scenes import rest_clip, start_at, turning_views

MODEL = load_builtin_template()
FRAMES = 6
ORIGINS = torch.tensor([0.0, 0.0, 3.2]).repeat(FRAMES, 1)
LABEL_OF_PART = torch.tensor([HEAD, TORSO, TAIL, LEG, LEG, LEG, LEG], dtype=torch.uint8)
"""Of `PART_NAMES`: head, torso, tail and four legs."""
LEFT_OUT = ("parts", "surface", "keypoints", "tracks", "features")


@pytest.fixture(scope="module")
def scene():
    """A clip of the rest pose with all cues that a perfect 2D model would give of it."""
    clip, cues = rest_clip(MODEL, FRAMES, size=96)
    vertices = MODEL.v_template @ turning_views(FRAMES).transpose(1, 2) + ORIGINS[:, None]
    fragments = rasterize(vertices, MODEL.faces, clip.intrinsics, clip.image_size)
    corner = MODEL.faces[fragments.face_index.clamp_min(0), fragments.barycentrics.argmax(-1)]
    labels = LABEL_OF_PART[MODEL.part_labels[corner]] * fragments.covered
    rows = [frame.nonzero() for frame in fragments.covered]
    chosen = [places[:: max(len(places) // 200, 1)][:200] for places in rows]
    pixels = torch.stack([places.flip(-1) + 0.5 for places in chosen])
    shown = torch.stack([corner[f, places[:, 0], places[:, 1]] for f, places in enumerate(chosen)])
    surface = SurfacePoints(clip.crop.to_original(pixels), shown, torch.ones(shown.shape))
    posed = MODEL.with_shape().with_pose(torch.eye(3).expand(FRAMES, MODEL.n_joints, 3, 3))
    seen = posed.keypoints @ turning_views(FRAMES).transpose(1, 2) + ORIGINS[:, None]
    in_pixels = (seen @ clip.intrinsics.transpose(1, 2))[..., :2] / seen[..., 2:]
    keypoints = SparseKeypoints(clip.crop.to_original(in_pixels), torch.ones(FRAMES, 24))
    return clip, replace(cues, parts=Parts(labels), surface=surface, keypoints=keypoints)


def losses(scene, shift: float, names: set[str], cues: Cues | None = None) -> dict[str, float]:
    """Of an animal that stands `shift` to the right of where the clip shows it."""
    clip, all_cues = scene
    start = start_at(clip, turning_views(FRAMES), ORIGINS + torch.tensor([shift, 0.0, 0.0]), torch.zeros(MODEL.n_betas))
    cameras = Cameras(clip.intrinsics, fit_cameras(clip, start), clip.image_size)
    weights = LossWeights(**{f.name: constant(float(f.name in names)) for f in fields(LossWeights)})
    config = replace(FitConfig(), weights=weights)
    split = split_frames(clip.mask_valid)
    objective = Objective(clip, clip.masks, cues or all_cues, MODEL, cameras, split, config)
    parameters = AnimalParameters(MODEL, start, all_cues.features.pooled, clip.times, cameras, clip.mask_valid)
    generator = torch.Generator().manual_seed(0)
    values = objective.losses(parameters(), torch.arange(FRAMES), 0.5, generator)
    return {name: float(value.detach()) for name, value in values.items()}


@pytest.mark.parametrize("name", ["part_chamfer", "surface", "sparse_keypoints"])
def test_given_cues_are_best_satisfied_by_the_truth(scene, name):
    right, beside = (losses(scene, shift, {name})[name] for shift in (0.0, 0.15))
    # 0.15 of a depth of 3.2 is some 5 % of the image; what is left at the truth is the raster: half a pixel of 96.
    assert right < 0.35 * beside


def test_losses_of_cues_that_are_not_there_are_left_out(scene):
    _, cues = scene
    names = {"part_chamfer", "part_keypoints", "surface", "sparse_keypoints"}
    assert set(losses(scene, 0.0, names)) == names
    assert losses(scene, 0.0, names, cues.without(LEFT_OUT)) == {}


def test_every_cue_can_be_left_out(scene):
    _, cues = scene
    less = cues.without(LEFT_OUT)
    assert less.parts is less.surface is less.keypoints is None
    assert len(less.tracks) == 0
    assert not less.features.pooled.any()
    assert losses(scene, 0.0, {"tracks", "published_tracks"}, less) == {"tracks": 0.0, "published_tracks": 0.0}


def test_without_silhouettes_their_losses_weigh_nothing():
    weights = Config(without=("silhouette",)).fit_of_cues.weights
    assert weights.silhouette.values == weights.outline.values == (0.0,)
    assert Config().fit_of_cues == Config().fit
    colorless = Config(without=("colors",)).fit_of_cues.weights
    assert colorless == replace(Config().fit.weights, appearance=constant(0.0))


def test_the_start_takes_the_surface_map_before_silhouettes(scene):
    """The mask of a body seen from the side is nearly that of its mirror image; its surface map is not."""
    clip, cues = scene
    config = Config(fit=replace(FitConfig(), steps=2, start_steps=2, gaits=0))
    reconstruction, history = fit_clip(clip, clip, cues, config, SilentProgress())
    assert history.start_name == "surface map"
    forward = reconstruction.cameras.R_cam_from_world @ reconstruction.joint_rotations[:, 0, :, 0, None]
    truth = turning_views(FRAMES)[:, :, 0]
    assert ((forward[..., 0] * truth).sum(-1) > 0.95).all()


def test_the_published_preset_runs_and_looks_at_training_frames_only(scene):
    clip, cues = scene
    fit = replace(preset("paper"), steps=3, start_steps=2, batch_frames=4, surface_samples=500)
    split = split_frames(clip.mask_valid)
    assert frames_that_teach(clip, split, fit).nonzero().flatten().tolist() == split.train.tolist()
    reconstruction, history = fit_clip(clip, clip, cues, Config(fit=fit), SilentProgress())
    assert history.diverged is None
    assert torch.isfinite(reconstruction.translation).all()


def test_presets_and_single_settings_join():
    base = Config(fit=preset("paper"))
    joined = from_dict(Config, {"fit": {"batch_frames": 8}, "seed": 3}, base=base)
    assert joined == replace(base, seed=3, fit=replace(base.fit, batch_frames=8))
    assert from_dict(Config, to_dict(joined)) == joined
    assert preset("default") == FitConfig()
    with pytest.raises(Animal4dError, match="unknown key 'batch'"):
        from_dict(Config, {"fit": {"batch": 8}}, base=base)


def test_the_python_api_asks_for_the_cues_that_came_with_a_clip(scene, monkeypatch):
    clip, _ = scene
    asked = []

    def providers(shown, model, settings, eyes, notify, warn):
        assert eyes is None
        asked.append((shown.mask_valid.sum(), model.name))
        return CueProviders()

    monkeypatch.setattr("animal4d.fit.reconstruct.wanted_providers", providers)
    reconstruct(clip, Config(eyes=False, fit=replace(FitConfig(), steps=1, start_steps=1, starts=1, gaits=0)))
    assert asked == [(FRAMES, "builtin")]
