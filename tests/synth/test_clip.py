"""Synthetic clips: what they claim as truth agrees with what they show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.geometry.rasterize import rasterize, visible_vertices
from animal4d.synth.actors import perform
from animal4d.synth.camera_paths import camera_track
from animal4d.synth.clip import SyntheticClip, make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import SynthConfig, demo_config, third_party_config
from animal4d.synth.truth import load_truth, track_points

SMALL = SynthConfig(motion="walk", shape="mean", frames=5, fps=8.0, image_size=(120, 160), tracks=80, seed=2)


@pytest.fixture(scope="module")
def builtin() -> SyntheticClip:
    return make_synthetic_clip(SMALL)


@pytest.fixture(scope="module")
def husky(shared_dir: Path) -> SyntheticClip:
    config = third_party_config(shared_dir / "clips" / "animals" / "Husky.glb")
    return make_synthetic_clip(replace(config, frames=5, fps=8.0, image_size=(120, 160), tracks=80))


@pytest.fixture(params=["builtin", "husky"])
def clip(request: pytest.FixtureRequest) -> SyntheticClip:
    return request.getfixturevalue(request.param)


def azimuths(config: SynthConfig) -> tuple[np.ndarray, np.ndarray]:
    """Camera azimuth about the animal in degrees, and the share of the width that it takes, per frame."""
    actor = perform(config)
    cameras = camera_track(
        config.camera_style, actor.vertices, actor.heading, config.image_size, np.random.default_rng(0)
    )
    towards = cameras.centers - actor.vertices.mean(dim=1)
    angle = np.degrees(np.unwrap(torch.atan2(towards[:, 1], towards[:, 0]).numpy() - actor.heading))
    pixels = cameras.project(actor.vertices)[..., 0]
    return (angle + 180) % 360 - 180, ((pixels.amax(1) - pixels.amin(1)) / config.image_size[1]).numpy()


def test_masks_are_the_projected_triangles(clip: SyntheticClip) -> None:
    truth = clip.truth
    pixels = truth.cameras.project(truth.vertices).numpy()
    height, width = truth.cameras.image_size
    for frame in range(len(truth)):
        drawn = np.zeros((4 * height, 4 * width), np.uint8)
        for triangle in pixels[frame][truth.faces.numpy()]:
            cv2.fillConvexPoly(drawn, np.round(triangle * 4 - 0.5).astype(np.int32), 1)
        coarse = drawn.reshape(height, 4, width, 4).mean(axis=(1, 3)) > 0.5
        overlap = (coarse & clip.masks[frame]).sum() / (coarse | clip.masks[frame]).sum()
        assert overlap > 0.96


def test_parts_cover_the_mask_and_agree_with_visible_vertices(clip: SyntheticClip) -> None:
    truth = clip.truth
    assert np.array_equal(clip.parts > 0, clip.masks)
    cameras = truth.cameras
    fragments = rasterize(cameras.transform(truth.vertices), truth.faces, cameras.intrinsics, cameras.image_size)
    seen = visible_vertices(fragments, truth.faces, truth.vertices.shape[1])
    pixels = cameras.project(truth.vertices).long()
    agree = []
    for frame in range(len(truth)):
        column, row = pixels[frame, seen[frame]].T
        shown = clip.parts[frame][row.clamp(0, 119), column.clamp(0, 159)]
        inside = shown > 0
        agree.append((shown == 1 + truth.part_labels[seen[frame]].numpy())[inside].mean())
    assert np.mean(agree) > 0.85


def test_tracks_are_projections_of_their_surface_points(clip: SyntheticClip) -> None:
    truth = clip.truth
    points = track_points(truth.vertices, truth.faces, truth.track_faces, truth.track_barycentrics)
    torch.testing.assert_close(truth.tracks, truth.cameras.project(points))
    torch.testing.assert_close(truth.track_barycentrics.sum(-1), torch.ones(len(truth.track_faces)))


def test_visibility_of_tracks_agrees_with_rays(clip: SyntheticClip) -> None:
    # Pixels decide for whole pixels, rays for points: the finer the picture, the fewer points lie on an edge between.
    truth = make_synthetic_clip(replace(clip.config, image_size=(240, 320), tracks=160)).truth
    points = track_points(truth.vertices, truth.faces, truth.track_faces, truth.track_barycentrics).double()
    frame = 2
    eye = truth.cameras.centers[frame].double()
    corners = truth.vertices[frame][truth.faces].double()
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    free = []
    for point in points[frame]:
        # Moeller and Trumbore: does a triangle cut the segment from the eye to just before the point?
        ray = point - eye
        p = torch.linalg.cross(ray.expand_as(edge_2), edge_2)
        determinant = (edge_1 * p).sum(-1)
        offset = eye - corners[:, 0]
        u = (offset * p).sum(-1) / determinant
        q = torch.linalg.cross(offset, edge_1)
        v = (q * ray).sum(-1) / determinant
        t = (edge_2 * q).sum(-1) / determinant
        free.append(not ((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-6) & (t < 1 - 2e-3)).any())
    agreement = (np.array(free) == truth.track_visible[frame].numpy()).mean()
    assert agreement > 0.9
    assert 0.2 < truth.track_visible.float().mean() < 0.8


def test_the_body_is_where_its_parameters_say(builtin: SyntheticClip) -> None:
    body = builtin.truth.body
    assert body is not None
    model = load_builtin_template()
    posed = model.with_shape(body.betas, body.limb_scales).with_pose(body.joint_rotations, body.translation)
    torch.testing.assert_close(posed.vertices, builtin.truth.vertices)
    torch.testing.assert_close(posed.joints, builtin.truth.joints[:, : model.n_joints])


def test_animals_face_where_they_go_and_stay_on_the_ground(clip: SyntheticClip) -> None:
    truth = clip.truth
    way = (truth.vertices[-1] - truth.vertices[0]).mean(dim=0)
    assert way.norm() > 0.05
    assert (truth.facing @ (way / way.norm()) > 0.8).all()
    torch.testing.assert_close(truth.facing.norm(dim=-1), torch.ones(len(truth)))
    lowest = truth.vertices[..., 2].amin(dim=1)
    assert lowest.min() > -0.006
    assert lowest.max() < 0.03


@pytest.mark.parametrize("name", ["Husky", "ShibaInu", "Cow"])
def test_foreign_animals_travel_as_their_feet_do(shared_dir: Path, name: str) -> None:
    config = replace(third_party_config(shared_dir / "clips" / "animals" / f"{name}.glb"), frames=64, fps=60.0)
    actor = perform(replace(config, heading=0.0))
    paws = [index for index, name in enumerate(actor.joint_names) if name.endswith("_paw")]
    places = actor.joints[:, paws]
    low = places[..., 2] < places[..., 2].amin(dim=0) + 0.02
    standing = low[1:] & low[:-1]
    slip = (places[1:] - places[:-1])[..., 0][standing].mean() * config.fps
    way = (actor.vertices[-1] - actor.vertices[0]).mean(dim=0)[0]
    travelling = float(way) * config.fps / (config.frames - 1)
    assert len(paws) == 4
    assert travelling > 0.3
    assert abs(slip) < 0.25 * travelling
    assert actor.vertices[..., 2].min() > -1e-4


def test_the_animal_stands_out_from_its_scene(clip: SyntheticClip) -> None:
    assert clip.frames.dtype == np.uint8
    assert clip.frames.shape == (5, 120, 160, 3)
    assert clip.frames.std() > 20
    for frame, mask in zip(clip.frames.astype(float), clip.masks, strict=True):
        assert 0.05 < mask.mean() < 0.5
        assert np.abs(frame[mask].mean(axis=0) - frame[~mask].mean(axis=0)).max() > 5


def test_the_same_configuration_gives_the_same_clip(builtin: SyntheticClip) -> None:
    again = make_synthetic_clip(SMALL)
    assert np.array_equal(again.frames, builtin.frames)
    assert torch.equal(again.truth.tracks, builtin.truth.tracks)
    other = make_synthetic_clip(replace(SMALL, seed=3, frames=1))
    assert not np.array_equal(other.frames[0], builtin.frames[0])


def test_a_clip_of_one_frame_works() -> None:
    clip = make_synthetic_clip(replace(SMALL, frames=1, motion="stand", camera="fixed"))
    assert clip.masks.any()


def test_the_folder_holds_what_the_clip_holds(clip: SyntheticClip, tmp_path: Path) -> None:
    write_synthetic_clip(clip, tmp_path / "clip")
    names = [f"{index:05d}" for index in range(5)]
    for folder, ending in (("frames", "jpg"), ("masks", "png"), ("parts", "png")):
        assert sorted(path.name for path in (tmp_path / "clip" / folder).iterdir()) == [f"{n}.{ending}" for n in names]
    frame = np.asarray(Image.open(tmp_path / "clip" / "frames" / "00003.jpg"), float)
    assert np.abs(frame - clip.frames[3]).mean() < 4
    assert np.array_equal(np.asarray(Image.open(tmp_path / "clip" / "masks" / "00003.png")) > 127, clip.masks[3])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "clip" / "parts" / "00003.png")), clip.parts[3])
    cameras = json.loads((tmp_path / "clip" / "cameras.json").read_text())
    np.testing.assert_allclose(cameras["frames"][3]["world_to_camera"], clip.cameras.world_to_camera[3], atol=1e-6)
    assert cameras["fps"] == 8.0
    assert cameras["frames"][3]["time"] == pytest.approx(3 / 8)
    meta = json.loads((tmp_path / "clip" / "meta.json").read_text())
    assert meta["config"]["motion"] == clip.config.motion
    loaded = load_truth(tmp_path / "clip")
    for name in ("vertices", "faces", "part_labels", "joints", "facing", "tracks", "track_visible", "track_faces"):
        assert torch.equal(getattr(loaded, name), getattr(clip.truth, name)), name
    assert loaded.joint_names == clip.truth.joint_names
    assert (loaded.body is None) == (clip.truth.body is None)
    assert loaded.cameras.image_size == (120, 160)


def test_a_folder_with_something_in_it_is_left_alone(builtin: SyntheticClip, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(Animal4dError, match="not empty"):
        write_synthetic_clip(builtin, tmp_path)
    write_synthetic_clip(builtin, tmp_path, overwrite=True)
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_missing_truth_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Animal4dError, match="no such file"):
        load_truth(tmp_path)
    (tmp_path / "truth.npz").write_bytes(b"PK nonsense")
    with pytest.raises(Animal4dError, match="not the truth"):
        load_truth(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"motion": "moonwalk"}, "unknown motion"),
        ({"shape": "unicorn"}, "unknown shape"),
        ({"coat": "sequins"}, "unknown coat"),
        ({"source": "nowhere.glb"}, "no such file"),
    ],
)
def test_impossible_wishes_are_said_in_one_line(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(Animal4dError, match=message):
        make_synthetic_clip(replace(SMALL, frames=1, **wrong))  # type: ignore[arg-type]


def test_impossible_numbers_are_said_in_one_line() -> None:
    with pytest.raises(Animal4dError, match="frames must be at least 1"):
        SynthConfig(frames=0)


def test_the_demo_shows_a_trotting_dog_from_a_moving_camera() -> None:
    config = demo_config()
    angle, share = azimuths(config)
    assert (config.motion, config.frames) == ("trot", 40)
    assert 35 <= abs(angle[-1] - angle[0]) <= 60
    assert share.min() > 0.45
    assert share.max() < 0.70


@pytest.mark.parametrize("name", ["Husky", "ShibaInu", "Cow"])
def test_the_camera_sweeps_from_40_to_110_degrees_around_foreign_animals(shared_dir: Path, name: str) -> None:
    angle, share = azimuths(third_party_config(shared_dir / "clips" / "animals" / f"{name}.glb"))
    assert angle[0] == pytest.approx(40, abs=6)
    assert angle[-1] == pytest.approx(110, abs=6)
    assert 0.35 < share.min() <= share.max() < 0.7
