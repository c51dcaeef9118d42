"""Where rays cross the shells, against an analytic ball."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.texture.hits import Shells, inflated
from texture.scenes import RADIUS, SIZE, THICKNESS, ball, cameras, posed, sphere_hits

FACETS = 5e-4
"""How far a face lies below the sphere: edges of 0.036 have a circumradius of 0.021, 0.021**2 / (2 * 0.45). Along a ray
it is that over the cosine between ray and normal: at least 1/2 where the shell is crossed on less than twice its
thickness, 1/6 where the chord is longer than three."""


@pytest.fixture(scope="module")
def shells() -> Shells:
    return ball()


@pytest.mark.parametrize("frame", [0, 1])
def test_canonical_points_are_those_of_the_analytic_sphere(shells, frame):
    hits = shells.hits(posed(shells, 2), cameras(2))
    of_frame = hits[hits.pixel // (SIZE[0] * SIZE[1]) == frame]
    pixel = of_frame.pixel % (SIZE[0] * SIZE[1])
    meets_inner, inner, _ = (values.flatten(0, 1)[pixel] for values in sphere_hits(RADIUS, frame, 2))
    _, entry, exit = (values.flatten(0, 1)[pixel] for values in sphere_hits(RADIUS + THICKNESS, frame, 2))
    assert (of_frame.reaches_skin == meets_inner).float().mean() > 0.98
    # A ray that grazes a sphere runs along it: where it meets the facets says nothing there.
    steep = (inner - entry).norm(dim=1) < 2 * THICKNESS
    skin = of_frame.reaches_skin & meets_inner & steep
    rim = ~of_frame.reaches_skin & ~meets_inner & ((exit - entry).norm(dim=1) > 3 * THICKNESS)
    assert skin.sum() > 800 and rim.sum() > 20
    assert (of_frame.entry - entry)[skin].norm(dim=1).max() < 2.5 * FACETS
    assert (of_frame.exit - inner)[skin].norm(dim=1).max() < 2.5 * FACETS
    assert (of_frame.entry - entry)[rim].norm(dim=1).max() < 6 * FACETS
    assert (of_frame.exit - exit)[rim].norm(dim=1).max() < 6 * FACETS


def test_segments_of_the_rim_shrink_to_nothing_at_the_outline(shells):
    hits = shells.hits(posed(shells), cameras())
    _, entry, exit = sphere_hits(RADIUS + THICKNESS, 0, 1)
    rim = ~hits.reaches_skin
    wanted = (exit - entry).norm(dim=-1).flatten()[hits.pixel][rim] / THICKNESS
    assert wanted.min() < 2 < 5 < wanted.max()
    assert (hits.length[rim] - wanted).abs().mean() < 0.1


def test_rays_are_the_pixels_of_the_outer_shell_in_order(shells):
    hits = shells.hits(posed(shells), cameras())
    met, _, _ = sphere_hits(RADIUS + THICKNESS, 0, 1)
    drawn = hits.pixels_with(torch.ones(len(hits), dtype=torch.bool))[0]
    assert (drawn == met).float().mean() > 0.995
    assert (hits.pixel.diff() > 0).all()


def test_distances_beyond_the_skin_are_those_of_the_analytic_sphere(shells):
    """A ray that passes the centre at a distance d passes the skin at d - radius, times cosine 1 / sqrt(1 - (d / z)^2),
    which is 1.03 at most here; the outline is known to half a ray's step, 0.25 of a pixel of 2 / 110."""
    hits = shells.hits(posed(shells), cameras(), rays_per_side=2)
    rows, columns = hits.ray // (2 * SIZE[1]), hits.ray % (2 * SIZE[1])
    places = (torch.stack((columns, rows), dim=1) + 0.5) / 2 - SIZE[0] / 2
    ray = torch.nn.functional.normalize(torch.cat((places / 110.0, torch.ones(len(places), 1)), dim=1), dim=1)
    centre = torch.tensor([0.05, -0.03, 2.0])
    past = torch.linalg.cross(ray, centre.expand_as(ray)).norm(dim=1) - RADIUS
    assert (hits.beyond[hits.reaches_skin] == 0).all()
    wanted = (past / THICKNESS)[~hits.reaches_skin]
    assert wanted.max() > 0.8
    assert (hits.beyond[~hits.reaches_skin] - wanted).abs().max() < 0.25 * 2 / 110 / THICKNESS + 0.1


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_pictures_are_means_over_the_rays_of_a_pixel(rays_per_side, seed):
    shells = ball(2)
    hits = shells.hits(posed(shells, 2), cameras(2), rays_per_side=rays_per_side)
    values = torch.rand(len(hits), generator=torch.Generator().manual_seed(seed))
    height, width = SIZE
    fine = torch.zeros(2 * height * width * rays_per_side**2)
    fine[hits.ray] = values
    fine = fine.view(2, 1, height * rays_per_side, width * rays_per_side)
    wanted = torch.nn.functional.avg_pool2d(fine, rays_per_side)[:, 0]
    torch.testing.assert_close(hits.image(values), wanted)
    assert torch.equal(hits.pixels_with(values > 0.5), torch.nn.functional.max_pool2d(fine, rays_per_side)[:, 0] > 0.5)


def test_a_region_keeps_its_rays_only(shells):
    region = torch.zeros(1, *SIZE, dtype=torch.bool)
    region[:, :, 32:] = True
    everywhere, within = (shells.hits(posed(shells), cameras(), where) for where in (None, region))
    right = everywhere[everywhere.pixel % SIZE[1] >= 32]
    assert torch.equal(within.pixel, right.pixel) and torch.equal(within.entry, right.entry)
    assert len(shells.hits(posed(shells), cameras(), ~(region | True))) == 0


def test_folds_leave_no_ray_without_an_entry():
    """Inflated by more than its size, the inner side of a ring turns inside out, so that outer faces are missing or
    lie behind the skin: rays then enter above the skin's own place."""
    import trimesh

    ring = trimesh.creation.torus(0.3, 0.1, major_sections=24, minor_sections=12)
    vertices, faces = torch.tensor(ring.vertices).float(), torch.tensor(ring.faces)
    shells = Shells.around(vertices, faces, 0.25)
    hits = shells.hits(vertices[None] + torch.tensor([0.0, 0.0, 2.0]), cameras())
    assert torch.isfinite(hits.entry).all() and torch.isfinite(hits.exit).all()
    assert (hits.length[hits.reaches_skin] > 0.5).all()


def test_nothing_carries_a_gradient(shells):
    vertices = posed(shells).requires_grad_()
    hits = shells.hits(vertices, cameras())
    assert not any(getattr(hits, name).requires_grad for name in ("entry", "exit", "barycentrics"))


def test_inflated_ball_is_a_larger_ball(shells):
    torch.testing.assert_close(shells.outer.norm(dim=1), torch.full((2562,), RADIUS + THICKNESS), atol=1e-5, rtol=0)
    torch.testing.assert_close(inflated(shells.inner[None], shells.faces, THICKNESS)[0], shells.outer)
