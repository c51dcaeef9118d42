"""Parts read off surface points, against the parts that the surface itself shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from animal4d.body.model import PART_NAMES
from animal4d.clip import Clip
from animal4d.cues.cues import CueProviders, make_cues
from animal4d.cues.eyes_pass import EyesPass
from animal4d.cues.eyes_surface import EyesSurface
from animal4d.cues.parts import LEG, NONE, PART_LABELS, TORSO, UNKNOWN, Parts
from animal4d.cues.surface import SurfacePoints
from animal4d.cues.surface_parts import SurfaceParts
from animal4d.geometry.cameras import project
from animal4d.geometry.rasterize import nearest_corners, rasterize
from cues.truth_eyes import MODEL, TruthEyes, painted
from fit.scenes import clip_of_masks, turning_views

SIZE, FRAMES = 160, 3
ORIGINS = torch.tensor([0.1, 0.0, 3.2]).repeat(FRAMES, 1)
VERTICES = MODEL.v_template @ turning_views(FRAMES, yaw=30.0, turn=3.0).transpose(1, 2) + ORIGINS[:, None]
TABLE = torch.tensor([PART_LABELS[name] for name in PART_NAMES], dtype=torch.uint8)


@dataclass(frozen=True, eq=False)
class VisibleVertices:
    """A surface cue without error: visible vertices where they project to, in some of the frames."""

    name: ClassVar[str] = "truth"
    kind: ClassVar[str] = "pretrained"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "surface"
    frames: tuple[int, ...] = tuple(range(FRAMES))

    def config(self) -> dict[str, Any]:
        return {"frames": list(self.frames)}

    def __call__(self, clip: Clip) -> SurfacePoints:
        corners, covered = _drawn(clip)
        pixels, vertices, confidence = (
            torch.zeros(FRAMES, 600, 2),
            torch.zeros(FRAMES, 600).long(),
            torch.zeros(FRAMES, 600),
        )
        projected = clip.crop.to_original(project(VERTICES, clip.intrinsics))
        for frame in self.frames:
            seen = corners[frame][covered[frame]].unique()[::3][:600]
            pixels[frame, : len(seen)], vertices[frame, : len(seen)] = projected[frame, seen], seen
            confidence[frame, : len(seen)] = 0.9
        return SurfacePoints(pixels, vertices, confidence)


def _drawn(clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    fragments = rasterize(VERTICES, MODEL.faces, clip.intrinsics, clip.image_size)
    return nearest_corners(fragments, MODEL.faces), fragments.covered


@pytest.fixture(scope="module")
def clip() -> Clip:
    blank = clip_of_masks(torch.zeros(FRAMES, SIZE, SIZE))
    frames, masks = painted(VERTICES, blank.intrinsics, (SIZE, SIZE))
    crop = replace(blank.crop, origin=blank.crop.origin + 30, scale=2 * blank.crop.scale, original_size=(400, 400))
    return replace(clip_of_masks(masks.float()), frames=frames, crop=crop)


@pytest.fixture(scope="module")
def truth(clip: Clip) -> torch.Tensor:
    corners, covered = _drawn(clip)
    return torch.where(covered, TABLE[MODEL.part_labels[corners]], torch.tensor(NONE, dtype=torch.uint8))


def test_pixels_have_the_part_of_the_surface_that_they_show(clip: Clip, truth: torch.Tensor):
    provider = SurfaceParts(VisibleVertices(), MODEL.part_labels)
    labels = provider(clip).labels
    known = (labels != UNKNOWN) & (truth != NONE)
    # Seams between parts, and between legs that cover each other, are unknown or shifted by a pixel or two.
    assert known.sum() > 0.85 * (truth != NONE).sum()
    assert (labels[known] == truth[known]).float().mean() > 0.95
    assert torch.equal(labels != NONE, clip.masks > 0.5)
    assert {PART_LABELS["head"], PART_LABELS["front_left_leg"], PART_LABELS["back_right_leg"]} <= set(
        labels.unique().tolist()
    )


def test_any_surface_cue_will_do(clip: Clip, truth: torch.Tensor):
    surface = EyesSurface(EyesPass(TruthEyes()), TruthEyes().vertex_embeddings)
    labels = SurfaceParts(surface, MODEL.part_labels)(clip).labels
    known = (labels != UNKNOWN) & (labels != NONE) & (truth != NONE)
    assert known.sum() > 0.7 * (truth != NONE).sum()
    assert (labels[known] == truth[known]).float().mean() > 0.9


def test_frames_without_points_have_no_parts(clip: Clip):
    labels = SurfaceParts(VisibleVertices(frames=(1,)), MODEL.part_labels)(clip).labels
    assert labels.flatten(1).any(1).tolist() == [False, True, False]


@dataclass(frozen=True, eq=False)
class GivenParts:
    """Part masks of some frames, whose legs are all one."""

    name: ClassVar[str] = "given"
    kind: ClassVar[str] = "precomputed"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "parts"
    frames: tuple[int, ...]

    def config(self) -> dict[str, Any]:
        return {"frames": list(self.frames)}

    def __call__(self, clip: Clip) -> Parts:
        labels = torch.full((FRAMES, *clip.image_size), NONE, dtype=torch.uint8)
        for frame in self.frames:
            labels[frame, 20:40] = LEG
            labels[frame, 40:60] = TORSO
        return Parts(labels)


def test_given_part_masks_stay_and_the_others_speak_their_language(clip: Clip):
    given = GivenParts((0, 2))
    labels = SurfaceParts(VisibleVertices(), MODEL.part_labels, given)(clip).labels
    assert torch.equal(labels[[0, 2]], given(clip).labels[[0, 2]])
    legs = {PART_LABELS[name] for name in PART_NAMES if name.endswith("leg")}
    assert LEG in labels[1] and not legs & set(labels[1].unique().tolist())
    every = GivenParts((0, 1, 2))
    assert torch.equal(SurfaceParts(VisibleVertices(), MODEL.part_labels, every)(clip).labels, every(clip).labels)


def test_the_note_tells_what_it_is_made_of(clip: Clip):
    provider = SurfaceParts(VisibleVertices(), MODEL.part_labels)
    others = [
        replace(provider, surface=VisibleVertices(frames=(0,))),
        replace(provider, given=GivenParts((0,))),
        replace(provider, vertex_parts=MODEL.part_labels.flip(0)),
    ]
    assert all(other.config() != provider.config() for other in others)
    cues = make_cues(clip, providers=CueProviders(parts=provider))
    assert [note["kind"] for note in cues.provenance if note["cue"] == "parts"] == ["pretrained"]
