"""A run from pixels alone, with eyes that read the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from animal4d.fit.view_search import view_rotation
from animal4d.geometry.cameras import intrinsics_from_fov
from cli.commands import QUICK, Outcome, animal4d
from cues.truth_eyes import MODEL, TruthEyes, painted

HEIGHT, WIDTH, COUNT = 100, 140, 5
LOADER = "animal4d.readers.load.load_eyes"


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, without masks, of an animal that walks to the right."""
    folder = tmp_path_factory.mktemp("footage") / "frames"
    folder.mkdir()
    vertices = MODEL.v_template @ view_rotation(torch.tensor(0.5), torch.tensor(0.2)).T
    origins = torch.stack((torch.linspace(-0.5, 0.5, COUNT), torch.zeros(COUNT), torch.full((COUNT,), 4.5)), dim=1)
    intrinsics = intrinsics_from_fov(50.0, (HEIGHT, WIDTH)).repeat(COUNT, 1, 1)
    frames, _ = painted(vertices[None] + origins[:, None], intrinsics, (HEIGHT, WIDTH))
    for index, frame in enumerate(frames.numpy()):
        Image.fromarray(frame).save(folder / f"{index:05d}.png")
    return folder


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a coarse fit with the eyes open."""
    path = tmp_path_factory.mktemp("settings") / "seeing.yaml"
    path.write_text(yaml.safe_dump({**QUICK, "eyes": True}))
    return path


def reconstruct(*arguments: str | Path) -> Outcome:
    return animal4d("reconstruct", *arguments)


def test_a_run_from_frames_alone(footage: Path, seeing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    eyes = TruthEyes()
    monkeypatch.setattr("animal4d.fit.reconstruct.START_SHAPES", ("dog",))
    monkeypatch.setattr(LOADER, lambda: eyes)
    run = tmp_path / "run"
    outcome = reconstruct(footage, "--config", seeing, "--out", run)
    assert outcome.status == 0, outcome.err
    record = yaml.safe_load((run / "config.yaml").read_text())
    makers = {note["cue"]: note["provider"] for note in record["cues"]}
    assert {cue for cue, provider in makers.items() if provider == "builtin-eyes"} == {
        "parts", "surface", "features", "views"
    }  # fmt: skip
    assert record["clip"]["masks"] == "found by the built-in eyes"
    with np.load(run / "poses.npz") as poses:
        assert poses["joint_uncertainty"].shape == poses["joint_rotations"].shape[:2] == (COUNT, MODEL.n_joints)
    looks = eyes.looks
    assert animal4d("evaluate", run).status == 0
    assert eyes.looks == looks, "the clip of the run is measured, with the masks that it had"


def test_damaged_weights_are_one_line(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from animal4d.eyes.eyes import load_eyes

    (tmp_path / "eyes.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{damaged")
    monkeypatch.setattr(LOADER, lambda: load_eyes(tmp_path / "eyes.safetensors"))
    outcome = reconstruct(footage, "--out", tmp_path / "run")
    assert outcome.status != 0
    words = " ".join(outcome.err.split())
    assert "eyes.safetensors" in words and "--no-eyes" in words and "Traceback" not in words


def test_without_eyes_masks_must_be_given(footage: Path, tmp_path: Path):
    outcome = reconstruct(footage, "--no-eyes", "--out", tmp_path / "run")
    words = " ".join(outcome.err.split())
    assert outcome.status != 0 and "--masks" in words and "--box" in words
