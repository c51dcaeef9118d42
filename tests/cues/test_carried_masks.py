"""Masks of held-out frames are made anew from their neighbours, and never looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animal4d.clip import Clip
from animal4d.cues.carried_masks import carry_masks
from cues.moving_picture import moving_picture

HIDDEN = torch.tensor([4, 9, 10, 11])
"""One frame between known ones, and the last three."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    return moving_picture(tmp_path_factory.mktemp("moving")).clip


def overlap(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    ours, theirs = ours > 0.5, theirs > 0.5
    return (ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2))


def test_carried_masks_lie_on_the_animal(clip):
    shown = carry_masks(clip, HIDDEN)
    assert shown.mask_valid.all()
    # The outline of an animal of some 90 pixels is known to about a pixel: 4 * 1 / 90 of its area.
    assert overlap(shown.masks[HIDDEN], clip.masks[HIDDEN]).min() > 0.94
    still = clip.masks[8].expand(3, -1, -1)
    assert overlap(shown.masks[9:], clip.masks[9:]).mean() > overlap(still, clip.masks[9:]).mean()


def test_other_masks_are_left_alone(clip):
    shown = carry_masks(clip, HIDDEN)
    others = [frame for frame in range(len(clip)) if frame not in HIDDEN.tolist()]
    assert torch.equal(shown.masks[others], clip.masks[others])
    assert torch.equal(shown.frames, clip.frames)


def test_hidden_masks_are_not_looked_at(clip):
    lying = clip.masks.clone()
    lying[HIDDEN] = torch.rand(lying[HIDDEN].shape, generator=torch.Generator().manual_seed(0))
    valid = clip.mask_valid.clone()
    valid[HIDDEN] = False
    blind = carry_masks(replace(clip, masks=lying, mask_valid=valid), HIDDEN)
    assert torch.equal(blind.masks, carry_masks(clip, HIDDEN).masks)


def test_the_random_state_of_others_neither_matters_nor_changes(clip):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    once = carry_masks(clip, HIDDEN).masks
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(once, carry_masks(clip, HIDDEN).masks)


def test_nothing_hidden_and_nothing_known(clip):
    assert torch.equal(carry_masks(clip, torch.tensor([], dtype=torch.long)).masks, clip.masks)
    blank = carry_masks(clip, torch.arange(len(clip)))
    assert not blank.mask_valid.any()
    assert blank.masks.sum() == 0


def test_frames_without_a_mask_stay_without(clip):
    masks, valid = clip.masks.clone(), clip.mask_valid.clone()
    masks[2], valid[2] = 0.0, False
    shown = carry_masks(replace(clip, masks=masks, mask_valid=valid), HIDDEN)
    assert not shown.mask_valid[2]
    assert shown.mask_valid[HIDDEN].all()


def test_two_known_frames_are_enough(clip):
    hidden = torch.tensor([index for index in range(len(clip)) if index not in (5, 7)])
    shown = carry_masks(clip, hidden)
    assert overlap(shown.masks[[6]], clip.masks[[6]]) > 0.9
