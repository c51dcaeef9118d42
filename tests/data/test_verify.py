"""Every entry of a tree, broken in turn, is found and told in one line with its file."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.body.template import load_builtin_template
from animal4d.data.finding import Finding
from animal4d.data.verify import verify
from animal4d.errors import Animal4dError
from cli.commands import animal4d

FIRST, SECOND = "1000_10_20", "1001_11_21"
FRAMES = f"cop3d_data/dog/{FIRST}"
IMAGE, MASK, PART = (f"{FRAMES}/{folder}/frame000001" for folder in ("images", "masks", "part_masks"))
REFINED = f"refined_masks/{FIRST}/frame000001.png"
TRACKS = f"{FRAMES}/tracking_points.pt"
CSE = f"preprocessing/cse_embeddings/{FIRST}_200_cse_predictions.pk"
PNP = f"preprocessing/pnp_ransac/{FIRST}_200_pnp_R_T.pk"
KEYPOINTS = f"sparse_keypoints/{FIRST}_keypoints.pk"
SHAPE = f"init_pose/{FIRST}_init_pose.pk"
SMAL, SYMMETRY = "smal/my_smpl_39dogsnorm_newv3_dog.pkl", "smal/symmetry_inds.json"
DATABASE = "cop3d_data/metadata.sqlite"
Change = Callable[[Path], None]


def replace_bytes(path: Path, data: bytes) -> None:
    """A new file: the tree's are links to those of the tree that all tests share."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def removed(name: str) -> Change:
    return lambda root: (root / name).unlink()


def cut(name: str) -> Change:
    return lambda root: replace_bytes(root / name, (root / name).read_bytes()[: (root / name).stat().st_size // 2])


def written(name: str, data: bytes) -> Change:
    return lambda root: replace_bytes(root / name, data)


def pickled(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda root: replace_bytes(root / name, pickle.dumps(change(pickle.loads((root / name).read_bytes()))))


def with_entry(name: str, key: str, change: Callable[[Any], Any]) -> Change:
    return pickled(name, lambda content: {**content, key: change(content[key])})


def in_frame(key: str, change: Callable[[Any], Any]) -> Change:
    """The CSE predictions with another value in the first frame."""
    return with_entry(CSE, key, lambda items: [change(items[0]), *items[1:]])


def torched(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(root: Path) -> None:
        value = change(torch.load(root / name, weights_only=True))
        (root / name).unlink()
        torch.save(value, root / name)

    return apply


def pictured(name: str, image: np.ndarray) -> Change:
    def apply(root: Path) -> None:
        (root / name).unlink()
        Image.fromarray(image).save(root / name)

    return apply


def queried(query: str) -> Change:
    def apply(root: Path) -> None:
        replace_bytes(root / DATABASE, (root / DATABASE).read_bytes())
        with closing(sqlite3.connect(root / DATABASE)) as connection, connection:
            connection.execute(query)

    return apply


def nan_at(index: tuple[int, ...]) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.clone() if isinstance(array, torch.Tensor) else np.array(array)
        array[index] = float("nan")
        return array

    return change


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/tmp/animal4d-was-executed", "w"))


BROKEN: dict[str, tuple[Change, str, str]] = {
    "image missing": (removed(f"{IMAGE}.jpg"), "images", "frame000001.jpg does not exist"),
    "image cut": (cut(f"{IMAGE}.jpg"), "images", "frame000001.jpg cannot be read"),
    "image of another size": (pictured(f"{IMAGE}.jpg", np.zeros((10, 10, 3), np.uint8)), "images", "the index says"),
    "mask cut": (cut(f"{MASK}.png"), "masks", "frame000001.png cannot be read"),
    "mask of another size": (pictured(f"{MASK}.png", np.zeros((9, 9), np.uint8)), "masks", "9x9"),
    "refined mask cut": (cut(REFINED), "refined_masks", "frame000001.png cannot be read"),
    "refined mask grey": (pictured(REFINED, np.full((96, 128), 77, np.uint8)), "refined_masks", "value 77"),
    "refined mask of no frame": (written(f"refined_masks/{FIRST}/x.png", b""), "refined_masks", "belongs to no frame"),
    "part mask cut": (cut(f"{PART}.pt"), "part_masks", "frame000001.pt"),
    "part mask of another size": (torched(f"{PART}.pt", lambda labels: labels[1:]), "part_masks", "must be 96x128"),
    "part mask with another label": (torched(f"{PART}.pt", lambda labels: labels + 5), "part_masks", "holds the label"),
    "part mask a pickle": (written(f"{PART}.pt", pickle.dumps(Evil())), "part_masks", "frame000001.pt"),
    "part mask of no frame": (written(f"{FRAMES}/part_masks/x.pt", b""), "part_masks", "belongs to no frame"),
    "tracks cut": (cut(TRACKS), "tracking_points", "tracking_points.pt"),
    "tracks of fewer frames": (torched(TRACKS, lambda pair: (pair[0][1:], pair[1][1:])), "tracking_points", "must be"),
    "tracks with NaN": (torched(TRACKS, lambda pair: (nan_at((0, 0, 0))(pair[0]), pair[1])), "tracking_points", "NaN"),
    "tracks in another unit": (torched(TRACKS, lambda pair: (pair[0] * 5, pair[1])), "tracking_points", "outside"),
    "tracks not a pair": (torched(TRACKS, lambda pair: pair[0]), "tracking_points", "pair"),
    "CSE executes": (pickled(CSE, lambda _: Evil()), "cse_predictions", "not loaded for safety"),
    "CSE cut": (cut(CSE), "cse_predictions", "cannot be read"),
    "CSE of fewer frames": (
        pickled(CSE, lambda content: {key: items[:-1] for key, items in content.items()}),
        "cse_predictions",
        "holds 3 frames",
    ),
    "CSE lacks a list": (
        pickled(CSE, lambda content: {key: content[key] for key in content if key != "S"}),
        "cse_predictions",
        '"S" must be',
    ),
    "CSE box beyond the frame": (in_frame("bboxes_x1y1x2y2", lambda boxes: boxes + 700), "cse_predictions", "boxes"),
    "CSE class unknown": (in_frame("pred_classes", lambda classes: classes + 9), "cse_predictions", "pred_classes"),
    "CSE score beyond one": (in_frame("scores", lambda scores: scores + 3), "cse_predictions", "scores"),
    "CSE embedding NaN": (in_frame("E", nan_at((0, 0, 0, 0))), "cse_predictions", "NaN"),
    "CSE embedding of another size": (in_frame("E", lambda E: E[:, :, :50]), "cse_predictions", "must be"),
    "PnP cut": (cut(PNP), "pnp_cameras", "cannot be read"),
    "PnP no rotation": (with_entry(PNP, "R_PNP", lambda R: 1.1 * R), "pnp_cameras", "not a rotation"),
    "PnP mirrored": (with_entry(PNP, "R_PNP", lambda R: -R), "pnp_cameras", "not a rotation"),
    "PnP NaN": (with_entry(PNP, "T_PNP", nan_at((0, 0))), "pnp_cameras", "NaN"),
    "PnP behind the camera": (with_entry(PNP, "T_PNP", lambda T: -T), "pnp_cameras", "behind the camera"),
    "PnP of no frame": (with_entry(PNP, "valid_indices_pnp", lambda _: [0, 99]), "pnp_cameras", "from 0 to 3"),
    "keypoints of 23": (pickled(KEYPOINTS, lambda points: points[:, :23]), "sparse_keypoints", "must be"),
    "keypoints in pixels": (pickled(KEYPOINTS, lambda points: points * 800), "sparse_keypoints", "fractions"),
    "keypoints NaN": (pickled(KEYPOINTS, nan_at((0, 0, 0))), "sparse_keypoints", "NaN"),
    "shape without limbs": (pickled(SHAPE, lambda shape: {"betas": shape["betas"]}), "init_pose", "betas_limbs"),
    "shape NaN": (with_entry(SHAPE, "betas", nan_at((0, 0))), "init_pose", "NaN"),
    "index leads out": (queried("UPDATE frame_annots SET _image_path = '../x.jpg'"), "index", "inside of"),
    "index with a bad camera": (queried("UPDATE frame_annots SET _viewpoint_R = zeroblob(36)"), "index", "rotation"),
    "index with some cameras": (
        queried("UPDATE frame_annots SET _viewpoint_R = NULL WHERE frame_number = 1"),
        "cameras",
        "has no camera",
    ),
    "index empty": (queried("DELETE FROM sequence_annots"), "index", "lists no sequence"),
    "index damaged": (written(DATABASE, b"SQLite format 3\0" + bytes(5000)), "index", "metadata.sqlite"),
    "body model cut": (cut(SMAL), "smal_model", "cannot be read"),
    "body model with bad faces": (with_entry(SMAL, "f", lambda faces: faces + 50), "smal_model", "no vertices"),
    "body model NaN": (with_entry(SMAL, "v_template", nan_at((0, 0))), "smal_model", "NaN"),
    "symmetry twice": (
        written(SYMMETRY, json.dumps({"center_inds": [0, 0], "left_inds": [], "right_inds": []}).encode()),
        "smal_symmetry",
        "twice",
    ),
    "symmetry beyond the template": (
        written(SYMMETRY, json.dumps({"center_inds": [9999], "left_inds": [], "right_inds": []}).encode()),
        "smal_symmetry",
        "the template has 3889",
    ),
    "symmetry no JSON": (written(SYMMETRY, b"{"), "smal_symmetry", "center_inds"),
    "embedding of another size": (
        with_entry("cse/cse_embedding.pk", "cse_dog", lambda rows: rows[:, :8]),
        "cse_embedding",
        "must be",
    ),
    "embedding of zeros": (
        with_entry("cse/cse_embedding.pk", "cse_dog", lambda rows: 0 * rows),
        "cse_embedding",
        "zeros",
    ),
    "weights of something else": (
        with_entry("cse/model_final_8c9d99.pkl", "model", lambda _: {}),
        "cse_weights",
        "lacks roi_heads",
    ),
    "config no YAML": (written("cse/Base-DensePose-RCNN-FPN.yaml", b"a: [1"), "cse_base_config", "not a YAML"),
    "functions of another mesh": (
        with_entry("lbos/lbo_smal.pk", "lbo_basis", lambda basis: basis[1:]),
        "lbo_smal",
        "must be 3889",
    ),
    "functions NaN": (with_entry("lbos/lbo_cse.pk", "lbo_basis", nan_at((5, 5))), "lbo_cse", "NaN"),
    "areas negative": (with_entry("lbos/lbo_cse.pk", "lbo_areas", lambda areas: -areas), "lbo_cse", "positive"),
    "map of another size": (with_entry("lbos/lbo_cse_to_smal.pk", "C", lambda C: C[:, 1:]), "lbo_cse_to_smal", "24x24"),
    "texture of floats": (pickled("textures/texture_cse.pk", lambda colors: colors / 255), "texture_cse", "0 to 255"),
    "texture of another mesh": (pickled("textures/texture_smal.pk", lambda c: c[1:]), "texture_smal", "must be 3889"),
}
ALSO = {"smal_symmetry": {"smal_model"}, "lbo_cse": {"lbo_cse_to_smal"}, "index": {"index"}}
"""Entries that cannot be right while another is broken."""


@pytest.fixture(scope="module")
def sound(pristine: Path) -> tuple[Finding, ...]:
    return verify(pristine).findings


def test_a_sound_tree(sound: tuple[Finding, ...]) -> None:
    states = {(finding.sequence, finding.entry): finding.state for finding in sound}
    missing = {key for key, state in states.items() if state == "missing"}
    assert missing == {(SECOND, "refined_masks"), (SECOND, "init_pose")}
    assert set(states.values()) == {"ok", "missing"}
    notes = {finding.entry: finding.note for finding in sound if finding.sequence == FIRST}
    assert notes["images"] == "4, 128x96"
    assert notes["cse_predictions"] == "3 of 4 with a dog"
    assert notes["pnp_cameras"] == "3 of 4 solved"
    n_vertices = load_builtin_template().n_vertices
    assert f"{n_vertices} vertices" in next(finding.note for finding in sound if finding.entry == "smal_model")


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(tree: Path, sound: tuple[Finding, ...], name: str) -> None:
    change, entry, message = BROKEN[name]
    change(tree)
    broken = verify(tree).broken
    assert entry in {finding.entry for finding in broken}
    assert {finding.entry for finding in broken} <= {entry} | ALSO.get(entry, set())
    note = next(finding.note for finding in broken if finding.entry == entry)
    assert message in note
    assert str(tree) in note or entry == "cameras"
    assert "\n" not in note
    assert not Path("/tmp/animal4d-was-executed").exists()


def test_what_is_missing_is_no_fault(tree: Path) -> None:
    for name in ("smal", "lbos", "cse", "textures", "preprocessing", "sparse_keypoints", "init_pose", "refined_masks"):
        shutil.rmtree(tree / name)
    shutil.rmtree(tree / FRAMES / "part_masks")
    (tree / TRACKS).unlink()
    (tree / f"{MASK}.png").unlink()
    result = verify(tree)
    assert not result.broken
    assert {finding.entry for finding in result.of(FIRST) if finding.state == "ok"} == {"cameras", "images", "masks"}
    assert next(f.note for f in result.of(FIRST) if f.entry == "masks") == "3 of 4"


def test_a_sequence_without_any_mask_cannot_be_read(tree: Path) -> None:
    shutil.rmtree(tree / f"cop3d_data/dog/{SECOND}/masks")
    assert [(finding.sequence, finding.entry) for finding in verify(tree).broken] == [(SECOND, "masks")]


def test_several_broken_pictures_are_counted(tree: Path) -> None:
    for index in range(3):
        (tree / FRAMES / f"images/frame{index:06d}.jpg").unlink()
    (broken,) = verify(tree).broken
    assert "frame000000.jpg" in broken.note and "2 more" in broken.note


def test_the_command(tree: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    outcome = animal4d("data", "verify", tree, "--json", tmp_path / "found.json")
    assert outcome.status == 0, outcome.err
    assert "nothing is broken" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["broken"] == 0 and len(found["findings"]) == 32
    BROKEN["PnP mirrored"][0](tree)
    outcome = animal4d("data", "verify", tree, "--json", tmp_path / "found.json")
    assert outcome.status == 1
    assert "pnp_R_T.pk, frame 0 is valid but R_PNP is not a rotation" in outcome.out
    assert json.loads((tmp_path / "found.json").read_text())["broken"] == 1


def test_other_folders_are_no_trees(tmp_path: Path) -> None:
    with pytest.raises(Animal4dError, match="no index"):
        verify(tmp_path)
    outcome = animal4d("data", "verify", tmp_path)
    assert outcome.status == 1 and outcome.err.count("\n") == 1
