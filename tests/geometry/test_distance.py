"""Distance images against brute force, and the lookup's gradients."""

from __future__ import annotations

import torch

from animal4d.geometry.distance import distance_transform, sample_image, signed_distance, squared_distance_to_mask


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


def _disc(center: tuple[float, float], radius: float, fineness: int = 16) -> torch.Tensor:
    """Share of every pixel that a disc covers."""
    places = (torch.arange(32 * fineness) + 0.5) / fineness
    inside = (places[None] - center[0]).square() + (places[:, None] - center[1]).square() < radius**2
    return torch.nn.functional.avg_pool2d(inside[None].float(), fineness)


def test_signed_distance_of_a_soft_disc_is_that_of_the_disc():
    # At every place of the grid relative to the disc: no bias inwards or outwards.
    centers = torch.arange(32) + 0.5
    for center, radius in (((16.0, 16.0), 7.0), ((15.3, 16.8), 6.4), ((16.5, 14.1), 8.7)):
        exact = ((centers[None] - center[0]).square() + (centers[:, None] - center[1]).square()).sqrt() - radius
        error = (signed_distance(_disc(center, radius))[0] - exact)[exact.abs() < 5]
        assert error.abs().max() < 0.3
        assert error.mean().abs() < 0.05


def test_signed_distance_of_a_binary_edge_lies_between_the_pixels():
    mask = torch.zeros(1, 20, 20)
    mask[:, :, 8:] = 1
    expected = (8 - (torch.arange(20) + 0.5)).expand(20, -1)
    torch.testing.assert_close(signed_distance(mask)[0], expected, rtol=0, atol=1e-4)
    assert torch.equal(signed_distance(mask > 0), signed_distance(mask))


def test_signed_distance_of_empty_and_full_masks():
    assert torch.isposinf(signed_distance(torch.zeros(1, 6, 6))).all()
    assert torch.isneginf(signed_distance(torch.ones(1, 6, 6))).all()
