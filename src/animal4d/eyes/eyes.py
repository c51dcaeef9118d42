"""The built-in network as the pipeline uses it: crops in, what is seen in them out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import safetensors
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.eyes.labels import CROP, EMBEDDING_SIZE
from animal4d.eyes.network import EyesNetwork, EyesOutput, network_input
from animal4d.files.checksums import file_checksum

FORMAT = "animal4d eyes 1"
VERTEX_EMBEDDINGS = "vertex_embeddings"
_CONFIDENT_ERROR = 0.1
"""In body lengths: a surface expected to be so far off is half as good as one that is right."""
_BATCH = 16


@dataclass(frozen=True)
class Look:
    """What the network sees in `n` crops."""

    foreground: Float[Tensor, "n 48 48"]
    """Probability of the animal, of the quarter-size map's pixels."""
    parts: Float[Tensor, "n labels 48 48"]
    """Probabilities of the labels of `animal4d.eyes.labels`; left and right are the animal's own."""
    embedding: Float[Tensor, "n 16 48 48"]
    """Unit vectors, to be compared with `Eyes.vertex_embeddings`; they mean nothing in the background."""
    confidence: Float[Tensor, "n 48 48"]
    """Of the embedding, in [0, 1]: `2 ** (-error / 0.1)` of the geodesic error in body lengths that is expected."""
    view: Float[Tensor, "n 3"]
    """Unit vector from the animal to the camera in the frame of its trunk: x ahead, y to its left, z up."""
    features: Float[Tensor, "n 64"]
    """The last map, averaged over the animal."""


@dataclass(frozen=True)
class Eyes:
    """A trained network with what its embeddings are compared to."""

    network: EyesNetwork
    vertex_embeddings: Float[Tensor, "vertices 16"]
    """Unit vectors, one for each vertex of the built-in template."""
    version: str
    """SHA-256 of the weights' file."""
    training: Mapping[str, Any]
    """How it was trained and what it measured, as its model card says."""

    @torch.no_grad()
    def look(self, images: UInt8[Tensor, "n 192 192 3"], masks: Float[Tensor, "n 192 192"] | None = None) -> Look:
        """What is seen in sRGB crops in which the animal is about as large as the crop.

        `masks` in [0, 1] say where the animal may be, 0.5 that nothing is known; without them the network finds it.
        Raises ValueError where the sizes do not fit.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (CROP, CROP, 3) or images.dtype != torch.uint8:
            raise ValueError(f"crops must be uint8, n x {CROP} x {CROP} x 3, got {images.dtype} {tuple(images.shape)}")
        if masks is not None and tuple(masks.shape) != tuple(images.shape[:3]):
            raise ValueError(f"masks must be {tuple(images.shape[:3])}, got {tuple(masks.shape)}")
        said = torch.zeros(images.shape[:3], device=images.device) if masks is None else 2 * masks.float() - 1
        outputs = [
            self.network(network_input(images[start : start + _BATCH], said[start : start + _BATCH]))
            for start in range(0, max(len(images), 1), _BATCH)
        ]
        return _look(outputs)


def _look(outputs: list[EyesOutput]) -> Look:
    def joined(name: str) -> Tensor:
        return torch.cat([getattr(output, name) for output in outputs])

    return Look(
        foreground=joined("foreground").sigmoid(),
        parts=joined("parts").softmax(dim=1),
        embedding=joined("embedding"),
        confidence=torch.exp2(-joined("log_error").exp() / _CONFIDENT_ERROR),
        view=joined("view"),
        features=joined("features"),
    )


def load_eyes(path: Path | None = None) -> Eyes:
    """The shipped network, or that of a file that `animal4d train-eyes` wrote.

    The shipped one is cached and shared: its tensors are not to be written to. Raises Animal4dError where the file is
    missing or not such a file.
    """
    return _shipped() if path is None else _read(path)


@lru_cache(maxsize=1)
def _shipped() -> Eyes:
    with as_file(files("animal4d.eyes").joinpath("data/eyes.safetensors")) as path:
        return _read(path)


def _read(path: Path) -> Eyes:
    if not path.is_file():
        raise Animal4dError(f"{path}: no such file; animal4d train-eyes writes one")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if about.get("format") != FORMAT:
            raise ValueError(f"its format is {about.get('format')}, not {FORMAT}")
        embeddings = tensors.pop(VERTEX_EMBEDDINGS)
        if tuple(embeddings.shape) != (load_builtin_template().n_vertices, EMBEDDING_SIZE):
            raise ValueError(f"{VERTEX_EMBEDDINGS} is {tuple(embeddings.shape)}")
        network = EyesNetwork()
        network.load_state_dict(tensors)
        training = json.loads(about["training"])
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise Animal4dError(
            f"{path} does not hold the network's weights ({error}): install or train it again"
        ) from error
    network.requires_grad_(False).eval()
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Eyes(network, torch.nn.functional.normalize(embeddings, dim=-1), file_checksum(path), training)
