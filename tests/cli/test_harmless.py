"""What must never be lost or believed: other people's files in the way, damaged runs, settings that make no sense."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from cli.commands import animal4d, contents, error_line

CAMEL = '{"names": {"a": "nose"}, "image_size_wh": [854, 480], "frames": [{"frame": 0, "keypoints_xy": {"a": [1, 2]}}]}'


@pytest.mark.parametrize("flag", [(), ("--overwrite",)])
def test_a_folder_with_other_files_of_our_names_is_left_alone(clip, quick, flag):
    before = contents(clip)
    line = error_line(animal4d("reconstruct", clip, "--out", clip, "--config", quick, *flag))
    assert "cameras.json" in line
    assert contents(clip) == before


def test_results_without_metrics_are_results_all_the_same(clip, quick, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "checkpoints")
    before = contents(run)
    assert "--overwrite" in error_line(animal4d("reconstruct", clip, "--out", run, "--config", quick))
    assert contents(run) == before


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"fit": {"steps": -5}}, "fit.steps"),
        ({"fit": {"steps": float("nan")}}, "fit.steps"),
        ({"fit": {"starts": 0}}, "fit.starts"),
        ({"fit": 3}, "fit"),
        ({"working_size": 100000}, "working_size"),
        ({"seed": -1}, "seed"),
        ({"seed": 99999999999999999999}, "seed"),
    ],
)
def test_settings_that_make_no_sense_are_named(clip, tmp_path, setting, named):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(setting))
    assert named in error_line(animal4d("reconstruct", clip, "--out", tmp_path / "run", "--config", path))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--fps", "nan"),
        ("--heading", "inf"),
        ("--shake", "nan"),
        ("--shape-sigma", "nan"),
        ("--seed", "-1"),
        ("--tracks", "-1"),
        ("--image-size", "100000", "100000"),
    ],
)
def test_no_truth_is_made_of_nonsense(tmp_path, options):
    assert "synth:" in error_line(animal4d("synth", "--out", tmp_path / "clip", "--frames", "1", *options))
    assert not (tmp_path / "clip").exists()


def test_a_clip_is_not_rendered_before_it_is_known_that_it_can_be_written(clip):
    assert "not empty" in error_line(animal4d("synth", "--out", clip, "--frames", "100000"))


def damaged_config(run: Path) -> None:
    record = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(record | {"config": 3}))


def damaged_clip(run: Path) -> None:
    record = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(record | {"clip": 3}))


def damaged_request(run: Path) -> None:
    record = yaml.safe_load((run / "config.yaml").read_text())
    record["request"]["start"] = "abc"
    (run / "config.yaml").write_text(yaml.safe_dump(record))


def rewrite(run: Path, name: str, change) -> None:
    with np.load(run / "reconstruction.npz") as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(run / "reconstruction.npz", **(arrays | {name: change(arrays[name])}))


def fewer_frames(run: Path) -> None:
    rewrite(run, "joint_rotations", lambda rotations: rotations[:3])


def not_finite(run: Path) -> None:
    rewrite(run, "translation", lambda places: np.full_like(places, np.nan))


def text_for_arrays(run: Path) -> None:
    (run / "reconstruction.npz").write_text("a dog")


@pytest.mark.parametrize(
    "damage", [damaged_config, damaged_clip, damaged_request, fewer_frames, not_finite, text_for_arrays]
)
def test_a_damaged_run_is_not_measured(finished, tmp_path, damage):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    damage(run)
    before = (run / "metrics.json").read_bytes()
    line = error_line(animal4d("evaluate", run))
    assert "pickle" not in line
    assert (run / "metrics.json").read_bytes() == before


def test_keypoints_of_another_video_are_refused(clip, quick, tmp_path):
    (tmp_path / "keypoints.json").write_text(CAMEL)
    outcome = animal4d(
        "reconstruct", clip, "--keypoints", tmp_path / "keypoints.json", "--out", tmp_path / "run", "--config", quick
    )
    assert "another video" in error_line(outcome)
