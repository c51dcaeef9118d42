"""The window that follows the animal, and the intrinsics that follow the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.clip import Clip, Crop
from animal4d.errors import Animal4dError
from animal4d.geometry.cameras import project
from animal4d.readers.crop import LEAST_MARGIN, crop_track, cut_image, cut_mask, mask_box
from animal4d.readers.load import load_clip

from . import footage

boxes = st.tuples(st.floats(0, 500), st.floats(0, 300), st.floats(1, 350), st.floats(1, 170))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), boxes), min_size=1, max_size=40).filter(any), st.integers(32, 300))
def test_every_box_lies_in_its_window_with_margin(track: list, working_size: int) -> None:
    crop = crop_track(track, (480, 854), working_size)
    side = crop.scale * working_size
    assert torch.allclose(side, side.round(), atol=1e-3) and torch.equal(crop.origin, crop.origin.round())
    for index, box in enumerate(track):
        if box is None:
            continue
        low = torch.tensor(box[:2]) - crop.origin[index]
        high = crop.origin[index] + side[index] - torch.tensor([box[0] + box[2], box[1] + box[3]])
        assert torch.cat([low, high]).min() >= LEAST_MARGIN * side[index] - 1e-2


def test_steady_motion_gives_a_tight_and_steady_window() -> None:
    track = [(10.0 + 5 * i, 100.0, 80.0, 60.0) for i in range(30)]
    crop = crop_track(track, (480, 854), 100)
    side = crop.scale * 100
    assert side.max() <= 80 * 1.40
    steps = (crop.origin + side[:, None] / 2).diff(dim=0)
    assert (steps - torch.tensor([5.0, 0.0])).abs().max() <= 1.01  # windows lie on whole pixels


def test_one_bad_mask_does_not_shake_its_neighbours() -> None:
    track: list = [(100.0, 100.0, 80.0, 60.0)] * 21
    steady = crop_track(track, (480, 854), 100)
    track[10] = (110.0, 105.0, 20.0, 20.0)
    shaken = crop_track(track, (480, 854), 100)
    assert (steady.origin - shaken.origin).abs().max() <= 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 20), st.integers(1, 5))
def test_projection_agrees_before_and_after_the_crop(seed: int, scale: float, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    intrinsics = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = 300 + 900 * rand(count), 300 + 900 * rand(count)
    intrinsics[:, :2, 2] = 500 * rand(count, 2)
    crop = Crop(1000 * rand(count, 2) - 300, scale * (0.5 + rand(count)), (480, 854))
    points = torch.cat([2 * rand(count, 20, 2) - 1, 1 + 4 * rand(count, 20, 1)], dim=-1)
    original = project(points, intrinsics)
    working = project(points, crop.working_intrinsics(intrinsics))
    torch.testing.assert_close(crop.from_original(original), working)
    torch.testing.assert_close(crop.to_original(working), original)
    torch.testing.assert_close(crop.original_intrinsics(crop.working_intrinsics(intrinsics)), intrinsics)


@pytest.mark.parametrize("origin", [(-20, -30), (20, 10), (100, 70), (-40, 20)])
@pytest.mark.parametrize("side", [48, 64, 160])
def test_windows_show_what_they_should(origin: tuple[int, int], side: int) -> None:
    """A picture whose colours are its coordinates says where every working pixel comes from."""
    rows, columns = np.indices((96, 128))
    image = np.stack([columns, rows, np.full_like(rows, 7)], axis=-1).astype(np.uint8)
    working = cut_image(image, np.array(origin), side, 32).astype(float)
    scale = side / 32
    x = (origin[0] + (np.arange(32) + 0.5) * scale - 0.5).clip(0, 127)
    y = (origin[1] + (np.arange(32) + 0.5) * scale - 0.5).clip(0, 95)
    # Where a working pixel straddles the border, half of it is repeated border.
    assert np.abs(working[..., 0] - x[None]).max() <= 0.5 + 0.26 * scale
    assert np.abs(working[..., 1] - y[:, None]).max() <= 0.5 + 0.26 * scale
    assert (working[..., 2] == 7).all()
    covered = cut_mask(np.ones((96, 128), np.float32), np.array(origin), side, 32)
    assert covered.sum() * scale**2 == pytest.approx(
        max(0, min(origin[0] + side, 128) - max(origin[0], 0)) * max(0, min(origin[1] + side, 96) - max(origin[1], 0)),
        rel=1e-4,
    )


def test_inside_frame_tells_the_filled_pixels() -> None:
    clip = _clip_with_crop(Crop(torch.tensor([[-10.0, 76.0]]), torch.tensor([2.0]), (96, 128)))
    inside = clip.inside_frame()[0]
    assert inside.shape == (20, 20)
    assert not inside[:, :5].any() and inside[:10, 5:].all() and not inside[10:].any()


def _clip_with_crop(crop: Crop) -> Clip:
    return Clip(
        name="x",
        frames=torch.zeros(1, 20, 20, 3, dtype=torch.uint8),
        masks=torch.zeros(1, 20, 20),
        mask_valid=torch.tensor([False]),
        frame_numbers=torch.tensor([0]),
        times=torch.tensor([0.0]),
        fps=30.0,
        intrinsics=torch.eye(3)[None],
        crop=crop,
    )


def test_mask_box_leaves_out_specks() -> None:
    mask = np.zeros((100, 100), np.float32)
    mask[20:60, 30:70] = 1
    mask[93:96, 93:96] = 1
    assert mask_box(mask) == (30, 20, 40, 40)
    mask[80:90, 80:90] = 0.9
    assert mask_box(mask) == (30, 20, 60, 70)
    assert mask_box(np.full((5, 5), 0.4, np.float32)) is None


def test_clip_saves_and_loads(tmp_path: Path) -> None:
    folder = footage.write_folder(tmp_path / "frames", footage.frames(3))
    cameras = footage.write_cameras(tmp_path / "cameras.json", footage.camera_entries(3))
    clip = load_clip(folder, masks=footage.write_masks(tmp_path / "masks", 3), cameras=cameras, working_size=64)
    clip.save(tmp_path / "clip.npz")
    again = Clip.load(tmp_path / "clip.npz")
    assert again.checksum() == clip.checksum()
    for name in ("name", "fps", "warnings", "intrinsics_source", "mask_source", "source"):
        assert getattr(again, name) == getattr(clip, name)
    assert again.world_to_camera is not None and clip.world_to_camera is not None
    assert torch.equal(again.world_to_camera, clip.world_to_camera)
    assert again.crop.original_size == clip.crop.original_size
    (tmp_path / "clip.npz").write_bytes((tmp_path / "clip.npz").read_bytes()[:-50])
    with pytest.raises(Animal4dError, match="damaged"):
        Clip.load(tmp_path / "clip.npz")
    with pytest.raises(Animal4dError, match="no such clip"):
        Clip.load(tmp_path / "other.npz")
