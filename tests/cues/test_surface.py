"""The surface cue names the vertices that pixels show; what it reads is checked."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch.nn.functional import interpolate, normalize

from animal4d.cues.cache import cached
from animal4d.cues.surface import CsePredictions, Detection, SurfacePoints, match_pixels
from animal4d.errors import Animal4dError
from animal4d.geometry.cameras import project
from animal4d.geometry.spectral import laplace_beltrami
from cues.surface_files import (
    FACES,
    FRAMES,
    NUMBERS,
    VERTICES,
    K,
    Predictions,
    landscape_clip,
    rendered_predictions,
    true_embeddings,
)


@pytest.fixture(scope="module")
def embeddings() -> torch.Tensor:
    return torch.from_numpy(true_embeddings(laplace_beltrami(VERTICES, FACES, K))).float()


@pytest.fixture(scope="module")
def scene(embeddings):
    """Clip, its vertices in the camera, and predictions for it with an entry in front for the frame left out."""
    clip, vertices = landscape_clip()
    predictions = rendered_predictions(clip, vertices, embeddings)
    return clip, vertices, Predictions({key: [None, *items] for key, items in predictions.entries.items()})


@pytest.mark.golden
def test_golden_nearest_vertex_and_cycle(golden_dir):
    golden = {key: torch.from_numpy(value) for key, value in np.load(golden_dir / "surface_embedding.npz").items()}
    pixels, vertices = golden["image_embedding"].flatten(0, 2), golden["mesh_embedding"]
    nearest, _ = match_pixels(pixels, vertices)
    torch.testing.assert_close(nearest, golden["nearest_vertex"])
    inside = golden["mask"].flatten() > 0
    cycle = torch.zeros(len(pixels))
    cycle[inside] = match_pixels(pixels[inside], vertices)[1]
    torch.testing.assert_close(cycle, golden["cycle"].flatten(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pairs", [1, 7 * 90, 1 << 22])
def test_matching_in_pieces_equals_the_plain_product_of_softmaxes(monkeypatch, pairs):
    monkeypatch.setattr("animal4d.cues.surface._SIMILARITIES", pairs)
    generator = torch.Generator().manual_seed(0)
    vertices = normalize(torch.randn(90, 16, generator=generator, dtype=torch.float64), dim=-1)
    # Twins of a pixel share the way home.
    pixels = normalize(vertices[:40] + 0.2 * torch.randn(40, 16, generator=generator, dtype=torch.float64), dim=-1)
    pixels = torch.cat((pixels, pixels[:5]))
    nearest, cycle = match_pixels(pixels, vertices)
    cosines = pixels @ vertices.T / 1e-5
    torch.testing.assert_close(nearest, cosines.argmax(1))
    torch.testing.assert_close(cycle, (cosines.softmax(1) * cosines.softmax(0)).sum(1))
    assert (cycle[:5] <= 0.5 + 1e-9).all() and (cycle[:5] > 0.4).any()


def test_maps_are_pasted_as_by_bilinear_interpolation_of_the_box():
    generator = torch.Generator().manual_seed(0)
    embedding, segmentation = (torch.randn(n, 112, 112, generator=generator) for n in (16, 2))
    detection = Detection(embedding, segmentation, torch.tensor([20.0, 30.0, 170.0, 100.0]), 0.9)
    rows, columns = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(300) + 0.5, indexing="ij")
    found, animal = detection.at(torch.stack((columns, rows), dim=-1).flatten(0, 1))
    expected = torch.zeros(16, 200, 300)
    expected[:, 30:100, 20:170] = interpolate(embedding[None], (70, 150), mode="bilinear", align_corners=False)[0]
    logits = interpolate(segmentation[None], (70, 150), mode="bilinear", align_corners=False)[0]
    foreground = torch.zeros(200, 300, dtype=torch.bool)
    foreground[30:100, 20:170] = logits[1] > logits[0]
    torch.testing.assert_close(found.T.reshape(16, 200, 300), expected, rtol=1e-3, atol=1e-3)
    assert (animal.reshape(200, 300) != foreground).float().mean() < 1e-4


def test_pixels_are_given_the_vertices_that_they_show(scene, embeddings, tmp_path):
    """The projected vertex lies within a pixel or two of the original frame, in which the mesh is 4 pixels wide.

    Only away from outlines is that so for nearly all pixels: there, bilinear maps mix the animal with what is behind.
    """
    clip, vertices, predictions = scene
    path = predictions.write(tmp_path / "seq_200_cse_predictions.pk")
    points = CsePredictions(path, embeddings, NUMBERS)(clip)
    filled = points.confidence > 0
    assert points.pixels.shape == (FRAMES, 1000, 2)
    assert (filled.sum(1) > 300).all()
    assert (points.confidence[filled] > 0.5).all() and (points.confidence <= 1).all()
    shown = vertices.gather(1, points.vertices[..., None].expand(-1, -1, 3))
    errors = project(shown, clip.crop.original_intrinsics(clip.intrinsics)) - points.pixels
    errors = errors.norm(dim=-1)
    from_outline = torch.stack([torch.from_numpy(distance_transform_edt(mask > 0.5)) for mask in clip.masks.numpy()])
    column, row = clip.crop.from_original(points.pixels).floor().long().clamp(0, 159).unbind(-1)
    interior = filled & (from_outline[torch.arange(FRAMES)[:, None], row, column] > 6)
    print("pixels: median", errors[filled].median(), "interior 95 %", errors[interior].quantile(0.95))
    assert errors[filled].median() < 2.0
    assert interior.sum() > 300
    assert errors[interior].quantile(0.95) < 4.0


def test_frames_without_detection_or_mask_have_no_points(scene, embeddings, tmp_path):
    """Missing, of another class, too unsure, no mask; a second, better dog is preferred."""
    clip, _, predictions = scene
    entries = copy.deepcopy(predictions.entries)
    for items in entries.values():
        items[1] = None
    entries["pred_classes"][2] = np.array([2])
    entries["scores"][3] = np.array([0.5])
    provider = CsePredictions(Predictions(entries).write(tmp_path / "a.pk"), embeddings, NUMBERS)
    assert (provider(clip).confidence > 0).any(1).tolist() == [False, False, False, True]

    for key in ("E", "S", "bboxes_x1y1x2y2", "scores", "pred_classes"):
        value = entries[key][4]
        entries[key][4] = np.concatenate([value, value])
    entries["E"][4][0] = 0
    entries["scores"][4] = np.array([0.8, 0.95])
    better = CsePredictions(Predictions(entries).write(tmp_path / "b.pk"), embeddings, NUMBERS)
    assert better.detections(clip)[3].score == pytest.approx(0.95)  # pyright: ignore[reportOptionalMemberAccess]
    torch.testing.assert_close(better(clip).vertices, provider(clip).vertices)

    dark = replace(clip, masks=torch.zeros_like(clip.masks), mask_valid=torch.zeros(FRAMES, dtype=torch.bool))
    assert not (better(dark).confidence > 0).any()


def test_the_cue_is_cached_and_seeded(scene, embeddings, tmp_path):
    clip, _, predictions = scene
    path = predictions.write(tmp_path / "a.pk")
    provider = CsePredictions(path, embeddings, NUMBERS, points=50)
    first, note = cached(provider, clip, tmp_path, SurfacePoints.from_arrays)
    again, _ = cached(provider, clip, tmp_path, SurfacePoints.from_arrays)
    torch.testing.assert_close(again.pixels, first.pixels)
    torch.testing.assert_close(provider(clip).vertices, first.vertices)
    assert (first.confidence > 0).all()
    other, changed = cached(replace(provider, seed=1), clip, None, SurfacePoints.from_arrays)
    assert changed["config"] != note["config"] and not torch.equal(other.pixels, first.pixels)


def broken(entries, fault):
    entries = copy.deepcopy(entries)
    if fault == "E missing":
        del entries["E"]
    elif fault == "one list shorter":
        entries["S"].pop()
    elif fault == "too many frames":
        for items in entries.values():
            items.append(None)
    elif fault == "too few frames":
        for items in entries.values():
            items.pop()
    elif fault == "half a frame":
        entries["S"][2] = None
    elif fault == "E of another size":
        entries["E"][2] = entries["E"][2][:, :, :56]
    elif fault == "scores of text":
        entries["scores"][2] = "high"
    elif fault == "ragged E":
        entries["E"][2] = [[1.0], [1.0, 2.0]]
    elif fault == "NaN in E":
        entries["E"][2][0, 3, 5, 5] = np.nan
    elif fault == "NaN score":
        entries["scores"][2] = np.array([np.nan])
    elif fault == "infinite box":
        entries["bboxes_x1y1x2y2"][2] = np.array([[0, 0, np.inf, 3]])
    elif fault == "empty box":
        entries["bboxes_x1y1x2y2"][2] = np.array([[5.0, 5, 5, 9]])
    elif fault == "a list":
        return [1, 2]
    return entries


@pytest.mark.parametrize(
    "fault",
    [
        "E missing",
        "one list shorter",
        "too many frames",
        "too few frames",
        "half a frame",
        "E of another size",
        "scores of text",
        "ragged E",
        "NaN in E",
        "NaN score",
        "infinite box",
        "empty box",
        "a list",
        "truncated",
        "missing",
    ],
)
def test_broken_files_are_named_in_one_line(scene, embeddings, tmp_path, fault):
    clip, _, predictions = scene
    path = tmp_path / "seq_200_cse_predictions.pk"
    if fault == "truncated":
        predictions.write(path)
        path.write_bytes(path.read_bytes()[:-400])
    elif fault != "missing":
        Predictions(broken(predictions.entries, fault)).write(path)
    with pytest.raises(Animal4dError) as caught:
        CsePredictions(path, embeddings, NUMBERS)(clip)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_class_is_refused(scene, embeddings, tmp_path):
    with pytest.raises(Animal4dError, match="camel"):
        CsePredictions(scene[2].write(tmp_path / "a.pk"), embeddings, NUMBERS, wanted_class="camel")(scene[0])
