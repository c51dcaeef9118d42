"""Pixels with vertices against a slow reference, gradients, and slots that are empty."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animal4d.body.model import PART_NAMES
from animal4d.losses.parts import head_weights
from animal4d.losses.surface import HEAD_WEIGHT, SurfaceTarget, surface_keypoints

SIZE = (24, 32)
VERTICES, SLOTS = 40, 12


@pytest.fixture
def projected() -> torch.Tensor:
    return torch.rand(3, VERTICES, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 24


@pytest.fixture
def target() -> SurfaceTarget:
    """A full frame, one with a few filled slots, and one without."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(3, SLOTS, 2, generator=generator, dtype=torch.float64) * 24
    vertices = torch.randint(VERTICES, (3, SLOTS), generator=generator)
    confidence = torch.rand(3, SLOTS, generator=generator, dtype=torch.float64) * 0.9 + 0.1
    confidence[1, 3:] = 0
    confidence[2] = 0
    return SurfaceTarget(pixels, vertices, confidence)


def test_it_is_the_mean_over_filled_slots(projected, target):
    labels = torch.arange(VERTICES) % len(PART_NAMES)
    weights = head_weights(labels, HEAD_WEIGHT)
    loss = surface_keypoints(projected, target, SIZE, weights)
    for frame, filled in enumerate((SLOTS, 3)):
        costs = []
        for slot in range(filled):
            vertex = int(target.vertices[frame, slot])
            distance = np.hypot(*(projected[frame, vertex] - target.pixels[frame, slot]).numpy()) / 32
            half = 0.5 if PART_NAMES[labels[vertex]] == "head" else 1.0
            costs.append(distance * half * float(target.confidence[frame, slot]))
        assert loss[frame].item() == pytest.approx(np.mean(costs), rel=1e-9)
    assert loss[2] == 0


def test_empty_slots_may_hold_anything(projected, target):
    expected = surface_keypoints(projected, target, SIZE)
    empty = target.confidence == 0
    target.pixels[empty] = float("nan")
    target.vertices[empty] = -1
    projected.requires_grad_()
    loss = surface_keypoints(projected, target, SIZE)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), expected)
    assert projected.grad is not None
    assert projected.grad.isfinite().all()
    assert (projected.grad[2] == 0).all()


def test_unknown_confidence_is_an_empty_slot(projected, target):
    expected = surface_keypoints(projected, target, SIZE)
    target.confidence[1, 3:] = float("nan")
    projected.requires_grad_()
    loss = surface_keypoints(projected, target, SIZE)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), expected)
    assert projected.grad is not None
    assert projected.grad.isfinite().all()


def test_guesses_count_less_than_certainties(projected, target):
    sure = SurfaceTarget(target.pixels, target.vertices, torch.ones_like(target.confidence))
    guessed = SurfaceTarget(target.pixels, target.vertices, torch.full_like(target.confidence, 0.1))
    torch.testing.assert_close(
        surface_keypoints(projected, guessed, SIZE), 0.1 * surface_keypoints(projected, sure, SIZE)
    )


def test_vertices_in_their_places_cost_nothing(projected, target):
    places = projected.gather(1, target.vertices[..., None].expand(-1, -1, 2))
    projected.requires_grad_()
    loss = surface_keypoints(projected, SurfaceTarget(places, target.vertices, target.confidence), SIZE)
    loss.sum().backward()
    assert (loss == 0).all()
    assert projected.grad is not None
    assert (projected.grad == 0).all()


def test_no_slots_at_all(projected):
    target = SurfaceTarget(torch.zeros(3, 0, 2), torch.zeros(3, 0, dtype=torch.long), torch.zeros(3, 0))
    assert (surface_keypoints(projected, target, SIZE) == 0).all()


def test_frames_of_a_batch_are_selected_together(projected, target):
    torch.testing.assert_close(
        surface_keypoints(projected[[1]], target[[1]], SIZE), surface_keypoints(projected, target, SIZE)[[1]]
    )


def test_surface_passes_gradcheck(projected, target):
    weights = torch.rand(VERTICES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    projected.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: surface_keypoints(p, target, SIZE, weights), projected)
