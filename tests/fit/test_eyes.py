"""What the built-in network sees decides views, starts and losses; with eyes that read the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from animal4d.clip import Clip
from animal4d.config import Config, FitConfig
from animal4d.cues.cues import CueProviders, Cues, make_cues
from animal4d.cues.eyes_views import Views
from animal4d.cues.surface import SurfacePoints
from animal4d.errors import Animal4dError
from animal4d.fit.objective import Objective
from animal4d.fit.parameters import clear_frames
from animal4d.fit.reconstruct import SilentProgress, fit_clip, reconstruct
from animal4d.fit.split import split_frames
from animal4d.fit.start import search_views
from animal4d.fit.uncertainty import PRIOR, joint_uncertainty
from animal4d.fit.view_search import ViewGrid
from animal4d.makers import MakerSettings, with_networks
from cues.truth_eyes import MODEL, TruthEyes, painted
from fit.scenes import clip_of_masks, rest_masks, turning_views

FRAMES, SIZE = 6, 96
QUICK = replace(FitConfig(), steps=4, start_steps=3, gaits=0, surface_samples=500, batch_frames=6)
MEAN = {"mean": torch.zeros(MODEL.n_betas)}


def painted_clip(yaw: float, depth: float = 3.2) -> Clip:
    origins = torch.tensor([0.0, 0.0, depth]).repeat(FRAMES, 1)
    vertices = MODEL.v_template @ turning_views(FRAMES, yaw=yaw).transpose(1, 2) + origins[:, None]
    blank = clip_of_masks(torch.zeros(FRAMES, SIZE, SIZE))
    frames, masks = painted(vertices, blank.intrinsics, (SIZE, SIZE))
    return replace(clip_of_masks(masks.float()), frames=frames)


def cues_by_eyes(clip: Clip) -> Cues:
    return make_cues(clip, providers=with_networks(CueProviders(), clip, MODEL, MakerSettings(), TruthEyes()))


@pytest.fixture(scope="module")
def scene() -> tuple[Clip, Cues]:
    clip = painted_clip(yaw=35.0)
    return clip, cues_by_eyes(clip)


@pytest.fixture(scope="module", autouse=True)
def one_build():
    """The view search tries a dog only, to save time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("animal4d.fit.reconstruct.START_SHAPES", ("dog",))
        yield


@pytest.fixture(scope="module")
def fitted(scene, one_build):
    clip, cues = scene
    return fit_clip(clip, clip, cues, Config(fit=QUICK), SilentProgress())


def test_camera_directions_of_the_grid():
    grid = ViewGrid(torch.deg2rad(torch.tensor([0.0, 90.0])), torch.deg2rad(torch.tensor([0.0, 30.0])))
    # Heading right, the camera is at the animal's right; heading away, behind it.
    expected = torch.tensor([[[0.0, -1, 0], [-1.0, 0, 0]]])
    torch.testing.assert_close(grid.camera_directions[:1], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(grid.camera_directions[1, 0, 2], torch.tensor(0.5))


@pytest.mark.parametrize("yaw", [50.0, 230.0])
def test_a_view_tells_a_body_from_its_mirror_image(yaw):
    """From afar silhouettes of a body and of its mirror image in depth are the same."""
    rotations = turning_views(FRAMES, yaw=yaw, turn=0.0)
    clip = clip_of_masks(rest_masks(MODEL, rotations, torch.tensor([0.0, 0.0, 9.0]).repeat(FRAMES, 1)))
    views = Views(-rotations[:, 2], torch.full((FRAMES,), 0.7), torch.full((FRAMES,), 0.7))
    search = search_views(clip, MODEL, MEAN, torch.zeros(FRAMES), views, view_weight=4.0)
    best, *rivals = search.starts(4)
    assert float(torch.cos(best.yaw - math.radians(yaw)).min()) > math.cos(math.radians(20))
    assert all(rival.cost > best.cost + 0.5 for rival in rivals)
    # Smoothing takes the best path off its cells by a little.
    assert search.cost_of(best) == pytest.approx(best.cost, abs=0.3)


def test_the_surface_map_is_a_rival_that_silhouettes_judge(fitted):
    reconstruction, history = fitted
    assert {"best", "surface map"} <= history.start_losses.keys()
    forward = reconstruction.cameras.R_cam_from_world @ reconstruction.joint_rotations[:, 0, :, 0, None]
    truth = turning_views(FRAMES, yaw=35.0)[:, :, 0]
    assert ((forward[..., 0] * truth).sum(-1) > 0.9).all()
    assert reconstruction.joint_uncertainty is not None
    assert reconstruction.joint_uncertainty.shape == (FRAMES, MODEL.n_joints)
    assert bool((reconstruction.joint_uncertainty <= PRIOR).all())


def test_losses_of_the_eyes_have_their_own_weights(scene):
    clip, cues = scene
    objective = Objective(clip, clip.masks, cues, MODEL, _cameras(clip), split_frames(clip.mask_valid), FitConfig())
    assert objective.eyes_made == {"parts", "surface"}
    given = replace(cues, provenance=())
    objective = Objective(clip, clip.masks, given, MODEL, _cameras(clip), split_frames(clip.mask_valid), FitConfig())
    assert not objective.eyes_made


def _cameras(clip: Clip):
    from animal4d.geometry.cameras import Cameras

    return Cameras(clip.intrinsics, torch.eye(4).repeat(len(clip), 1, 1), clip.image_size)


def test_the_python_api_takes_the_eyes_and_goes_without(monkeypatch):
    clip = painted_clip(yaw=35.0)
    eyes = TruthEyes()
    monkeypatch.setattr("animal4d.readers.load.load_eyes", lambda: eyes)
    fit = replace(QUICK, steps=1, start_steps=1, starts=1)
    assert reconstruct(clip, Config(fit=fit)).joint_uncertainty is not None
    assert eyes.looks == FRAMES
    assert reconstruct(clip, Config(fit=fit, eyes=False)).joint_uncertainty is None
    assert eyes.looks == FRAMES


def test_missing_weights_are_one_line_with_the_way_to_do_without(monkeypatch):
    def missing():
        raise Animal4dError("eyes.safetensors: no such file")

    monkeypatch.setattr("animal4d.readers.load.load_eyes", missing)
    with pytest.raises(Animal4dError, match=r"eyes\.safetensors.*--no-eyes") as raised:
        reconstruct(painted_clip(yaw=0.0), Config(fit=QUICK))
    assert "\n" not in str(raised.value)


def test_unclear_frames_have_no_pose_of_their_own():
    clarity = torch.tensor([0.8, 0.7, 0.1, 0.8, 0.0, 0.9])
    assert clear_frames(clarity, 0.4).tolist() == [True, True, False, True, True, True]
    assert clear_frames(clarity, 0.0).all()
    assert clear_frames(torch.zeros(4), 0.4).all(), "nothing was looked at"
    assert clear_frames(torch.tensor([0.9, 0.1, 0.1, 0.1, 0.8]), 0.4).all(), "no frame is worse than the most"
    with pytest.raises(Animal4dError, match="least_clarity"):
        FitConfig(least_clarity=1.5)
    with pytest.raises(Animal4dError, match="four weights"):
        FitConfig(eyes_part_weights=(1.0, 2.0))


def test_what_is_seen_better_is_less_uncertain(scene, fitted):
    (_, cues), (reconstruction, _) = scene, fitted
    assert cues.surface is not None
    every = joint_uncertainty(reconstruction, MODEL, cues.surface)
    surface = cues.surface
    head = MODEL.part_labels[surface.vertices] == 0
    headless = SurfacePoints(surface.pixels, surface.vertices, surface.confidence * ~head)
    unsure = SurfacePoints(surface.pixels, surface.vertices, 0.2 * surface.confidence)
    neck, spine = (MODEL.joint_names.index(name) for name in ("neck", "spine_1"))
    assert (joint_uncertainty(reconstruction, MODEL, headless)[:, neck] > every[:, neck] + 0.01).all()
    assert (joint_uncertainty(reconstruction, MODEL, unsure)[:, spine] > every[:, spine]).all()
    nothing = SurfacePoints(surface.pixels, surface.vertices, torch.zeros_like(surface.confidence))
    torch.testing.assert_close(
        joint_uncertainty(reconstruction, MODEL, nothing), torch.full_like(every, PRIOR), rtol=1e-5, atol=0
    )
    moved = SurfacePoints(surface.pixels + 20.0, surface.vertices, surface.confidence)
    assert (joint_uncertainty(reconstruction, MODEL, moved)[:, 0] > every[:, 0]).all()
