"""Which frames teach, choose and judge."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.fit.split import split_frames


def test_of_twenty_frames_the_last_five_are_tested():
    split = split_frames(torch.ones(40, dtype=torch.bool))
    assert split.test.tolist() == [15, 16, 17, 18, 19, 35, 36, 37, 38, 39]
    assert len(split.train) == 26
    assert len(split.validation) == 4
    assert all(frame % 20 < 15 for frame in split.validation.tolist()), "validation is taken from the published 15"


@settings(deadline=None)
@given(valid=st.lists(st.booleans(), min_size=1, max_size=90))
def test_the_parts_are_disjoint_and_cover_the_valid_frames(valid):
    split = split_frames(torch.tensor(valid))
    parts = [frame for part in split.as_lists().values() for frame in part]
    assert sorted(parts) == [frame for frame, usable in enumerate(valid) if usable]
    assert all(part == sorted(part) for part in split.as_lists().values())
    assert len(split.train) > 0 or not any(valid)


@settings(deadline=None)
@given(frames=st.integers(4, 200))
def test_clips_of_four_frames_and_more_hold_frames_out(frames):
    split = split_frames(torch.ones(frames, dtype=torch.bool))
    assert len(split.test) >= 1
    assert 0.5 * frames <= len(split.train)


def test_very_short_clips_train_on_everything():
    for frames in (1, 2, 3):
        split = split_frames(torch.ones(frames, dtype=torch.bool))
        assert split.train.tolist() == list(range(frames))
        assert len(split.validation) == len(split.test) == 0


def test_if_only_test_places_have_masks_they_train():
    valid = torch.zeros(20, dtype=torch.bool)
    valid[16:19] = True
    assert split_frames(valid).train.tolist() == [16, 17, 18]
