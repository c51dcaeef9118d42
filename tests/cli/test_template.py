"""`--template`: a body model of the user's, all the way to the files of a run and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import yaml

from animal4d.body.smal import write_smal_pickle
from animal4d.body.template import load_builtin_template
from cli.commands import QUICK, animal4d, error_line

SHORT = {**QUICK, "working_size": 64, "fit": {**QUICK["fit"], "steps": 3, "starts": 1, "start_steps": 1}}


@pytest.fixture(scope="module")
def dog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in template as a file; not to be changed."""
    path = tmp_path_factory.mktemp("models") / "dog.pkl"
    write_smal_pickle(load_builtin_template(), path)
    return path


def test_run_with_a_template_of_the_user(dog: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine = tmp_path / "models" / "mine.pkl"
    mine.parent.mkdir()
    mine.write_bytes(dog.read_bytes())
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(SHORT))
    short = ("--config", tmp_path / "short.yaml", "--max-frames", "3", "--out", run)
    outcome = animal4d("reconstruct", clip, "--template", "models/mine.pkl", *short)
    assert outcome.status == 0, outcome.err
    assert "mean build" in outcome.err

    # Recorded so that it is found from anywhere, and measured again to the same numbers.
    monkeypatch.chdir("/")
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert record["config"]["template"] == str(mine)
    with np.load(run / "poses.npz") as poses:
        assert str(poses["template"]) == str(mine) and poses["betas"].shape == (30,)
    before = json.loads((run / "metrics.json").read_text())
    assert before["iou"]["mean"] > 0.3
    nodes = pygltflib.GLTF2().load(str(run / "asset.glb"))
    assert nodes is not None and {"front_left_shoulder", "tail_7"} <= {node.name for node in nodes.nodes}
    outcome = animal4d("evaluate", run)
    assert outcome.status == 0, outcome.err
    after = json.loads((run / "metrics.json").read_text())
    assert after["iou"] == before["iou"] and after["jitter"] == before["jitter"]

    # The same run cannot be measured with another model, or none.
    model = load_builtin_template()
    write_smal_pickle(replace(model, v_template=1.1 * model.v_template), mine)
    assert "has changed since the run" in error_line(animal4d("evaluate", run))
    mine.unlink()
    line = error_line(animal4d("evaluate", run))
    assert str(mine) in line and "is not there any more" in line
    assert "no such file" in error_line(animal4d("reconstruct", clip, "--out", run, "--resume"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"a dog", "cannot be read as a pickle"),
        (b"cos\nsystem\n(S'false'\ntR.", "holds os.system"),
        (b"\x80\x02}.", "lacks f, v_template, shapedirs"),
    ],
)
def test_bad_template_is_one_line(data: bytes | None, words: str, clip: Path, tmp_path: Path):
    path = tmp_path / "bad.pkl"
    if data is not None:
        path.write_bytes(data)
    line = error_line(animal4d("reconstruct", clip, "--template", path, "--out", tmp_path / "run"))
    assert words in line and "bad.pkl" in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_damaged_template_is_one_line(dog: Path, clip: Path, tmp_path: Path):
    path = tmp_path / "cut.pkl"
    path.write_bytes(dog.read_bytes()[:100_000])
    line = error_line(animal4d("reconstruct", clip, "--template", path, "--out", tmp_path / "run"))
    assert "cut.pkl: cannot be read as a pickle" in line
