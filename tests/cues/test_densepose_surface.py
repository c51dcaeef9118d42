"""Surface points by DensePose, with a network that is told what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.pretrained.told_network import ToldNetwork, outlined

from animal4d.cues import densepose_surface
from animal4d.cues.cache import cached
from animal4d.cues.densepose_surface import DensePoseSurface, detections_in_frame
from animal4d.cues.surface import CsePredictions, SurfacePoints
from animal4d.errors import Animal4dError
from animal4d.geometry.spectral import laplace_beltrami
from animal4d.pretrained.densepose.network import AnimalSurface
from cues.surface_files import (
    FACES,
    FRAMES,
    NUMBERS,
    VERTICES,
    K,
    landscape_clip,
    rendered_predictions,
    true_embeddings,
)


class Told:
    """A way to the template that knows it."""

    def __init__(self, embeddings: torch.Tensor) -> None:
        self.embeddings = embeddings
        self.asked: list[str] = []

    def fingerprint(self) -> list[str]:
        return ["told"]

    def check(self) -> None:
        pass

    def of(self, category: str, embedder: Any) -> torch.Tensor:
        del embedder
        self.asked.append(category)
        return self.embeddings


@pytest.fixture(scope="module")
def scene():
    """A clip, what is to be seen in its working images, and the predictions' file that says the same."""
    clip, vertices = landscape_clip()
    embeddings = torch.from_numpy(true_embeddings(laplace_beltrami(VERTICES, FACES, K))).float()
    predictions = rendered_predictions(clip, vertices, embeddings)
    animals = []
    for frame in range(FRAMES):
        entry = {key: torch.from_numpy(np.asarray(items[frame])) for key, items in predictions.entries.items()}
        original = entry["bboxes_x1y1x2y2"].float().reshape(1, 2, 2) * 640 / 800
        box = clip.crop[[frame]].from_original(original).reshape(4)
        animals.append(AnimalSurface("dog", 0.9, box, entry["E"][0].float(), entry["S"][0].float()))
    return clip, animals, predictions, embeddings


def provider(
    seen: Sequence[Sequence[AnimalSurface]], embeddings: torch.Tensor, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> tuple[DensePoseSurface, ToldNetwork, Told]:
    network, way = ToldNetwork(seen), Told(embeddings)
    monkeypatch.setattr(densepose_surface, "load_densepose", lambda path, device: network)
    return DensePoseSurface(Path("model.pkl"), way, **changes), network, way  # pyright: ignore[reportArgumentType]


def test_the_points_are_those_of_a_file_with_the_same_maps(scene, monkeypatch, tmp_path):
    clip, animals, predictions, embeddings = scene
    made, network, way = provider([[animal] for animal in animals], embeddings, monkeypatch, points=9000)
    points = made(clip)
    path = predictions.write(tmp_path / "a.pk")
    expected = CsePredictions(path, embeddings, NUMBERS[1:], points=9000)(clip)

    def triples(points: SurfacePoints) -> set[tuple[float, ...]]:
        rows = torch.cat((points.pixels, points.vertices[..., None]), dim=-1)
        return {(frame, *row) for frame in range(FRAMES) for row in rows[frame][points.confidence[frame] > 0].tolist()}

    # Boxes are the same but for rounding, which the cycle test at its low temperature feels.
    assert len(triples(points) & triples(expected)) > 0.97 * len(triples(points) | triples(expected))
    assert (points.confidence > 0).sum() > 1000
    assert way.asked == ["dog"] and network.channel_orders == ["bgr"] * FRAMES
    np.testing.assert_array_equal(network.shown[1], clip.frames[1].numpy())


def test_the_masked_animal_is_taken_whatever_it_is_called(scene, monkeypatch):
    """A surer animal elsewhere in the picture is not it; most frames decide what it is."""
    clip, animals, _, embeddings = scene
    elsewhere = replace(animals[0], score=0.99, category="zebra", box=torch.tensor([0.0, 0.0, 30.0, 30.0]))
    seen = [[replace(animal, category="horse"), elsewhere] for animal in animals]
    seen[2] = [replace(animals[2], category="sheep", score=0.95)]
    made, _, way = provider(seen, embeddings, monkeypatch)
    points = made(clip)
    assert way.asked == ["horse"]
    assert ((points.confidence > 0).sum(1) > 300).all()

    told, _, way = provider(seen, embeddings, monkeypatch, category="sheep")
    only = told(clip)
    assert way.asked == ["sheep"]
    assert (only.confidence > 0).any(1).tolist() == [False, False, True, False]


def test_frames_without_mask_are_not_looked_at(scene, monkeypatch):
    clip, animals, _, embeddings = scene
    valid = torch.tensor([True, False, True, True])
    hidden = replace(clip, masks=clip.masks * valid[:, None, None], mask_valid=valid)
    progress: list[tuple[str, int, int]] = []
    seen = [[animals[0]], [], [animals[3]]]
    made, network, _ = provider(
        seen, embeddings, monkeypatch, channel_order="rgb", progress=lambda *step: progress.append(step)
    )
    points = made(hidden)
    assert (points.confidence > 0).any(1).tolist() == [True, False, False, True]
    assert network.channel_orders == ["rgb"] * 3
    assert [done for _, done, _ in progress] == [1, 2, 3, 4]


def test_what_is_not_seen_or_not_known_is_said_in_one_line(scene, monkeypatch):
    clip, _, _, embeddings = scene
    made, _, _ = provider([[]] * FRAMES, embeddings, monkeypatch)
    with pytest.raises(Animal4dError, match="landscape: DensePose sees no animal under the masks of any frame"):
        made(clip)
    made, _, _ = provider([[]] * FRAMES, embeddings, monkeypatch, category="camel")
    with pytest.raises(Animal4dError, match='"camel" is nothing that DensePose sees'):
        made(clip)


def test_the_cue_is_cached_by_everything_that_changes_it(scene, monkeypatch, tmp_path):
    clip, animals, _, embeddings = scene
    seen = [[animal] for animal in animals]
    made, _, _ = provider(seen, embeddings, monkeypatch)
    first, note = cached(made, clip, tmp_path, SurfacePoints.from_arrays)
    again, network, _ = provider(seen, embeddings, monkeypatch)
    kept, same = cached(again, clip, tmp_path, SurfacePoints.from_arrays)
    assert note == same and network.shown == []
    torch.testing.assert_close(kept.pixels, first.pixels)
    other, _, _ = provider(seen, embeddings, monkeypatch, channel_order="rgb")
    assert cached(other, clip, None, SurfacePoints.from_arrays)[1]["config"] != note["config"]


def test_original_frames_are_shown_as_the_padded_square():
    """As in the published files: scaled to fit, in the upper left corner."""
    animals = [outlined(torch.ones(112, 112).bool(), [0, 0, 300, 200], "cow", score) for score in (0.6, 0.9, 0.8)]
    network = ToldNetwork([animals, []])
    frame = np.full((240, 480, 3), 200, np.uint8)
    frame[:, 240:] = 50
    found = detections_in_frame(network, frame, most=2)  # pyright: ignore[reportArgumentType]
    assert [(category, detection.score) for category, detection in found] == [("cow", 0.9), ("cow", 0.8)]
    torch.testing.assert_close(found[0][1].box, torch.tensor([0.0, 0.0, 300.0, 200.0]))
    shown = network.shown[0]
    assert shown.shape == (800, 800, 3) and not shown[400:].any()
    assert (shown[:400, :395] == 200).all() and (shown[:400, 405:] == 50).all()
    assert detections_in_frame(network, frame, most=2) == []  # pyright: ignore[reportArgumentType]
