"""The silhouette losses against brute force, their gradients, and frames that have no mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.geometry.shapes import icosphere, pinhole

from animal4d.geometry.mesh import sample_surface
from animal4d.geometry.rasterize import rasterize, visible_faces
from animal4d.losses.silhouette import (
    HIDDEN_WEIGHT,
    SilhouetteTarget,
    silhouette_chamfer,
    silhouette_distance,
    surface_weights,
    visibility_weights,
)

SIZE = 32
LOSSES = [silhouette_chamfer, silhouette_distance]


def disc(center: tuple[float, float], radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    return (x - center[0]) ** 2 + (y - center[1]) ** 2 < radius**2


@pytest.fixture
def target() -> SilhouetteTarget:
    """A large disc, a small one, and an empty mask."""
    return SilhouetteTarget.from_masks(torch.stack((disc((16, 16), 10), disc((8, 20), 4), torch.zeros(SIZE, SIZE) > 0)))


@pytest.fixture
def points() -> torch.Tensor:
    return torch.rand(3, 200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * SIZE


def test_targets_hold_the_pixel_centres(target):
    assert target.lengths.tolist() == [int(disc((16, 16), 10).sum()), int(disc((8, 20), 4).sum()), 0]
    column, row = (target.pixels[1, : target.lengths[1]] - 0.5).long().unbind(-1)
    assert disc((8, 20), 4)[row, column].all()


def test_chamfer_is_the_mean_over_all_pairs_minimum(target, points):
    weights = visibility_weights(torch.rand(3, 200, generator=torch.Generator().manual_seed(1)) > 0.5)
    loss = silhouette_chamfer(points, target, weights)
    for frame in range(2):
        pixels = target.pixels[frame, : target.lengths[frame]].double()
        squared = ((points[frame, :, None] - pixels) * 2 / SIZE).square().sum(-1)
        w = weights[frame]
        expected = (w * squared.amin(1)).sum() / w.sum() + squared.amin(0).mean()
        torch.testing.assert_close(loss[frame].double(), expected, rtol=1e-5, atol=0)


def test_cheap_variant_is_close_to_the_exact_one(target, points):
    exact, cheap = silhouette_chamfer(points, target), silhouette_distance(points, target)
    # Distances to the outline are about half a pixel shorter than those to the nearest pixel centre.
    pixel = 2 / SIZE
    assert ((exact.sqrt() - cheap.sqrt()).abs() <= 0.71 * pixel).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_empty_mask_gives_zero_loss_and_zero_gradient(loss, target, points):
    points.requires_grad_()
    value = loss(points, target)
    value.sum().backward()
    assert value[2] == 0
    assert (value[:2] > 0).all()
    assert points.grad is not None
    assert (points.grad[2] == 0).all()
    assert (points.grad[:2] != 0).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_pass_gradcheck(loss, target, points):
    points = points[:, :20].contiguous().requires_grad_()
    target = SilhouetteTarget(target.pixels.double(), target.lengths, target.distances.double())
    weights = torch.rand(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1
    assert torch.autograd.gradcheck(lambda p: loss(p, target, weights), points)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_gradient_step_brings_a_shifted_shape_nearer(loss, target):
    row, column = disc((16, 16), 10).nonzero(as_tuple=True)
    shape = torch.stack((column, row), dim=1) + 0.5
    shifted = (shape + torch.tensor([5.0, -3.0]))[None].requires_grad_()
    loss(shifted, target[[0]]).sum().backward()
    assert shifted.grad is not None
    mean_step = -shifted.grad[0].mean(0)
    assert mean_step[0] < 0 < mean_step[1]


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_visible_is_as_good_as_everything_visible(loss, target, points):
    """Weights are relative: with all points hidden the loss is that of all points seen."""
    hidden = loss(points, target, visibility_weights(torch.zeros(3, 200, dtype=torch.bool)))
    torch.testing.assert_close(hidden, loss(points, target))


def test_visibility_weights():
    assert visibility_weights(torch.tensor([[True, False]])).tolist() == [[1.0, pytest.approx(HIDDEN_WEIGHT)]]


@pytest.mark.golden
def test_golden_chamfer(golden_dir):
    golden = np.load(golden_dir / "chamfer.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    points = tensors["points"].requires_grad_()
    # An image of two by two pixels, in which a pixel is the unit of NDC.
    target = SilhouetteTarget(tensors["target"], tensors["target_length"], torch.zeros(2, 2, 2))
    loss = silhouette_chamfer(points, target, tensors["weights"])
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), tensors["loss"], rtol=1e-4, atol=0)
    torch.testing.assert_close(points.grad, tensors["gradient"], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("own", [False, True])
def test_points_on_faces_that_are_not_seen_count_little(own):
    # Faces of some thirty pixels, so that every one turned to the camera shows.
    vertices, faces = icosphere(1)
    in_camera = torch.stack((vertices, vertices.flip(1))) + torch.tensor([0.0, 0.0, 4.0])
    face_visible = visible_faces(rasterize(in_camera, faces, pinhole(80.0, 64, 2), (64, 64)), len(faces))
    samples = sample_surface(in_camera if own else vertices, faces, 500, torch.Generator().manual_seed(0))
    weights = surface_weights(samples, face_visible)
    assert weights.shape == (2, 500)
    depth = samples.on(in_camera, faces)[..., 2]
    # The rim of the sphere is at a depth of 3.75, and a face reaches 0.3 to both sides.
    assert (weights[depth < 3.4] == 1).all()
    assert (weights[depth > 4.1] < 0.1).all()


def test_drawn_pixels_come_from_the_mask(target):
    drawn = target.drawn(50, torch.Generator().manual_seed(0))
    assert drawn.lengths.tolist() == [50, 50, 0]
    column, row = (drawn.pixels[1] - 0.5).long().unbind(-1)
    assert disc((8, 20), 4)[row, column].all()
    assert len(drawn.pixels[0].unique(dim=0)) > 30


def test_frames_of_a_batch_are_selected_together(target, points):
    batch = torch.tensor([1, 0])
    torch.testing.assert_close(
        silhouette_distance(points[batch], target[batch]), silhouette_distance(points, target)[batch]
    )
