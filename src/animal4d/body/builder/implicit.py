"""Implicit shapes: signed distances of a few primitives and their smooth union.

Distances are first-order approximations (exact enough within a blend radius of the surface): negative inside,
positive outside. Shapes are modelled on the left half (y >= 0) and evaluated at ``|y|``, so the animal is symmetric by
construction and its two sides never blend into each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, PchipInterpolator

Array = np.ndarray
FAR = 10.0


class Primitive(Protocol):
    """Anything with a distance, a blend radius and a box outside of which it has no say."""

    @property
    def blend(self) -> float: ...

    @property
    def carve(self) -> bool: ...

    def distance(self, points: Array) -> Array:
        """Signed distance (N,) of points (N, 3)."""
        ...

    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner of a box around the primitive."""
        ...


def frame_from(direction: Array, up: Array) -> Array:
    """Rows: unit ``direction``, the lateral axis, and the part of ``up`` perpendicular to ``direction``."""
    forward = direction / np.linalg.norm(direction)
    lateral = np.cross(up, forward)
    lateral /= np.linalg.norm(lateral)
    return np.stack([forward, lateral, np.cross(forward, lateral)])


@dataclass(frozen=True)
class RoundCone:
    """A capsule from ``a`` to ``b`` with a radius at either end, optionally flattened along the axes by ``stretch``."""

    a: ArrayLike
    b: ArrayLike
    radius_a: float
    radius_b: float
    blend: float = 0.02
    stretch: ArrayLike = (1.0, 1.0, 1.0)
    carve: bool = False

    def distance(self, points: Array) -> Array:
        stretch = np.asarray(self.stretch)
        a, b = np.asarray(self.a) / stretch, np.asarray(self.b) / stretch
        offset, axis = points / stretch - a, b - a
        along = np.clip(offset @ axis / max(axis @ axis, 1e-12), 0, 1)
        radius = self.radius_a + (self.radius_b - self.radius_a) * along
        reach = offset - along[:, None] * axis
        length = np.linalg.norm(reach, axis=1)
        slope = np.linalg.norm(reach / stretch, axis=1) / np.maximum(length, 1e-9)
        return (length - radius) / np.where(length > 1e-9, slope, 1 / stretch.min())

    def bounds(self) -> tuple[Array, Array]:
        ends = np.stack([np.asarray(self.a, float), np.asarray(self.b, float)])
        reach = max(self.radius_a, self.radius_b) * np.asarray(self.stretch)
        return ends.min(0) - reach, ends.max(0) + reach


@dataclass(frozen=True)
class Tube:
    """A round tube along a smooth curve through ``points``, with a radius at each of them."""

    points: Sequence[ArrayLike]
    radii: Sequence[float]
    blend: float = 0.02
    samples: int = 40
    carve: bool = False

    def _cones(self) -> list[RoundCone]:
        at = np.arange(len(self.radii))
        fine = np.linspace(0, at[-1], self.samples)
        places = CubicSpline(at, np.asarray(self.points, float))(fine)
        radii = PchipInterpolator(at, np.asarray(self.radii))(fine)
        pairs = zip(places[:-1], places[1:], radii[:-1], radii[1:], strict=True)
        return [RoundCone(a, b, float(r), float(s)) for a, b, r, s in pairs]

    def distance(self, points: Array) -> Array:
        return np.min([cone.distance(points) for cone in self._cones()], axis=0)

    def bounds(self) -> tuple[Array, Array]:
        boxes = [cone.bounds() for cone in self._cones()]
        return np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with ``radii`` along ``direction``, the lateral axis and ``up``."""

    centre: ArrayLike
    radii: ArrayLike
    direction: ArrayLike = (1.0, 0.0, 0.0)
    up: ArrayLike = (0.0, 0.0, 1.0)
    blend: float = 0.02
    carve: bool = False

    def distance(self, points: Array) -> Array:
        frame = frame_from(np.asarray(self.direction, float), np.asarray(self.up, float))
        local = (points - np.asarray(self.centre)) @ frame.T
        radii = np.asarray(self.radii)
        level = np.linalg.norm(local / radii, axis=1)
        gradient = np.linalg.norm(local / radii**2, axis=1)
        return np.where(level > 1e-3, level * (level - 1) / np.maximum(gradient, 1e-9), -radii.min())

    def bounds(self) -> tuple[Array, Array]:
        reach = float(np.max(self.radii))
        return np.asarray(self.centre) - reach, np.asarray(self.centre) + reach


@dataclass(frozen=True)
class Loft:
    """Superelliptic sections along a straight axis from ``start`` towards ``end``.

    ``stations`` has a row per section: place along the axis, half width, top and bottom (heights above the axis towards
    ``up``). Sections are interpolated monotonically, and rounded off over ``caps`` at either end.
    """

    start: ArrayLike
    end: ArrayLike
    stations: Sequence[Sequence[float]]
    up: ArrayLike = (0.0, 0.0, 1.0)
    caps: tuple[float, float] = (0.05, 0.05)
    power: float = 2.0
    blend: float = 0.02
    carve: bool = False
    _curve: PchipInterpolator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = np.asarray(self.stations, float)
        object.__setattr__(self, "_curve", PchipInterpolator(table[:, 0], table[:, 1:], extrapolate=False))

    @property
    def frame(self) -> Array:
        """Rows: axis, lateral, up."""
        return frame_from(np.asarray(self.end, float) - np.asarray(self.start, float), np.asarray(self.up, float))

    def distance(self, points: Array) -> Array:
        place, u, v = ((points - np.asarray(self.start)) @ self.frame.T).T
        first, last = self.stations[0][0], self.stations[-1][0]
        width, top, bottom = self._curve(np.clip(place, first, last)).T
        height = (top - bottom) / 2
        pu, pv = np.abs(u) / width, np.abs(v - (top + bottom) / 2) / height
        section = np.maximum((pu**self.power + pv**self.power) ** (1 / self.power), 1e-3)
        radial = section ** (2 - self.power) * np.hypot(pu ** (self.power - 1) / width, pv ** (self.power - 1) / height)
        cap = np.where(place < (first + last) / 2, self.caps[0], self.caps[1])
        over = np.maximum(np.maximum(first + cap - place, place - last + cap), 0) / cap
        level = np.hypot(section, over)
        gradient = np.hypot(radial, over / cap) / level
        return np.where(level > 2e-3, (level - 1) / np.maximum(gradient, 1e-6), -np.minimum(width, height))

    def bounds(self) -> tuple[Array, Array]:
        table = np.asarray(self.stations, float)
        start, axis = np.asarray(self.start), self.frame[0]
        ends = np.stack([start + axis * table[0, 0], start + axis * table[-1, 0]])
        reach = np.abs(table[:, 1:]).max()
        return ends.min(0) - reach, ends.max(0) + reach


def smooth_minimum(first: Array, second: Array, blend: float) -> Array:
    """Cubic smooth minimum: differs from the minimum only where the two are within ``blend`` of each other."""
    overlap = np.maximum(blend - np.abs(first - second), 0) / max(blend, 1e-9)
    return np.minimum(first, second) - overlap**3 * blend / 6


@dataclass(frozen=True)
class Solid:
    """The smooth union of primitives, in order; a carving one is smoothly subtracted from what stands before it."""

    primitives: Sequence[Primitive]

    def distance(self, points: Array) -> Array:
        """Signed distance (N,) of points (N, 3), mirrored to y >= 0."""
        points = np.array(points, float)
        points[:, 1] = np.abs(points[:, 1])
        total = np.full(len(points), FAR)
        for primitive in self.primitives:
            low, high = primitive.bounds()
            margin = primitive.blend + 0.08
            near = np.all((points > low - margin) & (points < high + margin), axis=1)
            if not near.any():
                continue
            here = primitive.distance(points[near])
            if primitive.carve:
                total[near] = -smooth_minimum(-total[near], here, primitive.blend)
            else:
                total[near] = smooth_minimum(total[near], here, primitive.blend)
        return total

    def gradient(self, points: Array, step: float = 5e-4) -> Array:
        """Central differences (N, 3) of the distance."""
        shifts = np.eye(3) * step
        return np.stack([(self.distance(points + s) - self.distance(points - s)) / (2 * step) for s in shifts], 1)
