"""Simple meshes for tests: (vertices, faces) with counter-clockwise faces seen from outside."""

from __future__ import annotations

import torch
from torch import Tensor


def icosphere(subdivisions: int = 3) -> tuple[Tensor, Tensor]:
    """Unit sphere: 10 * 4**subdivisions + 2 vertices."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.int64)


def bumpy_sphere(seed: int, subdivisions: int = 3, noise: float = 0.05) -> tuple[Tensor, Tensor]:
    """A sphere with every vertex moved in and out at random."""
    vertices, faces = icosphere(subdivisions)
    generator = torch.Generator().manual_seed(seed)
    return vertices * (1 + noise * torch.randn(len(vertices), 1, generator=generator)), faces


def pinhole(focal: float, size: int, n_frames: int = 1) -> Tensor:
    """Intrinsics of square images with the principal point in the middle."""
    matrix = torch.tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return matrix.repeat(n_frames, 1, 1)
