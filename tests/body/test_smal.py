"""SMAL pickles: the published model's numbers, files of all ages, and what is not a body model."""

from __future__ import annotations

import json
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from animal4d.body.joint_names import JOINT_NAMES, PARENTS
from animal4d.body.keypoints import BACK, BELLY, KEYPOINT_NAMES, KEYPOINT_VERTICES, keypoint_names
from animal4d.body.model import PART_NAMES, BodyModel
from animal4d.body.smal import PARTS_FILE, SYMMETRY_FILE, load_smal, write_smal_pickle
from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.geometry.rotations import matrix_from_6d, matrix_from_axis_angle

BUILTIN = load_builtin_template()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in template as a SMAL pickle; not to be changed."""
    path = tmp_path_factory.mktemp("smal") / "dog.pkl"
    write_smal_pickle(BUILTIN, path)
    return path


@pytest.fixture(scope="module")
def content(written: Path) -> dict[str, Any]:
    """What the pickle holds; not to be changed."""
    return pickle.loads(written.read_bytes(), encoding="latin1")


@pytest.fixture(scope="module")
def read(written: Path) -> BodyModel:
    return load_smal(written)


def small(content: dict[str, Any], keep: np.ndarray) -> dict[str, Any]:
    """The model on some of its vertices: another number of them, otherwise a model like any other."""
    place = np.full(len(content["v_template"]), -1)
    place[keep] = np.arange(len(keep))
    faces = place[content["f"]]
    regressor = content["J_regressor"].toarray()[:, keep] + 1e-6
    return content | {
        "f": faces[(faces >= 0).all(1)],
        "v_template": content["v_template"][keep],
        "shapedirs": content["shapedirs"][keep],
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "posedirs": np.zeros((len(keep), 3, 306), np.float32),
        "weights": content["weights"][keep],
    }


def thinned(content: dict[str, Any], step: int) -> dict[str, Any]:
    """The model on the centre's vertices and on every so many others, with their mirror images."""
    left, right = BUILTIN.left_indices.numpy(), BUILTIN.right_indices.numpy()
    return small(content, np.sort(np.concatenate((BUILTIN.center_indices.numpy(), left[::step], right[::step]))))


@pytest.fixture(scope="module")
def half(content: dict[str, Any]) -> dict[str, Any]:
    return thinned(content, 2)


@pytest.fixture(scope="module")
def coarse(content: dict[str, Any]) -> dict[str, Any]:
    return thinned(content, 12)


def save(content: Any, path: Path) -> Path:
    path.write_bytes(pickle.dumps(content, 4))
    return path


def random_pose(model: BodyModel, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    betas, limbs = torch.randn(2, model.n_betas, generator=generator), 0.3 * torch.randn(2, 7, generator=generator)
    rotations = matrix_from_axis_angle(0.4 * torch.randn(2, model.n_joints, 3, generator=generator))
    return model.with_shape(betas, limbs).with_pose(rotations, torch.ones(2, 3)).vertices


def test_the_built_in_template_comes_back(read: BodyModel):
    for name in ("v_template", "faces", "shape_directions", "skinning_weights", "part_labels", "keypoint_vertices"):
        assert torch.equal(getattr(read, name), getattr(BUILTIN, name)), name
    torch.testing.assert_close(read.joint_regressor, BUILTIN.joint_regressor)
    torch.testing.assert_close(read.joint_limits, BUILTIN.joint_limits)
    assert (read.joint_names, read.parents) == (BUILTIN.joint_names, BUILTIN.parents)
    assert torch.equal(read.left_indices, BUILTIN.left_indices)
    assert torch.equal(read.right_indices, BUILTIN.right_indices)
    assert read.pose_correctives is None


def test_posed_vertices_are_those_of_the_template_recentred(read: BodyModel):
    # Files of SMAL are moved to the middle of back and belly before they are posed, the built-in template is there
    # already in its mean shape; other shapes move by as much as their middle is off.
    assert read.recentre_vertices == (BACK, BELLY)
    torch.testing.assert_close(random_pose(read), random_pose(replace(BUILTIN, recentre_vertices=(BACK, BELLY))))
    unposed = torch.eye(3).repeat(35, 1, 1)
    mean, known = (model.with_shape().with_pose(unposed).vertices for model in (read, BUILTIN))
    torch.testing.assert_close(mean, known, atol=1e-6, rtol=0)


def test_published_code_can_read_it(content: dict[str, Any]):
    # What BITE's and 4D-Animal's loaders ask of it.
    assert content["J_regressor"].T.todense().shape == (3889, 35)
    assert content["kintree_table"][0].astype(np.int32).tolist() == list(PARENTS)
    assert content["posedirs"].shape == (3889, 3, 306) and not content["posedirs"].any()
    assert content["shapedirs"].shape == (3889, 3, 30)
    assert content["f"].dtype == np.uint32


def test_names_of_old_libraries_are_in_the_file(written: Path):
    data = written.read_bytes()
    assert b"numpy._core" not in data and b"scipy.sparse._csc" not in data
    assert b"cnumpy.core.multiarray\n" in data and b"cscipy.sparse.csc\n" in data


@pytest.mark.golden
def test_forward_pass_from_a_file_matches_the_published_model(golden_recipe, golden_seed, golden_dir, tmp_path: Path):
    buffers = golden_recipe.smal_like(golden_seed)
    order = torch.argsort(buffers["inds_back"])
    n_center, n_left = buffers["n_center"], buffers["n_left"]
    content = {
        "f": buffers["faces"].numpy().astype(np.uint32),
        "v_template": buffers["v_template"].numpy().astype(float),
        "shapedirs": buffers["shapedirs"].T.unflatten(0, (-1, 3)).numpy(),
        "J_regressor": scipy.sparse.csc_matrix(buffers["joint_regressor"].T.numpy()),
        "posedirs": buffers["posedirs"].unflatten(1, (-1, 3)).permute(1, 2, 0).numpy(),
        "kintree_table": np.stack([buffers["kintree_table"].numpy().astype(np.uint32), np.arange(35, dtype=np.uint32)]),
        "weights": buffers["weights"].numpy(),
    }
    inds = dict(zip(("center", "left", "right"), order.split([n_center, n_left, n_left]), strict=True))
    (tmp_path / SYMMETRY_FILE).write_text(json.dumps({f"{side}_inds": part.tolist() for side, part in inds.items()}))
    model = load_smal(save(content, tmp_path / "smal.pkl"))

    golden = np.load(golden_dir / "smal_forward.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    offsets = model.expand_offsets(tensors["offsets_compact"])
    shaped = model.with_shape(tensors["betas"], tensors["limb_scales"], offsets)
    posed = shaped.with_pose(matrix_from_6d(tensors["rotations_6d"]), tensors["translation"])
    torch.testing.assert_close(posed.vertices[:, tensors["vertex_index"]], tensors["vertices"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(posed.keypoints, tensors["keypoints"], rtol=1e-4, atol=2e-5)


def test_pose_correctives_and_spare_betas(content: dict[str, Any], tmp_path: Path):
    rng = np.random.default_rng(0)
    correctives = 0.01 * rng.standard_normal((3889, 3, 306), np.float32)
    directions = np.concatenate((content["shapedirs"], rng.standard_normal((3889, 3, 11))), axis=2)
    path = save(content | {"posedirs": correctives, "shapedirs": directions}, tmp_path / "dog.pkl")
    model = load_smal(path)
    assert model.n_betas == 30 and model.pose_correctives is not None
    np.testing.assert_allclose(model.pose_correctives[4, 7], correctives[7, :, 4], rtol=1e-6)
    write_smal_pickle(model, tmp_path / "again.pkl")
    torch.testing.assert_close(random_pose(load_smal(tmp_path / "again.pkl")), random_pose(model))


def test_fewer_betas(content: dict[str, Any], tmp_path: Path):
    assert load_smal(save(content | {"shapedirs": content["shapedirs"][..., :8]}, tmp_path / "dog.pkl")).n_betas == 8


@pytest.fixture
def chumpy_array(monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], Any]:
    """Makes what pickles as a chumpy array."""
    module = types.ModuleType("chumpy.ch")
    kind = type("Ch", (), {"__module__": "chumpy.ch", "__init__": lambda self, x: self.__dict__.update(x=x)})
    vars(module)["Ch"] = kind
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return kind


def test_older_files_with_chumpy_and_without_ears(
    content: dict[str, Any], read: BodyModel, chumpy_array: Callable[[np.ndarray], Any], tmp_path: Path
):
    # The ears' weight goes to the head, as in models that have no joints there.
    weights = content["weights"].copy()
    weights[:, 16] += weights[:, 33:].sum(1)
    rng = np.random.default_rng(1)
    correctives = 0.01 * rng.standard_normal((3889, 3, 288), np.float32)
    old = {
        "v_template": chumpy_array(content["v_template"].astype(float)),
        "shapedirs": chumpy_array(content["shapedirs"].astype(float)),
        "weights": chumpy_array(weights[:, :33].astype(float)),
        "posedirs": correctives,
        "J_regressor": content["J_regressor"][:33],
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:33]], range(33)], np.uint32),
    }
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps(content | old, 3))
    model = load_smal(path)
    assert model.n_joints == 35 and model.pose_correctives is not None and len(model.pose_correctives) == 306
    joints = model.joint_regressor @ model.v_template
    torch.testing.assert_close(joints[:33], (read.joint_regressor @ read.v_template)[:33])
    assert joints[33, 1] > 0 > joints[34, 1]
    # Ears that have no weight move nothing, in rotation and through correctives.
    turned = torch.eye(3).repeat(35, 1, 1)
    still = model.with_shape().with_pose(turned).vertices
    turned[33:] = matrix_from_axis_angle(torch.ones(2, 3))
    assert torch.equal(model.with_shape().with_pose(turned).vertices, still)


def test_symmetry_is_found_where_no_file_tells_it(content: dict[str, Any], tmp_path: Path):
    model = load_smal(save(content, tmp_path / "dog.pkl"))
    assert sorted(model.center_indices.tolist()) == sorted(BUILTIN.center_indices.tolist())
    pairs = dict(zip(model.left_indices.tolist(), model.right_indices.tolist(), strict=True))
    assert pairs == dict(zip(BUILTIN.left_indices.tolist(), BUILTIN.right_indices.tolist(), strict=True))


def test_sides_are_decided_by_geometry(content: dict[str, Any], tmp_path: Path):
    # The same animal in a file that counts the right legs first, and calls left what lies to the beholder's left.
    order = [*range(7), *range(11, 15), *range(7, 11), 15, 16, *range(21, 25), *range(17, 21), *range(25, 35)]
    swapped = {"J_regressor": content["J_regressor"][order], "weights": content["weights"][:, order]}
    sides = {
        "center_inds": BUILTIN.center_indices,
        "left_inds": BUILTIN.right_indices,
        "right_inds": BUILTIN.left_indices,
    }
    (tmp_path / SYMMETRY_FILE).write_text(json.dumps({name: part.tolist() for name, part in sides.items()}))
    model = load_smal(save(content | swapped, tmp_path / "dog.pkl"))
    assert torch.equal(model.left_indices, BUILTIN.left_indices)
    assert model.joint_names[7] == "front_right_shoulder" and model.joint_names[24] == "back_left_paw"
    assert sorted(model.joint_names) == sorted(JOINT_NAMES)
    assert torch.equal(model.part_labels, BUILTIN.part_labels)
    names = keypoint_names(model.joint_names)
    ours = dict(zip(names, model.with_shape().with_pose(torch.eye(3).repeat(35, 1, 1)).keypoints, strict=True))
    theirs = dict(
        zip(KEYPOINT_NAMES, BUILTIN.with_shape().with_pose(torch.eye(3).repeat(35, 1, 1)).keypoints, strict=True)
    )
    assert set(names) == set(KEYPOINT_NAMES)
    for name, point in theirs.items():
        torch.testing.assert_close(ours[name], point, atol=1e-5, rtol=0, msg=name)


def test_parts_from_a_list(content: dict[str, Any], tmp_path: Path):
    (tmp_path / PARTS_FILE).write_text(json.dumps({"tail": [0, 1], "head": [2]}))
    labels = load_smal(save(content, tmp_path / "dog.pkl")).part_labels
    assert [PART_NAMES[label] for label in labels[:3]] == ["tail", "tail", "head"]
    assert torch.equal(labels[3:], BUILTIN.part_labels[3:])


def test_another_number_of_vertices(half: dict[str, Any], tmp_path: Path):
    model = load_smal(save(half, tmp_path / "half.pkl"))
    assert model.n_vertices == len(half["v_template"]) < 3889
    assert model.recentre_vertices is None
    # Half of the vertices: the nearest one that is left is within an edge or two of the full template's.
    for name, vertex, known in zip(KEYPOINT_VERTICES, model.keypoint_vertices, KEYPOINT_VERTICES.values(), strict=True):
        assert (model.v_template[vertex] - BUILTIN.v_template[known]).norm() < 0.04, name
    assert model.body_length == pytest.approx(BUILTIN.body_length, rel=0.05)
    assert torch.isfinite(random_pose(model)).all()


def _without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def _with(key: str, change: Callable[[np.ndarray], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: content | {key: change(content[key].copy())}


def _at(place: Any, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(float)
        array[place] = value
        return array

    return change


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no model": (lambda content: [1, 2], "holds a list"),
    "other things": (
        lambda content: {"v_template": 0, "f": 0},
        "lacks shapedirs, J_regressor, posedirs, kintree_table",
    ),
    "no weights": (_without("weights"), "it lacks weights"),
    "words": (_with("v_template", lambda v: "dog"), "v_template must be a anyx3 array of numbers, got str"),
    "flat template": (_with("v_template", lambda v: v[:, :2]), "v_template must be anyx3"),
    "empty template": (_with("v_template", lambda v: v[:0]), "no vertices"),
    "NaN": (_with("v_template", _at((3, 1), np.nan)), "v_template holds NaN"),
    "NaN in directions": (_with("shapedirs", _at((3, 1, 0), np.inf)), "shapedirs holds NaN"),
    "directions of another": (_with("shapedirs", lambda v: v[:-1]), "shapedirs must be"),
    "no directions": (_with("shapedirs", lambda v: v[..., :0]), "no shape directions"),
    "regressor of another": (_with("J_regressor", lambda v: v[:, :-1]), "J_regressor must be 35x"),
    "huge regressor": (
        _with("J_regressor", lambda v: scipy.sparse.coo_matrix(([1.0], ([0], [0])), shape=(2**40, 2**40))),
        "J_regressor must be 35x",
    ),
    "correctives of another": (_with("posedirs", lambda v: v[..., :300]), "posedirs must have 306"),
    "faces out of range": (_with("f", _at((5, 0), 4000)), "no vertices"),
    "faces below zero": (_with("f", _at((5, 0), -1)), "no vertices"),
    "faces between": (_with("f", _at((5, 0), 0.5)), "no vertices"),
    "weights": (_with("weights", _at((8, 3), 0.7)), "weights of vertex 8 are negative or do not sum to 1"),
    "weights of another": (_with("weights", lambda v: v[:, :30]), "weights must be"),
    "a human": (_with("kintree_table", lambda v: v[:, :24]), "not the tree of SMAL's 35"),
    "another tree": (_with("kintree_table", _at((0, 12), 3)), "not the tree of SMAL's 35"),
    "lopsided": (_with("v_template", _at((9, 1), 7.0)), "not symmetric about y = 0 (vertex"),
}


@pytest.mark.parametrize(("spoil", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_body_model_is_told_in_one_line(
    spoil: Callable[[dict[str, Any]], Any], words: str, coarse: dict[str, Any], tmp_path: Path
):
    with pytest.raises(Animal4dError) as caught:
        load_smal(save(spoil(coarse), tmp_path / "dog.pkl"))
    assert words in str(caught.value) and "dog.pkl" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (SYMMETRY_FILE, "{", "cannot be read as JSON"),
        (SYMMETRY_FILE, "[1]", "must map names"),
        (SYMMETRY_FILE, '{"center_inds": [0]}', "lacks left_inds"),
        (SYMMETRY_FILE, '{"center_inds": [0], "left_inds": [1], "right_inds": [2]}', "each of the"),
        (SYMMETRY_FILE, '{"center_inds": [99999], "left_inds": [1], "right_inds": [2]}', "no vertices"),
        (SYMMETRY_FILE, '{"center_inds": "all", "left_inds": [1], "right_inds": [2]}', "numbers"),
        (PARTS_FILE, '{"wing": [0]}', 'unknown part "wing"'),
        (PARTS_FILE, '{"tail": [0], "head": [0]}', "vertex 0 is in two parts"),
        (PARTS_FILE, '{"tail": [-1]}', "no vertices"),
    ],
)
def test_broken_files_beside_it(name: str, text: str, words: str, coarse: dict[str, Any], tmp_path: Path):
    (tmp_path / name).write_text(text)
    with pytest.raises(Animal4dError) as caught:
        load_smal(save(coarse, tmp_path / "dog.pkl"))
    assert words in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)


def test_model_without_a_tail_needs_a_list_of_parts(coarse: dict[str, Any], tmp_path: Path):
    weights = coarse["weights"].copy()
    weights[:, 0] += weights[:, 7:11].sum(1)
    weights[:, 7:11] = 0
    with pytest.raises(Animal4dError, match="front left leg; list the parts in part_inds"):
        load_smal(save(coarse | {"weights": weights}, tmp_path / "dog.pkl"))
