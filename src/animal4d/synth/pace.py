"""How a gait changes with its speed, and which gait an animal takes at a speed.

Animals of all sizes move alike at equal Froude numbers: speed² over gravity times the height of the hips. The length of
the stride is 2.3 hip heights times the number to the power of 0.3 (Alexander 1976, "Estimates of speeds of
dinosaurs"); the share of the stride that a paw stands falls with a power of it (Alexander and Jayes 1983, "A dynamic
similarity hypothesis for the gaits of quadrupedal mammals"), whose scale here is that of the gaits in `gaits.py` at
their own speed.
"""

from __future__ import annotations

from dataclasses import dataclass

_STRIDE, _STRIDE_POWER = 2.3, 0.3
_WIDEST = 0.9
"""Hip heights that the body travels over a standing paw at most: legs do not reach farther. Beyond, strides come faster
instead of longer."""
_TRAILING = 0.12
"""Hip heights that a paw may go on behind the body after it has left the ground."""
_HURRY_BOUNDS = (0.15, 0.5)


@dataclass(frozen=True)
class _Range:
    """Of one gait, over Froude numbers."""

    slowest: float
    fastest: float
    duty: float
    """Share of the stride that a paw stands at a Froude number of 1."""
    duty_power: float
    duty_bounds: tuple[float, float]


_RANGES = {
    # A stiff leg swings its hip off the ground at 1. Two paws at least stand all the time.
    "walk": _Range(0.004, 1.0, duty=0.52, duty_power=0.14, duty_bounds=(0.52, 0.72)),
    "trot": _Range(0.05, 4.0, duty=0.36, duty_power=0.14, duty_bounds=(0.28, 0.5)),
    "gallop": _Range(0.3, 12.0, duty=0.29, duty_power=0.28, duty_bounds=(0.13, 0.4)),
}
_WALK_TO_TROT, _TROT_TO_GALLOP = 0.5, 2.5
"""Froude numbers at which mammals change their gait (Alexander and Jayes 1983)."""


@dataclass(frozen=True)
class Pace:
    """Of a gait at one speed; lengths in units of the body, times in seconds."""

    speed: float
    period: float
    """Of a stride."""
    duty: float
    """Share of it that a paw stands."""
    hurry: float | None = None
    """Share of a swing in which a paw takes up speed, and in which it gives it up again; None: the gait's own way."""


def froude_number(speed: float, hip_height: float, gravity: float) -> float:
    """All in the same units of length, per second."""
    return speed**2 / (gravity * hip_height)


def gait_for(froude: float) -> str:
    """The gait that mammals take."""
    if froude < _WALK_TO_TROT:
        return "walk"
    return "trot" if froude < _TROT_TO_GALLOP else "gallop"


def speeds_of(gait: str, hip_height: float, gravity: float) -> tuple[float, float]:
    """The slowest and the fastest speed of a gait."""
    within = _RANGES[gait]
    return (within.slowest * gravity * hip_height) ** 0.5, (within.fastest * gravity * hip_height) ** 0.5


def pace_at(gait: str, speed: float, hip_height: float, gravity: float) -> Pace:
    """Stride and stance of a gait at a speed above 0."""
    froude, within = froude_number(speed, hip_height, gravity), _RANGES[gait]
    least, most = within.duty_bounds
    duty = min(max(within.duty * froude**-within.duty_power, least), most)
    excursion = hip_height * min(duty * _STRIDE * froude**_STRIDE_POWER, _WIDEST)
    period = excursion / (duty * speed)
    # Under a body that goes on evenly, a paw that takes up twice its speed in a share h of a swing falls back 5/16 h of
    # the body's way in it.
    hurry = _TRAILING * hip_height / (5 / 16 * (1 - duty) * period * speed)
    return Pace(speed, period, duty, min(max(hurry, _HURRY_BOUNDS[0]), _HURRY_BOUNDS[1]))
