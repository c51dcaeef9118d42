"""The lattice of texels on a mesh, and what the rays show of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.geometry.mesh import sample_surface, unique_edges
from animal4d.texture.coat import STEPS
from animal4d.texture.hits import ShellHits, Shells
from animal4d.texture.shell import ShellTexture, lattice, lattice_triangle
from texture.scenes import ball, cameras, coat, posed


@pytest.fixture(scope="module")
def shells() -> Shells:
    return ball(3)


@pytest.fixture(scope="module")
def hits(shells) -> ShellHits:
    return shells.hits(posed(shells), cameras())


@pytest.mark.parametrize("resolution", [1, 2, 3, 5])
def test_every_place_is_one_texel_whatever_face_it_is_seen_from(shells, resolution):
    """Corners and weights of a place give the same point from all its faces, and another for every texel."""
    faces, n_vertices = shells.faces, len(shells.inner)
    texel_of, corners, weights = lattice(faces, n_vertices, resolution)
    inner = (resolution - 1) * (resolution - 2) // 2
    assert len(corners) == n_vertices + (resolution - 1) * len(unique_edges(faces)) + inner * len(faces)
    assert torch.equal(texel_of.unique(), torch.arange(len(corners)))
    points = (weights[..., None] * shells.inner[corners]).sum(1)
    torch.testing.assert_close(points[:n_vertices], shells.inner)
    places = [(i, j, resolution - i - j) for i in range(resolution + 1) for j in range(resolution + 1 - i)]
    by_face = torch.einsum("pk,fkd->fpd", torch.tensor(places) / resolution, shells.inner[faces])
    torch.testing.assert_close(points[texel_of], by_face, atol=1e-6, rtol=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_lattice_triangles_hold_their_points(resolution, seed):
    """Weights are a partition of unity and the three places, so weighed, are the point: on corners, edges and places
    too."""
    generator = torch.Generator().manual_seed(seed)
    inside = torch.rand(40, 3, generator=generator) + 1e-3
    counts = torch.randint(0, resolution + 1, (40, 2), generator=generator).sort(dim=1).values
    places = torch.stack((counts[:, 0], counts[:, 1] - counts[:, 0], resolution - counts[:, 1]), dim=1)
    edge = inside * torch.tensor([1.0, 1.0, 0.0])
    points = torch.cat((*(part / part.sum(1, keepdim=True) for part in (inside, edge)), places / resolution))
    points = points * (1 + 1e-7 * torch.randint(-1, 2, points.shape, generator=generator))  # as a rasteriser rounds
    number, weights = lattice_triangle(points, resolution)
    table = [(i, j, resolution - i - j) for i in range(resolution + 1) for j in range(resolution + 1 - i)]
    assert number.min() >= 0 and number.max() < len(table)
    assert weights.min() > -1e-5
    torch.testing.assert_close(weights.sum(1), torch.ones(len(points)))
    blended = (weights[..., None] * torch.tensor(table)[number]).sum(1) / resolution
    torch.testing.assert_close(blended, points, atol=1e-5, rtol=0)


@pytest.mark.parametrize("resolution", [1, 4])
def test_starts_with_the_vertex_colours(shells, resolution):
    """Linear on faces, as vertex colours are: to the limits of 0.01 and 0.99."""
    colors = coat(shells.inner)
    texture = ShellTexture(shells.faces, len(shells.inner), colors, resolution=resolution)
    samples = sample_surface(shells.inner, shells.faces, 500, torch.Generator().manual_seed(0))
    wanted = samples.on(colors[None], shells.faces)[0]
    if resolution == 1:
        torch.testing.assert_close(texture.color_at(samples.face_index, samples.barycentrics), wanted)
    torch.testing.assert_close(texture.color_at(samples.face_index, samples.barycentrics), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(texture.texels[: len(colors)], colors, atol=1e-5, rtol=0)


def test_skin_is_opaque_and_the_coat_thins_with_the_distance(shells, hits):
    coat = torch.linspace(1, 0, STEPS).expand(len(shells.inner), STEPS)
    with torch.no_grad():
        color, opacity = ShellTexture(shells.faces, len(shells.inner), coat=coat).render(hits)
    skin = hits.reaches_skin
    assert (opacity[skin] == 1).all()
    step = (hits.beyond[~skin] * STEPS).floor().clamp_max(STEPS - 1)
    torch.testing.assert_close(opacity[~skin], 1 - step / (STEPS - 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(color, 0.6 * opacity[:, None].expand(-1, 3), atol=1e-5, rtol=0)


def test_the_coat_does_not_stain_the_skin(shells, hits):
    texture = ShellTexture(shells.faces, len(shells.inner), coat=torch.ones(len(shells.inner), STEPS))
    color, _ = texture.render(hits[~hits.reaches_skin])
    assert color.min() > 0.5
    color.sum().backward()
    assert texture.color_logits.grad is None or not texture.color_logits.grad.any()


def test_no_ray_no_colour(shells, hits):
    color, opacity = ShellTexture(shells.faces, len(shells.inner)).render(hits[:0])
    assert color.shape == (0, 3) and opacity.shape == (0,)
