"""From a synthetic tree in the published layout to a run, through the command line alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from cli.commands import animal4d, error_line

SEQUENCE = "1000_1000_2000"
FRAMES = 8
SETTINGS = {
    "texture_size": 256,
    "fit": {"steps": 12, "start_steps": 3, "checkpoint_every": 6, "gait_steps": 2, "batch_frames": 6},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("external") / "tree"
    options = ("--image-size", "150", "200", "--frames", str(FRAMES), "--seed", "3", "--motion", "walk")
    outcome = animal4d("synth", "--layout", "external-data", *options, "--out", root)
    assert outcome.status == 0, outcome.err
    return root


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "quick.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


@pytest.fixture(scope="module")
def run(tree: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "external"
    source = f"external:{tree}:{SEQUENCE}"
    outcome = animal4d("reconstruct", source, "--truth", tree / "truth.npz", "--out", out, "--config", settings)
    assert outcome.status == 0, outcome.err
    return out


def test_the_tree_is_listed_and_nothing_in_it_is_broken(tree):
    assert SEQUENCE in animal4d("data", "list", tree).out
    assert animal4d("data", "verify", tree).status == 0


def test_every_cue_is_used_and_named(run):
    record = yaml.safe_load((run / "config.yaml").read_text())
    made_by = {note["cue"]: note["kind"] for note in record["cues"]}
    given = ("tracks", "parts", "surface", "sparse_keypoints", "pnp_cameras")
    assert {made_by[cue] for cue in given} == {"precomputed"}
    assert made_by["features"] == "builtin"


def test_the_surface_map_puts_the_animal_the_right_way_round(run):
    """Twelve steps fit nothing yet: what is right here, the start knew."""
    record = yaml.safe_load((run / "config.yaml").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert record["start"]["name"] == "surface map"
    assert metrics["right_way_round"]["mean"] == 1.0
    assert metrics["iou"]["mean"] > 0.5


def test_a_finished_run_is_measured_again_from_its_address(run):
    before = json.loads((run / "metrics.json").read_text())["iou"]
    assert animal4d("evaluate", run).status == 0
    assert json.loads((run / "metrics.json").read_text())["iou"] == before


def test_cues_that_are_left_out_are_not_used(tree, settings, tmp_path):
    source = f"external:{tree}:{SEQUENCE}"
    options = ("--config", settings, "--out", tmp_path / "run", "--without", "surface", "parts")
    assert animal4d("reconstruct", source, *options).status == 0
    record = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert record["config"]["without"] == ["surface", "parts"]
    assert record["start"]["name"] != "surface map"


@pytest.mark.parametrize(
    "entry",
    [
        f"preprocessing/cse_embeddings/{SEQUENCE}_200_cse_predictions.pk",
        f"cop3d_data/dog/{SEQUENCE}/tracking_points.pt",
        "lbos/lbo_cse.pk",
        "cop3d_data/metadata.sqlite",
    ],
)
def test_a_truncated_entry_is_named(tree, settings, tmp_path, entry):
    broken = tmp_path / "tree"
    shutil.copytree(tree, broken)
    path = broken / entry
    path.write_bytes(path.read_bytes()[:100])
    source = f"external:{broken}:{SEQUENCE}"
    assert path.name in error_line(animal4d("reconstruct", source, "--out", tmp_path / "run", "--config", settings))


def test_an_optional_entry_that_is_missing_is_left_out(tree, settings, tmp_path):
    less = tmp_path / "tree"
    shutil.copytree(tree, less)
    shutil.rmtree(less / "preprocessing")
    (less / "cop3d_data" / "dog" / SEQUENCE / "tracking_points.pt").unlink()
    source = f"external:{less}:{SEQUENCE}"
    outcome = animal4d("reconstruct", source, "--out", tmp_path / "run", "--config", settings, "--no-eyes")
    assert outcome.status == 0
    record = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    made_by = {note["cue"]: note["kind"] for note in record["cues"]}
    assert "surface" not in made_by
    assert made_by["tracks"] == "builtin"
