"""The published volume: compositing in closed form, chunks that keep to their memory, colours that are learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.texture.duplex import BOX, CHANNELS, DuplexTexture, composite
from animal4d.texture.hits import ShellHits, Shells
from texture.scenes import ball, cameras, posed


@pytest.fixture(scope="module")
def shells() -> Shells:
    return ball(3)


@pytest.fixture(scope="module")
def hits(shells) -> ShellHits:
    return shells.hits(posed(shells), cameras())[::4]


def small(**options) -> DuplexTexture:
    return DuplexTexture(seed=1, **{"grid_size": 8, "samples": 16, **options})


def test_the_published_sizes():
    texture = DuplexTexture()
    assert texture.grid.shape == (1, 32, 64, 64, 64) and texture.samples == 64
    linear = [layer for layer in texture.trunk if isinstance(layer, torch.nn.Linear)]
    assert len(linear) == 3
    assert [group["lr"] for group in texture.parameter_groups()] == [0.1, 0.01]
    grouped = sum(len(group["params"]) for group in texture.parameter_groups())
    assert grouped == len(list(texture.parameters()))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 8.0), st.integers(1, 80))
def test_constant_medium_has_the_closed_form(density, samples):
    """Opacity 1 - exp(-density * length), whatever the number of samples, and the medium's colour times that."""
    length, color = torch.tensor([0.0, 0.3, 1.0, 2.5]), torch.tensor([0.2, 0.5, 0.9])
    depth = (density * length / samples)[:, None].expand(-1, samples)
    over_black, opacity = composite(depth, color.expand(4, samples, 3))
    closed = 1 - torch.exp(-density * length)
    torch.testing.assert_close(opacity, closed, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(over_black, closed[:, None] * color, atol=1e-5, rtol=1e-5)


def test_two_media_behind_each_other():
    """The front one shows with its opacity, the back one with its own times what the front lets through."""
    depth = torch.tensor([[0.7, 1.9]])
    over_black, _ = composite(depth, torch.eye(3)[None, :2])
    front = 1 - torch.exp(torch.tensor(-0.7))
    back = (1 - front) * (1 - torch.exp(torch.tensor(-1.9)))
    torch.testing.assert_close(over_black[0], torch.stack((front, back, torch.tensor(0.0))))


def test_a_field_of_one_density_renders_by_length(hits):
    texture = small()
    with torch.no_grad():
        texture.density_head.weight.zero_()
        density = torch.nn.functional.softplus(texture.density_head.bias)
    _, opacity = texture.render(hits)
    torch.testing.assert_close(opacity, 1 - torch.exp(-density * hits.length), atol=1e-5, rtol=1e-5)


def test_grid_axes_are_x_y_z():
    """One node of the grid lit: it is felt at its own place of the box, and a whole cell away no more."""
    texture = small()
    with torch.no_grad():
        texture.grid.zero_()
        dark, _ = texture.decode(torch.zeros(1, 3))
        texture.grid[0, :, 5, 2, 6] = 1.0  # z, y, x
    low, high = torch.tensor(BOX)
    cell = (high - low) / 7
    place = low + torch.tensor([6, 2, 5]) * cell
    around = place + torch.cat((torch.zeros(1, 3), torch.diag(cell), -torch.diag(cell)))
    density, _ = texture.decode(around[(around <= high + 1e-6).all(1)])
    assert (density[0] - dark).abs() > 1e-4
    torch.testing.assert_close(density[1:], dark.expand(len(density) - 1), atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1 << 34), st.integers(1, 128))
def test_chunks_keep_to_their_memory(memory, samples):
    texture = DuplexTexture(grid_size=2, memory=memory, samples=samples)
    assert texture.rays_per_chunk >= 1
    if memory >= texture.bytes_per_ray:
        assert texture.rays_per_chunk * texture.bytes_per_ray <= memory
        assert (texture.rays_per_chunk + 1) * texture.bytes_per_ray > memory


def test_bytes_per_ray_bound_what_the_gradient_keeps(hits):
    texture = small()
    own = {parameter.data_ptr() for parameter in texture.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        color, opacity = texture.render(hits)
    needed = sum(kept.values()) / len(hits)
    assert 0.4 * texture.bytes_per_ray < needed <= texture.bytes_per_ray
    assert color.requires_grad and opacity.requires_grad


def test_chunked_equals_unchunked(hits):
    """To rounding: a matrix product of other height may add up in another order."""
    whole = small()
    chunked = small(memory=50 * whole.bytes_per_ray)
    assert whole.rays_per_chunk > len(hits) > 5 * chunked.rays_per_chunk
    results = []
    for texture in (whole, chunked):
        color, opacity = texture.render(hits)
        (color.square().sum() + opacity.sum()).backward()
        results.append((color, opacity, texture.grid.grad, texture.color_head.weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_no_ray_no_colour(hits):
    color, opacity = small().render(hits[:0])
    assert color.shape == (0, 3) and opacity.shape == (0,)


def test_seed_decides_the_start(hits):
    with torch.no_grad():
        one, same = small().render(hits)[0], small().render(hits)[0]
        other = DuplexTexture(seed=2, grid_size=8, samples=16).render(hits)[0]
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert small().grid.shape[1] == CHANNELS


def test_longer_segments_are_denser(hits):
    thin = replace(hits, exit=hits.entry + 0.5 * (hits.exit - hits.entry))
    with torch.no_grad():
        assert (small().render(hits)[1] >= small().render(thin)[1] - 1e-5).float().mean() > 0.95
