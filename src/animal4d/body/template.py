"""The built-in template: a dog that stands in for SMAL, unpacked from the shipped file.

The file holds the left half of everything that is symmetric (`builder/build.py` writes it); here the right half is put
back as its exact mirror image.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.body.joint_names import JOINT_NAMES, PARENTS
from animal4d.body.keypoints import KEYPOINT_VERTICES
from animal4d.body.model import BodyModel
from animal4d.body.parts import part_labels

_MIRROR = np.array([1.0, -1.0, 1.0])
_SWAP = np.array(
    [
        JOINT_NAMES.index(name.replace("left", "right") if "left" in name else name.replace("right", "left"))
        for name in JOINT_NAMES
    ]
)
"""For every joint the one on the other side."""


@lru_cache(maxsize=1)
def _arrays() -> dict[str, np.ndarray]:
    with files("animal4d.body").joinpath("data/builtin.npz").open("rb") as stream, np.load(stream) as packed:
        return {name: packed[name] for name in packed.files}


def _skinning_weights(packed: dict[str, np.ndarray], n_center: int) -> np.ndarray:
    """Dense weights (V, 35) in the order [centre | left | right]."""
    half = np.zeros((len(packed["vertices"]), len(JOINT_NAMES)))
    rows = np.arange(len(half))[:, None]
    np.add.at(half, (rows, packed["weight_joints"]), packed["weight_values"].astype(float))
    half /= half.sum(1, keepdims=True)
    return np.concatenate([half, half[n_center:][:, _SWAP]])


def _joint_regressor(packed: dict[str, np.ndarray], n_center: int) -> np.ndarray:
    """Dense regressor (35, V), ordered [centre | left | right]; a row's right half is its mirror joint's left half."""
    n_half = len(packed["vertices"])
    half = np.zeros((len(JOINT_NAMES), n_half))
    joint, vertex = packed["regressor_entries"].T
    half[joint, vertex] = packed["regressor_values"]
    whole = np.concatenate([half, half[_SWAP][:, n_center:]], axis=1)
    return whole / whole.sum(1, keepdims=True)


@lru_cache(maxsize=1)
def load_builtin_template() -> BodyModel:
    """The built-in dog: 3,889 vertices numbered as SMAL's, 35 joints, 30 shape directions. Exactly symmetric.

    The model is cached and shared: its tensors are not to be written to.
    """
    packed = _arrays()
    half, numbers = packed["vertices"].astype(float), packed["numbers"].astype(int)
    n_vertices, n_half = len(numbers), len(half)
    n_center = 2 * n_half - n_vertices
    order = np.argsort(numbers)  # vertex number -> place in [centre | left | right]

    vertices = np.concatenate([half, half[n_center:] * _MIRROR])
    left_directions = packed["directions"].astype(float) * packed["direction_scale"]
    directions = np.concatenate([left_directions, left_directions[n_center:] * _MIRROR[:, None]])
    left_faces = packed["faces"].astype(int)
    across = np.where(left_faces < n_center, left_faces, left_faces + n_half - n_center)
    faces = numbers[np.concatenate([left_faces, across[:, ::-1]])]
    weights = _skinning_weights(packed, n_center)

    def float_tensor(array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=torch.float32)

    return BodyModel(
        v_template=float_tensor(vertices[order]),
        faces=torch.tensor(faces),
        shape_directions=float_tensor(directions[order]),
        joint_regressor=float_tensor(_joint_regressor(packed, n_center)[:, order]),
        skinning_weights=float_tensor(weights[order]),
        parents=PARENTS,
        joint_names=JOINT_NAMES,
        center_indices=torch.tensor(numbers[:n_center]),
        left_indices=torch.tensor(numbers[n_center:n_half]),
        right_indices=torch.tensor(numbers[n_half:]),
        part_labels=torch.tensor(part_labels(weights)[order]),
        keypoint_vertices=torch.tensor(list(KEYPOINT_VERTICES.values())),
        joint_limits=float_tensor(packed["joint_limits"]),
    )


@lru_cache(maxsize=1)
def load_species_betas() -> dict[str, Float[Tensor, "betas"]]:
    """Shape coefficients of the means of breeds and other animals ("greyhound", "cat", "horse", ...) to start from."""
    packed = _arrays()
    return {
        str(name): torch.tensor(betas)
        for name, betas in zip(packed["species_names"], packed["species_betas"], strict=True)
    }
