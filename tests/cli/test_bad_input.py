"""Every way of bad input: one line that says what to do, a non-zero exit, and nothing lost that was there before."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from cli.commands import FRAMES, QUICK, Reconstruct, animal4d, contents, error_line

Arguments = list[str | Path]


def no_such_file(clip: Path) -> Arguments:
    return [clip / "nothing.mp4"]


def not_a_video(clip: Path) -> Arguments:
    (clip / "notes.mp4").write_text("a dog\n" * 100)
    return [clip / "notes.mp4", "--masks", clip / "masks"]


def empty_folder(clip: Path) -> Arguments:
    (clip / "empty").mkdir()
    return [clip / "empty", "--masks", clip / "masks"]


def empty_file(clip: Path) -> Arguments:
    (clip / "empty.mp4").touch()
    return [clip / "empty.mp4", "--masks", clip / "masks"]


def unreadable_frame(clip: Path) -> Arguments:
    (clip / "frames" / "00003.jpg").write_bytes(b"not a picture")
    return [clip]


def truncated_frame(clip: Path) -> Arguments:
    frame = clip / "frames" / "00003.jpg"
    frame.write_bytes(frame.read_bytes()[:1500])
    return [clip]


def frames_of_different_sizes(clip: Path) -> Arguments:
    frame = clip / "frames" / "00003.jpg"
    Image.open(frame).resize((80, 60)).save(frame)
    return [clip]


def no_masks(clip: Path) -> Arguments:
    return [clip / "frames", "--no-eyes"]


def all_masks_missing(clip: Path) -> Arguments:
    (clip / "none").mkdir()
    return [clip, "--masks", clip / "none"]


def all_masks_empty(clip: Path) -> Arguments:
    return _with_masks(clip, np.zeros((120, 160), np.uint8))


def all_masks_full(clip: Path) -> Arguments:
    return _with_masks(clip, np.full((120, 160), 255, np.uint8))


def masks_of_another_size(clip: Path) -> Arguments:
    return _with_masks(clip, np.eye(60, 80, dtype=np.uint8) * 255)


def _with_masks(clip: Path, mask: np.ndarray) -> Arguments:
    for path in (clip / "masks").iterdir():
        Image.fromarray(mask).save(path)
    return [clip]


def too_few_cameras(clip: Path) -> Arguments:
    return _with_cameras(clip, lambda cameras: cameras.pop())


def camera_with_nan(clip: Path) -> Arguments:
    return _with_cameras(clip, lambda cameras: cameras[2]["K"][0].__setitem__(0, float("nan")))


def _with_cameras(clip: Path, change: Callable[[list[dict[str, Any]]], object]) -> Arguments:
    cameras = json.loads((clip / "cameras.json").read_text())
    change(cameras["frames"])
    (clip / "cameras.json").write_text(json.dumps(cameras))
    return [clip, "--cameras", clip / "cameras.json"]


def box_of_words(clip: Path) -> Arguments:
    return [clip / "frames", "--box", "here"]


def box_outside(clip: Path) -> Arguments:
    return [clip / "frames", "--box", "500,500,20,20", "--no-eyes"]


def no_frame_left(clip: Path) -> Arguments:
    return [clip, "--start", "100"]


def unknown_truth(clip: Path) -> Arguments:
    return [clip, "--truth", clip / "nothing.npz"]


def unknown_keypoints(clip: Path) -> Arguments:
    return [clip, "--keypoints", clip / "nothing.json"]


def unknown_setting(clip: Path) -> Arguments:
    (clip / "settings.yaml").write_text("fit: {stepps: 3}\n")
    return [clip, "--config", clip / "settings.yaml"]


def settings_of_bytes(clip: Path) -> Arguments:
    (clip / "evil.pkl").write_bytes(b"\x80\x04\x95")
    return [clip, "--config", clip / "evil.pkl"]


def nested_settings(clip: Path) -> Arguments:
    (clip / "deep.yaml").write_text("[" * 20_000)
    return [clip, "--config", clip / "deep.yaml"]


def run_as_clip(clip: Path) -> Arguments:
    for name in ("config.yaml", "asset.glb"):
        (clip / name).touch()
    return [clip]


def no_steps(clip: Path) -> Arguments:
    return [clip, "--steps", "0"]


BAD_INPUT = {
    no_such_file: "no such file or folder",
    not_a_video: "notes.mp4 is not a video",
    empty_folder: "holds no frames",
    empty_file: "empty.mp4",
    unreadable_frame: "00003.jpg cannot be read",
    truncated_frame: "00003.jpg cannot be read",
    frames_of_different_sizes: "00003.jpg is 80x60 but 00000.jpg is 160x120",
    no_masks: "--box",
    all_masks_missing: "masks",
    all_masks_empty: "all masks are empty",
    all_masks_full: "all masks fill the frame",
    masks_of_another_size: "masks must have the frames' size",
    too_few_cameras: f"has {FRAMES - 1} cameras, and none for frame {FRAMES - 1}",
    camera_with_nan: 'frame 2: "K" holds NaN',
    box_of_words: "expected four numbers X,Y,W,H",
    box_outside: "--box 500,500,20,20",
    no_frame_left: "none is left from --start 100 on",
    unknown_truth: "nothing.npz",
    unknown_keypoints: "nothing.json",
    unknown_setting: "unknown key 'stepps'",
    settings_of_bytes: "give a text file of settings",
    nested_settings: "deep.yaml: cannot be read as YAML",
    run_as_clip: "is the folder of a run, not a clip: give the video",
    no_steps: "--steps must be at least 1",
}


@pytest.fixture(scope="module")
def overwritable(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that bad input is aimed at, and must not harm."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("runs") / "kept"))


@pytest.mark.parametrize(("spoil", "message"), BAD_INPUT.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_bad_input_is_one_line_and_harms_nothing(
    spoil: Callable[[Path], Arguments], message: str, clip: Path, overwritable: Path, tmp_path: Path
):
    copy = Path(shutil.copytree(clip, tmp_path / "clip"))
    before = contents(overwritable)
    line = error_line(animal4d("reconstruct", *spoil(copy), "--out", overwritable, "--overwrite"))
    assert message in line
    assert contents(overwritable) == before


def test_finished_run_asks_for_overwrite_or_resume(finished: Path, clip: Path):
    before = contents(finished)
    line = error_line(animal4d("reconstruct", clip, "--out", finished))
    assert "--overwrite" in line
    assert "--resume" in line
    assert contents(finished) == before


def test_out_is_a_file(clip: Path, tmp_path: Path):
    (tmp_path / "run").touch()
    assert "give --out a folder" in error_line(animal4d("reconstruct", clip, "--out", tmp_path / "run"))


def test_nothing_to_resume(clip: Path, tmp_path: Path):
    line = error_line(animal4d("reconstruct", clip, "--out", tmp_path / "run", "--resume"))
    assert "holds no run to go on with" in line


def test_damaged_checkpoint(finished: Path, clip: Path, tmp_path: Path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "checkpoints" / "last.pt").write_bytes(b"half a checkpoint")
    line = error_line(animal4d("reconstruct", clip, "--out", run, "--resume"))
    assert "start again with --overwrite" in line


def test_clip_that_changed_is_not_resumed(finished: Path, clip: Path, quick: Path, tmp_path: Path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    copy = Path(shutil.copytree(clip, tmp_path / "clip"))
    record = yaml.safe_load((run / "config.yaml").read_text())
    record["request"]["source"] = str(copy)
    (run / "config.yaml").write_text(yaml.safe_dump(record))
    Image.fromarray(np.zeros((120, 160), np.uint8)).save(copy / "masks" / "00004.png")
    assert "have changed" in error_line(animal4d("reconstruct", copy, "--out", run, "--resume"))
    assert "have changed" in error_line(animal4d("evaluate", run))


def test_evaluate_of_no_run(clip: Path):
    line = error_line(animal4d("evaluate", clip))
    assert "is not the folder of a run" in line and "`animal4d reconstruct --out` wrote" in line


@pytest.mark.parametrize("record", ["request: {", "[" * 20_000, "a: 1"])
def test_a_damaged_record_names_the_command_that_starts_again(record: str, tmp_path: Path):
    (tmp_path / "config.yaml").write_text(record)
    line = error_line(animal4d("report", tmp_path))
    assert "start again with `animal4d reconstruct --overwrite`" in line


def test_no_space_left(clip: Path, reconstruct: Reconstruct, tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # the first checkpoint is larger
    try:
        outcome = reconstruct(clip, "--out", tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "no space left on the disk" in error_line(outcome)
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_one_frame_works_without_motion(clip: Path, reconstruct: Reconstruct, tmp_path: Path):
    outcome = reconstruct(clip, "--max-frames", "1", "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["iou"]["mean"] > 0.5
    assert (tmp_path / "run" / "asset.glb").exists()


def test_frames_without_masks_carry_no_silhouette(clip: Path, reconstruct: Reconstruct, tmp_path: Path):
    copy = Path(shutil.copytree(clip, tmp_path / "clip"))
    (copy / "masks" / "00004.png").unlink()
    Image.fromarray(np.full((120, 160), 255, np.uint8)).save(copy / "masks" / "00006.png")
    outcome = reconstruct(copy, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    assert "the mask is missing in frame 4: no silhouette is used there" in outcome.out
    assert "the mask fills the frame in frame 6" in outcome.out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [frame for frame, value in enumerate(metrics["iou"]["per_frame"]) if value is None] == [4, 6]


def test_diverged_fit_keeps_its_last_good_state(clip: Path, tmp_path: Path):
    wild = tmp_path / "wild.yaml"
    wild.write_text(yaml.safe_dump({**QUICK, "fit": {**QUICK["fit"], "starts": 1, "learning_rate_shape": 1e30}}))
    outcome = animal4d("reconstruct", clip, "--config", wild, "--out", tmp_path / "run")
    assert "the fit diverged at step" in error_line(outcome)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "diverged" in metrics["diverged"]
    assert metrics["iou"]["mean"] is not None
    assert (tmp_path / "run" / "asset.glb").exists()
