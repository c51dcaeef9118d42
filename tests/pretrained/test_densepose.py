"""DensePose CSE in plain torch: against Detectron2's own numbers, and its parts against the obvious way."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from tests.pretrained.densepose_files import densepose_weights, seeded, write_densepose
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.pretrained.densepose import picture as picture_module
from animal4d.pretrained.densepose.boxes import best_of_overlapping, clipped, grid_anchors, moved_boxes, overlaps
from animal4d.pretrained.densepose.heads import Embedder
from animal4d.pretrained.densepose.load import checked_weights, load_densepose
from animal4d.pretrained.densepose.meshes import CATEGORIES, MESH_OF, MESH_VERTICES
from animal4d.pretrained.densepose.network import DensePoseCse
from animal4d.pretrained.densepose.picture import network_picture, network_size, resized
from animal4d.pretrained.densepose.roi_align import roi_align, roi_align_pyramid


def close(found: Tensor, golden: np.ndarray) -> None:
    """Relative to the largest number, as asked of features and heads."""
    expected = torch.from_numpy(golden)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-3 * float(expected.abs().max())


def assert_same_set(
    boxes: Tensor, scores: Tensor, golden_boxes: np.ndarray, golden_scores: np.ndarray, classes: Tensor | None = None
) -> None:
    """Nearly every golden box has one of ours on it with the same score (and class)."""
    expected, score = torch.from_numpy(golden_boxes), torch.from_numpy(golden_scores)
    fits = (overlaps(expected, boxes) > 0.99) & ((score[:, None] - scores[None]).abs() < 1e-3)
    if classes is not None:
        fits &= classes
    assert fits.any(1).float().mean() >= 0.98
    assert len(boxes) == len(expected)


@pytest.mark.golden
@torch.no_grad()
def test_golden_network(golden_dir: Path, golden_seed: int, golden_recipe):
    golden = dict(np.load(golden_dir / "densepose_cse.npz"))
    weights = {}
    for name, shape in zip(golden["names"].tolist(), golden["shapes"].tolist(), strict=True):
        values = golden_recipe.cse_weight(name, tuple(map(int, shape.split())), golden_seed)
        weights[name] = torch.from_numpy(np.asarray(values, np.float32))
    with torch.device("meta"):
        network = DensePoseCse()
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in weights.items()
    }
    network.load_state_dict(weights, assign=True)
    network.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    heads = network.roi_heads

    image = np.ascontiguousarray(golden["image_bgr"][..., ::-1])
    shown = network_picture(image)
    assert shown.size == tuple(golden["resized"]) and shown.pixels.shape == tuple(golden["padded"])
    np.testing.assert_array_equal(resized(image)[:8, :8, ::-1], golden["resized_corner"])

    pyramid = network.backbone(shown.pixels)
    for number, level in enumerate(pyramid, start=2):
        close(level[0, ::16, ::4, ::4], golden[f"feature_p{number}"])

    proposals = network.proposal_generator(pyramid, shown.size)
    best = slice(len(golden["proposal_boxes"]))
    assert_same_set(proposals.boxes[best], proposals.logits[best], golden["proposal_boxes"], golden["proposal_logits"])
    logits, deltas = heads.look(pyramid, torch.from_numpy(golden["proposal_boxes"][:20]))
    close(logits, golden["box_class_logits"])
    close(deltas, golden["box_deltas"])

    found = heads.find(pyramid, proposals, shown.size, float(golden["score_threshold"]))
    boxes = clipped(shown.to_original(found.boxes), shown.original_size)
    same_class = torch.from_numpy(golden["classes"])[:, None] == found.classes[None]
    assert_same_set(boxes, found.scores, golden["boxes"], golden["scores"], same_class)

    # The golden maps are of its own first detections, in its order.
    order = [int(overlaps(torch.from_numpy(golden["boxes"][[i]]), boxes).argmax()) for i in range(3)]
    fixed = torch.from_numpy(golden["fixed_boxes"])
    maps = heads.surface(pyramid, torch.cat((fixed, found.boxes[order])))
    assert maps.embedding[:3].shape == tuple(golden["head_size"])
    close(maps.embedding[:3, :, ::4, ::4], golden["fixed_embedding"])
    close(maps.segmentation[:3, :, ::4, ::4], golden["fixed_segmentation"])
    close(maps.embedding[3:, :, ::4, ::4], golden["embedding"])
    close(maps.segmentation[3:, :, ::4, ::4], golden["segmentation"])


def plain_roi_align(level: np.ndarray, box: np.ndarray, stride: int, side: int) -> np.ndarray:
    """Sample by sample, as RoIAlign without the later half-pixel shift is defined."""
    channels, height, width = level.shape

    def at(y: float, x: float) -> np.ndarray:
        if y < -1 or x < -1 or y > height or x > width:
            return np.zeros(channels)
        y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = level[:, top, left] * (1 - x + left) + level[:, top, right] * (x - left)
        lower = level[:, bottom, left] * (1 - x + left) + level[:, bottom, right] * (x - left)
        return upper * (1 - y + top) + lower * (y - top)

    left, top, right, bottom = box / stride
    cell_width, cell_height = max(right - left, 1.0) / side, max(bottom - top, 1.0) / side
    result = np.zeros((channels, side, side))
    for row in range(side):
        for column in range(side):
            samples = [
                at(top + (row + dy) * cell_height, left + (column + dx) * cell_width)
                for dy in (0.25, 0.75)
                for dx in (0.25, 0.75)
            ]
            result[:, row, column] = np.mean(samples, axis=0)
    return result


places = st.floats(-60, 160)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 9)),
    st.lists(st.tuples(places, places, st.floats(0, 150), st.floats(0, 150)), min_size=1, max_size=3),
    st.sampled_from([4, 8, 32]),
    st.integers(1, 4),
)
def test_roi_align_is_the_mean_of_its_samples(size, corners_and_sizes, stride, side):
    """Also beyond the map, for boxes without extent and maps of one pixel."""
    level = np.random.default_rng(0).normal(size=(3, *size))
    boxes = np.array([[x, y, x + width, y + height] for x, y, width, height in corners_and_sizes])
    found = roi_align(torch.from_numpy(level), torch.from_numpy(boxes), stride, side)
    expected = np.stack([plain_roi_align(level, box, stride, side) for box in boxes])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_boxes_are_read_on_the_level_of_their_size():
    """A box of 224 pixels belongs to p4, half and double sizes one level further; larger ones to the last."""
    levels = tuple(torch.full((1, 1, 256 >> n, 256 >> n), float(n + 2)) for n in range(4))
    sides = torch.tensor([10.0, 111.0, 113.0, 223.0, 225.0, 447.0, 449.0, 900.0])
    boxes = torch.cat((torch.zeros(8, 2), sides[:, None].expand(-1, 2)), dim=1)
    found = roi_align_pyramid(levels, boxes, (4, 8, 16, 32, 64), 1)
    assert found.flatten().tolist() == [2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0]


coordinates = st.integers(0, 12)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates, st.integers(0, 2)), max_size=14),
    st.sampled_from([0.3, 0.5, 0.7]),
    st.integers(0, 1000),
)
def test_the_best_of_overlapping_boxes_stay(rows, most_overlap, seed):
    """Against the obvious loop; boxes may be empty, scores are all different."""
    boxes = torch.tensor([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d, _ in rows]).reshape(-1, 4)
    groups = torch.tensor([row[-1] for row in rows], dtype=torch.long)
    scores = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows))).double()

    def overlap(a: list[float], b: list[float]) -> float:
        inner = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
        return inner / union if union > 0 else 0.0

    expected: list[int] = []
    for place in sorted(range(len(rows)), key=lambda place: -float(scores[place])):
        rivals = [kept for kept in expected if groups[kept] == groups[place]]
        if all(overlap(boxes[kept].tolist(), boxes[place].tolist()) <= most_overlap for kept in rivals):
            expected.append(place)
    assert best_of_overlapping(boxes.double(), scores, groups, most_overlap).tolist() == expected


def test_anchors_have_their_area_and_shape_around_the_grid():
    anchors = grid_anchors((2, 3), 16, 64.0, (0.5, 1.0, 2.0))
    size = anchors[:, 2:] - anchors[:, :2]
    torch.testing.assert_close(size.prod(1), torch.full((18,), 64.0**2))
    torch.testing.assert_close(size[:3, 1] / size[:3, 0], torch.tensor([0.5, 1.0, 2.0]))
    centers = (anchors[:, 2:] + anchors[:, :2]) / 2
    expected = [[16.0 * column, 16.0 * row] for row in range(2) for column in range(3) for _ in range(3)]
    torch.testing.assert_close(centers, torch.tensor(expected), atol=1e-4, rtol=0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4), st.sampled_from([(1.0, 1.0), (10.0, 5.0)]))
def test_boxes_move_by_shares_of_their_size(deltas, weights):
    box = torch.tensor([[10.0, 20.0, 50.0, 100.0]], dtype=torch.float64)
    moved = moved_boxes(box, torch.tensor([deltas], dtype=torch.float64), weights)[0]
    center, size = (moved[2:] + moved[:2]) / 2, moved[2:] - moved[:2]
    dx, dy, dw, dh = (d / w for d, w in zip(deltas, np.repeat(weights, 2), strict=True))
    np.testing.assert_allclose(center, [30 + 40 * dx, 60 + 80 * dy], atol=1e-9)
    np.testing.assert_allclose(size, [40 * math.exp(dw), 80 * math.exp(dh)], rtol=1e-9)
    # No box grows by more than 1000 / 16 at once.
    huge = moved_boxes(box, torch.full((1, 4), 99.0, dtype=torch.float64), weights)[0]
    assert float(huge[2] - huge[0]) == pytest.approx(40 * min(1000 / 16, math.exp(99 / weights[1])))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((240, 300), (800, 1000)), ((800, 800), (800, 800)), ((1080, 1920), (750, 1333)), ((1920, 1080), (1333, 750))],
)
def test_the_shorter_side_becomes_800_and_the_longer_1333_at_most(size, expected):
    assert network_size(*size) == expected


def test_the_network_gets_bgr_and_the_published_mistake_is_a_switch():
    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    right, published = network_picture(image), network_picture(image, "rgb")
    swapped = network_picture(np.ascontiguousarray(image[..., ::-1]))
    torch.testing.assert_close(published.pixels, swapped.pixels)
    assert not torch.equal(right.pixels, published.pixels)
    blue = float(resized(image)[5, 7, 2])
    assert float(right.pixels[0, 0, 5, 7]) == pytest.approx(blue - 103.53, abs=1e-3)
    # The padding is what the mean colour is: nothing.
    assert right.pixels.shape == (1, 3, 800, 1024) and not right.pixels[..., 1000:].any()


def test_meshes_of_the_published_configuration():
    assert MESH_OF["dog"] == "dog_7466" and MESH_OF["bear"] == "bear_4936" and MESH_OF["sheep"] == "sheep_5004"
    assert set(MESH_OF) == set(CATEGORIES) and len(CATEGORIES) == 9
    embedder = Embedder()
    module = embedder.get_submodule("embedder_cow_5002")
    torch.nn.init.normal_(module.features)  # pyright: ignore[reportArgumentType]
    torch.nn.init.normal_(module.embeddings)  # pyright: ignore[reportArgumentType]
    found = embedder.vertex_embeddings("cow_5002")
    assert found.shape == (MESH_VERTICES["cow_5002"], 16)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5002))


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = densepose_weights()
    # Older files hold constants of the code as well.
    weights["pixel_mean"] = np.zeros((3, 1, 1), np.float32)
    weights["proposal_generator.anchor_generator.cell_anchors.0"] = np.zeros((3, 4), np.float32)
    return write_densepose(tmp_path_factory.mktemp("weights") / "model_final_8c9d99.pkl", weights)


def test_a_file_as_detectron2_writes_it_is_read_and_looked_through(weights_file, monkeypatch):
    network = load_densepose(weights_file)
    name = "roi_heads.densepose_predictor.embed_lowres.weight"
    np.testing.assert_array_equal(network.state_dict()[name].numpy(), seeded(name, (512, 16, 4, 4)))
    monkeypatch.setattr(picture_module, "SHORTER_SIDE", 128)  # a fortieth of the time
    image = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    glance = network.glance(image, least_score=0.1)
    assert len(glance.boxes) > 0
    corners = glance.boxes
    assert (corners >= 0).all() and (corners[:, 2] <= 90).all() and (corners[:, 3] <= 60).all()
    assert (glance.found.scores.diff() <= 0).all()
    first, second = network.surfaces(glance, [1, 0])
    assert second.score >= first.score and first.category in CATEGORIES
    assert first.embedding.shape == (16, 112, 112) and first.segmentation.shape == (2, 112, 112)
    torch.testing.assert_close(first.box, corners[1])
    assert network.surfaces(glance, []) == []


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def names_only(**first: object) -> dict[str, object]:
    """All names; only the first values are right, which are checked first."""
    with torch.device("meta"):
        names = list(DensePoseCse().state_dict())
    weights: dict[str, object] = dict.fromkeys(names, np.zeros(1, np.float32))
    return weights | {names[0]: first.get("value", np.zeros((256, 256, 1, 1), np.float32))}


BROKEN = {
    "another network": ({"backbone.conv1.weight": np.zeros(3, np.float32)}, "another network"),
    "one more layer": (names_only() | {"roi_heads.mask_head.weight": np.zeros(3)}, "has roi_heads.mask_head.weight"),
    "other type": (names_only(value=np.zeros((256, 256, 1, 1), np.float16)), "must be float32, got float16"),
    "whole numbers": (names_only(value=np.zeros((256, 256, 1, 1), np.int64)), "must be float32, got int64"),
    "other shape": (names_only(value=np.zeros((256, 128, 1, 1), np.float32)), "must be 256x256x1x1, got 256x128x1x1"),
    "NaN": (names_only(value=np.full((256, 256, 1, 1), np.nan, np.float32)), "NaN"),
    "no array": (names_only(value="abc"), "must be an array, got str"),
    "executes": ({"backbone.conv1.weight": Evil()}, "not loaded for safety"),
    "no model": (None, 'no "model"'),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_weights_are_named_in_one_line(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights, words = BROKEN[fault]
    path = write_densepose(tmp_path / "model_final_8c9d99.pkl", weights or {})
    with pytest.raises(Animal4dError) as caught:
        load_densepose(path)
    message = str(caught.value)
    assert path.name in message and words in message and "\n" not in message and len(message) < 400
    assert not (tmp_path / "executed").exists()


def test_truncated_missing_and_foreign_files_are_named(weights_file, tmp_path):
    cut = tmp_path / "cut.pkl"
    with weights_file.open("rb") as file:
        cut.write_bytes(file.read(3_000_000))
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    (tmp_path / "empty.pkl").touch()
    (tmp_path / "page.pkl").write_text("<html>not found</html>")
    for name in ("cut.pkl", "list.pkl", "empty.pkl", "page.pkl", "nowhere.pkl"):
        with pytest.raises(Animal4dError) as caught:
            load_densepose(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_files_of_torch_are_read_as_well(tmp_path):
    """Detectron2's trainer saves `.pth`; here with one wrong type, so that the rest may be missing."""
    path = tmp_path / "model_final.pth"
    torch.save({"model": {name: torch.zeros(1) for name in names_only()}}, path)
    with pytest.raises(Animal4dError, match="must be 256x256x1x1, got 1"):
        checked_weights(path)
