"""Weights' files of torch, read as plain tensors: nothing in them is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from animal4d.errors import Animal4dError


def plain_state(path: Path, network: str) -> dict[str, Any]:
    """The dictionary of a `.pth` or `.pt` file.

    Raises Animal4dError where the file is missing, damaged, or holds more than plain values.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise Animal4dError(f"no such file: {path} (weights of {network}); give the file's path") from error
    except Exception as error:  # torch raises pickle, zip, runtime and value errors for damaged files
        raise Animal4dError(
            f"{path} cannot be read as weights of {network} ({type(error).__name__}): get the file again"
        ) from error
    if not isinstance(state, dict):
        raise Animal4dError(f"{path} holds no weights of {network}: get the file again")
    return state


def load_state(module: nn.Module, state: dict[str, Any], path: Path, network: str) -> None:
    """Raises Animal4dError where names or shapes are not those of the network."""
    try:
        module.load_state_dict(state)
    except (AttributeError, RuntimeError, TypeError) as error:
        raise Animal4dError(
            f"{path} holds the weights of another network than {network}: get the right file"
        ) from error
