"""How one metric is written down: its unit, its mean, one mean per part of the split, and its values per frame.

NaN marks a frame that cannot be measured; it becomes null. What cannot be had at all has a null mean and a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Splits = Mapping[str, Sequence[int]]
"""Positions in the clip by the name of the part."""
Metric = dict[str, Any]
_DIGITS = 6


def per_frame_metric(values: Float[Tensor, "frames"], unit: str, splits: Splits) -> Metric:
    result = summary_metric(values, unit, splits, lambda known: float(known.double().mean()))
    result["per_frame"] = [None if value != value else round(value, _DIGITS) for value in values.tolist()]
    return result


def summary_metric(
    values: Float[Tensor, "frames *others"], unit: str, splits: Splits, summarise: Callable[[Tensor], float]
) -> Metric:
    """Over all frames and over each part; null where none of them can be measured."""

    def of(chosen: Tensor) -> float | None:
        known = chosen[~chosen.isnan()]
        return round(summarise(known), _DIGITS) if len(known) else None

    parts = {name: of(values[torch.tensor(list(frames), dtype=torch.long)]) for name, frames in splits.items()}
    return {"unit": unit, "mean": of(values), **parts}


def missing(reason: str) -> Metric:
    return {"mean": None, "reason": reason}
