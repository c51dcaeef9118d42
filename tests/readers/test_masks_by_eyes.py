"""Masks from the pixels alone, with eyes that read the truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Look
from animal4d.fit.view_search import view_rotation
from animal4d.geometry.cameras import intrinsics_from_fov
from animal4d.readers.folder import FolderSource
from animal4d.readers.load import load_clip
from animal4d.readers.masks_by_eyes import masks_by_eyes
from animal4d.readers.masks_finding import Find, linked, squares_over
from animal4d.readers.masks_in_tiles import pieces_near, seen_in_tiles, tiles_over, without_others
from animal4d.readers.masks_in_windows import FoundMasks, MaskInWindow, SeenMask, believed, scaled
from animal4d.readers.masks_with_edges import guided_filter
from cues.truth_eyes import MODEL, TruthEyes, painted

HEIGHT, WIDTH, COUNT = 150, 240, 5
LEGS_BELOW = -0.25
"""Height in the template's frame under which there are only legs."""


def frames_of(xs: list[float], yaw: float = 0.4, depth: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Frames and masks of an animal at these places beside the middle."""
    rotation = view_rotation(torch.tensor(yaw), torch.tensor(0.2))
    vertices = MODEL.v_template @ rotation.T
    origins = torch.stack((torch.tensor(xs), torch.zeros(len(xs)), torch.full((len(xs),), depth)), dim=1)
    intrinsics = intrinsics_from_fov(50.0, (HEIGHT, WIDTH)).repeat(len(xs), 1, 1)
    frames, masks = painted(vertices[None] + origins[:, None], intrinsics, (HEIGHT, WIDTH))
    return frames.numpy(), masks.numpy()


def write(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{index:05d}.png")
    return folder


def overlaps(masks: list[np.ndarray], truth: np.ndarray) -> list[float]:
    pairs = [(mask > 0.5, true) for mask, true in zip(masks, truth, strict=True)]
    return [float((a & b).sum() / max((a | b).sum(), 1)) for a, b in pairs]


def read(
    folder: Path, eyes: TruthEyes, box: tuple[float, float, float, float] | None = None
) -> tuple[FoundMasks, list[np.ndarray]]:
    source = FolderSource(folder, None)
    made = masks_by_eyes(source, source.select(0, None, 1, None), eyes, box)
    return made, [np.zeros(0) if mask is None else mask for mask in made.read()]


def test_a_walking_animal_is_found_and_cut_out(tmp_path: Path):
    frames, truth = frames_of(np.linspace(-1.2, 1.2, COUNT).tolist())
    made, masks = read(write(tmp_path / "frames", frames), TruthEyes())
    assert min(overlaps(masks, truth)) > 0.9
    assert any("segmenter" in warning for warning in made.warnings)


def test_the_box_says_which_of_two_animals(tmp_path: Path):
    left, left_mask = frames_of([-1.4] * COUNT)
    right, right_mask = frames_of([1.2] * COUNT, yaw=2.4, depth=6.5)
    both = write(tmp_path / "frames", np.where(left_mask[..., None], left, right))
    for truth in (left_mask, right_mask):
        rows, columns = np.nonzero(truth[0])
        box = float(columns.min()), float(rows.min()), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)
        _, masks = read(both, TruthEyes(), box)
        assert min(overlaps(masks, truth)) > 0.85


class TrustingEyes(TruthEyes):
    """Eyes that believe a mask that they are given, as the network has learnt to."""

    def look(self, images: torch.Tensor, masks: torch.Tensor | None = None) -> Look:
        if masks is None:
            return super().look(images)
        return super().look((images * (masks[..., None] > 0.5)).to(torch.uint8), masks)


def test_an_animal_that_comes_out_behind_another_is_no_part_of_it(tmp_path: Path):
    front, front_mask = frames_of([0.2] * 5)
    back, back_mask = frames_of(np.linspace(0.2, -1.4, 5).tolist(), depth=7.5)
    folder = write(tmp_path / "frames", np.where(front_mask[..., None], front, back))
    _, masks = read(folder, TrustingEyes())
    both = (front_mask | back_mask).astype(float)
    assert min(overlaps(masks, front_mask)) > min(overlaps(list(both), front_mask)) + 0.1


class ForgetfulEyes(TrustingEyes):
    """Trusting eyes that, told nothing, do not see the legs of one side in a crop that holds the whole animal, and
    often not in others."""

    def look(self, images: torch.Tensor, masks: torch.Tensor | None = None) -> Look:
        if masks is not None:
            return super().look(images, masks)
        blind = torch.rand(len(images), generator=torch.Generator().manual_seed(len(self.batches))) < 0.4
        animal = images.amin(-1) > 70
        whole = ~(animal[:, [0, -1]].flatten(1).any(1) | animal[:, :, [0, -1]].flatten(1).any(1))
        blind |= whole
        return super().look(torch.where((blind[:, None, None] & left_legs(images))[..., None], 0, images))


def left_legs(painted_images: torch.Tensor) -> torch.Tensor:
    """Where the painted colours are those of the left side below the trunk."""
    low, high = MODEL.v_template.amin(0), MODEL.v_template.amax(0)
    places = low + (painted_images.float() - 90) / 160 * (high - low)
    return (painted_images.amin(-1) > 70) & (places[..., 1] > 0.02) & (places[..., 2] < LEGS_BELOW)


def test_legs_that_are_seen_now_and_then_are_found_in_every_frame(tmp_path: Path):
    frames, _ = frames_of(np.linspace(-0.4, 0.4, 8).tolist())
    legs = left_legs(torch.from_numpy(frames)).numpy()
    assert legs.sum(axis=(1, 2)).min() > 70
    _, masks = read(write(tmp_path / "frames", frames), ForgetfulEyes())
    found = [float((mask[leg] > 0.5).mean()) for mask, leg in zip(masks, legs, strict=True)]
    # Guided looks at the whole animal alone would find a quarter of them.
    assert min(found) > 0.4 and np.mean(found) > 0.7


@pytest.mark.parametrize("told", [False, True])
def test_tiles_see_what_is_told_where_it_is(told: bool):
    """A thin bar that crosses all tiles, and a second one that the guide leaves out."""
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[20:100, 60:66] = frame[20:100, 100:106] = 200
    box, window = (40.0, 20.0, 80.0, 80.0), (20, 10, 140, 120)
    picture = scaled(frame, window)
    on = SeenMask(window, picture, np.zeros(picture.shape[:2], np.float32))
    guide = MaskInWindow(window, np.indices(on.mask.shape)[1] < 60) if told else None
    foreground = seen_in_tiles(TrustingEyes(), frame, box, on, guide)[..., 0]
    truth = picture[..., 0] > 100
    assert foreground[truth[:, :60].nonzero()].min() > 0.5
    assert (foreground[:, 70:][truth[:, 70:]] > 0.5).all() != told
    assert foreground[:, 55:70].max() < 0.5
    left, top, side = np.array(tiles_over(box)).T
    assert left.min() <= 40 and top.min() <= 20 and (left + side).max() >= 120 and (top + side).max() >= 100


def test_pieces_apart_from_the_mask_are_something_else():
    foreground = np.zeros((60, 100), np.float32)
    foreground[10:50, 10:40] = foreground[50:58, 12:14] = foreground[10:50, 80:90] = 0.9
    mask = np.zeros_like(foreground)
    mask[10:48, 10:40] = 1.0
    kept = pieces_near(np.stack((foreground, 0.5 * foreground), axis=-1), mask)
    assert (kept[:, :50, 0] == foreground[:, :50]).all() and not kept[:, 50:].any()
    assert (kept[..., 1] == 0.5 * kept[..., 0]).all()


@pytest.mark.parametrize(("width", "limb", "added"), [(4, 0.8, True), (4, 0.2, False), (25, 0.8, False)])
def test_only_what_may_be_a_leg_is_added(width: int, limb: float, added: bool):
    """Something juts out from a mask of 30 by 30 pixels: a leg is small, and seen as one."""
    mask = np.zeros((80, 100), np.float32)
    mask[10:40, 10:40] = 1.0
    animal = mask > 0.5
    animal[40:60, 12 : 12 + width] = True
    seen = np.stack((animal, animal * limb), axis=-1).astype(np.float32)
    told = without_others(animal, seen, mask)
    assert (told[mask > 0.5]).all()
    assert told[44:60].any() == added
    assert not (told & ~animal).any()


def moving_bar(count: int) -> tuple[list[SeenMask], np.ndarray]:
    """Frames of a textured bar that moves by two pixels a frame before a textured wall, and its true masks."""
    rng = np.random.default_rng(3)
    wall = cv2.GaussianBlur(rng.integers(0, 120, (60, 100, 3)).astype(np.uint8), (0, 0), 1.5)
    bar = cv2.GaussianBlur(rng.integers(130, 255, (40, 14, 3)).astype(np.uint8), (0, 0), 1.5)
    frames, truth = np.repeat(wall[None], count, axis=0), np.zeros((count, 60, 100), bool)
    for index in range(count):
        frames[index, 10:50, 20 + 2 * index : 34 + 2 * index] = bar
        truth[index, 10:50, 20 + 2 * index : 34 + 2 * index] = True
    return [SeenMask((0, 0, 100, 60), frame, np.zeros((60, 100), np.float32)) for frame in frames], truth


def test_what_is_seen_on_both_sides_is_believed_between():
    seen, truth = moving_bar(12)
    known = [0, 1, 2, 9, 10, 11]
    evidence = [truth[index, ..., None].astype(np.float16) * (index in known) for index in range(12)]
    beliefs = believed(seen, evidence)
    inner = [cv2.erode(bar.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0 for bar in truth]
    for belief, bar, core in zip(beliefs, truth, inner, strict=True):
        assert belief is not None
        assert belief[core].mean() > 0.35
        assert belief[~bar].mean() < 0.02


def test_belief_is_the_faded_mean_where_nothing_moves():
    seen = moving_bar(1)[0] * 4
    evidence = [np.full((60, 100, 1), value, np.float16) for value in (1.0, 0.0, 0.0, 0.5)]
    beliefs = believed(seen, evidence)
    for index, belief in enumerate(beliefs):
        weights = np.array([0.9 ** abs(index - other) for other in range(4)])
        assert belief is not None
        # float16 on the way
        assert belief.mean() == pytest.approx(weights @ [1.0, 0.0, 0.0, 0.5] / weights.sum(), abs=2e-3)


def test_nothing_is_carried_across_a_frame_without_the_animal():
    seen = moving_bar(1)[0] * 5
    ones, zeros = np.ones((60, 100, 2), np.float16), np.zeros((60, 100, 2), np.float16)
    beliefs = believed([*seen[:2], None, *seen[3:]], [ones, ones, None, zeros, zeros])
    assert beliefs[2] is None
    assert [float(belief.mean()) for belief in beliefs if belief is not None] == pytest.approx([1, 1, 0, 0], abs=2e-3)


def test_no_animal_is_one_line_with_the_remedy(tmp_path: Path):
    clutter = np.random.default_rng(0).integers(0, 40, (COUNT, HEIGHT, WIDTH, 3)).astype(np.uint8)
    folder = write(tmp_path / "frames", clutter)
    with pytest.raises(Animal4dError, match=r"no animal is found in .*frames: 0.*--box.*--masks") as raised:
        read(folder, TruthEyes())
    assert "\n" not in str(raised.value)
    with pytest.raises(Animal4dError, match="see no animal there"):
        read(folder, TruthEyes(), (100.0, 60.0, 80.0, 60.0))


@pytest.mark.parametrize("box", [(400.0, 10.0, 50.0, 50.0), (10.0, 10.0, 3.0, 50.0), (float("nan"), 0.0, 30.0, 30.0)])
def test_a_box_outside_of_the_frame(tmp_path: Path, box):
    frames, _ = frames_of([0.0])
    with pytest.raises(Animal4dError, match=r"--box .* is no box"):
        read(write(tmp_path / "frames", frames), TruthEyes(), box)


def test_frames_without_the_animal_have_empty_masks(tmp_path: Path, monkeypatch):
    frames, truth = frames_of([0.0] * COUNT)
    frames[2] = 20
    folder = write(tmp_path / "frames", frames)
    made, masks = read(folder, TruthEyes())
    assert not masks[2].any() and any("lost the animal in frame 2" in warning for warning in made.warnings)
    assert min(overlaps([*masks[:2], *masks[3:]], np.delete(truth, 2, axis=0))) > 0.9
    monkeypatch.setattr("animal4d.readers.load.load_eyes", TruthEyes)
    clip = load_clip(folder, working_size=96)
    assert clip.mask_valid.tolist() == [index != 2 for index in range(COUNT)]
    assert clip.mask_source == "found by the built-in eyes"
    assert any("the mask is empty in frame 2" in warning for warning in clip.warnings)


def test_squares_cover_the_frame():
    covered = np.zeros((HEIGHT, WIDTH), int)
    for left, top, side in squares_over((HEIGHT, WIDTH)):
        if side == round(0.35 * WIDTH):
            covered[max(top, 0) : top + side, max(left, 0) : left + side] += 1
    assert covered.min() >= 1
    assert squares_over((HEIGHT, WIDTH))[0] == (0, (HEIGHT - WIDTH) // 2, WIDTH)


def test_finds_are_linked_by_place():
    def find(x: float, score: float) -> Find:
        return Find((x, 0.0, 50.0, 40.0), score, (0, 0, 60), np.zeros((48, 48), np.float32))

    wall = find(400.0, 0.55)
    path = linked([[find(0.0, 0.6)], [wall, find(10.0, 0.5)], [], [find(20.0, 0.6)]])
    assert [None if found is None else found.box[0] for found in path] == [0.0, 10.0, None, 20.0]
    assert linked([[find(0.0, 0.01)], []]) == [None, None]


def test_the_guided_filter_is_that_of_its_definition():
    """Against windows solved one by one, away from the border."""
    rng = np.random.default_rng(0)
    guide, values = rng.random((9, 9, 3)).astype(np.float32), rng.random((9, 9)).astype(np.float32)
    radius, softness = 1, 0.01
    answers = np.zeros((9, 9, 4))
    for row in range(1, 8):
        for column in range(1, 8):
            window = (slice(row - 1, row + 2), slice(column - 1, column + 2))
            colors, wanted = guide[window].reshape(-1, 3).astype(float), values[window].ravel().astype(float)
            covariance = np.cov(colors.T, bias=True) + softness * np.eye(3)
            slope = np.linalg.solve(covariance, ((colors - colors.mean(0)) * (wanted - wanted.mean())[:, None]).mean(0))
            answers[row, column] = [*slope, wanted.mean() - slope @ colors.mean(0)]
    filtered = guided_filter(guide, values, radius, softness)
    for row in range(2, 7):
        for column in range(2, 7):
            mean = answers[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 4).mean(0)
            assert filtered[row, column] == pytest.approx(mean[:3] @ guide[row, column] + mean[3], abs=1e-4)
