"""SMAL body models from files: BITE's dog model and the older SMAL pickles (Zuffi et al. 2017, Rueegg et al. 2023).

A file holds `f` (F, 3), `v_template` (V, 3), `shapedirs` (V, 3, betas), `J_regressor` (joints, V; sparse or dense),
`posedirs` (V, 3, 9 (joints - 1)), `kintree_table` (row 0 = parents) and `weights` (V, joints). Beside it may lie
`symmetry_inds.json` (`center_inds`, `left_inds`, `right_inds`) and `part_inds.json` (for names of `PART_NAMES` lists
of vertices); what they do not say is found from the template and the skinning weights.

Sizes are those of the file. Models have 35 joints, or 33 in files from before the ears had some: they get two ear
joints without weight, with which every posed vertex is as it was. Joints keep the file's order, but are called left
where they lie at y > 0. Only what SMAL's tools rely on is tied to its 3,889 vertices: the recentring (method.md, 2.5),
and the numbers of the twelve keypoint vertices. A template of another size is not recentred, and each of its keypoint
vertices is the one at the same place within the bounding box of its part as in the built-in template.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from animal4d.body.joint_names import JOINT_NAMES, PARENTS
from animal4d.body.keypoints import BACK, BELLY, KEYPOINT_VERTICES, VERTEX_GROUPS
from animal4d.body.model import PART_NAMES, BodyModel
from animal4d.body.parts import part_labels
from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.atomic import write_bytes, write_json
from animal4d.files.unpickle import load_pickle

SYMMETRY_FILE = "symmetry_inds.json"
PARTS_FILE = "part_inds.json"
SMAL_VERTICES = 3889
MOST_BETAS = 30
"""Shape directions that are used; files may hold more."""
_KEYS = ("f", "v_template", "shapedirs", "J_regressor", "posedirs", "kintree_table", "weights")
_EARLY_JOINTS = 33
_HEAD, _LEFT_EAR, _RIGHT_EAR = (JOINT_NAMES.index(name) for name in ("head", "left_ear", "right_ear"))
_PAIRS = (((7, 11), 4), ((17, 21), 4), ((33, 34), 1))
"""First joints of the two legs of a pair and of the ears, and how many joints follow from there."""
_SYMMETRIC = 1e-3
"""How far a vertex may be from the mirror image of its partner, as a share of the template's length."""
_SUM_TOLERANCE = 1e-3


def load_smal(path: Path | str) -> BodyModel:
    """The body model in a SMAL pickle, with what lies beside it.

    Pose correctives that are all zero are left out.

    Raises Animal4dError, in one line, where the file is not such a model, or holds what cannot be.
    """
    path = Path(path)
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise Animal4dError(f"{path}: is not a body model (it holds a {type(content).__name__}); give a SMAL pickle")
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise Animal4dError(f"{path}: is not a body model, it lacks {', '.join(missing)}; give a SMAL pickle")

    vertices = checked_array(content["v_template"], (None, 3), f"{path}: v_template")
    n = len(vertices)
    if n == 0:
        raise Animal4dError(f"{path}: has no vertices; give a SMAL pickle")
    n_joints = _checked_tree(content["kintree_table"], path)
    directions = checked_array(content["shapedirs"], (n, 3, None), f"{path}: shapedirs")[..., :MOST_BETAS]
    if directions.shape[2] == 0:
        raise Animal4dError(f"{path}: has no shape directions; give a SMAL pickle")
    faces = _checked_indices(content["f"], (None, 3), n, f"{path}: f")
    regressor = _checked_regressor(content["J_regressor"], (n_joints, n), path)
    weights = _checked_weights(content["weights"], (n, n_joints), path)
    correctives = checked_array(content["posedirs"], (n, 3, None), f"{path}: posedirs")
    if correctives.shape[2] not in (0, 9 * (n_joints - 1)):
        raise Animal4dError(
            f"{path}: posedirs must have {9 * (n_joints - 1)} directions for {n_joints} joints, got "
            f"{correctives.shape[2]}; give a whole SMAL pickle"
        )
    if n_joints == _EARLY_JOINTS:
        regressor, weights, correctives = _with_ears(regressor, weights, correctives)

    names = _joint_names(regressor @ vertices)
    labels = part_labels(weights[:, [names.index(name) for name in JOINT_NAMES]])
    labels = _listed_parts(path.parent / PARTS_FILE, labels)
    center, left, right = _symmetry(vertices, path)
    anatomy = load_builtin_template()
    limits = anatomy.joint_limits[[anatomy.joint_names.index(name) for name in names]]
    smal_numbering = n == SMAL_VERTICES

    def float_tensor(array: ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32)

    return BodyModel(
        v_template=float_tensor(vertices),
        faces=torch.tensor(faces),
        shape_directions=float_tensor(directions),
        joint_regressor=float_tensor(regressor),
        skinning_weights=float_tensor(weights),
        parents=PARENTS,
        joint_names=names,
        center_indices=torch.tensor(center),
        left_indices=torch.tensor(left),
        right_indices=torch.tensor(right),
        part_labels=torch.tensor(labels),
        keypoint_vertices=torch.tensor(
            list(KEYPOINT_VERTICES.values()) if smal_numbering else _keypoint_vertices(vertices, labels, path)
        ),
        joint_limits=limits,
        pose_correctives=float_tensor(np.moveaxis(correctives, 2, 0)) if correctives.any() else None,
        recentre_vertices=(BACK, BELLY) if smal_numbering else None,
        name=str(path),
    )


def write_smal_pickle(model: BodyModel, path: Path | str) -> None:
    """Write a body model as a SMAL pickle of plain numpy and scipy arrays, and `symmetry_inds.json` beside it.

    Published code reads it with Python 3's own unpickler: class names are those of numpy and scipy before their
    renaming, which newer versions know too. A model without pose correctives gets zeros.
    """
    path = Path(path)
    arrays = {
        name: value.detach().cpu().numpy() for name, value in vars(model).items() if isinstance(value, torch.Tensor)
    }
    n_correctives = 9 * (model.n_joints - 1)
    correctives = arrays.get("pose_correctives", np.zeros((n_correctives, model.n_vertices, 3), np.float32))
    content = {
        "f": arrays["faces"].astype(np.uint32),
        "v_template": arrays["v_template"],
        "shapedirs": arrays["shape_directions"],
        "J_regressor": scipy.sparse.csc_matrix(arrays["joint_regressor"]),
        "J": arrays["joint_regressor"] @ arrays["v_template"],
        "posedirs": np.ascontiguousarray(np.moveaxis(correctives, 0, 2)),
        "kintree_table": np.array([model.parents, range(model.n_joints)], np.int64),
        "weights": arrays["skinning_weights"],
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    data = pickle.dumps(content, protocol=3)  # the last one that names classes in lines of text
    for new, old in ((b"cnumpy._core.", b"cnumpy.core."), (b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")):
        data = data.replace(new, old)
    write_bytes(path, data)
    symmetry = {f"{side}_inds": arrays[f"{side}_indices"].tolist() for side in ("center", "left", "right")}
    write_json(path.parent / SYMMETRY_FILE, symmetry)


def _checked_tree(table: Any, path: Path) -> int:
    """Number of joints. Raises Animal4dError where their tree is not SMAL's."""
    parents = checked_array(table, (2, None), f"{path}: kintree_table")[0]
    n_joints = len(parents)
    # The root's parent is -1, or 2^32 - 1 in files that count without sign.
    if n_joints not in (_EARLY_JOINTS, len(PARENTS)) or tuple(parents[1:]) != PARENTS[1:n_joints]:
        raise Animal4dError(
            f"{path}: kintree_table is not the tree of SMAL's {len(PARENTS)} (or {_EARLY_JOINTS}) joints; give a model "
            "of a four-legged animal"
        )
    return n_joints


def _checked_indices(value: Any, shape: tuple[int | None, ...], n: int, where: str) -> Int[ndarray, "..."]:
    """Vertex numbers below `n`."""
    array = checked_array(value, shape, where)
    if (array != np.round(array)).any() or (array < 0).any() or (array >= n).any():
        raise Animal4dError(f"{where} holds numbers that are no vertices (0 to {n - 1}); get the file again")
    return array.astype(np.int64)


def _checked_regressor(value: Any, shape: tuple[int, int], path: Path) -> Float[ndarray, "joints vertices"]:
    # Before it is made dense: a small file can declare a sparse matrix of any size.
    if scipy.sparse.issparse(value) and value.shape == shape:
        value = value.toarray()
    elif scipy.sparse.issparse(value):
        raise Animal4dError(
            f"{path}: J_regressor must be {shape[0]}x{shape[1]}, got {value.shape[0]}x{value.shape[1]}: give a whole "
            "SMAL pickle"
        )
    return checked_array(value, shape, f"{path}: J_regressor")


def _checked_weights(value: Any, shape: tuple[int, int], path: Path) -> Float[ndarray, "vertices joints"]:
    weights = checked_array(value, shape, f"{path}: weights")
    wrong = (np.abs(weights.sum(1) - 1) > _SUM_TOLERANCE) | (weights < -_SUM_TOLERANCE).any(1)
    if wrong.any():
        vertex = int(wrong.argmax())
        raise Animal4dError(
            f"{path}: weights of vertex {vertex} are negative or do not sum to 1 (but to {weights[vertex].sum():.4g}); "
            "get the file again"
        )
    return weights


def _with_ears(
    regressor: Float[ndarray, "33 vertices"],
    weights: Float[ndarray, "vertices 33"],
    correctives: Float[ndarray, "vertices 3 288"],
) -> tuple[Float[ndarray, "35 vertices"], Float[ndarray, "vertices 35"], Float[ndarray, "vertices 3 306"]]:
    """Two joints more that move nothing: in the ears where SMAL's numbering tells where they are, else in the head."""
    rows = np.repeat(regressor[_HEAD : _HEAD + 1], 2, axis=0)
    if regressor.shape[1] == SMAL_VERTICES:
        for row, side in zip(rows, ("left", "right"), strict=True):
            ear = list(VERTEX_GROUPS[f"{side}_ear"])
            row[:] = 0
            row[ear] = 1 / len(ear)
    ears = len(PARENTS) - _EARLY_JOINTS
    if correctives.shape[2]:
        correctives = np.pad(correctives, ((0, 0), (0, 0), (0, 9 * ears)))
    return np.concatenate((regressor, rows)), np.pad(weights, ((0, 0), (0, ears))), correctives


def _joint_names(joints: Float[ndarray, "35 3"]) -> tuple[str, ...]:
    """Names of the joints in the file's order; of a pair, the limb that lies further to y > 0 is the left one."""
    names = list(JOINT_NAMES)
    for (first, second), count in _PAIRS:
        one, other = slice(first, first + count), slice(second, second + count)
        if joints[one, 1].mean() < joints[other, 1].mean():
            names[one], names[other] = names[other], names[one]
    return tuple(names)


def _symmetry(
    vertices: Float[ndarray, "vertices 3"], path: Path
) -> tuple[Int[ndarray, "center"], Int[ndarray, "side"], Int[ndarray, "side"]]:
    """Centre, left and right vertices; right ones in the order of their mirror images."""
    file = path.parent / SYMMETRY_FILE
    center, left, right = _read_symmetry(file, len(vertices)) if file.is_file() else _find_symmetry(vertices, path)
    # Where nearly all that is called left lies on the right, the file counts sides as the beholder does.
    if len(left) and (vertices[left, 1] < vertices[right, 1]).mean() > 0.9:
        left, right = right, left
    return center, left, right


def _read_symmetry(file: Path, n: int) -> tuple[ndarray, ndarray, ndarray]:
    content = _read_json(file)
    lists = []
    for key in ("center_inds", "left_inds", "right_inds"):
        if key not in content:
            raise Animal4dError(f"{file}: lacks {key}; get the file again, or remove it to have the symmetry found")
        lists.append(_checked_indices(content[key], (None,), n, f"{file}: {key}"))
    center, left, right = lists
    if len(left) != len(right) or not np.array_equal(np.sort(np.concatenate(lists)), np.arange(n)):
        raise Animal4dError(
            f"{file}: must name each of the {n} vertices once, as many left as right ones; get the file that belongs "
            "to the model, or remove it to have the symmetry found"
        )
    return center, left, right


def _find_symmetry(vertices: Float[ndarray, "vertices 3"], path: Path) -> tuple[ndarray, ndarray, ndarray]:
    nearest = KDTree(vertices).query(vertices * [1.0, -1.0, 1.0])
    distance, partner = np.asarray(nearest[0]), np.asarray(nearest[1])
    numbers = np.arange(len(vertices))
    lonely = (distance > _SYMMETRIC * np.ptp(vertices, axis=0).max()) | (partner[partner] != numbers)
    if lonely.any():
        raise Animal4dError(
            f"{path}: its template is not symmetric about y = 0 (vertex {int(lonely.argmax())} has no mirror image); "
            f"put the {SYMMETRY_FILE} that belongs to it beside it"
        )
    left = numbers[(partner != numbers) & (vertices[:, 1] > vertices[partner, 1])]
    return numbers[partner == numbers], left, partner[left]


def _listed_parts(file: Path, labels: Int[ndarray, "vertices"]) -> Int[ndarray, "vertices"]:
    """The labels, changed where the file names vertices."""
    if not file.is_file():
        return labels
    listed = np.full(len(labels), -1)
    for part, vertices in _read_json(file).items():
        if part not in PART_NAMES:
            raise Animal4dError(f'{file}: unknown part "{part}"; known are {", ".join(PART_NAMES)}')
        members = _checked_indices(vertices, (None,), len(labels), f"{file}: {part}")
        if (listed[members] >= 0).any():
            twice = int(members[listed[members] >= 0][0])
            raise Animal4dError(f"{file}: vertex {twice} is in two parts; name each vertex once")
        listed[members] = PART_NAMES.index(part)
    return np.where(listed >= 0, listed, labels)


def _keypoint_vertices(
    vertices: Float[ndarray, "vertices 3"], labels: Int[ndarray, "vertices"], path: Path
) -> Int[ndarray, "12"]:
    """The vertices that lie where the built-in template has its keypoints within the bounding boxes of their parts."""
    builtin = load_builtin_template()
    known, known_labels = builtin.v_template.numpy(), builtin.part_labels.numpy()
    found = []
    for vertex in KEYPOINT_VERTICES.values():
        part = known_labels[vertex]
        members = np.flatnonzero(labels == part)
        if not len(members):
            raise Animal4dError(
                f"{path}: no vertex belongs to the {PART_NAMES[part].replace('_', ' ')}; list the parts in {PARTS_FILE}"
            )
        place = _in_box(known[vertex], known[known_labels == part])
        offsets = _in_box(vertices[members], vertices[members]) - place
        found.append(members[np.linalg.norm(offsets, axis=1).argmin()])
    return np.array(found)


def _in_box(points: Float[ndarray, "*batch 3"], box: Float[ndarray, "points 3"]) -> Float[ndarray, "*batch 3"]:
    """Coordinates from 0 to 1 within the bounding box of some points."""
    low, size = box.min(0), np.ptp(box, axis=0)
    return (points - low) / np.maximum(size, 1e-9)


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise Animal4dError(f"{file}: cannot be read as JSON ({error}); get the file again, or remove it") from error
    if not isinstance(content, dict):
        raise Animal4dError(f"{file}: must map names to lists of vertices; get the file again, or remove it")
    return content
