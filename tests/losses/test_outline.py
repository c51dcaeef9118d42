"""The outline loss against discs whose outlines are known."""

from __future__ import annotations

import torch

from animal4d.geometry.rasterize import rasterize
from animal4d.losses.outline import OutlineTarget, outline_distance

SIZE = 96
OFF_GRID = 0.0037
"""Keeps edges of the disc from running exactly through pixel centres."""
INTRINSICS = torch.tensor([[[100.0, 0.0, SIZE / 2], [0.0, 100.0, SIZE / 2], [0.0, 0.0, 1.0]]])


def disc(radius: float, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A fan of triangles at depth 1, and its faces."""
    angles = torch.linspace(0, 2 * torch.pi, 65)[:-1]
    rim = torch.stack((radius * angles.cos() + shift, radius * angles.sin(), torch.ones(64)), dim=1)
    vertices = torch.cat((torch.tensor([[shift, 0.0, 1.0]]), rim))
    index = torch.arange(64)
    faces = torch.stack((torch.zeros(64, dtype=torch.long), index + 1, (index + 1) % 64 + 1), dim=1)
    return vertices[None], faces


def drawn(vertices: torch.Tensor, faces: torch.Tensor):
    return rasterize(vertices, faces, INTRINSICS, (SIZE, SIZE))


def target_of(radius: float) -> OutlineTarget:
    vertices, faces = disc(radius, OFF_GRID)
    return OutlineTarget.from_masks(drawn(vertices, faces).covered, torch.ones(1, SIZE, SIZE, dtype=torch.bool))


def loss_of(vertices: torch.Tensor, faces: torch.Tensor, target: OutlineTarget) -> torch.Tensor:
    return outline_distance(drawn(vertices, faces), vertices, faces, INTRINSICS, target)


def test_small_on_the_same_outline_and_the_squared_distance_off_it():
    target = target_of(0.25)
    # Pixels are at most half a pixel's step off the outline's mean.
    assert pixels_off(0.25, target) < 0.3
    for radius in (0.23, 0.27):
        assert abs(pixels_off(radius, target) - 2.0) < 0.3


def pixels_off(radius: float, target: OutlineTarget) -> float:
    """Root mean square of the distance between the outlines."""
    return float(loss_of(*disc(radius, OFF_GRID), target)) ** 0.5 * SIZE / 2


def test_errors_outwards_cost_as_much_as_inwards():
    # A loss that charges one side less settles there: outlines would come out too small or too large everywhere.
    target = soft_target_of(0.25)
    for error in (0.004, 0.01):
        inwards, outwards = pixels_off(0.25 - error, target), pixels_off(0.25 + error, target)
        assert abs(inwards - outwards) < 0.12


def test_descending_ends_on_the_outline_of_a_soft_mask_to_a_tenth_of_a_pixel():
    target = soft_target_of(0.25)
    base, faces = disc(1.0)
    middle = torch.tensor([OFF_GRID, 0.0])
    log_radius = torch.tensor(-1.6, requires_grad=True)
    optimizer = torch.optim.Adam([log_radius], lr=0.01)
    radii = []
    for step in range(160):
        optimizer.param_groups[0]["lr"] = 0.01 if step < 60 else 0.002
        optimizer.zero_grad()
        rim = base[..., :2] * log_radius.exp() + middle
        loss_of(torch.cat((rim, base[..., 2:]), dim=-1), faces, target).sum().backward()
        optimizer.step()
        radii.append(float(log_radius.detach().exp()))
    assert abs(sum(radii[100:]) / 60 - 0.25) * 100 < 0.1


def soft_target_of(radius: float) -> OutlineTarget:
    """Of a mask that holds the share of every pixel that the disc covers."""
    vertices, faces = disc(radius, OFF_GRID)
    fine = torch.tensor([8.0, 8.0, 1.0])[:, None] * INTRINSICS
    covered = rasterize(vertices, faces, fine, (8 * SIZE, 8 * SIZE)).covered.float()
    soft = torch.nn.functional.avg_pool2d(covered[:, None], 8)[:, 0]
    return OutlineTarget.from_masks(soft, torch.ones(1, SIZE, SIZE, dtype=torch.bool))


def test_gradient_pulls_the_rim_to_the_mask():
    target = target_of(0.25)
    for radius, sign in ((0.22, 1.0), (0.28, -1.0)):
        vertices, faces = disc(radius)
        vertices.requires_grad_()
        loss_of(vertices, faces, target).sum().backward()
        assert vertices.grad is not None
        outward = (vertices.grad[0, 1:, :2] * vertices.detach()[0, 1:, :2]).sum()
        assert float(outward) * sign < 0


def test_descending_recovers_place_and_size():
    target = target_of(0.25)
    base, faces = disc(1.0)
    parameters = torch.tensor([0.2, 0.06], requires_grad=True)
    optimizer = torch.optim.Adam([parameters], lr=0.004)
    for _ in range(80):
        optimizer.zero_grad()
        rim = base[..., :2] * parameters[0] + torch.stack((parameters[1], torch.zeros(())))
        loss_of(torch.cat((rim, base[..., 2:]), dim=-1), faces, target).sum().backward()
        optimizer.step()
    torch.testing.assert_close(parameters.detach(), torch.tensor([0.25, 0.0]), atol=0.006, rtol=0)


def test_empty_masks_and_unfilmed_pixels_say_nothing():
    vertices, faces = disc(0.25)
    vertices.requires_grad_()
    filmed = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    empty = OutlineTarget.from_masks(torch.zeros(1, SIZE, SIZE), filmed)
    blind = OutlineTarget.from_masks(drawn(*disc(0.2)).covered, ~filmed)
    for target in (empty, blind):
        loss = loss_of(vertices, faces, target)
        loss.sum().backward()
        assert float(loss.detach()) == 0.0
        assert vertices.grad is not None and float(vertices.grad.abs().max()) == 0.0


def test_a_mesh_out_of_sight_gives_zero():
    vertices, faces = disc(0.25, shift=50.0)
    assert float(loss_of(vertices, faces, target_of(0.25))) == 0.0
