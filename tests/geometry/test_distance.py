"""Distance images against brute force, and the lookup's gradients."""

from __future__ import annotations

import torch

from animal4d.geometry.distance import distance_transform, sample_image, squared_distance_to_mask


def _masks() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(3, 20, 31, generator=generator) > 0.97).float()


def test_distance_transform_equals_brute_force():
    masks = _masks()
    grid = torch.cartesian_prod(torch.arange(20.0), torch.arange(31.0))
    for field, mask in zip(distance_transform(masks), masks, strict=True):
        expected = torch.cdist(grid, mask.nonzero().float()).amin(1).view(20, 31)
        torch.testing.assert_close(field, expected, rtol=1e-6, atol=0)


def test_empty_mask_has_no_distance_and_boolean_masks_are_masks():
    assert (distance_transform(torch.zeros(1, 5, 5)) == 0).all()
    masks = _masks()
    assert torch.equal(distance_transform(masks), distance_transform(masks > 0))


def test_lookup_at_pixel_centres_reads_the_pixel():
    images = torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(1))
    rows, columns = torch.meshgrid(torch.arange(7), torch.arange(9), indexing="ij")
    centres = torch.stack((columns, rows), dim=-1).flatten(0, 1) + 0.5
    torch.testing.assert_close(sample_image(images, centres.expand(2, -1, -1)), images.flatten(1))


def test_points_outside_the_image_keep_their_distance():
    mask = torch.zeros(1, 16, 16)
    mask[:, :, 15] = 1
    squared = squared_distance_to_mask(distance_transform(mask), torch.tensor([[[20.5, 8.5], [5.5, 8.5], [15.5, 3.0]]]))
    torch.testing.assert_close(squared, torch.tensor([[25.0, 100.0, 0.0]]), rtol=1e-4, atol=1e-4)


def test_gradient_points_away_from_the_mask_and_passes_gradcheck():
    mask = torch.zeros(1, 32, 32)
    mask[:, 10:20, 10:20] = 1
    field = distance_transform(mask).double()
    points = torch.tensor([[[3.3, 14.1], [14.2, 27.6], [-4.0, 14.4], [14.7, 15.1]]], dtype=torch.float64)
    points.requires_grad_()
    (gradient,) = torch.autograd.grad(squared_distance_to_mask(field, points).sum(), points)
    assert gradient[0, 0, 0] < 0
    assert gradient[0, 1, 1] > 0
    assert gradient[0, 2, 0] < 0
    assert (gradient[0, 3] == 0).all()
    assert torch.autograd.gradcheck(lambda p: squared_distance_to_mask(field, p), points)
