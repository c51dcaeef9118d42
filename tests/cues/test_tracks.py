"""Tracks and ground motion against motion that is known exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from animal4d.cues.ground import ground_motion
from animal4d.cues.tracks import LucasKanadeTracks, Tracks
from animal4d.readers.load import load_clip

from .moving_picture import DRIFT, VELOCITY, MovingPicture, carried, moving_picture


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> MovingPicture:
    return moving_picture(tmp_path_factory.mktemp("picture"))


@pytest.mark.parametrize("background", [False, True])
def test_tracks_follow_the_known_motion(picture: MovingPicture, background: bool) -> None:
    tracks = LucasKanadeTracks(background=background)(picture.clip)
    truth = picture.background if background else picture.animal
    frames = len(picture.clip)
    assert tracks.points.shape == (frames, len(tracks), 2) and tracks.visible.shape == (frames, len(tracks))
    assert tracks.visible.sum(dim=1).min() > 60
    errors = []
    for track in range(len(tracks)):
        seen = tracks.visible[:, track].nonzero().flatten().tolist()
        assert seen == list(range(seen[0], seen[-1] + 1)) and len(seen) >= 3
        first = tracks.points[seen[0], track].numpy()
        errors += [
            np.linalg.norm(carried(first, truth[seen[0]], truth[frame]) - tracks.points[frame, track].numpy())
            for frame in seen[1:]
        ]
    assert np.median(errors) < 0.3
    assert np.percentile(errors, 95) < 1.0


def test_gaps_are_filled_with_new_points(picture: MovingPicture) -> None:
    tracks = LucasKanadeTracks(reseed_every=3)(picture.clip)
    first_seen = tracks.visible.int().argmax(dim=0)
    assert set(first_seen.unique().tolist()) <= {0, 3, 6, 9}
    # Where a point is not visible, it stays at the nearest place where it was seen.
    for track in range(0, len(tracks), 20):
        seen = tracks.visible[:, track].nonzero().flatten()
        assert torch.equal(tracks.points[-1, track], tracks.points[seen[-1], track])
        assert torch.equal(tracks.points[0, track], tracks.points[seen[0], track])


def test_tracks_end_where_the_mask_is_missing(picture: MovingPicture) -> None:
    valid = picture.clip.mask_valid.clone()
    valid[5] = False
    clip = replace(picture.clip, mask_valid=valid, masks=picture.clip.masks * valid[:, None, None])
    tracks = LucasKanadeTracks()(clip)
    assert not tracks.visible[5].any() and tracks.visible[6].any()
    assert not (tracks.visible[4] & tracks.visible[6]).any()
    motion = ground_motion(clip, tracks, LucasKanadeTracks(background=True)(clip))
    assert motion.valid.tolist() == [pair not in (4, 5) for pair in range(len(clip) - 1)]


def test_ground_motion_takes_the_camera_out(picture: MovingPicture) -> None:
    tracks, background = (LucasKanadeTracks(background=b)(picture.clip) for b in (False, True))
    motion = ground_motion(picture.clip, tracks, background)
    assert motion.valid.all() and (motion.inliers > 20).all()
    np.testing.assert_allclose(motion.relative.numpy(), np.tile(VELOCITY - DRIFT, (11, 1)), atol=0.3)
    np.testing.assert_allclose(motion.background[:, :, 2].mean(dim=0).numpy(), DRIFT, atol=0.2)
    size = np.sqrt(np.pi * 55 * 32)
    np.testing.assert_allclose(motion.animal_size.numpy(), size, rtol=0.03)
    np.testing.assert_allclose(motion.total().numpy(), 11 * (VELOCITY - DRIFT) / size, atol=0.01)


def test_ground_motion_of_an_animal_cut_by_the_frame(tmp_path: Path) -> None:
    """Half of the animal is outside: the centroid of what is left moves at another speed than the animal."""
    picture = moving_picture(tmp_path, shift=(-95.0, 0.0))
    tracks, background = (LucasKanadeTracks(background=b)(picture.clip) for b in (False, True))
    motion = ground_motion(picture.clip, tracks, background)
    assert motion.valid.all()
    assert motion.relative[:, 0].median() == pytest.approx(VELOCITY[0] - DRIFT[0], abs=0.4)


def test_one_frame_has_no_motion(picture: MovingPicture) -> None:
    clip = load_clip(picture.clip.source, max_frames=1)
    tracks = LucasKanadeTracks()(clip)
    assert tracks.points.shape[0] == 1 and tracks.visible.all() and len(tracks) > 60
    motion = ground_motion(clip, tracks, LucasKanadeTracks(background=True)(clip))
    assert motion.relative.shape == (0, 2) and motion.total().tolist() == [0, 0]


def test_a_picture_without_texture_has_no_tracks(picture: MovingPicture) -> None:
    clip = replace(picture.clip, frames=torch.full_like(picture.clip.frames, 90))
    tracks, background = (LucasKanadeTracks(background=b)(clip) for b in (False, True))
    assert len(tracks) == 0 and tracks.points.shape == (len(clip), 0, 2)
    assert not ground_motion(clip, tracks, background).valid.any()


def test_tracks_survive_being_stored(picture: MovingPicture) -> None:
    tracks = LucasKanadeTracks()(picture.clip)
    again = Tracks.from_arrays(tracks.to_arrays())
    assert torch.equal(again.points, tracks.points) and torch.equal(again.visible, tracks.visible)
