"""The coat around the skin, counted from masks of a ball with fur of known length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animal4d.texture.coat import EXCESS_WEIGHT, STEPS, coat_opacity, counted_coat
from animal4d.texture.fit import TextureFootage, lessons_of
from animal4d.texture.hits import Shells
from texture.scenes import RADIUS, THICKNESS, ball, footage, sphere_hits

FRAMES = 9


@pytest.fixture(scope="module")
def shells() -> Shells:
    return ball(3)


def in_fur(filmed: TextureFootage, thicknesses: float) -> TextureFootage:
    """The same ball with masks of one that is larger by so much of the shell."""
    radius = RADIUS + thicknesses * THICKNESS
    masks = [sphere_hits(radius, frame, FRAMES)[0].float() for frame in range(FRAMES)]
    return replace(filmed, masks=torch.stack(masks))


def counted(shells: Shells, filmed: TextureFootage, frames=range(FRAMES)):
    return counted_coat(lessons_of(shells, filmed, frames, 2), shells.faces, len(shells.inner))


@pytest.mark.parametrize("length", [0.25, 0.5, 0.75])
def test_the_coat_is_as_long_as_the_fur(shells, length):
    """Sums over the steps: lengths in steps. A pixel is 0.36 of a thickness wide, and every step within half of one
    of the fur's end sees rays inside and outside; since those inside count more, the length comes out up to a third of
    a pixel too long."""
    coat = counted(shells, in_fur(footage(shells, FRAMES), length))
    found = coat.mean(0).sum() / STEPS
    assert length - 0.05 < found < length + 0.36 / 3 + 0.05


def test_exact_masks_leave_hardly_a_coat(shells):
    """Only the pixels that the outline cuts through."""
    coat = counted(shells, footage(shells, FRAMES))
    assert coat[:, STEPS // 2 :].max() < 0.05
    assert coat.mean(0).sum() / STEPS < 0.36 / 2


def test_the_share_of_rays_is_least_squares(shells):
    """The opacity of every vertex and step, where neighbours do not share, is the number with the smallest weighted
    sum of squares; one coat for all vertices and steps shows it without them."""
    lessons = lessons_of(shells, in_fur(footage(shells, FRAMES), 0.5), range(FRAMES), 2)
    beside = [
        (lesson.shown & ~lesson.hits.reaches_skin, ~lesson.shown & ~lesson.hits.reaches_skin) for lesson in lessons
    ]
    shown, hidden = (sum(float(rays[side].sum()) for rays in beside) for side in (0, 1))
    best = shown / (shown + EXCESS_WEIGHT * hidden)
    coat = counted_coat(lessons, shells.faces, len(shells.inner))
    cost = [
        sum(
            float((rays[0] * (1 - a) ** 2).sum() + EXCESS_WEIGHT * (rays[1] * a**2).sum())
            for rays, lesson in zip(beside, lessons, strict=True)
            for a in (coat_opacity(coat, shells.faces, lesson.hits) if constant is None else constant,)
        )
        for constant in (None, best, best - 0.1, best + 0.1)
    ]
    assert cost[0] < 0.6 * cost[1] and cost[1] < min(cost[2:])


def test_without_lessons_there_is_no_coat(shells):
    assert not counted(shells, footage(shells, FRAMES), ()).any()


def test_what_was_not_filmed_gets_no_coat(shells):
    """One frame: the far side's outline vertices are seen, the middle of both sides is not."""
    coat = counted(shells, in_fur(footage(shells, FRAMES), 0.5), (0,))
    assert (coat.amax(1) < 0.05).float().mean() > 0.3 and coat.max() > 0.8
