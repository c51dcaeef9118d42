"""Weights of DensePose CSE with true names and shapes, written as Detectron2 writes them; the values are seeded."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from animal4d.pretrained.densepose.network import DensePoseCse


def densepose_weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random weights under which activations stay of order one, by the names of the file."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in DensePoseCse().state_dict().items()}
    return {name: seeded(name, shape, seed) for name, shape in shapes.items()}


def write_densepose(path: Path, weights: dict[str, Any]) -> Path:
    """As `detectron2.checkpoint` and its tools write a `.pkl`: weights, and who made them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"model": weights, "__author__": "seeded", "matching_heuristics": True}
    with path.open("wb") as file:
        pickle.dump(content, file)
    return path


def seeded(name: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """The values of one parameter."""
    generator = np.random.default_rng((zlib.crc32(name.encode()), seed))
    noise = generator.standard_normal(shape, dtype=np.float32)
    if name.endswith("running_var"):
        return 1 + 0.1 * noise**2
    if name.endswith(("running_mean", "bias")):
        return 0.02 * noise
    if ".norm." in name:
        return (0.3 if "conv3" in name else 1.0) * (1 + 0.05 * noise)
    if "stem.conv1" in name:
        return noise * np.float32(0.002)
    gain = 0.05 if "bbox_pred" in name or "anchor_deltas" in name else 1.5
    return noise * np.float32((gain / max(int(np.prod(shape[1:])), 1)) ** 0.5)
