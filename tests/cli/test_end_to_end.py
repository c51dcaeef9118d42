"""From a clip to the files of a run, and measuring them again, as a user does it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pygltflib
import pytest
import yaml

import animal4d as package
from animal4d.fit.reconstruction import Reconstruction
from cli.commands import FRAMES, QUICK, Reconstruct, animal4d


def test_all_files_are_there_and_agree(finished: Path):
    asset = pygltflib.GLTF2().load(str(finished / "asset.glb"))
    assert asset is not None
    keys = asset.accessors[asset.animations[0].samplers[0].input]
    cameras = json.loads((finished / "cameras.json").read_text())
    metrics = json.loads((finished / "metrics.json").read_text())
    with np.load(finished / "poses.npz") as poses:
        assert poses["joint_rotations"].shape == (FRAMES, 35, 3, 3)
        assert poses["betas"].shape == (30,)
        times = poses["times"]
    with av.open(str(finished / "overlay.mp4")) as video:
        shown = sum(1 for _ in video.decode(video=0))
    assert shown == keys.count == len(cameras["frames"]) == len(metrics["iou"]["per_frame"]) == FRAMES
    assert [camera["frame"] for camera in cameras["frames"]] == metrics["frames"] == list(range(FRAMES))
    np.testing.assert_allclose([camera["time"] for camera in cameras["frames"]], times, atol=1e-6)
    np.testing.assert_allclose([keys.min[0], keys.max[0]], times[[0, -1]], atol=1e-6)
    assert cameras["frames"][0]["image_size"] == [120, 160]
    assert (finished / "overlay.png").stat().st_size > 10_000


def test_metrics_are_those_of_an_animal(finished: Path):
    metrics = json.loads((finished / "metrics.json").read_text())
    # A coarse fit of twelve steps: the place is found, not the legs.
    assert metrics["iou"]["test"] > 0.5
    assert 0 < metrics["vertex_error"]["test"] < 0.3
    assert metrics["lpips"]["mean"] is None
    assert metrics["lpips"]["reason"]
    assert metrics["diverged"] is None


def test_config_records_what_the_run_was(finished: Path, clip: Path):
    record = yaml.safe_load((finished / "config.yaml").read_text())
    assert record["request"]["source"] == str(clip)
    assert record["config"]["fit"]["steps"] == QUICK["fit"]["steps"]
    assert {"animal4d", "python", "torch", "numpy"} <= record["versions"].keys()
    assert {cue["cue"] for cue in record["cues"]} == {"tracks", "background_tracks", "features"}
    assert sorted(frame for part in record["split"].values() for frame in part) == list(range(FRAMES))
    assert record["start"]["name"] in record["start"]["losses"]


def test_log_has_a_line_for_every_step(finished: Path):
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["stage"] == "fit"]
    assert steps == list(range(1, QUICK["fit"]["steps"] + 1))
    assert [line["step"] for line in lines if "validation_iou" in line and line["stage"] == "fit"] == [5, 10, 12]


def test_evaluate_measures_the_same_again(finished: Path, clip: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").unlink()
    outcome = animal4d("evaluate", run, "--truth", clip / "truth.npz")
    assert outcome.status == 0, outcome.err
    after = json.loads((run / "metrics.json").read_text())
    measured = before.keys() - {"seconds", "start", "warnings"}
    assert {name: after[name] for name in measured} == {name: before[name] for name in measured}


def test_python_api_gives_what_the_command_gives(finished: Path, clip: Path, quick: Path):
    from animal4d.config import load_config

    config = load_config(quick)
    loaded = package.load_clip(clip, fps=24, working_size=config.working_size)
    ours, theirs = package.reconstruct(loaded, config), Reconstruction.load(finished / "reconstruction.npz")
    np.testing.assert_allclose(ours.joint_rotations, theirs.joint_rotations, atol=1e-5)
    np.testing.assert_allclose(ours.betas, theirs.betas, atol=1e-5)


def test_camera_track_is_used(clip: Path, reconstruct: Reconstruct, tmp_path: Path):
    outcome = reconstruct(clip, "--cameras", clip / "cameras.json", "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    cameras = json.loads((tmp_path / "run" / "cameras.json").read_text())["frames"]
    given = json.loads((clip / "cameras.json").read_text())["frames"]
    np.testing.assert_allclose(cameras[0]["K"], given[0]["K"], rtol=1e-4)
    turn = [
        np.array(track[-1]["world_to_camera"])[:3, :3] @ np.array(track[0]["world_to_camera"])[:3, :3].T
        for track in (cameras, given)
    ]
    np.testing.assert_allclose(turn[0], turn[1], atol=1e-4)


@pytest.mark.parametrize("command", ["demo", "reconstruct", "evaluate", "synth", "doctor"])
def test_help_of_every_command(command: str):
    outcome = animal4d(command, "--help")
    assert outcome.status == 0
    assert f"usage: animal4d {command}" in outcome.out
    assert animal4d("--help").out.count(command) >= 1


def test_version():
    assert animal4d("--version").out == f"animal4d {package.__version__}\n"


def test_doctor_tells_what_is_there():
    outcome = animal4d("doctor")
    assert outcome.status == 0
    for word in ("torch", "template", "--masks", "tracks", "features"):
        assert word in outcome.out
