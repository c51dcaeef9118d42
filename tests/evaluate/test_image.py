"""Image metrics against the published numbers and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from animal4d.evaluate.image import intersection_over_union, mean_of_worst, psnr, ssim


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, 40, 52, 3, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(a.permute(0, 3, 1, 2), 5, 1, 2).permute(0, 2, 3, 1)
    return a, 0.6 * smooth + 0.4 * a


@pytest.mark.golden
def test_iou_and_psnr_are_the_published_ones(golden_dir):
    golden = np.load(golden_dir / "metrics.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    iou = intersection_over_union(tensors["mask_a"][..., 0] > 0, tensors["mask_b"][..., 0] > 0)
    torch.testing.assert_close(iou, tensors["iou"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(psnr(tensors["image_a"], tensors["image_b"]), tensors["psnr"], rtol=1e-4, atol=1e-4)


def test_ssim_equals_scikit_image(pictures):
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    a, b = pictures
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    wanted = [
        structural_similarity(x.numpy(), y.numpy(), channel_axis=-1, **options) for x, y in zip(a, b, strict=True)
    ]
    torch.testing.assert_close(ssim(a, b), torch.tensor(wanted, dtype=torch.float32), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ssim(a, a), torch.ones(3))


def test_psnr_inside_of_a_mask_ignores_the_rest(pictures):
    a, _ = pictures
    mask = torch.zeros(3, 40, 52, dtype=torch.bool)
    mask[:, 10:30, 10:30] = True
    b = torch.where(mask[..., None], a + 0.1, torch.zeros_like(a))
    torch.testing.assert_close(psnr(a, b, mask), torch.full((3,), 20.0), atol=1e-3, rtol=0)


def test_empty_silhouettes_agree_with_each_other_only():
    empty, full = torch.zeros(1, 4, 4, dtype=torch.bool), torch.ones(1, 4, 4, dtype=torch.bool)
    assert intersection_over_union(empty, empty) == 1
    assert intersection_over_union(empty, full) == 0


@pytest.mark.parametrize(("count", "averaged"), [(1, 1), (3, 1), (39, 1), (40, 2), (100, 5)])
def test_worst_frames(count, averaged):
    values = torch.arange(count).float().flip(0)
    assert mean_of_worst(values) == pytest.approx((averaged - 1) / 2)


@given(st.integers(0, 10_000))
def test_iou_is_symmetric_and_bounded(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 3, 8, 8, generator=generator) > 0.6
    forward, backward = intersection_over_union(a, b), intersection_over_union(b, a)
    assert torch.equal(forward, backward)
    assert bool(((forward >= 0) & (forward <= 1)).all())
