"""Networks of a few numbers, and files that only hold what the table tells real ones by."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from animal4d.pretrained.networks import NETWORKS, Network, Structure, WeightsFile

CONFIG = {"model_type": "toy", "hidden_size": 3}


def toy_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"layer.weight": torch.randn(2, 3, generator=generator), "bias": torch.randn(300, generator=generator)}


def torch_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def toy_network(address: str, data: bytes | None = None, known: bool = True, **changes: Any) -> Network:
    """One file, toy.pth. With `known` the table states the size and sum of `data`."""
    data = torch_bytes(toy_tensors()) if data is None else data
    file = WeightsFile(
        "toy.pth",
        f"{address}/toy.pth",
        "torch",
        Structure(tensors={"layer.weight": (2, 3)}),
        size=len(data) if known else None,
        sha256=sha256(data) if known else None,
    )
    network = Network("toy", "toys", (file,), "little", "CC0", "any use", "https://example.org/toy")
    return Network(**{**vars(network), **changes})


def toy_folder_network(address: str) -> Network:
    """As transformers saves it: weights and settings, and settings that are not needed."""
    files = (
        WeightsFile(
            "model.safetensors",
            f"{address}/model.safetensors",
            "safetensors",
            Structure(tensors={"layer.weight": (2, 3)}),
        ),
        WeightsFile("config.json", f"{address}/config.json", "json", Structure(model_types=("toy",))),
        WeightsFile("preprocessor_config.json", f"{address}/preprocessor_config.json", "json", optional=True),
    )
    return Network("toy-folder", "toys", files, "little", "CC0", "any use", "https://example.org/toy")


def write_toy_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    save_file(toy_tensors(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def write_marks(name: str, path: Path, **changes: Any) -> Path:
    """A file with the very tensors that tell a network of the table from others; `changes` replace some."""
    file = NETWORKS[name].weights
    tensors: dict[str, Any] = {key: torch.zeros(shape) for key, shape in file.structure.tensors.items()} | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.format == "safetensors":
        save_file(tensors, path)
    elif file.format == "torch":
        torch.save(tensors, path)
    else:
        arrays = {key: np.asarray(value) for key, value in tensors.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}))
    return path


def onnx_bytes(
    shape: tuple[int | None, ...], brought: bool = True, output: tuple[int | None, ...] | None = None
) -> bytes:
    """An ONNX model with one input of this shape and a map of its size, or else `output`, as its output; and, as old
    exporters list them, a brought tensor as another input."""
    output = (1, 1, *shape[2:]) if output is None else output
    graph = _field(2, b"graph") + _field(11, _onnx_value(b"picture", shape)) + _field(12, _onnx_value(b"map", output))
    if brought:
        raw = np.zeros(4, np.float32).tobytes()
        graph += _field(5, _number(1 << 3) + _number(4) + _field(8, b"kernel") + _field(9, raw))
        graph += _field(11, _field(1, b"kernel"))
    return _number(1 << 3) + _number(8) + _field(7, graph)


def _onnx_value(name: bytes, shape: tuple[int | None, ...]) -> bytes:
    dimensions = b"".join(_field(1, b"" if length is None else _number(1 << 3) + _number(length)) for length in shape)
    return _field(1, name) + _field(2, _field(1, _number(1 << 3) + _number(1) + _field(2, dimensions)))


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
