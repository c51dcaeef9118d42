"""The folder of a run, its record and its log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from animal4d.clip import Crop
from animal4d.config import Config, FitConfig, to_dict
from animal4d.errors import Animal4dError
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.trainer import StepReport
from animal4d.run_folder import RunFolder, RunRequest, resumed_settings
from animal4d.run_progress import Monitor, SilentRunProgress
from animal4d.runs import parse_box


def report(step: int) -> StepReport:
    return StepReport(step, 10, 1.0 / step, {"silhouette": 1.0 / step}, None, 0.1)


def logged(path: Path) -> list[tuple[str, int]]:
    return [(entry["stage"], entry["step"]) for entry in map(json.loads, path.read_text().splitlines())]


def test_log_goes_on_where_the_checkpoint_was(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    first = Monitor(log, SilentRunProgress())
    first.step("start 1/1", report(1))
    for step in range(1, 6):
        first.step("fit", report(step))
    with log.open("a") as file:
        file.write('{"stage": "fit", "st')  # killed while writing
    Monitor(log, SilentRunProgress()).step("fit", report(4))
    assert logged(log) == [("start 1/1", 1), ("fit", 1), ("fit", 2), ("fit", 3), ("fit", 4)]


def test_log_goes_on_where_gaits_were_tried(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    first = Monitor(log, SilentRunProgress())
    for stage, step in (("start 1/1", 7), ("fit", 1), ("gait 1/2", 2), ("gait 1/2", 3), ("gait 2/2", 2)):
        first.step(stage, report(step))
    Monitor(log, SilentRunProgress()).step("gait 1/2", report(2))
    assert logged(log) == [("start 1/1", 7), ("fit", 1), ("gait 1/2", 2)]


def test_log_of_a_run_that_starts_again_is_new(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    Monitor(log, SilentRunProgress()).step("fit", report(1))
    Monitor(log, SilentRunProgress()).step("start 1/1", report(1))
    assert logged(log) == [("start 1/1", 1)]


def test_clear_removes_what_a_run_writes_and_nothing_else(tmp_path: Path):
    folder = RunFolder(tmp_path)
    mine = tmp_path / "my_notes.txt"
    beside = tmp_path / "checkpoints" / "mine.pt"
    written = (folder.asset, folder.metrics, folder.log, folder.last_checkpoint, tmp_path / ".overlay-x1y2.mp4")
    for path in (mine, beside, *written):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    folder.clear()
    assert mine.exists()
    assert beside.exists()
    assert not any(path.exists() for path in written)


def test_resumed_run_keeps_its_settings_and_says_so(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    begun = RunRequest(tmp_path / "clip", folder.path, fov=40.0, stride=2)
    config = Config(fit=FitConfig(steps=70))
    folder.write_record({"request": begun.to_record(), "config": to_dict(config), "clip": {}})
    asked = RunRequest(tmp_path / "clip", folder.path, stride=3, truth=tmp_path / "truth.npz", resume=True)
    request, resumed, notes = resumed_settings(asked, Config(fit=FitConfig(steps=50)), folder)
    assert resumed == config
    assert request == replace(begun, truth=asked.truth, resume=True)
    assert len(notes) == 1
    assert "stride 3 (the run has 2)" in notes[0]
    assert "fit.steps 50 (the run has 70)" in notes[0]
    assert "fov" not in notes[0]


def test_damaged_record_is_told(tmp_path: Path):
    folder = RunFolder(tmp_path)
    folder.record.write_text("request: [")
    with pytest.raises(Animal4dError, match="cannot be read"):
        folder.read_record()
    folder.record.write_text("hello: 1")
    with pytest.raises(Animal4dError, match="not the record of a run"):
        folder.read_record()


def test_reconstruction_is_read_back_as_it_was(tmp_path: Path):
    frames, joints, vertices = 3, 35, 7
    crop = Crop(torch.rand(frames, 2), torch.rand(frames), (120, 160))
    saved = Reconstruction(
        betas=torch.rand(30),
        limb_scales=torch.rand(7),
        vertex_offsets=torch.rand(vertices, 3),
        joint_rotations=torch.rand(frames, joints, 3, 3),
        translation=torch.rand(frames, 3),
        intrinsics=torch.rand(frames, 3, 3),
        world_to_camera=torch.rand(frames, 4, 4),
        image_size=(96, 96),
        crop=crop,
        frame_numbers=torch.arange(frames),
        times=torch.arange(frames) / 24,
        fps=24.0,
    )
    saved.save(tmp_path / "reconstruction.npz")
    loaded = Reconstruction.load(tmp_path / "reconstruction.npz")
    assert loaded.vertex_colors is None
    assert (loaded.image_size, loaded.fps, loaded.crop.original_size) == ((96, 96), 24.0, (120, 160))
    for name in ("betas", "joint_rotations", "world_to_camera", "frame_numbers", "times"):
        torch.testing.assert_close(getattr(loaded, name), getattr(saved, name))
    torch.testing.assert_close(loaded.crop.origin, crop.origin)
    (tmp_path / "broken.npz").write_bytes(b"x")
    with pytest.raises(Animal4dError, match="not a saved reconstruction"):
        Reconstruction.load(tmp_path / "broken.npz")


def test_box():
    assert parse_box("1, 2,30,4.5") == (1.0, 2.0, 30.0, 4.5)
    assert parse_box(None) is None
    for wrong in ("1,2,3", "a,b,c,d", ""):
        with pytest.raises(Animal4dError, match="expected four numbers"):
            parse_box(wrong)
