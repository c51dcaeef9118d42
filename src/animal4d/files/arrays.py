"""Arrays from files that others wrote: their type, shape and values are checked before anything is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from animal4d.errors import Animal4dError


def checked_array(value: Any, shape: tuple[int | None, ...], where: str, *, finite: bool = True) -> NDArray[np.float64]:
    """`value` (a numpy array, a torch tensor or nested lists of numbers) as an array of `shape`; None fits any length.

    `where` names the file and the entry. Raises Animal4dError on any other type or shape, and with `finite` on NaN and
    infinities.
    """
    wanted = "x".join("any" if side is None else str(side) for side in shape)
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_complex() or value.is_quantized:
            raise Animal4dError(f"{where} must hold real numbers in a dense {wanted} array: make the file again")
        array = value.detach().cpu().to(torch.float64).numpy()
    else:
        try:
            plain = np.asarray(value)
        except (TypeError, ValueError):
            plain = np.empty((), dtype=object)
        if plain.dtype.kind not in "biuf":
            raise Animal4dError(
                f"{where} must be a {wanted} array of numbers, got {type(value).__name__}: make the file again"
            )
        array = plain.astype(np.float64)
    fits = array.ndim == len(shape) and all(
        side in (None, length) for side, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        got = "x".join(map(str, array.shape)) or "a single number"
        raise Animal4dError(f"{where} must be {wanted}, got {got}: make the file again")
    if finite and not np.isfinite(array).all():
        raise Animal4dError(f"{where} holds NaN or infinity: make the file again")
    return array
