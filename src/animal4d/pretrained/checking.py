"""Whether a file holds the weights that it should, by the tensors in it.

Nothing in a file is executed: safetensors, `torch.load(weights_only=True)`, the unpickler that builds data only, JSON,
and the header of ONNX files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from animal4d.errors import Animal4dError
from animal4d.files.pickle_machine import printable
from animal4d.files.unpickle import load_pickle, load_torch
from animal4d.pretrained.densepose.mesh_file import named_as_another, read_mesh
from animal4d.pretrained.networks import NETWORKS, Format, Network, WeightsFile
from animal4d.pretrained.onnx_header import OnnxHeader, Shape, onnx_header
from animal4d.pretrained.soundness import FORMAT_OF_SUFFIX, fault, kind_of

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_COLOURS = 3
_KINDS: dict[Format, str] = {
    "safetensors": "a safetensors file",
    "torch": "a file of torch",
    "detectron": "a pickle",
    "onnx": "an ONNX file",
    "json": "a JSON file",
}
"""Formats in words."""


@dataclass(frozen=True)
class TensorKind:
    shape: tuple[int, ...]
    dtype: str
    """As torch and numpy write it: float32, int8."""


def tensor_kinds(path: Path, kind: Format) -> dict[str, TensorKind]:
    """Shapes and types of all tensors in a file, by name; names of dicts in dicts are joined by dots.

    Raises Animal4dError, in one line, where the file cannot be read or holds anything but data.
    """
    if kind == "safetensors":
        return _safetensors_kinds(path)
    found: dict[str, TensorKind] = {}
    _collect(load_torch(path) if kind == "torch" else load_pickle(path), "", found)
    return found


def _safetensors_kinds(path: Path) -> dict[str, TensorKind]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, TensorKind] = {}
            for name in file.keys():  # noqa: SIM118 - not a dict
                part = file.get_slice(name)
                dtype = str(part.get_dtype())
                found[name] = TensorKind(tuple(part.get_shape()), _SAFETENSORS_TYPES.get(dtype, dtype))
            return found
    except (SafetensorError, OSError, ValueError) as error:
        reason = printable(str(error).splitlines()[0])
        raise Animal4dError(f"{path}: cannot be read as safetensors ({reason}); get the file again") from error


_SAFETENSORS_TYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


def _collect(value: Any, name: str, found: dict[str, TensorKind]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _collect(item, f"{name}.{key}" if name else str(key), found)
    elif isinstance(value, torch.Tensor):
        found[name] = TensorKind(tuple(value.shape), str(value.dtype).removeprefix("torch."))
    elif isinstance(value, np.ndarray):
        found[name] = TensorKind(value.shape, str(value.dtype))


def check_file(network: Network, file: WeightsFile, path: Path) -> None:
    """Look whether `path` holds what `file` of this network should.

    Raises Animal4dError, in one line, where it is damaged, holds anything but data, or belongs to another network.
    """
    wrong, kind = fault(path, file.format), kind_of(path)
    if wrong is not None and kind not in (None, file.format):
        raise Animal4dError(
            f"{path}: is another kind of file, {_KINDS[kind]} and not {_KINDS[file.format]} as {file.name}"
        )
    if wrong is not None:
        raise Animal4dError(f"{path}: is damaged ({wrong}); get the file again")
    if file.format == "json":
        found = json.loads(path.read_text()).get("model_type")
        if file.structure.model_types and found not in file.structure.model_types:
            wrong = f"model_type is {printable(repr(found))} instead of '{file.structure.model_types[0]}'"
    elif file.structure.mesh_vertices is not None:
        wrong = _wrong_mesh(path, file, file.structure.mesh_vertices)
    elif file.format == "onnx":
        wrong = _wrong_picture(onnx_header(path), file.structure.image_side)
    else:
        wrong = _wrong_tensors(tensor_kinds(path, file.format), file)
    if wrong is not None:
        raise Animal4dError(f"{path}: is no file of {network.name} ({wrong})")


def _wrong_tensors(kinds: Mapping[str, TensorKind], file: WeightsFile) -> str | None:
    for name, shape in file.structure.tensors.items():
        kind = _named(kinds, name)
        if kind is None:
            return f"it lacks the tensor {name}"
        if kind.shape != shape:
            return f"{name} has the shape {list(kind.shape)} instead of {list(shape)}"
        if kind.dtype not in _FLOATS:
            return f"{name} is {printable(kind.dtype)} instead of float32"
    for name in file.structure.absent:
        if _named(kinds, name) is not None:
            return f"it has the tensor {name} of a larger network"
    return None


def _wrong_mesh(path: Path, file: WeightsFile, n_vertices: int) -> str | None:
    """Raises Animal4dError where the file cannot be read, or holds anything but data."""
    mesh = file.name.removesuffix(".pkl")
    if named_as_another(path, mesh):
        return f"it is called as another mesh than {mesh}"
    load_pickle(path)
    try:
        read_mesh(path, n_vertices)
    except Animal4dError as error:
        return str(error).removeprefix(f"{path}").lstrip(": ")
    return None


def _named(kinds: Mapping[str, TensorKind], name: str) -> TensorKind | None:
    if name in kinds:
        return kinds[name]
    return next((kind for found, kind in kinds.items() if found.endswith(f".{name}")), None)


def _wrong_picture(header: OnnxHeader, side: int | None) -> str | None:
    """Whether a network takes one picture of a size, and gives maps of which the first is that of the foreground."""
    if len(header.inputs) != 1:
        return f"it has {len(header.inputs)} inputs instead of one picture"
    shape = next(iter(header.inputs.values()))
    if len(shape) != 4 or shape[1] not in (_COLOURS, None):
        return f"its input has the shape {list(shape)} instead of [1, 3, height, width]"
    if side is not None and any(length not in (side, None) for length in shape[2:]):
        return f"its pictures are {shape[2]} x {shape[3]} instead of {side} x {side}"
    return _wrong_map(next(iter(header.outputs.values()), None), shape[2:])


def _wrong_map(shape: Shape | None, picture: Shape) -> str | None:
    """Of the first output. What the file leaves open is seen when the network has run."""
    if shape is None:
        return "it has no output"
    if not shape:
        return None
    channels = shape[1] if len(shape) == 4 else 1
    sizes = zip(shape[-2:], picture, strict=True) if len(shape) in (3, 4) else ()
    if len(shape) not in (3, 4) or channels not in (1, None) or any(a != b and None not in (a, b) for a, b in sizes):
        return f"its first output has the shape {list(shape)} instead of one map of the picture's size"
    return None


def networks_of(path: Path) -> list[tuple[Network, WeightsFile]]:
    """The networks that a file could belong to by its structure, and what it is of them.

    Raises Animal4dError where it cannot be read or holds anything but data.
    """
    kind = kind_of(path)
    if kind is None and path.is_file() and (path.suffix in FORMAT_OF_SUFFIX or path.stat().st_size == 0):
        wrong = fault(path, FORMAT_OF_SUFFIX.get(path.suffix, "json"))
        if wrong is not None:
            raise Animal4dError(f"{path}: is damaged ({wrong}); get the file again")
    if kind is None or kind == "json":
        return []
    candidates = [
        (network, file) for network in NETWORKS.values() for file in network.known_files if file.format == kind
    ]
    if kind == "onnx":
        wrong = fault(path, kind)
        if wrong is not None:
            raise Animal4dError(f"{path}: is damaged ({wrong}); get the file again")
        header = onnx_header(path)
        return [pair for pair in candidates if _wrong_picture(header, pair[1].structure.image_side) is None]
    tensors = tensor_kinds(path, kind)
    return [
        pair
        for pair in candidates
        if (
            _wrong_tensors(tensors, pair[1])
            if pair[1].structure.mesh_vertices is None
            else _wrong_mesh(path, pair[1], pair[1].structure.mesh_vertices)
        )
        is None
    ]
