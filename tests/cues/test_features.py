"""The built-in patch features."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animal4d.clip import Clip
from animal4d.cues.features import CHANNELS, BuiltinFeatures

from .moving_picture import moving_picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return moving_picture(tmp_path_factory.mktemp("picture"), count=3).clip


def _channel(name: str) -> int:
    return CHANNELS.index(name)


def test_shapes_and_range(clip: Clip) -> None:
    features = BuiltinFeatures(grid=16, parts=3)(clip)
    assert features.patches.shape == (3, 256, len(CHANNELS))
    assert features.patches.min() == 0 and features.patches.max() == 1
    assert features.pooled.shape == (3, len(CHANNELS) * (1 + 9) + 9)
    torch.testing.assert_close(features.pooled[:, : len(CHANNELS)], features.patches.mean(dim=1))
    assert features.pooled.isfinite().all()


@pytest.mark.parametrize(("angle", "channel"), [(0, "gradient 0 degrees"), (1, "gradient 90 degrees")])
def test_stripes_show_in_their_orientation(clip: Clip, angle: int, channel: str) -> None:
    stripes = (torch.arange(192) // 4 % 2 * 200).to(torch.uint8)
    image = stripes[None, :, None].expand(192, 192, 3)
    image = image.transpose(0, 1) if angle else image
    # One half of the picture is plain, so that there is something to compare with after scaling.
    image = torch.where(torch.arange(192)[:, None, None] < 96, image, torch.tensor(90, dtype=torch.uint8))
    features = BuiltinFeatures(grid=16)._patches(image[None], clip.masks[:1])[0].reshape(16, 16, -1)
    gradients = features[..., [_channel(name) for name in CHANNELS if name.startswith("gradient")]]
    assert gradients[1:6, 1:-1, [_channel(channel) - _channel("gradient 0 degrees")]].min() > 0.5
    assert gradients[10:, 1:-1].max() == 0


def test_the_mask_shows_as_a_low_resolution_silhouette(clip: Clip) -> None:
    features = BuiltinFeatures(grid=16)(clip)
    covered = features.patches[..., _channel("mask")].reshape(3, 16, 16)
    expected = torch.nn.functional.avg_pool2d(clip.masks[:, None], 12)[:, 0]
    torch.testing.assert_close(covered, expected, atol=1e-3, rtol=0)
    coverage = features.pooled[:, -16:].reshape(3, 4, 4)
    assert (coverage[:, 1:3, 1:3] > 0.9).all()  # an ellipse fills the middle of its box
    assert (coverage[:, [0, 0, 3, 3], [0, 3, 0, 3]] < 0.7).all()


def test_place_in_the_box_of_the_animal(clip: Clip) -> None:
    x = BuiltinFeatures(grid=16)(clip).patches[0, :, _channel("x in box")].reshape(16, 16)
    assert (x.diff(dim=1) >= 0).all() and torch.equal(x[0], x[-1])


def test_frames_are_independent_of_each_other(clip: Clip) -> None:
    whole = BuiltinFeatures()(clip).patches
    one = replace(
        clip,
        **{name: getattr(clip, name)[1:2] for name in ("frames", "masks", "mask_valid", "frame_numbers", "times")},
        intrinsics=clip.intrinsics[1:2],
        crop=clip.crop[1:2],
    )
    torch.testing.assert_close(BuiltinFeatures()(one).patches[0], whole[1])


def test_frames_without_mask_stay_finite(clip: Clip) -> None:
    features = BuiltinFeatures()(replace(clip, masks=torch.zeros_like(clip.masks)))
    assert features.patches.isfinite().all() and features.pooled.isfinite().all()
