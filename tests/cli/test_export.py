"""`animal4d export`: every format from a finished run, and a line for everything that cannot be exported."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from pygltflib import GLTF2

from animal4d.body.smal import write_smal_pickle
from animal4d.body.template import load_builtin_template
from animal4d.config import Config
from animal4d.fit.reconstruct import load_template
from cli.commands import animal4d, error_line
from export.finished import write_results
from export.toy import toy_reconstruction


def write_run(folder: Path, template: str = "builtin", body_length: float = 0.75) -> Path:
    """What a finished run leaves that an export looks at."""
    reconstruction = toy_reconstruction(load_template(template), 3)
    return write_results(folder, reconstruction, replace(Config(), template=template), body_length).path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "rex")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """To be changed."""
    return Path(shutil.copytree(finished, tmp_path / "rex"))


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("glb", "rex.glb"),
        ("gltf", "rex.gltf"),
        ("usd", "rex.usd"),
        ("usdz", "rex.usdz"),
        ("obj", "rex_obj/frame_0002.obj"),
        ("ply", "rex_ply/frame_0002.ply"),
        ("npz", "rex_motion.npz"),
    ],
)
def test_every_format_lands_in_the_run(run, format, name):
    if format.startswith("usd"):
        pytest.importorskip("pxr", reason="needs usd-core")
    outcome = animal4d("export", run, "--format", format)
    assert outcome.status == 0, outcome.err
    assert (run / "export" / name).stat().st_size > 0
    shown = "".join(outcome.out.split())
    assert Path(name).stem in shown and "kB" in shown and "0.75mfromnosetotailbaseisassumed" in shown


def test_metres_are_the_users(run, tmp_path):
    lengths = {}
    for name, options in (("assumed", ()), ("given", ("--body-length", "1.5"))):
        outcome = animal4d("export", run, "--format", "glb", "--out", tmp_path / f"{name}.glb", *options)
        assert outcome.status == 0 and ("is assumed" in outcome.out) == (name == "assumed")
        lengths[name] = trimesh.load(tmp_path / f"{name}.glb", force="mesh").extents
    np.testing.assert_allclose(lengths["given"], 2 * lengths["assumed"], rtol=1e-4)


def test_a_run_knows_its_own_length(tmp_path):
    run = write_run(tmp_path / "rex", body_length=1.5)
    outcome = animal4d("export", run, "--format", "glb", "--out", tmp_path / "rex.glb")
    assert outcome.status == 0 and "is assumed" not in outcome.out
    exported, own = (trimesh.load(path, force="mesh") for path in (tmp_path / "rex.glb", run / "asset.glb"))
    np.testing.assert_allclose(exported.extents, own.extents, rtol=1e-6)


def test_camera_and_rate(run, tmp_path):
    options = ("--camera", "--fps", "60", "--out", tmp_path / "rex.glb")
    assert animal4d("export", run, "--format", "glb", *options).status == 0
    document = GLTF2().load(str(tmp_path / "rex.glb"))
    assert document.cameras[0].name == "camera" and document.asset.extras["body_length_assumed"] is True
    times = [document.accessors[sampler.input] for sampler in document.animations[0].samplers]
    assert max(accessor.count for accessor in times) == 9
    assert times[0].max[0] - times[0].min[0] == pytest.approx(2 * 2 / 30)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--format", "glb", "--body-length", "0"), "--body-length 0: give metres"),
        (("--format", "glb", "--fps", "-1"), "--fps -1: give frames per second"),
        (("--format", "ply", "--camera"), "--format ply has no camera"),
        (("--format", "obj", "--out", "x.obj"), "is a file per frame; give a folder"),
        (("--format", "glb", "--out", "x.usd"), "needs a name in .glb"),
    ],
)
def test_wrong_options(finished, options, line):
    assert line in error_line(animal4d("export", finished, *options))
    assert not (finished / "export").exists()


def test_a_run_never_overwrites_itself(run):
    before = (run / "reconstruction.npz").read_bytes()
    outcome = animal4d("export", run, "--format", "npz", "--out", run / "reconstruction.npz")
    assert "a file of the run itself" in error_line(outcome)
    assert (run / "reconstruction.npz").read_bytes() == before


def test_folders_that_hold_no_finished_run(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no such run" in error_line(animal4d("export", tmp_path / "nowhere", "--format", "glb"))
    assert "not the folder of a run" in error_line(animal4d("export", tmp_path / "empty", "--format", "glb"))
    whole = (run / "reconstruction.npz").read_bytes()
    (run / "reconstruction.npz").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in error_line(animal4d("export", run, "--format", "glb"))
    (run / "reconstruction.npz").write_bytes(whole)
    (run / "metrics.json").unlink()
    assert "not finished" in error_line(animal4d("export", run, "--format", "glb"))


def test_templates_that_are_gone_or_others(tmp_path):
    mine = tmp_path / "mine.pkl"
    write_smal_pickle(load_builtin_template(), mine)
    run = write_run(tmp_path / "rex", str(mine))
    assert animal4d("export", run, "--format", "ply").status == 0
    reconstruction = toy_reconstruction(load_builtin_template(), 3)
    replace(reconstruction, vertex_offsets=torch.zeros(12, 3)).save(run / "reconstruction.npz")
    again = animal4d("export", run, "--format", "ply")
    assert "does not belong to the template" in error_line(again)
    template = load_builtin_template()
    write_smal_pickle(replace(template, v_template=template.v_template * 1.1), mine)
    assert "has changed" in error_line(animal4d("export", run, "--format", "ply"))
    mine.unlink()
    assert "is not there any more" in error_line(animal4d("export", run, "--format", "ply"))
