"""The rate of learning over a run: warm-up, a plateau, and a cosine down to nothing."""

from __future__ import annotations

import math

WARM_UP = 200
"""Steps."""
PLATEAU_END = 0.6
"""Share of the steps after which the rate falls. Up to there a run does not depend on how long it is planned to be, so
that it can be made longer or shorter on the way and is still the run of one command (Hu et al. 2024, arXiv
2404.06395)."""


def rate(step: int, steps: int) -> float:
    """Factor in (0, 1] for step `step` (from 0) of `steps`."""
    warm = min((step + 1) / WARM_UP, 1.0)
    start = plateau_end(steps)
    if step < start:
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * (step + 1 - start) / (steps + 1 - start)))


def plateau_end(steps: int) -> int:
    """First step at which the rate falls."""
    return int(PLATEAU_END * steps)
