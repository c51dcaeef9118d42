"""Masks by DensePose's segmentation, with a network that is told what it sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.pretrained.told_network import ToldNetwork, outlined

from animal4d.errors import Animal4dError
from animal4d.pretrained.densepose.network import AnimalSurface
from animal4d.readers import masks_by_densepose
from animal4d.readers.folder import FolderSource
from animal4d.readers.mask_finders import NOWHERE, Place
from animal4d.readers.masks_by_densepose import DensePoseMaskFinder
from animal4d.readers.masks_in_windows import FoundMasks

HEIGHT, WIDTH, COUNT, RADIUS = 120, 200, 5, 22
ROWS, COLUMNS = np.indices((HEIGHT, WIDTH)) + 0.5


def disc(x: float, y: float) -> np.ndarray:
    return np.hypot(COLUMNS - x, ROWS - y) < RADIUS


def seen(x: float, y: float, score: float = 0.9, cut: tuple[int, int] | None = None) -> AnimalSurface:
    """A disc in its box, as the maps show it; the box may be cut by the frame."""
    box = np.array([x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS])
    if cut is not None:
        box = box.clip(0, [cut[1], cut[0], cut[1], cut[0]])
    steps = (np.arange(112) + 0.5) / 112
    columns, rows = box[0] + (box[2] - box[0]) * steps, box[1] + (box[3] - box[1]) * steps
    inside = np.hypot(columns[None] - x, rows[:, None] - y) < RADIUS
    return outlined(torch.from_numpy(inside), box.tolist(), "cat", score)


PATH = [(60.0 + 12 * index, 60.0) for index in range(COUNT)]


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    rng = np.random.default_rng(0)
    ground, coat = rng.integers(0, 100, (HEIGHT, WIDTH, 3)), rng.integers(150, 250, (HEIGHT, WIDTH, 3))
    for index, place in enumerate(PATH):
        frame = np.where(disc(*place)[..., None], np.roll(coat, 12 * index, axis=1), ground).astype(np.uint8)
        Image.fromarray(frame).save(tmp_path / f"{index:05d}.png")
    return FolderSource(tmp_path, None)


def found(
    source: FolderSource,
    animals: list[list[AnimalSurface]],
    monkeypatch: pytest.MonkeyPatch,
    place: Place = NOWHERE,
) -> tuple[FoundMasks, list[np.ndarray]]:
    monkeypatch.setattr(masks_by_densepose, "load_densepose", lambda path, device: ToldNetwork(animals))
    made = DensePoseMaskFinder(Path("model.pkl"))(source, source.select(0, None, 1, None), place)
    return made, [np.zeros((HEIGHT, WIDTH)) if mask is None else mask for mask in made.read()]


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(((mask > 0.5) & truth).sum() / ((mask > 0.5) | truth).sum())


def test_the_segmentation_lies_where_the_animal_is(source, monkeypatch):
    made, masks = found(source, [[seen(*place)] for place in PATH], monkeypatch)
    assert min(overlap(mask, disc(*place)) for mask, place in zip(masks, PATH, strict=True)) > 0.93
    assert made.description == "found by DensePose" and len(made.warnings) == 1 and "segmenter" in made.warnings[0]


def test_one_animal_is_followed_and_may_be_lost(source, monkeypatch):
    """A second one stands still and is surer in some frames; the first is gone for one."""
    other = (160.0, 25.0)
    animals = [[seen(*place, score=0.97 if index == 2 else 0.7)] for index, place in enumerate(PATH)]
    for index in range(COUNT):
        animals[index].append(seen(*other, score=0.9))
    animals[1] = [seen(*other, score=0.95)]
    made, masks = found(source, animals, monkeypatch)
    assert [overlap(masks[index], disc(*PATH[index])) > 0.9 for index in range(COUNT)] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert not masks[1].any() and "lost the animal in frame 1" in made.warnings[1]
    # The user wants the other one, by a box or by a point.
    for place in (Place(box=(130.0, 2.0, 55.0, 50.0)), Place(point=other)):
        _, masks = found(source, animals, monkeypatch, place)
        assert all(overlap(mask, disc(*other)) > 0.8 for mask in masks)


def test_animals_at_the_border_are_cut_by_it(source, monkeypatch):
    edge = [(5.0, 60.0), (5.0, 60.0), (100.0, 118.0), (100.0, 118.0), (100.0, 118.0)]
    animals = [[seen(*place, cut=(HEIGHT, WIDTH))] for place in edge]
    _, masks = found(source, animals[2:] + animals[2:4], monkeypatch)
    assert all(overlap(mask, disc(*edge[2])) > 0.8 for mask in masks)


def test_nothing_seen_is_said_in_one_line(source, monkeypatch):
    with pytest.raises(Animal4dError, match="DensePose sees no animal in any frame") as caught:
        found(source, [[]] * COUNT, monkeypatch)
    assert "\n" not in str(caught.value) and str(source.path) in str(caught.value)
    animals = [[seen(*place)] for place in PATH]
    with pytest.raises(Animal4dError, match=r"--point 190,110: DensePose sees no animal there"):
        found(source, animals, monkeypatch, Place(point=(190.0, 110.0)))
    with pytest.raises(Animal4dError, match=r"--box 150,80,40,30: DensePose sees no animal there"):
        found(source, animals, monkeypatch, Place(box=(150.0, 80.0, 40.0, 30.0)))
    with pytest.raises(Animal4dError, match="--point"):
        found(source, animals, monkeypatch, Place(point=(900.0, 5.0)))
    with pytest.raises(Animal4dError, match=r"model\.pkl: cannot be read"):
        monkeypatch.undo()
        DensePoseMaskFinder(Path("model.pkl"))(source, source.select(0, None, 1, None))
