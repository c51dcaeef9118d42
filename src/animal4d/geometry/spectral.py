"""Spectral geometry: Laplace-Beltrami eigenfunctions of a mesh, and functional maps between two meshes.

A functional map C carries coefficients of functions on a source mesh to coefficients on a target mesh (Ovsjanikov et
al. 2012). It is found from regions that are known on both, and refined by ZoomOut (Melzi et al. 2019). All of it works
on meshes scaled to unit area, so that the size of an animal says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import robust_laplacian
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import diags
from scipy.sparse.linalg import eigsh
from scipy.spatial import KDTree

COMMUTATIVITY_WEIGHT = 1e-2
"""Weight of commuting with the Laplacian against keeping the descriptors; eigenvalues are divided by the largest."""
_HEAT_TIMES = 5


@dataclass(frozen=True)
class SpectralBasis:
    """The smoothest functions of a mesh, orthonormal under its vertex areas."""

    functions: Float[ndarray, "vertices k"]
    """Eigenfunctions in columns, by rising eigenvalue; the first is constant."""
    eigenvalues: Float[ndarray, "k"]
    """Of the Laplace-Beltrami operator, >= 0, in 1 / (unit of length)^2."""
    areas: Float[ndarray, "vertices"]
    """Lumped mass: the area of the surface that belongs to each vertex."""

    @property
    def area(self) -> float:
        return float(self.areas.sum())

    @property
    def unit_area(self) -> SpectralBasis:
        """The basis of the same mesh scaled to an area of one."""
        area = self.area
        return SpectralBasis(self.functions * area**0.5, self.eigenvalues * area, self.areas / area)

    def first(self, k: int) -> SpectralBasis:
        return replace(self, functions=self.functions[:, :k], eigenvalues=self.eigenvalues[:k])


def mesh_laplacian(vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"]) -> tuple:
    """Stiffness matrix (sparse, positive semi-definite) and lumped areas "vertices" of any triangle mesh.

    The intrinsic Delaunay Laplacian of Sharp and Crane (2020), which bears slivers and non-manifold edges. Raises
    ValueError where a vertex belongs to no face, and where a number is not finite.
    """
    vertices, faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    if not np.isfinite(vertices).all():
        raise ValueError("the mesh has vertices that are not finite")
    if len(np.unique(faces)) != len(vertices):
        raise ValueError("the mesh has vertices that belong to no face, or faces with vertices that are not there")
    stiffness, mass = robust_laplacian.mesh_laplacian(vertices, faces)
    return stiffness, mass.diagonal()


def laplace_beltrami(vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"], k: int) -> SpectralBasis:
    """The `k` smoothest eigenfunctions of a mesh. The same mesh gives the same signs in every run.

    Raises ValueError where the mesh is broken (`mesh_laplacian`) or has not more than `k` vertices.
    """
    if not 0 < k < len(vertices):
        raise ValueError(f"k must lie between 1 and the number of vertices ({len(vertices)}), got {k}")
    stiffness, areas = mesh_laplacian(vertices, faces)
    area = areas.sum()
    # In units of an area of one the shift below zero, which makes the matrix invertible, suits a mesh of any size.
    start = np.random.default_rng(0).standard_normal(len(vertices))
    values, functions = eigsh(stiffness, k, diags(areas / area).tocsc(), sigma=-0.01, v0=start)
    order = np.argsort(values, kind="stable")
    functions = functions[:, order] / area**0.5
    # The largest value would decide by rounding between the two sides of a symmetric animal; the first large one not.
    large = np.abs(functions) > 0.5 * np.abs(functions).max(axis=0)
    functions = functions * np.sign(functions[large.argmax(axis=0), np.arange(k)])
    return SpectralBasis(functions, values[order].clip(0) / area, areas)


def roughness(
    functions: Float[ndarray, "vertices k"], vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"]
) -> Float[ndarray, "k"]:
    """Rayleigh quotient of functions on a mesh: for its own eigenfunctions their eigenvalues, times the area.

    Functions of a mesh that is numbered otherwise are noise on this one, and very rough.
    """
    stiffness, areas = mesh_laplacian(vertices, faces)
    energy = (functions * (stiffness @ functions)).sum(0)
    return energy / (areas[:, None] * functions**2).sum(0) * areas.sum()


def region_functions(n_vertices: int, regions: Sequence[Sequence[int] | ndarray]) -> Float[ndarray, "vertices regions"]:
    """One column per region (vertex numbers; a keypoint is a region of one vertex): 1 inside, 0 outside."""
    columns = np.zeros((n_vertices, len(regions)))
    for column, region in enumerate(regions):
        columns[np.asarray(region, dtype=np.int64), column] = 1.0
    return columns


@dataclass(frozen=True)
class FunctionalMap:
    """How functions, and so points, of a source mesh correspond to a target mesh."""

    matrix: Float[ndarray, "k_target k_source"]
    """Coefficients on the source to coefficients on the target, both in bases of unit area."""
    source_vertex: Int[ndarray, "target_vertices"]
    """For every vertex of the target its vertex on the source."""


def functional_map(
    source: SpectralBasis,
    target: SpectralBasis,
    source_regions: Float[ndarray, "source_vertices regions"],
    target_regions: Float[ndarray, "target_vertices regions"],
    k_start: int = 20,
    steps: int = 10,
) -> FunctionalMap:
    """The map between two meshes of which corresponding regions are known (`region_functions`).

    Heat that starts in a region and spreads for several times is the descriptor (Sun et al. 2009); the map of the first
    `k_start` functions keeps descriptors and commutes with the Laplacian in least squares. ZoomOut then raises it in
    `steps` to all functions that both bases have. Raises ValueError where the regions do not fit.
    """
    if source_regions.shape[1] != target_regions.shape[1] or source_regions.shape[1] == 0:
        raise ValueError(
            f"as many regions are needed on both meshes, got {source_regions.shape[1]} and {target_regions.shape[1]}"
        )
    source, target = source.unit_area, target.unit_area
    k_end = min(source.functions.shape[1], target.functions.shape[1])
    k_start = min(k_start, k_end)
    matrix = _descriptor_map(source.first(k_start), target.first(k_start), source_regions, target_regions)
    return zoom_out(source, target, matrix, np.unique(np.geomspace(k_start, k_end, steps + 1).round().astype(int)))


def _descriptor_map(
    source: SpectralBasis, target: SpectralBasis, source_regions: ndarray, target_regions: ndarray
) -> Float[ndarray, "k k"]:
    """`min |C A - B|^2 + weight |L_target C - C L_source|^2`, which falls apart into one linear system per row."""
    # Times at which heat reaches from the finest to the coarsest scale of the basis.
    longest, shortest = 4 * np.log(10) / target.eigenvalues[[1, -1]]
    times = np.geomspace(shortest, longest, _HEAT_TIMES)
    a, b = _heat(source, source_regions, times), _heat(target, target_regions, times)
    size = np.linalg.norm(b, axis=0)
    a, b = a / size, b / size
    largest = max(source.eigenvalues[-1], target.eigenvalues[-1])
    gaps = (target.eigenvalues[:, None] - source.eigenvalues[None]) ** 2 / largest**2
    weight = COMMUTATIVITY_WEIGHT * a.shape[1]
    systems = a @ a.T + weight * np.apply_along_axis(np.diag, 1, gaps) + 1e-9 * np.eye(len(a))
    return np.linalg.solve(systems, (b @ a.T)[..., None])[..., 0]


def _heat(basis: SpectralBasis, regions: ndarray, times: ndarray) -> Float[ndarray, "k regions*times"]:
    """Coefficients of a unit of heat that was spread over each region, after each of the times."""
    mass = basis.areas[:, None] * regions
    at_start = basis.functions.T @ (mass / mass.sum(0))
    return np.concatenate([np.exp(-basis.eigenvalues * time)[:, None] * at_start for time in times], axis=1)


def zoom_out(
    source: SpectralBasis, target: SpectralBasis, matrix: Float[ndarray, "k k"], sizes: Sequence[int] | ndarray
) -> FunctionalMap:
    """ZoomOut (Melzi et al. 2019): map to points and back, each time with more functions, up to `sizes[-1]`.

    Both bases are of unit area. The last size is repeated once, so that points and matrix belong together.
    """
    for size in (*sizes[1:], sizes[-1]):
        nearest = _source_vertices(source, target, matrix)
        pulled = source.functions[nearest, :size]
        matrix = target.functions[:, :size].T @ (target.areas[:, None] * pulled)
    return FunctionalMap(matrix, _source_vertices(source, target, matrix))


def _source_vertices(source: SpectralBasis, target: SpectralBasis, matrix: ndarray) -> Int[ndarray, "target_vertices"]:
    k_target, k_source = matrix.shape
    carried = source.functions[:, :k_source] @ matrix.T
    return np.asarray(KDTree(carried).query(target.functions[:, :k_target])[1])
