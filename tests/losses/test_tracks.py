"""Tracks tied to the surface: zero where the motion is right, gradients that correct it, and missing evidence."""

from __future__ import annotations

import pytest
import torch
from tests.geometry.shapes import icosphere, pinhole

from animal4d.geometry.cameras import project
from animal4d.geometry.rasterize import rasterize, visible_vertices
from animal4d.losses.tracks import (
    HUBER_WIDTH,
    anchor_tracks,
    anchored_tracks,
    drawn_tracks,
    neighbour_pairs,
    pairs_with_frame_before,
    pseudo_huber,
    published_tracks,
)

SIZE = (64, 64)


class Scene:
    """A sphere that moves to the right, and tracks on its visible vertices that follow it exactly."""

    def __init__(self, frames: int = 4) -> None:
        vertices, self.faces = icosphere(3)
        shift = torch.linspace(-0.3, 0.3, frames)
        self.vertices = vertices + torch.stack((shift, 0 * shift, 0 * shift + 4), dim=1)[:, None]
        self.intrinsics = pinhole(80.0, SIZE[0], frames)
        self.fragments = rasterize(self.vertices, self.faces, self.intrinsics, SIZE)
        self.vertex_visible = visible_vertices(self.fragments, self.faces, len(vertices))
        self.projected = project(self.vertices, self.intrinsics)
        # Away from the rim, where a face may turn away between frames.
        self.tracked = (vertices[:, 2] < -0.6).nonzero().squeeze(1)
        self.tracks = self.projected[:, self.tracked]
        self.visible = torch.ones(self.tracks.shape[:2], dtype=torch.bool)
        self.pairs = neighbour_pairs(torch.arange(frames))

    def anchored(self, vertices=None, visible=None, tracks=None) -> torch.Tensor:
        visible = self.visible if visible is None else visible
        tracks = self.tracks if tracks is None else tracks
        vertices = self.vertices if vertices is None else vertices
        anchors = anchor_tracks(self.fragments, tracks, visible)
        return anchored_tracks(anchors, vertices, self.faces, self.intrinsics, SIZE, tracks, visible, self.pairs)

    def published(self, projected=None, vertex_visible=None, visible=None, vertex_weights=None) -> torch.Tensor:
        return published_tracks(
            self.projected if projected is None else projected,
            self.vertex_visible if vertex_visible is None else vertex_visible,
            SIZE,
            self.tracks,
            self.visible if visible is None else visible,
            pairs_with_frame_before(torch.arange(len(self.tracks))),
            vertex_weights,
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_only_neighbours_in_time_are_paired_and_far_ones_count_less():
    pairs = neighbour_pairs(torch.tensor([12, 0, 4, 3, 100]), max_gap=10)
    ends = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    found = dict(zip(ends, pairs.weights.tolist(), strict=True))
    assert found.keys() == {(1, 3), (3, 1), (3, 2), (2, 3), (2, 0), (0, 2)}
    assert found[1, 3] == pytest.approx(1 / 3)
    assert found[3, 2] == 1
    assert found[0, 2] == pytest.approx(1 / 8)


@pytest.mark.parametrize("frame_numbers", [[5], [5, 5]])
def test_one_frame_has_no_neighbours(frame_numbers):
    assert len(neighbour_pairs(torch.tensor(frame_numbers)).first) == 0
    scene = Scene(len(frame_numbers))
    scene.pairs = neighbour_pairs(torch.tensor(frame_numbers))
    assert (scene.anchored() == 0).all()
    assert (scene.published() == 0).all()


def test_right_motion_costs_nothing(scene):
    # The anchor is the centre of the track's pixel: half a pixel beside it the surface may move a little differently.
    assert scene.anchored().max() < 1e-5


def test_wrong_motion_is_corrected(scene):
    still = scene.vertices[:1].expand(4, -1, -1).clone()
    scene.fragments = rasterize(still, scene.faces, scene.intrinsics, SIZE)
    still.requires_grad_()
    loss = scene.anchored(still)
    assert (loss[1:] > 1e-4).all()
    loss.sum().backward()
    assert still.grad is not None
    # The tracks move to the right from frame to frame, so the last frame's mesh must move to the right.
    assert still.grad[3, :, 0].sum() < 0
    assert still.grad[0, :, 0].sum() > 0


def test_gradients_by_finite_differences(scene):
    vertices = scene.vertices.double()
    scene.intrinsics, scene.tracks = scene.intrinsics.double(), scene.tracks.double() + 0.7
    direction = torch.randn(vertices.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    variable = vertices.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scene.anchored(variable).sum(), variable)
    step = 1e-6 * direction
    numeric = (scene.anchored(vertices + step) - scene.anchored(vertices - step)).sum() / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-4, atol=1e-10)


def test_invisible_tracks_do_not_count(scene):
    nothing = torch.zeros_like(scene.visible)
    vertices = scene.vertices.clone().requires_grad_()
    loss = scene.anchored(vertices, visible=nothing)
    loss.sum().backward()
    assert (loss == 0).all()
    assert vertices.grad is not None
    assert (vertices.grad == 0).all()


@pytest.mark.parametrize("place", [float("nan"), -1e6, 1e6, 63.999, 64.0])
def test_tracks_outside_of_the_image_or_unknown_are_not_anchored(scene, place):
    tracks = scene.tracks.clone()
    tracks[:, 0] = place
    anchors = anchor_tracks(scene.fragments, tracks, scene.visible)
    assert not anchors.valid[:, 0].any()
    assert anchors.valid[:, 1:].all()
    visible = scene.visible.clone()
    visible[:, 0] = False
    assert scene.anchored(tracks=tracks, visible=visible).isfinite().all()


def test_anchor_lies_under_its_track(scene):
    anchors = anchor_tracks(scene.fragments, scene.tracks, scene.visible)
    places = project(anchors.surface.on(scene.vertices, scene.faces), scene.intrinsics)
    torch.testing.assert_close(places + anchors.offset, scene.tracks, rtol=0, atol=1e-3)
    assert anchors.offset.abs().max() <= 0.5 + 1e-4


def test_weights_multiply(scene):
    scene.tracks = scene.tracks + 2 * torch.arange(4.0)[:, None, None]
    anchors = anchor_tracks(scene.fragments, scene.tracks, scene.visible)
    arguments = (scene.vertices, scene.faces, scene.intrinsics, SIZE, scene.tracks, scene.visible, scene.pairs)
    plain = anchored_tracks(anchors, *arguments)
    heavy = anchored_tracks(anchors, *arguments, face_weights=torch.full((len(scene.faces),), 50.0))
    torch.testing.assert_close(heavy, 50 * plain)


def test_pseudo_huber_is_square_near_and_linear_far():
    assert pseudo_huber(torch.tensor(1e-4**2), HUBER_WIDTH) == pytest.approx(0.5e-8, rel=0.05)
    assert pseudo_huber(torch.tensor(1.0), HUBER_WIDTH) == pytest.approx(HUBER_WIDTH, rel=0.02)


def test_published_pairs_go_back_in_time_only_and_never_around():
    pairs = pairs_with_frame_before(torch.tensor([12, 0, 4, 3, 100]), max_gap=10)
    ends = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    assert dict(zip(ends, pairs.weights.tolist(), strict=True)) == {
        (3, 1): pytest.approx(1 / 3),
        (2, 3): 1,
        (0, 2): 1 / 8,
    }
    assert len(pairs_with_frame_before(torch.tensor([7])).first) == 0


def slow_published(scene: Scene, visible: torch.Tensor, weights: torch.Tensor) -> list[float]:
    """All pairs, in words: for every track of frame t its vertex, and where that is in frame t - 1."""
    frames = len(scene.tracks)
    losses = [0.0] * frames
    for frame in range(1, frames):
        candidates = scene.vertex_visible[frame].nonzero().squeeze(1)
        for track in range(scene.tracks.shape[1]):
            if not (visible[frame, track] and visible[frame - 1, track]):
                continue
            place = scene.tracks[frame, track]
            vertex = candidates[(scene.projected[frame, candidates] - place).norm(dim=-1).argmin()]
            miss = (scene.projected[frame - 1, vertex] - scene.tracks[frame - 1, track]).norm() / 64
            losses[frame - 1] += float(weights[vertex] * miss)
    return losses


def test_published_tracks_against_all_pairs(scene):
    generator = torch.Generator().manual_seed(0)
    scene.tracks = scene.tracks + 3 * torch.randn(scene.tracks.shape, generator=generator)
    visible = torch.rand(scene.tracks.shape[:2], generator=generator) > 0.3
    weights = torch.where(torch.rand(scene.projected.shape[1], generator=generator) > 0.5, 50.0, 1.0)
    loss = scene.published(visible=visible, vertex_weights=weights)
    assert loss.tolist() == pytest.approx(slow_published(scene, visible, weights), rel=1e-5)
    # The last frame is before none: nothing wraps around.
    assert loss[-1] == 0


def test_published_tracks_cost_nothing_where_the_motion_is_right(scene):
    assert scene.published().max() < 1e-3
    # The sum over the tracks of how far the mesh lags behind: a shift of 6.4 pixels is a tenth of the image.
    shift = torch.zeros(4, 1, 2)
    shift[1] = torch.tensor([6.4, 0.0])
    tracks = scene.tracks.shape[1]
    scene.vertex_visible = torch.ones_like(scene.vertex_visible)
    moved = scene.published(scene.projected + shift)
    assert float(moved[1]) == pytest.approx(0.1 * tracks, rel=1e-3)


def test_published_tracks_without_evidence(scene):
    projected = scene.projected.clone().requires_grad_()
    loss = scene.published(projected, torch.zeros_like(scene.vertex_visible)) + scene.published(
        projected, visible=torch.zeros_like(scene.visible)
    )
    loss.sum().backward()
    assert (loss == 0).all()
    assert projected.grad is not None
    assert (projected.grad == 0).all()
    assert (Scene(1).published() == 0).all()


def test_published_tracks_by_finite_differences(scene):
    """The vertex of a track is chosen once; moving it a little changes no choice."""
    scene.tracks = scene.tracks.double() + torch.tensor([0.7, 0.4])
    generator = torch.Generator().manual_seed(0)
    projected = scene.projected.double()
    direction = torch.randn(projected.shape, dtype=torch.float64, generator=generator)
    variable = projected.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scene.published(variable).sum(), variable)
    step = 1e-6 * direction
    numeric = (scene.published(projected + step) - scene.published(projected - step)).sum() / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-4, atol=1e-9)


def test_drawn_tracks_can_be_compared():
    visible = torch.zeros(3, 100, dtype=torch.bool)
    visible[[0, 2], 10:20] = True
    visible[[1, 2], 30:90] = True
    pairs = pairs_with_frame_before(torch.arange(3))
    drawn = drawn_tracks(visible, pairs, 50, torch.Generator().manual_seed(0))
    assert len(drawn.unique()) == 50
    assert set(drawn.tolist()) <= set(range(30, 90))
    assert len(drawn_tracks(visible, pairs, 80)) == 60
    assert len(drawn_tracks(torch.zeros_like(visible), pairs)) == 0
