"""Reading DensePose's mesh files, as `dog_7466.pkl`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle
from animal4d.pretrained.densepose.meshes import MESH_VERTICES


def read_mesh(path: Path, n_vertices: int) -> tuple[Float[ndarray, "vertices 3"], Int[ndarray, "faces 3"]]:
    """Vertices and faces of one of DensePose's mesh files. Raises Animal4dError where it is damaged or of another."""
    content = load_pickle(path)
    if not isinstance(content, Mapping) or "vertices" not in content or "faces" not in content:
        raise Animal4dError(f"{path} is no mesh of DensePose, with vertices and faces: download it again")
    vertices = checked_array(content["vertices"], (n_vertices, 3), f"{path}: vertices")
    numbers = checked_array(content["faces"], (None, 3), f"{path}: faces")
    faces = numbers.astype(np.int64)
    if len(faces) == 0 or faces.min() < 0 or faces.max() >= n_vertices or (faces != numbers).any():
        raise Animal4dError(f"{path}: faces must be numbers of its {n_vertices} vertices: download it again")
    return vertices, faces


def named_as_another(path: Path, mesh: str) -> bool:
    """Whether a file has the name of another mesh of DensePose: the cat has as many vertices as the dog."""
    return path.stem in MESH_VERTICES and path.stem != mesh
