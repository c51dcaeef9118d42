"""Masks of every kind that people bring, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from animal4d.candidates import Choice
from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.readers.load import load_clip

from . import footage

COUNT = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return footage.write_folder(tmp_path / "frames", footage.frames(COUNT))


def _palette(mask: NDArray[np.bool_]) -> Image.Image:
    picture = Image.fromarray(mask.astype(np.uint8) * 2, mode="P")
    picture.putpalette([255, 255, 255, 0, 0, 0, 0, 0, 0])  # index 2 is black: only the index counts
    return picture


def _soft(mask: NDArray[np.bool_]) -> Image.Image:
    blurred = np.clip((np.cumsum(mask, axis=1) / 3), 0, 1) * mask
    return Image.fromarray((blurred * np.linspace(250, 255, mask.shape[1])).astype(np.uint8))


def _alpha(mask: NDArray[np.bool_]) -> Image.Image:
    picture = np.full((*mask.shape, 4), 90, np.uint8)
    picture[..., 3] = mask * 255
    return Image.fromarray(picture)


KINDS = {
    "0/255": lambda mask: Image.fromarray(mask.astype(np.uint8) * 255),
    "0/1": lambda mask: Image.fromarray(mask.astype(np.uint8)),
    "label 38": lambda mask: Image.fromarray(mask.astype(np.uint8) * 38),
    "1 bit": lambda mask: Image.fromarray(mask),
    "palette": _palette,
    "grey + alpha": lambda mask: Image.merge("LA", [KINDS["0/255"](mask), Image.new("L", mask.shape[::-1], 255)]),
    "rgb": lambda mask: Image.fromarray((mask[..., None] * [128, 0, 0]).astype(np.uint8)),
    "cut-out": _alpha,
    "16 bit": lambda mask: Image.fromarray(mask.astype(np.uint16) * 65535),
    "soft": _soft,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_masks(folder: Path, tmp_path: Path, kind: str) -> None:
    expected = load_clip(folder, masks=footage.write_masks(tmp_path / "reference", COUNT))
    (tmp_path / "masks").mkdir()
    for index, mask in enumerate(footage.masks(COUNT)):
        KINDS[kind](mask).save(tmp_path / "masks" / f"{index:05d}.png")
    clip = load_clip(folder, masks=tmp_path / "masks")
    assert clip.mask_valid.all()
    assert clip.masks.max() <= 1
    different = (clip.masks > 0.5) != (expected.masks > 0.5)
    assert different.float().mean() < 0.03
    if kind != "soft":
        torch.testing.assert_close(clip.masks, expected.masks)


def test_mask_video(folder: Path, tmp_path: Path) -> None:
    grey = np.repeat(footage.masks(COUNT)[..., None], 3, axis=-1).astype(np.uint8) * 255
    video = footage.write_video(tmp_path / "masks.mp4", grey)
    expected = load_clip(folder, masks=footage.write_masks(tmp_path / "reference", COUNT), start=1)
    clip = load_clip(folder, masks=video, start=1)
    intersection = ((clip.masks > 0.5) & (expected.masks > 0.5)).sum()
    assert intersection / ((clip.masks > 0.5) | (expected.masks > 0.5)).sum() > 0.9
    with pytest.raises(Animal4dError, match="mask video"):
        load_clip(folder, masks=footage.write_video(tmp_path / "small.mp4", grey[:, :48]))


def test_matching_by_name_order_and_number(folder: Path, tmp_path: Path) -> None:
    expected = load_clip(folder, masks=footage.write_masks(tmp_path / "reference", COUNT))
    masks = footage.masks(COUNT).astype(np.uint8)
    by_order = load_clip(folder, masks=footage.write_folder(tmp_path / "order", masks, stem="mask_{}x"))
    assert torch.equal(by_order.masks, expected.masks)
    assert any("by order" in warning for warning in by_order.warnings)

    video = footage.write_video(tmp_path / "a.mp4", footage.frames(COUNT))
    some = footage.write_folder(tmp_path / "some", masks, stem="m{}")
    (some / "m1.png").unlink()
    clip = load_clip(video, masks=some)
    assert clip.mask_valid.tolist() == [True, False, True, True]
    assert torch.equal(clip.masks[2] > 0.5, load_clip(video, masks=tmp_path / "order").masks[2] > 0.5)

    for file in sorted(some.iterdir())[1:]:
        file.rename(some / f"noname{'a' * len(file.stem)}{file.stem[-1] == '2'}.png")
    with pytest.raises(Animal4dError, match="cannot be matched"):
        load_clip(folder, masks=some)


def _with_masks(folder: Path, where: Path, masks: NDArray[np.bool_]) -> Clip:
    return load_clip(folder, masks=footage.write_folder(where, masks.astype(np.uint8) * 255))


def test_frames_without_a_usable_mask_carry_no_silhouette(tmp_path: Path) -> None:
    folder = footage.write_folder(tmp_path / "frames", footage.frames(6))
    masks = footage.masks(6)
    masks[1] = False
    masks[4] = True
    where = footage.write_folder(tmp_path / "masks", masks.astype(np.uint8) * 255)
    (where / "00002.png").unlink()
    clip = load_clip(folder, masks=where)
    assert clip.mask_valid.tolist() == [True, False, False, True, False, True]
    assert (clip.masks[~clip.mask_valid] == 0).all()
    said = " ".join(clip.warnings)
    for words in ("empty in frame 1", "missing in frame 2", "fills the frame in frame 4"):
        assert words in said


def test_no_usable_mask_at_all(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Animal4dError, match="are empty"):
        _with_masks(folder, tmp_path / "empty", np.zeros_like(footage.masks(COUNT)))
    with pytest.raises(Animal4dError, match="fill the frame"):
        _with_masks(folder, tmp_path / "full", np.ones_like(footage.masks(COUNT)))


def test_masks_of_another_size(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Animal4dError, match=r"00000\.png is 128x48 but the frames are 128x96"):
        _with_masks(folder, tmp_path / "masks", footage.masks(COUNT)[:, ::2])


def test_masks_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    broken = footage.write_masks(tmp_path / "broken", COUNT)
    (broken / "00001.png").write_bytes((broken / "00001.png").read_bytes()[:60])
    for masks, words in [
        (tmp_path / "nowhere", "no such folder or video of masks"),
        (tmp_path / "none", "holds no masks"),
        (broken, r"mask .*00001\.png cannot be read"),
        (None, "--masks.*--box"),
    ]:
        with pytest.raises(Animal4dError, match=words):
            load_clip(folder, masks=masks, eyes=False)


def test_box_starts_grabcut(tmp_path: Path) -> None:
    video = footage.write_video(tmp_path / "a.mp4", footage.frames(10))
    truth = load_clip(video, masks=footage.write_masks(tmp_path / "masks", 10))
    clip = load_clip(video, box=(24, 34, 33, 33), eyes=False)
    assert clip.mask_valid.all() and clip.mask_source == "GrabCut from a box"
    assert any("segmenter" in warning for warning in clip.warnings)
    # Compared where both have it: in pixels of the original frames.
    for index in (0, 9):
        areas = [float((c.masks[index] > 0.5).sum() * c.crop.scale[index] ** 2) for c in (clip, truth)]
        assert areas[0] == pytest.approx(areas[1], rel=0.1)
        assert _center(clip, index) == pytest.approx(_center(truth, index), abs=1.0)


def _center(clip: Clip, index: int) -> list[float]:
    rows, columns = torch.nonzero(clip.masks[index] > 0.5, as_tuple=True)
    center = torch.stack([columns.float().mean(), rows.float().mean()]) + 0.5
    return clip.crop[[index]].to_original(center[None, None])[0, 0].tolist()


@pytest.mark.parametrize(
    "box", [(10, 10, 0, 20), (500, 10, 30, 30), (-30, 10, 35, 30), (float("nan"), 0, 30, 30), (0, 0, 128, 96)]
)
def test_boxes_that_hold_no_animal(folder: Path, box: tuple[float, float, float, float]) -> None:
    with pytest.raises(Animal4dError, match="--box"):
        load_clip(folder, box=box, eyes=False)


def test_a_point_alone_needs_a_network(folder: Path) -> None:
    with pytest.raises(Animal4dError, match=r"--point 50,50 needs the built-in eyes.*GrabCut starts from --box"):
        load_clip(folder, point=(50, 50), providers=Choice(eyes=False, avoid=("sam2",)))


def test_frames_in_the_place_of_masks(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Animal4dError, match="the masks are the frames themselves"):
        load_clip(folder, masks=folder)
    video = footage.write_video(tmp_path / "a.mp4", footage.frames(COUNT))
    with pytest.raises(Animal4dError, match="the masks are the frames themselves"):
        load_clip(video, masks=video)
    silhouettes = np.uint8(255) * footage.masks(COUNT)[..., None].repeat(3, axis=-1)
    white = footage.write_folder(tmp_path / "black", silhouettes)
    assert load_clip(white, masks=white).mask_valid.all()


def test_grey_pictures_are_doubted_and_soft_masks_are_not(folder: Path, tmp_path: Path) -> None:
    grey = footage.write_folder(tmp_path / "grey", footage.frames(COUNT) // 2 + 40)
    assert any("grey in most pixels" in warning for warning in load_clip(folder, masks=grey).warnings)
    rows, columns = np.indices((footage.HEIGHT, footage.WIDTH))
    # An outline of 10 pixels, as wide as that of long fur.
    soft = np.clip(0.5 + (30 - np.hypot(columns - 60, rows - 48)) / 10, 0, 1)
    masks = footage.write_folder(tmp_path / "soft", np.stack([(255 * soft).astype(np.uint8)] * COUNT))
    assert not [warning for warning in load_clip(folder, masks=masks).warnings if "grey" in warning]
