"""The part losses against slow references in numpy, their draws, and what is missing in a frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from animal4d.body.model import PART_NAMES
from animal4d.losses.parts import (
    CHAMFER_PART_WEIGHTS,
    KEYPOINT_PART_WEIGHTS,
    LEGS,
    MASKED_PARTS,
    UNKNOWN,
    PartKeypoints,
    PartTarget,
    PartVertices,
    head_weights,
    part_chamfer,
    part_keypoints,
)
from animal4d.losses.silhouette import HIDDEN_WEIGHT

HEIGHT, WIDTH = 24, 32
LABELS_OF_BODY = torch.arange(70) % len(PART_NAMES)
PARTS = PartVertices.of(LABELS_OF_BODY)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def labels() -> torch.Tensor:
    """A frame with all parts, one with a torso and a tail of one pixel, and an empty one."""
    labels = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    labels[0, 2:8, 20:28] = 1
    labels[0, 8:16, 6:24] = 2
    labels[0, 16:22, 8:10] = 3
    labels[0, 5:9, 2:4] = 4
    labels[1, 10:20, 5:25] = 2
    labels[1, 4, 7] = 4
    return labels


@pytest.fixture
def target(labels) -> PartTarget:
    return PartTarget.from_labels(labels)


@pytest.fixture
def projected() -> torch.Tensor:
    places = torch.rand(3, len(LABELS_OF_BODY), 2, generator=generator(), dtype=torch.float64)
    return places * torch.tensor([WIDTH, HEIGHT])


@pytest.fixture
def visible() -> torch.Tensor:
    return torch.rand(3, len(LABELS_OF_BODY), generator=generator(1)) > 0.5


def slow_chamfer(projected: np.ndarray, visible: np.ndarray, labels: np.ndarray) -> float:
    """One frame, all pairs."""
    losses = []
    for part, name in enumerate(MASKED_PARTS):
        row, column = np.nonzero(labels == part + 1)
        if len(row) == 0:
            continue
        mine = [i for i, label in enumerate(LABELS_OF_BODY) if PART_NAMES[label].endswith(name)]
        pixels = np.stack((column, row), axis=1) + 0.5
        squared = (((projected[mine][:, None] - pixels) * 2 / HEIGHT) ** 2).sum(-1)
        weights = np.where(visible[mine], 1.0, HIDDEN_WEIGHT)
        both = (weights * squared.min(1)).sum() / weights.sum() + squared.min(0).mean()
        losses.append(CHAMFER_PART_WEIGHTS[part] * both)
    return float(np.mean(losses)) if losses else 0.0


def test_legs_are_one_part():
    for vertex, label in enumerate(LABELS_OF_BODY):
        name = "leg" if PART_NAMES[label].endswith("leg") else PART_NAMES[label]
        assert MASKED_PARTS[PARTS.part[vertex]] == name
        assert vertex in PARTS.members[MASKED_PARTS.index(name)]
    assert sum(map(len, PARTS.members)) == len(LABELS_OF_BODY)


def test_published_weights_are_those_of_their_parts():
    assert dict(zip(MASKED_PARTS, CHAMFER_PART_WEIGHTS, strict=True)) == {
        "head": 50, "torso": 1, "tail": 0.01, "leg": 0.001
    }  # fmt: skip
    assert dict(zip(MASKED_PARTS, KEYPOINT_PART_WEIGHTS, strict=True)) == {
        "head": 50, "torso": 1, "tail": 0.1, "leg": 0.001
    }  # fmt: skip
    assert (head_weights(LABELS_OF_BODY, 50) == torch.where(PARTS.part == 0, 50.0, 1.0)).all()


@given(arrays.arrays(np.uint8, (2, 5, 7), elements=st.integers(0, 4)))
@settings(deadline=None, max_examples=50)
def test_target_holds_every_labelled_pixel_once(labels):
    pixels = PartTarget.from_labels(torch.from_numpy(labels)).all_pixels()
    rebuilt = np.zeros_like(labels)
    for frame in range(2):
        for part in range(4):
            column, row = (pixels.pixels[frame, part, : pixels.lengths[frame, part]] - 0.5).long().numpy().T
            assert (rebuilt[frame, row, column] == 0).all()
            rebuilt[frame, row, column] = part + 1
    np.testing.assert_array_equal(rebuilt, labels)


@pytest.mark.parametrize("label", [9, 11])
def test_labels_of_another_numbering_are_refused(label):
    with pytest.raises(ValueError, match=str(label)):
        PartTarget.from_labels(torch.full((1, 4, 4), label, dtype=torch.uint8))


def test_chamfer_is_the_published_sum(target, labels, projected, visible):
    loss = part_chamfer(projected, visible, PARTS, target.all_pixels())
    expected = [slow_chamfer(*(x[i].numpy() for x in (projected, visible, labels))) for i in range(3)]
    # Visibility weights are single precision.
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)
    assert loss[2] == 0


def test_chamfer_of_drawn_pixels_is_near_that_of_all(target, projected, visible):
    every = part_chamfer(projected, visible, PARTS, target.all_pixels())
    drawn = part_chamfer(projected, visible, PARTS, target.drawn(4000, generator()))
    # The standard error of a mean of 4000 draws whose deviation is of the size of the mean is 1.6 %.
    torch.testing.assert_close(drawn, every, rtol=0.06, atol=0)


def test_drawn_pixels_come_from_their_part(target, labels):
    drawn = target.drawn(60, generator())
    assert drawn.lengths.tolist() == [[60, 60, 60, 60], [0, 60, 0, 60], [0, 0, 0, 0]]
    for frame, part in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 3)):
        column, row = (drawn.pixels[frame, part] - 0.5).long().unbind(-1)
        assert (labels[frame, row, column] == part + 1).all()


def test_frames_of_a_batch_are_selected_together(target, projected, visible):
    batch = torch.tensor([1, 0])
    whole = part_chamfer(projected, visible, PARTS, target.all_pixels())
    selected = part_chamfer(projected[batch], visible[batch], PARTS, target[batch].all_pixels())
    torch.testing.assert_close(selected, whole[batch])


def test_keypoints_are_drawn_by_area_with_vertices_of_their_part(target, labels):
    keypoints = target.drawn_keypoints(PARTS, 4000, generator())
    column, row = (keypoints.pixels - 0.5).long().unbind(-1)
    for frame in range(2):
        seen = labels[frame, row[frame], column[frame]].long() - 1
        assert (seen == PARTS.part[keypoints.vertices[frame]]).all()
        shares = torch.bincount(seen, minlength=4) / 4000
        # Four standard errors of a share of 4000 draws are at most 0.032.
        torch.testing.assert_close(shares, target.lengths[frame] / target.lengths[frame].sum(), rtol=0, atol=0.032)
    assert (keypoints.vertices[2] == -1).all()
    assert len(keypoints.vertices[0].unique()) == len(LABELS_OF_BODY)


def test_keypoints_are_the_published_sum(target, projected, visible):
    keypoints = target.drawn_keypoints(PARTS, 200, generator())
    loss = part_keypoints(projected, visible, PARTS, keypoints)
    for frame in range(2):
        expected = 0.0
        for pixel, vertex in zip(keypoints.pixels[frame].tolist(), keypoints.vertices[frame].tolist(), strict=True):
            distance = np.hypot(*(projected[frame, vertex].numpy() - pixel)) / WIDTH
            hidden = 1.0 if visible[frame, vertex] else HIDDEN_WEIGHT
            expected += KEYPOINT_PART_WEIGHTS[PARTS.part[vertex]] * hidden * distance
        assert loss[frame].item() == pytest.approx(expected, rel=1e-6)
    assert loss[2] == 0


@pytest.mark.parametrize("lost", range(len(MASKED_PARTS)))
def test_part_that_the_body_does_not_have_does_not_count(target, labels, projected, visible, lost):
    keep = PARTS.part != lost
    parts = PartVertices.of(LABELS_OF_BODY[keep])
    loss = part_chamfer(projected[:, keep], visible[:, keep], parts, target.all_pixels())
    without = PartTarget.from_labels(torch.where(labels == lost + 1, 0, labels).byte())
    torch.testing.assert_close(loss, part_chamfer(projected, visible, PARTS, without.all_pixels()))
    keypoints = target.drawn_keypoints(parts, 500, generator())
    column, row = (keypoints.pixels[0] - 0.5).long().unbind(-1)
    torch.testing.assert_close(keypoints.vertices[0] == -1, labels[0, row, column] == lost + 1)
    assert part_keypoints(projected[:, keep], visible[:, keep], parts, keypoints).isfinite().all()


def test_empty_masks_give_zero_loss_and_zero_gradient(projected, visible):
    target = PartTarget.from_labels(torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8))
    projected.requires_grad_()
    loss = (
        part_chamfer(projected, visible, PARTS, target.all_pixels())
        + part_chamfer(projected, visible, PARTS, target.drawn(10))
        + part_keypoints(projected, visible, PARTS, target.drawn_keypoints(PARTS))
    )
    loss.sum().backward()
    assert (loss == 0).all()
    assert projected.grad is not None
    assert (projected.grad == 0).all()


def test_no_visible_vertex(target, projected, visible):
    """Weights of the chamfer are relative; a hidden keypoint counts less."""
    none, every = torch.zeros_like(visible), torch.ones_like(visible)
    pixels, keypoints = target.all_pixels(), target.drawn_keypoints(PARTS, 50, generator())
    torch.testing.assert_close(
        part_chamfer(projected, none, PARTS, pixels), part_chamfer(projected, every, PARTS, pixels)
    )
    torch.testing.assert_close(
        part_keypoints(projected, none, PARTS, keypoints),
        HIDDEN_WEIGHT * part_keypoints(projected, every, PARTS, keypoints),
    )


def test_keypoint_in_its_place_has_no_gradient(visible):
    projected = torch.full((1, len(LABELS_OF_BODY), 2), 3.0, requires_grad=True)
    keypoints = PartKeypoints(torch.full((1, 5, 2), 3.0), torch.arange(5)[None], (HEIGHT, WIDTH))
    part_keypoints(projected, visible[:1], PARTS, keypoints).sum().backward()
    assert projected.grad is not None
    assert (projected.grad == 0).all()


def test_losses_pass_gradcheck(target, projected, visible):
    projected = projected[[0, 2]].requires_grad_()
    # Pixels in double precision, or steps of 1e-6 would drown in rounding.
    pixels, keypoints = target[[0, 2]].drawn(6, generator()), target[[0, 2]].drawn_keypoints(PARTS, 30, generator())
    pixels, keypoints = (type(x)(**{**vars(x), "pixels": x.pixels.double()}) for x in (pixels, keypoints))
    visible = visible[[0, 2]]
    assert torch.autograd.gradcheck(lambda p: part_chamfer(p, visible, PARTS, pixels), projected)
    assert torch.autograd.gradcheck(lambda p: part_keypoints(p, visible, PARTS, keypoints), projected)


LEG_LABELS = {name: 5 + index for index, name in enumerate(LEGS)}


def test_legs_that_are_told_apart_pull_their_own_vertices_only(projected, visible):
    told_apart = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    told_apart[0, 16:22, 8:10] = LEG_LABELS["back_left_leg"]
    told_apart[1, 3:6, 3:9] = LEG_LABELS["front_right_leg"]
    target = PartTarget.from_labels(told_apart)
    assert target.lengths.shape == (3, 8)
    projected.requires_grad_()
    part_chamfer(projected, visible, PARTS, target.all_pixels()).sum().backward()
    assert projected.grad is not None
    for frame, name in ((0, "back_left_leg"), (1, "front_right_leg")):
        mine = torch.isin(LABELS_OF_BODY, PART_NAMES.index(name))
        assert projected.grad[frame, mine].any()
        assert not projected.grad[frame, ~mine].any()
    keypoints = target.drawn_keypoints(PARTS, 50, generator())
    assert (LABELS_OF_BODY[keypoints.vertices[0]] == PART_NAMES.index("back_left_leg")).all()
    assert part_keypoints(projected, visible, PARTS, keypoints)[:2].all()


def test_each_leg_that_is_told_apart_has_the_weight_of_a_leg(projected, visible):
    labels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    labels[0, 16:22, 8:10] = LEG_LABELS["front_left_leg"]
    target = PartTarget.from_labels(labels).all_pixels()
    once, twice = (
        part_chamfer(projected[:1], visible[:1], PARTS, target, (1.0, 1.0, weight, 1.0)) for weight in (1.0, 2.0)
    )
    torch.testing.assert_close(2 * once, twice)


def test_an_unknown_part_does_not_push_the_mesh_away():
    """A head whose half is not known lies where it should; a head of which that half is "none" does not."""
    rows, columns = torch.meshgrid(torch.arange(4.0, 8.0), torch.arange(10.0, 20.0), indexing="ij")
    head = torch.stack((columns.flatten(), rows.flatten()), dim=1)[None].double() + 0.5
    parts = PartVertices.of(torch.zeros(head.shape[1], dtype=torch.long))
    visible = torch.ones(1, head.shape[1], dtype=torch.bool)
    labels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    labels[0, 4:8, 10:15] = 1
    none = part_chamfer(head, visible, parts, PartTarget.from_labels(labels).all_pixels())
    labels[0, 4:8, 15:20] = UNKNOWN
    target = PartTarget.from_labels(labels)
    unknown = part_chamfer(head, visible, parts, target[[0]].to("cpu").all_pixels())
    assert target.unknown is not None
    assert unknown < 0.01 * none
    beyond = part_chamfer(head + 1000.0, visible, parts, target.drawn(20, generator()))
    assert beyond.isfinite().all(), "vertices outside of the picture lie on no part"


def test_some_legs_told_apart_and_others_not_are_refused():
    labels = torch.tensor([[[3, 5]]], dtype=torch.uint8)
    with pytest.raises(ValueError, match="all legs apart"):
        PartTarget.from_labels(labels)
