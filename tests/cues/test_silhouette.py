"""Silhouettes: outlines, distances, and what the border of the frame hides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from animal4d.cues.silhouette import silhouettes

from .moving_picture import MovingPicture, moving_picture


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> MovingPicture:
    return moving_picture(tmp_path_factory.mktemp("picture"), count=3)


def test_distances_agree_with_scipy(picture: MovingPicture) -> None:
    shapes = silhouettes(picture.clip)
    for index in range(3):
        mask = shapes.binary[index].numpy()
        np.testing.assert_allclose(
            shapes.distance_to_mask()[index], np.asarray(distance_transform_edt(~mask)), atol=1e-3
        )
        np.testing.assert_allclose(
            shapes.distance_to_background()[index], np.asarray(distance_transform_edt(mask)), atol=1e-3
        )


def test_the_outline_is_one_pixel_of_the_mask(picture: MovingPicture) -> None:
    shapes = silhouettes(picture.clip)
    assert not shapes.cut.any()
    assert not (shapes.boundary & ~shapes.binary).any()
    assert (shapes.distance_to_background()[shapes.boundary] < 1.5).all()
    assert (shapes.distance_to_background()[shapes.binary & ~shapes.boundary] > 1.4).all()


def test_samples_lie_on_their_pixels(picture: MovingPicture) -> None:
    shapes = silhouettes(picture.clip)
    generator = torch.Generator().manual_seed(0)
    for points, pixels in [
        (shapes.sample_boundary(100), shapes.boundary),
        (shapes.sample_mask(100), shapes.binary),
        (shapes.sample_mask(100, generator), shapes.binary),
    ]:
        assert points.shape == (3, 100, 2)
        for index in range(3):
            x, y = points[index].unbind(dim=-1)
            assert torch.equal(x % 1, torch.full_like(x, 0.5))
            assert pixels[index, y.long(), x.long()].all()
            # Spread over the whole of it.
            wanted = pixels[index].nonzero().flip(-1).float()
            assert (points[index].mean(dim=0) - wanted.mean(dim=0)).norm() < 6


def test_frames_without_mask(picture: MovingPicture) -> None:
    valid = torch.tensor([True, False, True])
    shapes = silhouettes(replace(picture.clip, mask_valid=valid))
    assert not shapes.binary[1].any() and not shapes.cut[1]
    assert shapes.sample_mask(10)[1].isnan().all() and not shapes.sample_mask(10)[0].isnan().any()
    assert (shapes.distance_to_mask()[1] == 0).all()


def test_no_outline_where_the_frame_cuts_the_animal(tmp_path: Path) -> None:
    clip = moving_picture(tmp_path, count=3, shift=(-95.0, 0.0)).clip
    shapes = silhouettes(clip)
    assert shapes.cut.all()
    columns, rows = np.meshgrid(np.arange(192) + 0.5, np.arange(192) + 0.5)
    working = torch.from_numpy(np.stack([columns, rows], axis=-1).reshape(1, -1, 2)).float()
    original = clip.crop.to_original(working.expand(3, -1, -1)).reshape(3, 192, 192, 2)
    assert (shapes.inside == (original[..., 0] >= 0) & (original[..., 1] >= 0)).all()
    assert (original[..., 0][shapes.boundary] > 0.5).all()
    assert (shapes.binary & (original[..., 0] < 1)).any()  # the mask goes on to the border
    assert not (shapes.binary & ~shapes.inside).any()
