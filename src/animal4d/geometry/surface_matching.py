"""Which vertex of one animal's mesh is which of another's, where nothing but both shapes is known.

The meshes are laid on each other as rigid shapes that may be stretched along the axes, from several ways round. Nearest
points with like normals are the first guess of each; a functional map (`spectral.py`) makes it smooth and brings limbs
that are held otherwise to their own places. The way round is taken under which it carries the eigenfunctions of one
mesh most nearly onto those of the other, which asks for heads on heads and tails on tails.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from animal4d.geometry.spectral import FunctionalMap, SpectralBasis, laplace_beltrami, zoom_out

_NORMAL_SAY = 0.15
"""What a normal that points otherwise counts, in square roots of the area."""
_SAMPLES = 600
_CANDIDATES = 6
"""Ways round that are looked at closer."""
_STEPS = 30
_MOST_STRETCH = 2.0
_FIRST_FUNCTIONS = 15
_COMPARED_FUNCTIONS = 50
"""By which ways round are compared."""


@dataclass(frozen=True)
class SurfaceMatch:
    """A correspondence between two meshes."""

    source_vertex: Int[ndarray, "target_vertices"]
    """For every vertex of the target its vertex on the source."""
    misfit: float
    """How far the eigenfunctions of the target lie from those that are carried over, in the mean over its vertices and
    relative to their size: 0.1 to 0.35 where it is right, above 0.4 where it is wrong."""


@dataclass(frozen=True)
class _Shape:
    vertices: Float[ndarray, "vertices 3"]
    normals: Float[ndarray, "vertices 3"]

    @property
    def features(self) -> Float[ndarray, "vertices 6"]:
        return np.hstack((self.vertices, _NORMAL_SAY * self.normals))

    def sampled(self) -> _Shape:
        chosen = np.linspace(0, len(self.vertices) - 1, min(_SAMPLES, len(self.vertices))).astype(int)
        return _Shape(self.vertices[chosen], self.normals[chosen])

    def moved(self, linear: ndarray, translation: ndarray, rotation: ndarray) -> _Shape:
        return _Shape(self.vertices @ linear.T + translation, self.normals @ rotation.T)


def match_surfaces(
    source_vertices: Float[ndarray, "source_vertices 3"],
    source_faces: Int[ndarray, "source_faces 3"],
    target_vertices: Float[ndarray, "target_vertices 3"],
    target_faces: Int[ndarray, "target_faces 3"],
    k: int = 100,
) -> SurfaceMatch:
    """The correspondence between two closed meshes of animals of any size, place and axes; neither is mirrored.

    `k` eigenfunctions carry it in the end. Raises ValueError where a mesh is broken or has too few vertices.
    """
    source, target = _standard(source_vertices, source_faces), _standard(target_vertices, target_faces)
    source_basis = laplace_beltrami(source.vertices, source_faces, k).unit_area
    target_basis = laplace_beltrami(target.vertices, target_faces, k).unit_area
    compared = min(_COMPARED_FUNCTIONS, k)
    few, target_few = source_basis.first(compared), target_basis.first(compared)
    best: FunctionalMap | None = None
    least = np.inf
    for laid in _laid_on(source, target):
        nearest = np.asarray(KDTree(laid.features).query(target.features)[1])
        found = _zoomed(few, target_few, nearest, min(_FIRST_FUNCTIONS, k), steps=4)
        misfit = _misfit_of_functions(few, target_few, found)
        if misfit < least:
            best, least = found, misfit
    assert best is not None
    final = _zoomed(source_basis, target_basis, best.source_vertex, compared, steps=3)
    return SurfaceMatch(final.source_vertex, least)


def _zoomed(
    source: SpectralBasis, target: SpectralBasis, source_vertex: Int[ndarray, "target_vertices"], first: int, steps: int
) -> FunctionalMap:
    """A correspondence made smooth: by the map of the `first` functions, and then of more and more."""
    start = source.functions[source_vertex, :first]
    matrix = target.functions[:, :first].T @ (target.areas[:, None] * start)
    sizes = np.unique(np.geomspace(first, source.functions.shape[1], steps).round().astype(int))
    return zoom_out(source, target, matrix, sizes)


def _misfit_of_functions(source: SpectralBasis, target: SpectralBasis, found: FunctionalMap) -> float:
    distance = KDTree(source.functions @ found.matrix.T).query(target.functions)[0]
    return float(distance.mean() / np.linalg.norm(target.functions, axis=1).mean())


def _standard(vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"]) -> _Shape:
    """The mesh around its centre, with an area of one."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    cross = np.cross(b - a, c - a)
    areas = 0.5 * np.linalg.norm(cross, axis=1)
    if not areas.sum() > 0:
        raise ValueError("the mesh has no area")
    center = ((a + b + c) / 3 * areas[:, None]).sum(0) / areas.sum()
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], cross)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    return _Shape((vertices - center) / areas.sum() ** 0.5, normals)


def _axis_rotations() -> Iterator[Float[ndarray, "3 3"]]:
    """All 24 that bring axes onto axes."""
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            rotation = np.zeros((3, 3))
            rotation[range(3), axes] = signs
            if np.linalg.det(rotation) > 0:
                yield rotation


def _laid_on(source: _Shape, target: _Shape) -> list[_Shape]:
    """The source as it fits the target, from the ways round that look best."""
    few, target_few = source.sampled(), target.sampled()
    still = np.zeros(3)
    rotations = list(_axis_rotations())
    misfits = [_misfit(few.moved(rotation, still, rotation), target_few) for rotation in rotations]
    chosen = np.argsort(misfits, kind="stable")[:_CANDIDATES]
    return [_drawn_closer(source, few, target, target_few, rotations[place]) for place in chosen]


def _drawn_closer(source: _Shape, few: _Shape, target: _Shape, target_few: _Shape, rotation: ndarray) -> _Shape:
    """Iterated closest points, both ways; the best rotation, then the best stretch along the axes."""
    tree = KDTree(target.features)
    linear, translation = rotation, np.zeros(3)
    for _ in range(_STEPS):
        moved = source.moved(linear, translation, rotation)
        forth = tree.query(few.moved(linear, translation, rotation).features)[1]
        back = KDTree(moved.features).query(target_few.features)[1]
        own = np.vstack((few.vertices, source.vertices[back]))
        other = np.vstack((target.vertices[forth], target_few.vertices))
        own_mean, other_mean = own.mean(0), other.mean(0)
        u, _, vt = np.linalg.svd((other - other_mean).T @ (own - own_mean))
        rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        turned = (own - own_mean) @ rotation.T
        stretch = (turned * (other - other_mean)).sum(0) / (turned**2).sum(0).clip(1e-12)
        linear = stretch.clip(1 / _MOST_STRETCH, _MOST_STRETCH)[:, None] * rotation
        translation = other_mean - linear @ own_mean
    return source.moved(linear, translation, rotation)


def _misfit(shape: _Shape, other: _Shape) -> float:
    """Mean square distance both ways, of places and normals."""
    ways = ((shape, other.sampled()), (other, shape.sampled()))
    return float(sum((KDTree(whole.features).query(few.features)[0] ** 2).mean() for whole, few in ways))
