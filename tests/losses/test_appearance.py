"""One colour per vertex: a flat animal with a smooth coat that is moved about in the picture."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from animal4d.geometry.distance import signed_distance
from animal4d.losses.appearance import AppearanceTarget, color_constancy

SIZE, FRAMES = 64, 5
CENTRES = torch.tensor([[24.0, 30.0], [30.0, 28.0], [36.0, 33.0], [33.0, 36.0], [28.0, 33.0]])


def points() -> Tensor:
    """Vertices of a disc of radius 12 around the origin, in pixels."""
    place = torch.arange(-11.0, 12.0, 1.5)
    y, x = torch.meshgrid(place, place, indexing="ij")
    grid = torch.stack((x, y), dim=-1).flatten(0, 1)
    return grid[grid.norm(dim=1) < 11.5]


def coat(at: Tensor) -> Tensor:
    x, y = at.unbind(-1)
    return torch.stack(
        (0.5 + 0.3 * torch.sin(x / 4), 0.5 + 0.3 * torch.cos(y / 5), 0.5 + 0.2 * torch.sin((x + y) / 6)), -1
    )


def scene(lifts=(0.0,) * FRAMES, coat=coat) -> AppearanceTarget:
    """The disc, filmed on a bright background."""
    place = torch.arange(SIZE) + 0.5
    y, x = torch.meshgrid(place, place, indexing="ij")
    at = torch.stack((x, y), dim=-1) - CENTRES[:, None, None]
    masks = (at.norm(dim=-1) < 12).float()
    colors = coat(at) + torch.tensor(lifts)[:, None, None, None]
    pictures = torch.where(masks[..., None] > 0, colors, torch.tensor([0.1, 0.9, 1.0]))
    return AppearanceTarget.from_clip((pictures * 255).round().to(torch.uint8), masks, signed_distance(masks))


def projected(shifts: Tensor | None = None) -> Tensor:
    return points() + CENTRES[:, None] + (0 if shifts is None else shifts[:, None])


def everywhere() -> Tensor:
    return torch.ones(FRAMES, len(points()), dtype=torch.bool)


def test_nothing_is_lost_where_all_is_right():
    """Blur and bilinear look-up take the same from all frames, up to where the pixels lie: 2 / 255."""
    assert (color_constancy(projected(), everywhere(), scene()) < (2 / 255) ** 2 * 3).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, FRAMES - 1), st.floats(0, 2 * torch.pi), st.floats(0.7, 3.0))
def test_a_frame_that_is_off_is_pulled_back(frame, angle, length):
    """Its loss is the largest by far, and its slope points the way it is off."""
    off = length * torch.tensor([torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))])
    shifts = torch.zeros(FRAMES, 2)
    shifts[frame] = off
    shifts.requires_grad_()
    losses = color_constancy(projected(shifts), everywhere(), scene())
    assert losses.argmax() == frame
    losses.sum().backward()
    assert shifts.grad is not None
    assert torch.nn.functional.cosine_similarity(shifts.grad[frame], off, dim=0) > 0.6


def test_light_that_changes_all_colours_alike_does_not_count():
    """Brighter by 0.1, which would cost 3 * 0.1**2 * 0.8**2 = 0.02 where light counted."""
    assert (color_constancy(projected(), everywhere(), scene((0.0, 0.1, 0.0, 0.0, 0.0))) < (4 / 255) ** 2 * 3).all()


def test_a_plain_coat_says_nothing_about_the_pose():
    target = scene(coat=lambda at: torch.full((*at.shape[:-1], 3), 0.4))
    shifts = (0.5 * torch.randn(FRAMES, 2, generator=torch.Generator().manual_seed(0))).requires_grad_()
    losses = color_constancy(projected(shifts), everywhere(), target)
    losses.sum().backward()
    assert losses.max() < 1e-5
    assert shifts.grad is not None and shifts.grad.abs().max() < 1e-5


def test_hidden_vertices_and_those_beyond_the_mask_do_not_count():
    wild = projected()
    wild[2, :20] += torch.tensor([3.0, -2.0])
    wild[3, 20:25] = torch.tensor([1e4, -5.0])
    seen = everywhere()
    seen[2, :20] = False
    assert (color_constancy(wild, seen, scene()) < (2 / 255) ** 2 * 3).all()


@pytest.mark.parametrize("frames", [1, 2])
def test_too_few_frames_agree_on_nothing(frames):
    shifted = projected(torch.randn(FRAMES, 2))[:frames].requires_grad_()
    losses = color_constancy(shifted, everywhere()[:frames], scene()[slice(frames)])
    losses.sum().backward()
    assert (losses == 0).all()
    assert shifted.grad is not None and not shifted.grad.any()


def test_slope_is_that_of_finite_differences():
    """With colours held that the frames agreed on: moving one frame of many hardly moves them."""
    target, generator = scene(), torch.Generator().manual_seed(1)
    place = (projected() + 0.4 * torch.randn(FRAMES, 1, 2, generator=generator)).double()
    direction = torch.randn(place.shape, generator=generator, dtype=torch.float64)
    direction[1:] = 0

    def others_only(step: float) -> Tensor:
        return color_constancy(place + step * direction, everywhere(), target)[0]

    moved = place.clone().requires_grad_()
    color_constancy(moved, everywhere(), target)[0].backward()
    assert moved.grad is not None
    slope = float((moved.grad * direction).sum())
    numeric = float(others_only(1e-4) - others_only(-1e-4)) / 2e-4
    # The frame itself is one of five that say what is wanted, and all of what says its light.
    assert 0.5 * slope < numeric < slope if slope > 0 else slope < numeric < 0.5 * slope


def test_beyond_the_picture_its_border_goes_on():
    """A plain animal that is cut off by the border, with vertices a little outside: no black comes in."""
    frames = torch.full((FRAMES, SIZE, SIZE, 3), 200, dtype=torch.uint8)
    masks = torch.zeros(FRAMES, SIZE, SIZE)
    masks[:, 20:44, :30] = 1
    target = AppearanceTarget.from_clip(frames, masks, signed_distance(masks))
    place = torch.tensor([[-0.4, 30.0], [0.2, 32.0], [12.0, 31.0]]).expand(FRAMES, 3, 2).clone()
    place[1:, :2, 0] += 4.0
    assert color_constancy(place, torch.ones(FRAMES, 3, dtype=torch.bool), target).max() < 1e-9
