"""Checks of the files that serve all sequences: body model, eigenfunctions, embeddings, weights, textures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.sparse import issparse

from animal4d.body.smal import load_smal
from animal4d.cues.surface_embeddings import EMBEDDING_SIZE
from animal4d.data.finding import Finding, checked
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle

_EMBEDDER = "roi_heads.embedder.embedder_dog_7466"
_AGAIN = "download it again, or remove it"


@dataclass
class _Sizes:
    """What was read so far, that later files must fit."""

    smal_vertices: int | None = None
    cse_vertices: int | None = None
    smal_functions: int | None = None
    cse_functions: int | None = None


def check_shared(root: Path) -> list[Finding]:
    """One finding for each shared entry. Files that contradict each other are told of the one that is read later."""
    sizes = _Sizes()
    cse, lbos, smal, textures = (root / name for name in ("cse", "lbos", "smal", "textures"))
    config = "densepose_rcnn_R_50_FPN_soft_animals_I0_finetune_i2m_16k.yaml"
    checks: dict[str, tuple[Path, Callable[[Path], str]]] = {
        "smal_model": (smal / "my_smpl_39dogsnorm_newv3_dog.pkl", lambda path: _body_model(path, sizes)),
        "smal_symmetry": (smal / "symmetry_inds.json", lambda path: _symmetry(path, sizes)),
        "cse_embedding": (cse / "cse_embedding.pk", lambda path: _embedding(path, sizes)),
        "cse_weights": (cse / "model_final_8c9d99.pkl", lambda path: _weights(path, sizes)),
        "cse_config": (cse / config, _yaml),
        "cse_base_config": (cse / "Base-DensePose-RCNN-FPN.yaml", _yaml),
        "lbo_smal": (lbos / "lbo_smal.pk", lambda path: _lbo_smal(path, sizes)),
        "lbo_cse": (lbos / "lbo_cse.pk", lambda path: _lbo_cse(path, sizes)),
        "lbo_cse_to_smal": (lbos / "lbo_cse_to_smal.pk", lambda path: _functional_map(path, sizes)),
        "texture_smal": (textures / "texture_smal.pk", lambda path: _texture(path, sizes.smal_vertices)),
        "texture_cse": (textures / "texture_cse.pk", lambda path: _texture(path, sizes.cse_vertices)),
    }
    return [
        checked("", entry, lambda check=check, path=path: check(path))
        if path.is_file()
        else Finding("", entry, "missing", str(path))
        for entry, (path, check) in checks.items()
    ]


def _body_model(path: Path, sizes: _Sizes) -> str:
    try:
        model = load_smal(path)
    except Animal4dError:
        # What lies beside it may be at fault; it is checked against the template all the same.
        sizes.smal_vertices = _template_size(path)
        raise
    sizes.smal_vertices = model.n_vertices
    return f"{model.n_vertices} vertices, {model.n_joints} joints, {model.n_betas} betas"


def _template_size(path: Path) -> int | None:
    """Number of vertices of a body model that is otherwise broken, where that can be read."""
    try:
        return len(checked_array(_entry(path, "v_template"), (None, 3), f"{path}: v_template", finite=False))
    except Animal4dError:
        return None


def _symmetry(path: Path, sizes: _Sizes) -> str:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        center, left, right = (_indices(content[f"{side}_inds"]) for side in ("center", "left", "right"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Animal4dError(
            f"{path} must hold lists of vertices center_inds, left_inds and right_inds ({type(error).__name__}: "
            f"{error}): {_AGAIN}"
        ) from error
    every = np.concatenate((center, left, right))
    if len(left) != len(right) or len(np.unique(every)) != len(every):
        raise Animal4dError(f"{path}: a vertex is listed twice, or left and right are not pairs: {_AGAIN}")
    n_vertices = sizes.smal_vertices or len(every)
    if every.min(initial=0) < 0 or every.max(initial=0) >= n_vertices or len(every) != n_vertices:
        raise Animal4dError(
            f"{path} lists {len(every)} vertices up to {every.max(initial=0)}, the template has {n_vertices}: {_AGAIN}"
        )
    return f"{len(center)} in the middle, {len(left)} on each side"


def _indices(value: Any) -> NDArray[np.int64]:
    indices = np.asarray(value)
    if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
        raise ValueError("the vertices are no list of whole numbers")
    return indices.astype(np.int64)


def _embedding(path: Path, sizes: _Sizes) -> str:
    rows = checked_array(_entry(path, "cse_dog"), (None, EMBEDDING_SIZE), f"{path}: cse_dog")
    if not (np.linalg.norm(rows, axis=1) > 0).all():
        raise Animal4dError(f"{path}: cse_dog has rows of zeros, which match no pixel: {_AGAIN}")
    sizes.cse_vertices = len(rows)
    return f"{len(rows)} vertices"


def _weights(path: Path, sizes: _Sizes) -> str:
    weights = _entry(path, "model")
    if not isinstance(weights, dict):
        raise Animal4dError(f'{path}: "model" must be a dict of arrays: {_AGAIN}')
    lacking = [key for key in ("features", "embeddings") if f"{_EMBEDDER}.{key}" not in weights]
    if lacking:
        raise Animal4dError(f"{path} lacks {_EMBEDDER}.{lacking[0]}: it is not DensePose CSE of animals; {_AGAIN}")
    for name, value in weights.items():
        array = np.asarray(value)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Animal4dError(f"{path}: {name} holds NaN or infinity: {_AGAIN}")
    features = checked_array(weights[f"{_EMBEDDER}.features"], (sizes.cse_vertices, None), f"{path}: features")
    shape = (features.shape[1], EMBEDDING_SIZE)
    checked_array(weights[f"{_EMBEDDER}.embeddings"], shape, f"{path}: {_EMBEDDER}.embeddings")
    sizes.cse_vertices = len(features)
    return f"{len(weights)} arrays"


def _yaml(path: Path) -> str:
    try:
        # Only parsed: YAML can name Python's own objects, which are not made here.
        events = sum(1 for _ in yaml.parse(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise Animal4dError(f"{path} is not a YAML file ({' '.join(str(error).split())[:120]}): {_AGAIN}") from error
    if events < 5:
        raise Animal4dError(f"{path} is empty: {_AGAIN}")
    return "readable"


def _lbo_smal(path: Path, sizes: _Sizes) -> str:
    n_vertices, sizes.smal_functions = _basis(path, sizes.smal_vertices)
    sizes.smal_vertices = n_vertices
    return f"{sizes.smal_functions} functions of {n_vertices} vertices"


def _lbo_cse(path: Path, sizes: _Sizes) -> str:
    n_vertices, sizes.cse_functions = _basis(path, sizes.cse_vertices)
    sizes.cse_vertices = n_vertices
    return f"{sizes.cse_functions} functions of {n_vertices} vertices"


def _basis(path: Path, n_vertices: int | None) -> tuple[int, int]:
    """Numbers of vertices and functions."""
    content = load_pickle(path)
    functions = checked_array(_member(path, content, "lbo_basis"), (n_vertices, None), f"{path}: lbo_basis")
    mass = _member(path, content, "lbo_areas")
    where, shape = f"{path}: lbo_areas", (len(functions), len(functions))
    if issparse(mass):
        if mass.shape != shape:
            raise Animal4dError(f"{where} must be {shape[0]}x{shape[1]}, got {mass.shape}: {_AGAIN}")
        values, diagonal = checked_array(mass.tocsr().data, (None,), where), mass.diagonal()
    else:
        vector = np.ndim(mass) == 1
        values = checked_array(mass, shape[:1] if vector else shape, where)
        diagonal = values if vector else values.diagonal()
    if not values.sum() > 0 or (diagonal < 0).any():
        raise Animal4dError(f"{where} must hold areas, which are positive: {_AGAIN}")
    return functions.shape[0], functions.shape[1]


def _functional_map(path: Path, sizes: _Sizes) -> str:
    shape = (sizes.smal_functions, sizes.cse_functions)
    matrix = checked_array(_entry(path, "C"), shape, f"{path}: C (functions of lbo_smal.pk x of lbo_cse.pk)")
    return f"{matrix.shape[0]}x{matrix.shape[1]}"


def _texture(path: Path, n_vertices: int | None) -> str:
    content = load_pickle(path)
    colors = checked_array(content, (n_vertices, 3), f"{path} (vertices, red green blue)")
    if np.asarray(content).dtype.kind not in "iu" or (colors < 0).any() or (colors > 255).any():
        raise Animal4dError(f"{path} must hold whole numbers from 0 to 255: {_AGAIN}")
    return f"{len(colors)} colours"


def _entry(path: Path, key: str) -> Any:
    return _member(path, load_pickle(path), key)


def _member(path: Path, content: Any, key: str) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise Animal4dError(f'{path} must hold a dict with "{key}": {_AGAIN}')
    return content[key]
