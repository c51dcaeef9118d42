"""The external data tree: refined masks, optional files, the initial shape, and `animal4d data list`."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.commands import animal4d as command
from tests.readers.external_tree import LANDSCAPE, PORTRAIT, dump, init_pose, refined_mask, write_external

import animal4d
from animal4d.errors import Animal4dError
from animal4d.readers.cop3d import FrameChoice
from animal4d.readers.external import find_external_files, read_external
from animal4d.readers.initial_shape import read_initial_shape


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_external(tmp_path / "tree")
    return tmp_path / "tree"


def error_of(address: str) -> str:
    with pytest.raises(Animal4dError) as caught:
        animal4d.load_clip(address)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refined_masks_are_preferred(root):
    clip = animal4d.load_clip(f"external:{root}:{PORTRAIT.name}")
    # 30 of 100 x 60 pixels wide and 60 high; 2.56 working pixels for each; the border mixes with the background
    area = refined_mask().sum() * 2.56**2
    for place in range(4):
        assert float(clip.masks[place].sum()) == pytest.approx(area, rel=0.02)
        assert float(clip.masks[place].max()) == pytest.approx(1.0)
    # The last frame has no refined mask: COP3D's, of 80 %.
    assert float(clip.masks[4].max()) == pytest.approx(0.8, abs=0.01)
    assert "refined (4 frames)" in clip.mask_source and "COP3D's (1 frames)" in clip.mask_source


def test_without_refined_masks_it_is_the_clip_of_cop3d(root):
    shutil.rmtree(root / "refined_masks")
    external = animal4d.load_clip(f"external:{root}:{PORTRAIT.name}")
    assert external.checksum() == animal4d.load_clip(f"cop3d:{root / 'cop3d_data'}:{PORTRAIT.name}").checksum()


def test_files_that_are_there(root):
    assert read_external(root, PORTRAIT.name, FrameChoice(start=1, max_frames=2)).frame_numbers.tolist() == [3, 6]
    files = find_external_files(root, PORTRAIT.name)
    assert files.frame_numbers == PORTRAIT.numbers
    assert files.stems[1] == "frame000003"
    assert set(files.missing()) == {"cse_weights"}
    assert files.cse_predictions is not None and files.cse_predictions.frame_limit == 200
    assert files.pnp_cameras is not None and files.pnp_cameras.frame_limit == 4
    assert files.part_masks == root.resolve() / "cop3d_data" / PORTRAIT.folder / "part_masks"
    for name, path in files.present().items():
        assert path.exists(), name


def test_files_that_are_not_there(root):
    files = find_external_files(root, LANDSCAPE.name)
    missing = files.missing()
    assert {"refined_masks", "part_masks", "tracking_points", "cse_predictions", "pnp_cameras"} <= set(missing)
    assert files.part_masks is None and files.cse_predictions is None and files.init_pose is None
    assert missing["sparse_keypoints"].name == f"{LANDSCAPE.name}_keypoints.pk"
    assert files.lbo_cse is not None


@pytest.mark.parametrize(
    "entry",
    ["refined_masks", "part_masks", "tracking_points", "sparse_keypoints", "init_pose", "lbo_smal", "smal_symmetry"],
)
def test_each_optional_file_may_be_missing(root, entry):
    path = find_external_files(root, PORTRAIT.name).present()[entry]
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    files = find_external_files(root, PORTRAIT.name)
    assert len(read_external(root, PORTRAIT.name)) == 5
    assert entry in files.missing() and getattr(files, entry) is None


def test_other_sequences_files_are_not_taken(root):
    """1000_1_10 begins with 1000_1: only the whole name counts."""
    folder = root / "preprocessing" / "pnp_ransac"
    dump(folder / f"{PORTRAIT.name}_1_900_pnp_R_T.pk", {})
    dump(folder / f"x{PORTRAIT.name}_900_pnp_R_T.pk", {})
    dump(folder / f"{PORTRAIT.name}_900_pnp_R_T.pk.part", {})
    files = find_external_files(root, PORTRAIT.name)
    assert files.pnp_cameras is not None and files.pnp_cameras.frame_limit == 4


def test_a_wrong_root_is_one_line(root, tmp_path):
    assert "cop3d_data" in error_of(f"external:{tmp_path}:{PORTRAIT.name}")
    assert f"cop3d:{root / 'cop3d_data'}" in error_of(f"external:{root / 'cop3d_data'}:{PORTRAIT.name}")
    assert f"external:{root}" in error_of(f"cop3d:{root}:{PORTRAIT.name}")


@pytest.mark.parametrize("column", ["category", "sequence_name"])
@pytest.mark.parametrize("value", ["../../etc", "a/b", "..", "", b"dog"])
def test_names_in_the_index_cannot_leave_the_tree(root, column, value):
    with closing(sqlite3.connect(root / "cop3d_data" / "metadata.sqlite")) as connection:
        connection.execute(f"UPDATE sequence_annots SET {column} = ? WHERE category = 'dog'", (value,))
        connection.commit()
    outcome = command("data", "list", root)
    assert outcome.status == 1 and "plain names" in outcome.err


def test_initial_shape(root):
    path = root / "init_pose" / f"{PORTRAIT.name}_init_pose.pk"
    shape = read_initial_shape(path)
    np.testing.assert_allclose(shape.betas, init_pose()["betas"][0])
    torch.testing.assert_close(shape.limb_scales, init_pose()["betas_limbs"])


@pytest.mark.parametrize(
    "change",
    [
        {"betas": None},
        {"betas": np.full(30, np.nan)},
        {"betas": np.zeros((2, 30))},
        {"betas": np.zeros(0)},
        {"betas": np.full(30, 1e6)},
        {"betas_limbs": np.zeros(6)},
        {"betas_limbs": "seven"},
        {"betas_limbs": [[1.0], [2.0, 3.0]]},
    ],
)
def test_damaged_initial_shapes_are_one_line(root, change):
    path = root / "init_pose" / f"{PORTRAIT.name}_init_pose.pk"
    dump(path, init_pose() | change)
    with pytest.raises(Animal4dError, match="init_pose") as caught:
        read_initial_shape(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", [1, 2], {"betas": [1.0]}])
def test_files_that_are_no_initial_shape_are_one_line(root, content):
    path = root / "init_pose" / f"{PORTRAIT.name}_init_pose.pk"
    path.write_bytes(content) if isinstance(content, bytes) else dump(path, content)
    with pytest.raises(Animal4dError, match="init_pose"):
        read_initial_shape(path)


def test_data_list(root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = command("data", "list", root)
    assert outcome.status == 0, outcome.err
    line = next(line for line in outcome.out.splitlines() if PORTRAIT.name in line)
    assert "dog" in line and " 5 " in line and "1.25" in line and "part_masks" in line and "tracking_points" in line
    other = next(line for line in outcome.out.splitlines() if LANDSCAPE.name in line)
    assert "cat" in other and "part_masks" not in other
    assert "smal_model" in outcome.out and f"external:{root}" in outcome.out.replace("\n", "")


def test_data_list_of_cop3d(root, tmp_path):
    outcome = command("data", "list", root / "cop3d_data")
    assert outcome.status == 0 and PORTRAIT.name in outcome.out and "cop3d:" in outcome.out
    wrong = command("data", "list", tmp_path)
    assert wrong.status == 1 and wrong.err.count("\n") == 1 and "metadata.sqlite" in wrong.err
