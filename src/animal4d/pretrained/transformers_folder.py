"""Networks of the package `transformers`, read from a folder on disk.

Nothing is downloaded, and nothing of the folder is executed: only `config.json` and safetensors are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch

from animal4d.errors import Animal4dError
from animal4d.files.checksums import config_hash, file_checksum
from animal4d.pretrained.packages import INSTALL, is_installed

PACKAGE = "transformers"
_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
"""Of weights in several files."""
_BROKEN = "get its files again (animal4d weights list names them)"


def has_package() -> bool:
    """Whether `transformers` is installed."""
    return is_installed(PACKAGE)


def folder_checksum(folder: Path) -> str:
    """Fingerprint of a network's configuration and weights; needs no `transformers`. Raises Animal4dError as
    `network_kind`."""
    network_kind(folder)
    files = sorted(file for file in folder.glob("*.safetensors") if file.is_file())
    return config_hash([[file.name, _checksum(file, *_state(file))] for file in (folder / _CONFIG, *files)])


def network_kind(folder: Path) -> str:
    """What `config.json` says that the network is ("vit", "sam2_video", ...).

    Raises Animal4dError where the folder is none of a network with weights in safetensors.
    """
    if not (folder / _CONFIG).is_file():
        raise Animal4dError(
            f"{folder}: no network is here (no {_CONFIG}): a folder with {_CONFIG} and {_WEIGHTS} is needed"
        )
    try:
        said = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        kind = said["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Animal4dError(f"{folder / _CONFIG} is damaged: {_BROKEN}") from error
    if not (folder / _WEIGHTS).is_file() and not (folder / _INDEX).is_file():
        other = sorted(file.name for file in folder.glob("*.bin"))
        instead = f"; {other[0]} is not read, since such files can run code" if other else ""
        raise Animal4dError(f"{folder / _WEIGHTS} is missing{instead}: {_BROKEN}")
    return str(kind)


def read_network(
    folder: Path, classes: Mapping[str, str], what: str, device: torch.device, copies: Mapping[str, str] | None = None
) -> Any:
    """The network in a folder, ready to look.

    Args:
        folder: Holds `config.json` and `model.safetensors`.
        classes: For each kind of network that will do, its class in `transformers`.
        what: Their name in words, for the errors.
        device: Where it is to run.
        copies: Tensors that files may leave out, and those that they are copies of.

    Raises:
        Animal4dError: `transformers` is not installed, the folder is broken, or it holds another network.
    """
    kind = network_kind(folder)
    if kind not in classes:
        raise Animal4dError(f"{folder} holds a network of the kind '{kind}', not {what}: give another folder")
    if not has_package():
        raise Animal4dError(f"{what} needs the package {PACKAGE}: {INSTALL}")
    import transformers

    made = getattr(transformers, classes[kind], None)
    if made is None:
        raise Animal4dError(
            f"transformers {transformers.__version__} is too old for {what}: pip install -U transformers"
        )
    options = {"add_pooling_layer": False} if kind == "vit" else {}
    try:
        with _silence():
            network, report = made.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # whatever a foreign reader raises on a damaged file
        raise Animal4dError(f"{folder}: {what} cannot be read ({_first_line(error)}): {_BROKEN}") from error
    absent = sorted(report["missing_keys"])
    copies = copies or {}
    missing = [name for name in absent if name not in copies or copies[name] in absent]
    if missing:
        raise Animal4dError(f"{folder}: the weights are of another network ({missing[0]} is missing): {_BROKEN}")
    tensors = network.state_dict()
    for name in absent:
        tensors[name].copy_(tensors[copies[name]])
    return network.eval().requires_grad_(False).to(device)


@contextmanager
def _silence() -> Iterator[None]:
    """Without the tables and bars that `transformers` prints while it reads."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _state(file: Path) -> tuple[int, int]:
    return file.stat().st_size, file.stat().st_mtime_ns


@lru_cache(maxsize=64)
def _checksum(file: Path, size: int, changed: int) -> str:
    """Read once as long as the file has not changed."""
    return file_checksum(file)
