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


def test_a_tree_from_frames_alone(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    eyes = TruthEyes()
    monkeypatch.setattr(LOADER, lambda: eyes)
    tree = tmp_path / "tree"
    outcome = animal4d("preprocess", footage, "--out", tree)
    assert outcome.status == 0, outcome.err
    assert f"{COUNT} of {COUNT} frames, found by the built-in eyes" in outcome.out
    assert "masks from a segmenter are better" in " ".join(outcome.err.split())
    for path in sorted(footage.iterdir()):
        # Clutter is darker than any colour of the animal.
        true = np.asarray(Image.open(path)).min(axis=2) > 70
        mask = f"frame{int(path.stem):06d}.png"
        for folder in (tree / "cop3d_data/dog/frames/masks", tree / "refined_masks/frames"):
            found = np.asarray(Image.open(folder / mask)) > 127
            assert (found & true).sum() / (found | true).sum() > 0.8  # a map of 48 x 48 sharpened by the picture
    looks = eyes.looks
    again = animal4d("preprocess", footage, "--out", tree)
    assert again.status == 0 and eyes.looks == looks, "masks of the same network are current"
    monkeypatch.setattr(LOADER, lambda: TruthEyes(version="another"))
    assert "written  masks" in animal4d("preprocess", footage, "--out", tree).out


def test_a_box_says_which_animal_the_tree_is_of(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(LOADER, TruthEyes)
    outcome = animal4d("preprocess", footage, "--box", "0,0,12,12", "--out", tmp_path / "tree")
    assert outcome.status != 0 and "--box" in outcome.err, "nothing is in the corner"


def test_a_tree_without_eyes_needs_masks(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing() -> TruthEyes:
        raise AssertionError("nobody asked for them")

    monkeypatch.setattr(LOADER, missing)
    outcome = animal4d("preprocess", footage, "--no-eyes", "--out", tmp_path / "tree")
    words = " ".join(outcome.err.split())
    assert outcome.status != 0 and "--masks" in words and "--box" in words
    assert not (tmp_path / "tree").exists()


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
