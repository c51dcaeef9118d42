"""From one video of a four-legged animal to an animatable 3D animal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Idle OpenMP threads that spin slow everything down by an order of magnitude where cores are shared. Read once, when
# torch or numba load their runtime; whoever sets it beforehand keeps their choice.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from animal4d.config import Config as Config
    from animal4d.errors import Animal4dError as Animal4dError
    from animal4d.fit.reconstruct import reconstruct as reconstruct
    from animal4d.readers.load import load_clip as load_clip

__version__ = "0.1.0"
__all__ = ["Animal4dError", "Config", "__version__", "load_clip", "reconstruct"]

_HOMES = {
    "Animal4dError": "animal4d.errors",
    "Config": "animal4d.config",
    "load_clip": "animal4d.readers.load",
    "reconstruct": "animal4d.fit.reconstruct",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: torch takes seconds, `animal4d --help` should not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'animal4d' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
