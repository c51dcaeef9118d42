"""`animal4d animate`: clips in the asset, poses, previews, and bad input in one line each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.export.axes import asset_from_world
from animal4d.export.scale import length_of
from animal4d.finished_run import open_finished_run
from animal4d.geometry.rotations import axis_angle_from_matrix
from animal4d.motion.clips import ClipOptions, make_clips
from animal4d.motion.sources import MotionRequest
from cli.commands import animal4d, contents, error_line
from export.gltf_reader import GltfReader
from export.javascript import assert_valid_gltf
from motion.animals import BODY_LENGTH, write_run


@pytest.fixture(scope="module")
def dog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "dog", "mean", "trot")


@pytest.fixture(scope="module")
def greyhound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "greyhound", "greyhound", "walk")


@pytest.fixture(scope="module")
def animated(dog: Path, greyhound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("animated") / "out"
    arguments = ("--motion", greyhound, "gallop", "--clip", "walk", "run", "--seconds", "0.5", "--no-preview")
    outcome = animal4d("animate", dog, *arguments, "--out", out)
    assert outcome.status == 0, outcome.err
    assert "slide" in outcome.out and "walk" in outcome.out
    return out


def clip_of(asset: Path, name: str) -> GltfReader:
    """Reads one animation of several."""
    reader = GltfReader(asset)
    animations = reader.document.animations
    index = [animation.name for animation in animations].index(name)
    animations.insert(0, animations.pop(index))
    return reader


def test_clips_stand_beside_the_videos_own(dog: Path, animated: Path) -> None:
    before, after = GltfReader(dog / "asset.glb"), GltfReader(animated / "asset.glb")
    assert [clip.name for clip in after.document.animations] == [before.document.animations[0].name, "walk", "run"]
    time = float(before.key_times[7])
    np.testing.assert_array_equal(after.skinned_vertices(time), before.skinned_vertices(time))
    assert not [path for path in animated.iterdir() if path.suffix in (".mp4", ".png")]


@pytest.mark.parametrize("clip", ["walk", "run"])
def test_a_clip_of_the_asset_is_the_motion_of_its_poses(animated: Path, clip: str) -> None:
    reader = clip_of(animated / "asset.glb", clip)
    poses = np.load(animated / f"{clip}.npz")
    model = load_builtin_template()
    body = model.with_shape(torch.from_numpy(poses["betas"]))
    frame = len(poses["translation"]) // 2
    assert float(reader.key_times[frame]) == pytest.approx(float(poses["times"][frame]))
    rotations, translation = (torch.from_numpy(poses[name][frame]) for name in ("joint_rotations", "translation"))
    wanted = body.with_pose(rotations, translation).vertices.numpy() @ asset_from_world().T
    played = reader.skinned_vertices(float(reader.key_times[frame]))
    scale = float(poses["metres_per_unit"])
    assert scale == pytest.approx(BODY_LENGTH / length_of(body))
    assert np.linalg.norm(played - scale * wanted, axis=1).max() < 1e-4 * scale * model.body_length


def test_khronos_validator_has_nothing_to_say(animated: Path) -> None:
    assert_valid_gltf(animated / "asset.glb")


def test_a_loop_of_the_runs_own_motion(dog: Path, tmp_path: Path) -> None:
    outcome = animal4d("animate", dog, "--loop", "--in-place", "--no-preview", "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"asset.glb", "dog_loop_in_place.npz"}
    poses = np.load(tmp_path / "out" / "dog_loop_in_place.npz")
    np.testing.assert_allclose(poses["translation"][0], poses["translation"][-1], atol=1e-5)
    np.testing.assert_allclose(poses["joint_rotations"][0], poses["joint_rotations"][-1], atol=1e-5)


def test_a_preview(dog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("animal4d.motion.preview._PANE", 32)
    outcome = animal4d("animate", dog, "--motion", "stand", "--seconds", "0.04", "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"asset.glb", *(f"stand.{suffix}" for suffix in ("npz", "mp4", "png"))}


@pytest.mark.parametrize(("gait", "speed"), [("walk", 0.4), ("trot", 1.5), ("gallop", 3.0)])
def test_a_gait_goes_at_the_speed_asked_for(dog: Path, gait: str, speed: float) -> None:
    options = ClipOptions(MotionRequest(speed=speed, seconds=2.0, fps=25.0))
    (clip,) = make_clips(open_finished_run(dog), [gait], options)
    assert clip.measures.speed == pytest.approx(speed, rel=0.03)
    assert clip.motion.seconds == pytest.approx(2.0) and clip.motion.fps == 25.0
    assert clip.measures.worst_slide < 0.02 and clip.measures.deepest < 0.01


@pytest.mark.parametrize(("speed", "gait"), [(0.4, "walk"), (2.4, "trot"), (5.0, "gallop")])
def test_going_chooses_the_gait_by_the_speed(dog: Path, speed: float, gait: str) -> None:
    options = ClipOptions(MotionRequest(speed=speed, seconds=0.5, fps=30.0))
    chosen, named = make_clips(open_finished_run(dog), ["go", gait], options)
    assert torch.equal(chosen.motion.joint_rotations, named.motion.joint_rotations)


def test_both_layouts_of_files_are_the_run_itself(dog: Path, greyhound: Path, tmp_path: Path) -> None:
    run = open_finished_run(dog)
    poses = np.load(greyhound / "poses.npz")
    vectors = axis_angle_from_matrix(torch.from_numpy(poses["joint_rotations"]).double()).flatten(1).numpy()
    np.savez(
        tmp_path / "amass.npz", poses=vectors, trans=poses["translation"], mocap_framerate=30.0, betas=poses["betas"]
    )
    sources = [str(greyhound), str(greyhound / "poses.npz"), str(tmp_path / "amass.npz")]
    first, *others = make_clips(run, sources, ClipOptions())
    for other in others:
        torch.testing.assert_close(other.motion.joint_rotations, first.motion.joint_rotations, atol=1e-4, rtol=0)
        torch.testing.assert_close(other.motion.root, first.motion.root, atol=1e-4, rtol=0)


Arrays = dict[str, np.ndarray]


def nan_poses(poses: Arrays) -> Arrays:
    rotations = poses["joint_rotations"].copy()
    rotations[3, 2] = np.nan
    return {**poses, "joint_rotations": rotations}


def other_joints(poses: Arrays) -> Arrays:
    fewer = {**poses, "joint_rotations": poses["joint_rotations"][:, :24]}
    del fewer["joint_names"]
    return fewer


def other_names(poses: Arrays) -> Arrays:
    return {**poses, "joint_names": poses["joint_names"][::-1]}


def no_rotations(poses: Arrays) -> Arrays:
    return {**poses, "joint_rotations": 1.3 * poses["joint_rotations"]}


def of_another_template(poses: Arrays) -> Arrays:
    return {**poses, "template": np.array("horse.pkl")}


def human_poses(_: Arrays) -> Arrays:
    return {"poses": np.zeros((9, 156)), "trans": np.zeros((9, 3)), "mocap_framerate": np.array(30.0)}


def no_rate(_: Arrays) -> Arrays:
    return {"poses": np.zeros((9, 105)), "trans": np.zeros((9, 3))}


def still_rate(poses: Arrays) -> Arrays:
    return {**poses, "fps": np.array(0.0)}


def backwards(poses: Arrays) -> Arrays:
    return {**poses, "times": poses["times"][::-1]}


def uneven(poses: Arrays) -> Arrays:
    return {**poses, "times": poses["times"] + np.where(np.arange(len(poses["times"])) < 5, 0, 0.5)}


def python_objects(_: Arrays) -> Arrays:
    return {"poses": np.array([None, 1], object)}


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (nan_poses, "NaN"),
        (other_joints, "joint_rotations must be anyx35x3x3"),
        (other_names, "joint_names"),
        (no_rotations, "frame 0 are no rotations"),
        (of_another_template, "horse.pkl"),
        (human_poses, "anyx105"),
        (no_rate, "lacks mocap_frame"),
        (still_rate, "rate above 0"),
        (backwards, "times must rise evenly"),
        (uneven, "at frame 5"),
        (python_objects, "it holds Python objects"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_file_of_poses_is_named(broken, named: str, dog: Path, tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    if broken is None:
        path.write_bytes(b"a dog")
    else:
        with path.open("wb") as file:
            np.savez(file, **broken(dict(np.load(dog / "poses.npz"))))
    line = error_line(animal4d("animate", dog, "--motion", path, "--out", tmp_path / "out"))
    assert "file.npz" in line and named in line and "allow_pickle" not in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--motion"),
        (("--motion", "moonwalk"), "moonwalk"),
        (("--motion", "walk", "--speed", "9"), "body lengths per second"),
        (("--motion", "sit", "--speed", "1"), "--speed"),
        (("--motion", "go"), "needs --speed"),
        (("--motion", "go", "--speed", "50"), "body lengths per second"),
        (("--motion", "go", "--speed", "nan"), "body lengths per second"),
        (("--motion", "walk", "--seconds", "-1"), "--seconds"),
        (("--motion", "walk", "--seconds", "1e12"), "600 seconds at most"),
        (("--motion", "sit", "--seconds", "1e6"), "600 seconds at most"),
        (("--motion", "trot", "--seconds", "500", "--fps", "1000"), "20 seconds at most"),
        (("--motion", "walk", "--fps", "0"), "--fps"),
        (("--motion", "walk", "--crossfade", "0.3"), "two or more"),
        (("--motion", "walk", "trot", "--crossfade", "-1"), "--crossfade"),
        (("--motion", "walk", "trot", "--crossfade", "4"), "shorter fade"),
        (("--motion", "walk", "--seconds", "0.3", "--loop"), "--loop"),
        (("--motion", "walk", "trot", "--clip", "one"), "--clip"),
        (("--motion", "walk", "--clip", "../one"), "--clip"),
        (("--motion", "walk", "--clip", "motion"), "--clip"),
    ],
)
def test_options_that_make_no_sense(arguments, named: str, dog: Path, tmp_path: Path) -> None:
    assert named in error_line(animal4d("animate", dog, *arguments, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_folders_that_are_no_runs_or_hold_something(dog: Path, animated: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    assert "nowhere" in error_line(animal4d("animate", tmp_path / "nowhere", "--motion", "walk", *out))
    (tmp_path / "empty").mkdir()
    assert "not the folder of a run" in error_line(animal4d("animate", dog, "--motion", tmp_path / "empty", *out))
    before = contents(dog)
    assert "folder of a run" in error_line(animal4d("animate", dog, "--motion", "walk", "--out", dog))
    assert contents(dog) == before
    held = contents(animated)
    assert "--overwrite" in error_line(animal4d("animate", dog, "--motion", "walk", "--out", animated))
    assert contents(animated) == held


def test_a_run_of_another_template_and_one_without_asset(dog: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", "mean", "walk", frames=4, template="horse.pkl")
    line = error_line(animal4d("animate", dog, "--motion", other, "--out", tmp_path / "out"))
    assert "horse.pkl" in line and "builtin" in line
    bare = tmp_path / "bare"
    shutil.copytree(dog, bare)
    (bare / "asset.glb").unlink()
    assert "asset.glb" in error_line(animal4d("animate", bare, "--motion", "stand", "--out", tmp_path / "out"))
    (bare / "asset.glb").write_bytes((dog / "asset.glb").read_bytes()[:5000])
    assert "asset.glb" in error_line(animal4d("animate", bare, "--motion", "stand", "--out", tmp_path / "out"))
