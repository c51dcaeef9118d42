"""Cues of the built-in network's making, with eyes that read the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from animal4d.body.model import PART_NAMES
from animal4d.clip import Clip
from animal4d.cues.chain import Chain
from animal4d.cues.cues import CueProviders, make_cues
from animal4d.cues.eyes_embeddings import on_template
from animal4d.cues.eyes_features import EyesFeatures
from animal4d.cues.eyes_parts import EyesParts
from animal4d.cues.eyes_pass import EyesPass
from animal4d.cues.eyes_surface import EyesSurface, vertex_and_back
from animal4d.cues.eyes_views import EyesViews, _agreement
from animal4d.cues.features import BuiltinFeatures
from animal4d.cues.parts import PART_LABELS, UNKNOWN, Parts
from animal4d.cues.surface import SurfacePoints
from animal4d.geometry.cameras import project
from animal4d.geometry.rasterize import rasterize
from animal4d.makers import MakerSettings, with_networks
from cues.truth_eyes import MODEL, TruthEyes, painted
from fit.scenes import clip_of_masks, turning_views

SIZE, FRAMES = 160, 4
ORIGINS = torch.tensor([0.1, 0.0, 3.2]).repeat(FRAMES, 1)
ROTATIONS = turning_views(FRAMES, yaw=30.0, turn=3.0)
VERTICES = MODEL.v_template @ ROTATIONS.transpose(1, 2) + ORIGINS[:, None]


@pytest.fixture(scope="module")
def clip() -> Clip:
    """The rest pose, painted; the window is twice as coarse as the original frame and shifted."""
    blank = clip_of_masks(torch.zeros(FRAMES, SIZE, SIZE))
    frames, masks = painted(VERTICES, blank.intrinsics, (SIZE, SIZE))
    crop = replace(blank.crop, origin=blank.crop.origin + 30, scale=2 * blank.crop.scale, original_size=(400, 400))
    return replace(clip_of_masks(masks.float()), frames=frames, crop=crop)


def test_parts_tell_the_legs_apart(clip: Clip):
    labels = EyesParts(EyesPass(TruthEyes()))(clip).labels
    fragments = rasterize(VERTICES, MODEL.faces, clip.intrinsics, clip.image_size)
    corner = MODEL.faces[fragments.face_index.clamp_min(0), fragments.barycentrics.argmax(-1)]
    table = torch.tensor([PART_LABELS[name] for name in PART_NAMES])
    truth = torch.where(fragments.covered, table[MODEL.part_labels[corner]], 0)
    known = (labels != UNKNOWN) & fragments.covered
    # What is unknown is the seam between parts and the outline, a map pixel of 3 working pixels wide.
    assert known.sum() > 0.7 * fragments.covered.sum()
    assert (labels[known] == truth[known]).float().mean() > 0.95
    assert not labels[~fragments.covered].any()
    for name in ("head", "torso", "front_left_leg", "front_right_leg", "back_left_leg", "back_right_leg"):
        both = (labels == PART_LABELS[name]) & (truth == PART_LABELS[name])
        assert both.sum() > 0.4 * (truth == PART_LABELS[name]).sum(), name
    assert torch.equal(Parts.from_arrays(Parts(labels).to_arrays()).labels, labels)


def test_what_the_network_is_not_sure_of_is_unknown_and_not_none(clip: Clip):
    labels = EyesParts(EyesPass(TruthEyes()), least_probability=1.1)(clip).labels
    assert set(labels.unique().tolist()) == {0, UNKNOWN}
    assert torch.equal(labels == UNKNOWN, clip.masks > 0.5)


def test_surface_points_lie_where_their_vertices_project_to(clip: Clip):
    points = EyesSurface(EyesPass(TruthEyes()), TruthEyes().vertex_embeddings, points=150)(clip)
    assert (points.confidence > 0).sum(1).tolist() == [150] * FRAMES
    projected = project(VERTICES, clip.intrinsics)
    expected = clip.crop.to_original(projected.gather(1, points.vertices[..., None].expand(-1, -1, 2)))
    error = (points.pixels - expected).norm(dim=-1) / clip.crop.scale[:, None]
    # Colours of 8 bits, bilinear crops and the distance between vertices: about two working pixels of 160.
    assert error.median() < 2.0
    assert error.quantile(0.95) < 6.0


def test_unsure_pixels_are_no_surface_points(clip: Clip):
    provider = EyesSurface(EyesPass(TruthEyes(confidence=0.1)), TruthEyes().vertex_embeddings)
    assert not provider(clip).confidence.any()


def test_a_pixel_whose_vertex_shows_elsewhere_does_not_come_home():
    vertices = torch.eye(3)
    pixels = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1.0, 0.4, 0], [0, 0, 1.0]]), dim=-1)
    vertex, home = vertex_and_back(pixels, vertices)
    assert vertex.tolist() == [0, 0, 2]
    assert home.tolist() == [0, 0, 2]


def test_views_point_to_the_camera(clip: Clip):
    views = EyesViews(EyesPass(TruthEyes()))(clip)
    # At the body's origin, by the ray there.
    truth = torch.nn.functional.normalize(-(ROTATIONS.transpose(1, 2) @ ORIGINS[..., None]).squeeze(-1), dim=-1)
    assert (views.direction * truth).sum(1).min() > 0.97
    assert views.confidence.min() > 0.5


def test_frames_without_a_mask_are_not_looked_at(clip: Clip):
    masks = clip.masks.clone()
    masks[1] = 0
    hidden = replace(clip, masks=masks, mask_valid=masks.flatten(1).any(1))
    eyes = TruthEyes()
    eyes_pass = EyesPass(eyes)
    views, parts = EyesViews(eyes_pass)(hidden), EyesParts(eyes_pass)(hidden)
    surface = EyesSurface(eyes_pass, eyes.vertex_embeddings)(hidden)
    assert eyes.looks == FRAMES - 1
    assert views.clarity[1] == views.confidence[1] == 0
    assert not views.direction[1].any() and not parts.labels[1].any() and not surface.confidence[1].any()
    nothing = replace(clip, masks=torch.zeros_like(masks), mask_valid=torch.zeros(FRAMES, dtype=torch.bool))
    assert not EyesParts(eyes_pass)(nothing).labels.any()
    assert EyesFeatures(eyes_pass)(nothing).pooled.isfinite().all()


def test_a_view_that_contradicts_its_neighbours_is_not_believed():
    direction = torch.tensor([[0.0, 1.0, 0.0]]).repeat(5, 1)
    direction[2] *= -1
    agreement = _agreement(direction, torch.ones(5), torch.arange(5) / 24.0, 0.3)
    assert agreement[2] == 0
    assert agreement[[0, 1, 3, 4]].min() > 0.4


def test_features_keep_the_hand_made_ones(clip: Clip):
    made, ours = EyesFeatures(EyesPass(TruthEyes()))(clip), BuiltinFeatures()(clip)
    n = ours.pooled.shape[1]
    assert torch.equal(made.pooled[:, :n], ours.pooled) and torch.equal(made.patches, ours.patches)
    assert made.pooled.shape[1] == n + 6
    spread = [(part - part.mean(0)).square().sum() for part in (made.pooled[:, :n], made.pooled[:, n:])]
    torch.testing.assert_close(spread[0], spread[1])


def test_one_look_serves_all_cues_and_is_kept(clip: Clip, tmp_path):
    eyes = TruthEyes()
    said: list[str] = []
    providers = with_networks(CueProviders(), clip, MODEL, MakerSettings(), eyes, said.append)
    cues = make_cues(clip, tmp_path, providers)
    assert eyes.looks == FRAMES
    assert said == ["the built-in eyes make these cues: features, parts, surface, views"]
    assert all(cues.by_eyes(name) for name in ("parts", "surface", "features", "views")) and not cues.by_eyes("tracks")
    make_cues(clip, tmp_path, with_networks(CueProviders(), clip, MODEL, MakerSettings(), eyes, said.append))
    assert eyes.looks == FRAMES, "all were in the cache"
    again = TruthEyes(version="trained anew")
    make_cues(clip, tmp_path, with_networks(CueProviders(), clip, MODEL, MakerSettings(), again, said.append))
    assert again.looks == FRAMES
    less = cues.without(("parts", "surface", "views"))
    assert less.parts is less.surface is less.views is None


def test_files_that_came_with_the_clip_go_before_the_eyes(clip: Clip):
    class Given:
        name: ClassVar[str] = "given"
        kind: ClassVar[str] = "precomputed"
        version: ClassVar[int] = 1

        @property
        def cue(self) -> str:
            return "surface"

        def config(self):
            return {}

        def __call__(self, clip: Clip) -> SurfacePoints:
            return SurfacePoints(
                torch.zeros(len(clip), 1, 2), torch.zeros(len(clip), 1).long(), torch.ones(len(clip), 1)
            )

    given = Given()
    providers = with_networks(CueProviders(surface=given), clip, MODEL, MakerSettings(), TruthEyes())
    assert isinstance(providers.surface, Chain) and isinstance(providers.parts, Chain)
    assert [(link.name, link.provider) for link in providers.surface.links] == [("files", given)]
    assert [link.name for link in providers.parts.links] == ["surface", "eyes"], "a surface from files tells parts"


def test_embeddings_reach_a_template_that_is_numbered_otherwise():
    order = torch.randperm(MODEL.n_vertices, generator=torch.Generator().manual_seed(0))
    new_number = torch.argsort(order)
    other = replace(
        MODEL,
        name="other",
        v_template=MODEL.v_template[order],
        faces=new_number[MODEL.faces],
        part_labels=MODEL.part_labels[order],
        keypoint_vertices=new_number[MODEL.keypoint_vertices],
    )
    embeddings = TruthEyes().vertex_embeddings
    carried = on_template(embeddings, other)
    # The first hundred functions of a mesh keep what is smooth: a cosine of 0.99 is 6 % of the body.
    assert (carried * embeddings[order]).sum(1).quantile(0.05) > 0.98
    assert on_template(embeddings, MODEL) is embeddings
