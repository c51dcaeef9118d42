"""The shape of the animal that another method (BITE) found beforehand: an optional start of the fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle

N_LIMB_SCALES = 7
_LARGEST = 50.0
"""Betas are standard deviations and limb scales logarithms: larger numbers are something else."""


@dataclass(frozen=True)
class InitialShape:
    """Shape parameters of the body model, one set for the whole clip."""

    betas: Float[Tensor, "betas"]
    limb_scales: Float[Tensor, "7"]
    """Logarithms, in the order of `body.model.LIMB_SCALE_NAMES`."""


def read_initial_shape(path: Path) -> InitialShape:
    """`<sequence>_init_pose.pk`: a dict with `betas` (N or 1xN) and `betas_limbs` (7 or 1x7).

    Raises Animal4dError where the file is missing, damaged or holds anything else.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or not {"betas", "betas_limbs"} <= content.keys():
        raise Animal4dError(f'{path} must hold a dict with "betas" and "betas_limbs": make it again, or remove it')
    betas = _vector(content["betas"], None, f'{path}: "betas"')
    limb_scales = _vector(content["betas_limbs"], N_LIMB_SCALES, f'{path}: "betas_limbs"')
    return InitialShape(betas, limb_scales)


def _vector(value: Any, length: int | None, where: str) -> Float[Tensor, "length"]:
    """A vector, also as the only row of a batch."""
    value = value[0] if getattr(value, "ndim", 1) == 2 and len(value) == 1 else value
    array = checked_array(value, (length,), where)
    if array.size == 0 or np.abs(array).max() > _LARGEST:
        raise Animal4dError(f"{where} must be numbers within {_LARGEST:g}: make the file again, or remove it")
    return torch.from_numpy(array).float()
