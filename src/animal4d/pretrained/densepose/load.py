"""Reading the weights of DensePose CSE from Detectron2's file, without executing anything in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.files.unpickle import load_pickle, load_torch
from animal4d.pretrained.densepose.network import DensePoseCse

_ZIP = b"PK\x03\x04"
"""How files of `torch.save` begin; Detectron2's `.pth` are such."""
_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.")
"""What files may hold besides the parameters: it is part of the code here."""
_AGAIN = "download model_final_8c9d99.pkl again"


def load_densepose(path: Path, device: torch.device | str = "cpu") -> DensePoseCse:
    """The network with the weights of a file: `{"model": {name: array}, ...}` as Detectron2 writes it.

    Raises Animal4dError, in one line, where the file is missing, damaged, refused, or of another network.
    """
    weights = checked_weights(path)
    with torch.device("meta"):
        network = DensePoseCse()
    # The arrays of the file become the parameters: nothing is held twice.
    network.load_state_dict(weights, assign=True)
    network.requires_grad_(False).eval().to(device)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network


def checked_weights(path: Path) -> dict[str, Tensor]:
    """The parameters in a file by name, of the right shapes and type. Raises as `load_densepose`."""
    found = _read(path)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in DensePoseCse().state_dict().items()}
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected and not str(name).startswith(_CONSTANTS)]
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has {unknown[0]}"
        count = len(missing) or len(unknown)
        more = f" and {count - 1} others" if count > 1 else ""
        raise Animal4dError(
            f"{path} holds the weights of another network (it {what}{more}): DensePose CSE of animals, R50-FPN, "
            "is needed (model_final_8c9d99.pkl)"
        )
    return {name: _checked(found[name], shape, f"{path}: {name}") for name, shape in expected.items()}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP)) == _ZIP
    except OSError as error:
        raise Animal4dError(f"{path}: cannot be read ({error.strerror or error})") from error
    content = load_torch(path) if is_zip else load_pickle(path)
    weights = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise Animal4dError(f'{path} has no "model" with weights, as Detectron2 writes them: {_AGAIN}')
    return weights


def _checked(value: Any, shape: tuple[int, ...], where: str) -> Tensor:
    if not isinstance(value, np.ndarray | Tensor):
        raise Animal4dError(f"{where} must be an array, got {type(value).__name__}: {_AGAIN}")
    if tuple(value.shape) != shape:
        got, needed = ("x".join(map(str, sizes)) for sizes in (value.shape, shape))
        raise Animal4dError(f"{where} must be {needed}, got {got}: it is of another network or damaged; {_AGAIN}")
    kind = str(value.dtype).removeprefix("torch.")
    if kind != "float32":
        raise Animal4dError(f"{where} must be float32, got {kind}: {_AGAIN}")
    tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    if not bool(tensor.isfinite().all()):
        raise Animal4dError(f"{where} holds NaN or infinity: {_AGAIN}")
    return tensor
