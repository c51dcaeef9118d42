"""Things that stand about: small meshes of bushes, trees, rocks, crates and tufts of grass, with linear RGB colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.synth.noise import fractal_noise


@dataclass(frozen=True)
class Prop:
    """A coloured mesh with its foot at the origin."""

    vertices: Float[ndarray, "vertices 3"]
    faces: Int[ndarray, "faces 3"]
    colors: Float[ndarray, "faces 3"]

    @property
    def radius(self) -> float:
        """On the ground plan."""
        return float(np.hypot(self.vertices[:, 0], self.vertices[:, 1]).max())

    def placed(self, x: float, y: float, turn: float) -> Prop:
        cosine, sine = np.cos(turn), np.sin(turn)
        matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return Prop(self.vertices @ matrix.T + np.array([x, y, 0.0]), self.faces, self.colors)


def joined(props: list[Prop]) -> Prop:
    """Several props as one mesh."""
    if not props:
        return Prop(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 3)))
    offsets = np.cumsum([0, *(len(prop.vertices) for prop in props[:-1])])
    return Prop(
        np.concatenate([prop.vertices for prop in props]),
        np.concatenate([prop.faces + offset for prop, offset in zip(props, offsets, strict=True)]),
        np.concatenate([prop.colors for prop in props]),
    )


@cache
def _sphere(subdivisions: int) -> tuple[ndarray, ndarray]:
    """Unit sphere from a subdivided octahedron, outward faces."""
    vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array(
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], dtype=np.int64
    )
    for _ in range(subdivisions):
        edges = np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        ab, bc, ca = (inverse.reshape(3, -1) + len(vertices)).reshape(3, -1)
        middles = vertices[unique].sum(axis=1)
        vertices = np.concatenate((vertices, middles / np.linalg.norm(middles, axis=1, keepdims=True)))
        a, b, c = faces.T
        faces = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return vertices, faces


def _blob(rng: np.random.Generator, radii: ndarray, roughness: float, subdivisions: int = 3) -> tuple[ndarray, ndarray]:
    sphere, faces = _sphere(subdivisions)
    bumps = fractal_noise(sphere + rng.uniform(0, 50, 3), 2.2, 3, int(rng.integers(1 << 16)))
    return sphere * (1 + roughness * bumps[:, None]) * radii, faces


def _shades(rng: np.random.Generator, faces: ndarray, color: ndarray, spread: float = 0.15) -> ndarray:
    return color * rng.uniform(1 - spread, 1 + spread, (len(faces), 1))


def rock(rng: np.random.Generator, color: ndarray, size: float) -> Prop:
    vertices, faces = _blob(rng, size * rng.uniform([0.7, 0.6, 0.35], [1.2, 1.0, 0.7]), 0.35, 3 if size > 0.3 else 2)
    grey = color * rng.uniform(0.7, 1.2)
    return Prop(vertices + np.array([0, 0, 0.25 * size]), faces, _shades(rng, faces, grey, 0.1))


def bush(rng: np.random.Generator, color: ndarray, size: float) -> Prop:
    pieces = []
    leaf = color * rng.uniform([0.7, 0.85, 0.7], [1.3, 1.15, 1.2])
    for _ in range(int(rng.integers(3, 6))):
        radii = size * rng.uniform(0.35, 0.6) * np.array([1.0, 1.0, 0.9])
        vertices, faces = _blob(rng, radii, 0.55)
        place = np.array([*(size * rng.uniform(-0.45, 0.45, 2)), radii[2] * rng.uniform(0.6, 1.0)])
        pieces.append(Prop(vertices + place, faces, _shades(rng, faces, leaf, 0.3)))
    return joined(pieces)


def _cylinder(radius_low: float, radius_high: float, height: float, sides: int = 10) -> tuple[ndarray, ndarray]:
    angles = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    low = np.column_stack((radius_low * ring, np.zeros(sides)))
    high = np.column_stack((radius_high * ring, np.full(sides, height)))
    i, j = np.arange(sides), (np.arange(sides) + 1) % sides
    faces = np.concatenate((np.stack((i, j, j + sides), axis=1), np.stack((i, j + sides, i + sides), axis=1)))
    return np.concatenate((low, high)), faces


def tree(rng: np.random.Generator, color: ndarray, size: float) -> Prop:
    height = 2.2 * size
    vertices, faces = _cylinder(0.14 * size, 0.08 * size, height)
    bark = np.array([0.13, 0.085, 0.055]) * rng.uniform(0.7, 1.3)
    crown = bush(rng, color, 1.5 * size)
    return joined(
        [
            Prop(vertices, faces, _shades(rng, faces, bark, 0.25)),
            Prop(crown.vertices + np.array([0, 0, 0.75 * height]), crown.faces, crown.colors),
        ]
    )


def crate(rng: np.random.Generator, color: ndarray, size: float) -> Prop:
    del color
    box = size * rng.uniform([0.5, 0.5, 0.4], [1.1, 0.9, 0.9])
    paint = np.array(
        [[0.45, 0.28, 0.14], [0.10, 0.20, 0.36], [0.42, 0.07, 0.05], [0.45, 0.43, 0.40], [0.50, 0.36, 0.06]]
    )[rng.integers(5)]
    vertices, faces = [], []
    for axis in range(3):
        for side in (-1, 1):
            corner = np.zeros((4, 3))
            corner[:, axis] = side
            u, v = (axis + 1) % 3, (axis + 2) % 3
            corner[:, u] = np.array([-1, 1, 1, -1]) * side
            corner[:, v] = [-1, -1, 1, 1]
            faces += [[len(vertices) * 4 + k for k in triple] for triple in ((0, 1, 2), (0, 2, 3))]
            vertices.append(corner)
    corners = (np.concatenate(vertices) + np.array([0, 0, 1])) * box / 2
    return Prop(corners, np.array(faces), np.repeat(paint[None], 12, axis=0) * rng.uniform(0.8, 1.1))


def tuft(rng: np.random.Generator, color: ndarray, size: float) -> Prop:
    """A bunch of blades."""
    blades = int(rng.integers(9, 16))
    angle = rng.uniform(0, 2 * np.pi, blades)
    outward = np.stack((np.cos(angle), np.sin(angle), np.zeros(blades)), axis=1)
    side = np.stack((-np.sin(angle), np.cos(angle), np.zeros(blades)), axis=1)
    foot = outward * rng.uniform(0, 0.12, (blades, 1))
    tip = foot + outward * rng.uniform(0.1, 0.5, (blades, 1)) + [0, 0, 1.0] * rng.uniform(0.6, 1.1, (blades, 1))
    vertices = np.stack((foot - 0.05 * side, foot + 0.05 * side, tip), axis=1).reshape(-1, 3) * size
    faces = np.arange(3 * blades).reshape(-1, 3)
    return Prop(vertices, faces, _shades(rng, faces, color * 1.15, 0.35))


PROPS: dict[str, Callable[[np.random.Generator, ndarray, float], Prop]] = {
    "rock": rock,
    "bush": bush,
    "tree": tree,
    "crate": crate,
    "tuft": tuft,
}
