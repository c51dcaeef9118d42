"""Operators on triangle meshes. Vertices carry any batch axes in front; faces are shared by the batch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def corners_of(
    vertices: Float[Tensor, "*batch vertices channels"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch faces 3 channels"]:
    """The vertex rows of every face's three corners."""
    return vertices.index_select(-2, faces.flatten()).unflatten(-2, (-1, 3))


def corners_in_frames(
    vertices: Float[Tensor, "frames vertices channels"], frame: Int[Tensor, "points"], corners: Int[Tensor, "points 3"]
) -> Float[Tensor, "points 3 channels"]:
    """Corners of faces, each in a frame of its own. The gradient is the same in every run: that of `vertices[frame,
    corners]` is added up by threads in any order."""
    flat = (corners + frame[:, None] * vertices.shape[1]).flatten()
    return vertices.flatten(0, 1).index_select(0, flat).unflatten(0, (-1, 3))


def face_normals(
    vertices: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch faces 3"]:
    """Normals whose length is TWICE the area of the face."""
    a, b, c = corners_of(vertices, faces).unbind(-2)
    return torch.linalg.cross(b - a, c - a)


def face_areas(
    vertices: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch faces"]:
    return 0.5 * face_normals(vertices, faces).norm(dim=-1)


def vertex_normals(
    vertices: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch vertices 3"]:
    """Unit normals: the sum of the area-weighted normals of the faces around. Zero where no face is."""
    per_corner = face_normals(vertices, faces).repeat_interleave(3, dim=-2)
    summed = torch.zeros_like(vertices).index_add(-2, faces.flatten(), per_corner)
    return torch.nn.functional.normalize(summed, dim=-1)


def facing_cosines(
    vertices_in_camera: Float[Tensor, "frames vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "frames faces"]:
    """Cosine between each face's normal and the direction to the camera; zero for faces that look away."""
    normals = torch.nn.functional.normalize(face_normals(vertices_in_camera, faces), dim=-1)
    to_camera = -torch.nn.functional.normalize(corners_of(vertices_in_camera, faces).mean(-2), dim=-1)
    return (normals * to_camera).sum(-1).clamp_min(0)


def signed_volume(
    vertices: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch"]:
    """Volume enclosed by a closed mesh, positive where faces are counter-clockwise seen from outside."""
    a, b, c = corners_of(vertices, faces).unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum(dim=(-1, -2)) / 6


def unique_edges(faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "edges 2"]:
    """Every edge once, the smaller index first, in lexicographic order."""
    return torch.unique(_half_edges(faces).sort(dim=1).values, dim=0)


def _half_edges(faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "half_edges 2"]:
    """The three directed edges of every face; row k * faces + f is the one opposite to corner k of face f."""
    return torch.cat((faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]))


def cotangent_weights(
    vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], absolute: bool = False
) -> tuple[Int[Tensor, "edges 2"], Float[Tensor, "edges"]]:
    """Unique edges, and for each the sum of the cotangents of the angles opposite to it (not halved), or of their
    absolute values."""
    a, b, c = corners_of(vertices, faces).unbind(-2)
    doubled_area = torch.linalg.cross(b - a, c - a).norm(dim=-1).clamp_min(1e-12)
    cosines = [((q - p) * (r - p)).sum(-1) for p, q, r in ((a, b, c), (b, c, a), (c, a, b))]
    cotangents = torch.cat(cosines) / doubled_area.repeat(3)
    if absolute:
        cotangents = cotangents.abs()
    edges, edge_of = torch.unique(_half_edges(faces).sort(dim=1).values, dim=0, return_inverse=True)
    return edges, cotangents.new_zeros(len(edges)).index_add(0, edge_of, cotangents)


@dataclass(frozen=True)
class SparseOperator:
    """A constant sparse matrix that acts on vertices, stored with its transpose so that the gradient is as fast."""

    matrix: Tensor
    """CSR, "rows vertices"."""
    transpose: Tensor
    """CSR, "vertices rows"."""

    @classmethod
    def from_entries(
        cls,
        rows: Int[Tensor, "entries"],
        columns: Int[Tensor, "entries"],
        values: Float[Tensor, "entries"],
        shape: tuple[int, int],
    ) -> SparseOperator:
        """Entries at the same place are added up."""
        matrix = torch.sparse_coo_tensor(torch.stack((rows, columns)), values, shape, check_invariants=False).coalesce()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return cls(matrix.to_sparse_csr(), matrix.t().coalesce().to_sparse_csr())

    def to(self, device: torch.device | str) -> SparseOperator:
        return SparseOperator(self.matrix.to(device), self.transpose.to(device))

    def __matmul__(self, values: Float[Tensor, "frames vertices channels"]) -> Float[Tensor, "frames rows channels"]:
        frames, vertices, channels = values.shape
        # All frames and channels side by side make one product of the sparse matrix with a wide dense one.
        wide = values.transpose(0, 1).reshape(vertices, frames * channels)
        product: Tensor = _SparseProduct.apply(wide, self.matrix, self.transpose)  # pyright: ignore[reportAssignmentType]
        return product.unflatten(1, (frames, channels)).transpose(0, 1)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return matrix @ dense

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose @ gradients[0].contiguous(), None, None


def uniform_laplacian(
    faces: Int[Tensor, "faces 3"], n_vertices: int, dtype: torch.dtype = torch.float32
) -> SparseOperator:
    """Mean of the neighbours minus the vertex itself. Vertices without a neighbour give zero."""
    edges = unique_edges(faces)
    rows, columns = torch.cat((edges, edges.flip(1))).T
    degree = torch.bincount(rows, minlength=n_vertices).to(dtype)
    connected = degree.nonzero().squeeze(1)
    return SparseOperator.from_entries(
        torch.cat((rows, connected)),
        torch.cat((columns, connected)),
        torch.cat((1 / degree[rows], -torch.ones_like(degree[connected]))),
        (n_vertices, n_vertices),
    )


def difference_operator(
    edges: Int[Tensor, "edges 2"], n_vertices: int, dtype: torch.dtype = torch.float32
) -> SparseOperator:
    """Second end of every edge minus its first."""
    index = torch.arange(len(edges), device=edges.device)
    sign = torch.ones(len(edges), dtype=dtype, device=edges.device)
    return SparseOperator.from_entries(
        torch.cat((index, index)), edges.T.flatten(), torch.cat((-sign, sign)), (len(edges), n_vertices)
    )


@dataclass(frozen=True)
class SurfacePoints:
    """Points that ride on a mesh: they move with it, and gradients reach the three corners."""

    face_index: Int[Tensor, "*batch points"]
    barycentrics: Float[Tensor, "*batch points 3"]

    def on(
        self, vertices: Float[Tensor, "frames vertices channels"], faces: Int[Tensor, "faces 3"]
    ) -> Float[Tensor, "frames points channels"]:
        """Places of the points (or any other attribute) on posed meshes. The points are the same in every frame, or
        each frame has its own."""
        corners = faces[self.face_index]
        if corners.ndim == 2:
            return (self.barycentrics[..., None] * corners_of(vertices, corners)).sum(-2)
        n_frames, n_points = corners.shape[:2]
        frame = torch.arange(n_frames, device=faces.device).repeat_interleave(n_points)
        at_corners = corners_in_frames(vertices, frame, corners.flatten(0, 1)).unflatten(0, (n_frames, n_points))
        return (self.barycentrics[..., None] * at_corners).sum(-2)


def sample_surface(
    vertices: Float[Tensor, "*batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    n_points: int,
    generator: torch.Generator | None = None,
) -> SurfacePoints:
    """Points drawn uniformly by area, for every mesh of the batch its own. The draw itself carries no gradient.

    Drawn on the generator's device, so that a seed gives the same points wherever the mesh is.
    """
    device = vertices.device if generator is None else generator.device
    areas = face_areas(vertices.detach(), faces).clamp_min(1e-20).to(device)
    batch = areas.shape[:-1]
    drawn = torch.multinomial(areas.reshape(-1, len(faces)), n_points, replacement=True, generator=generator)
    uniform = torch.rand(*batch, n_points, 2, dtype=vertices.dtype, device=device, generator=generator)
    root = uniform[..., 0].sqrt()
    barycentrics = torch.stack((1 - root, root * (1 - uniform[..., 1]), root * uniform[..., 1]), dim=-1)
    return SurfacePoints(drawn.view(*batch, n_points).to(vertices.device), barycentrics.to(vertices.device))
