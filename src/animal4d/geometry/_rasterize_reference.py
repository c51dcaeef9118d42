"""The plain reference rasteriser: every pixel's ray against every triangle. Slow and obvious; runs on any device."""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 1e-4
"""Faces with a corner nearer than this to the camera plane are skipped, in every backend."""

_FACES_AT_ONCE = 256


def rasterize_reference(
    vertices: Tensor, faces: Tensor, intrinsics: Tensor, image_size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """A rasteriser backend (see `animal4d.geometry.rasterize.Backend`). Works in float64."""
    frames = [
        _rasterize_frame(v.double(), faces, k.double(), image_size) for v, k in zip(vertices, intrinsics, strict=True)
    ]
    face_index = torch.stack([index for index, _, _ in frames])
    barycentrics = torch.stack([weights for _, weights, _ in frames]).to(vertices.dtype)
    depth = torch.stack([z for _, _, z in frames]).to(vertices.dtype)
    return face_index, barycentrics, depth


def _rasterize_frame(
    vertices: Tensor, faces: Tensor, intrinsics: Tensor, image_size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    height, width = image_size
    rows = torch.arange(height, device=vertices.device, dtype=vertices.dtype) + 0.5
    columns = torch.arange(width, device=vertices.device, dtype=vertices.dtype) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack((x, y, torch.ones_like(x)), dim=-1).flatten(0, 1)
    rays = pixels @ torch.linalg.inv(intrinsics).T

    face_index = torch.full((height * width,), -1, device=vertices.device)
    barycentrics = vertices.new_zeros(height * width, 3)
    depth = vertices.new_full((height * width,), torch.inf)
    for start in range(0, len(faces), _FACES_AT_ONCE):
        corners = vertices[faces[start : start + _FACES_AT_ONCE]]
        weights, z = _intersect(rays, corners)
        hit = (weights >= 0).all(-1) & (corners[..., 2] > NEAR).all(-1)
        nearest, which = torch.where(hit, z, torch.inf).min(dim=1)
        nearer = nearest < depth
        depth = torch.where(nearer, nearest, depth)
        face_index = torch.where(nearer, which + start, face_index)
        chosen = weights[torch.arange(len(rays), device=rays.device), which]
        barycentrics = torch.where(nearer[:, None], chosen, barycentrics)
    depth = torch.where(face_index >= 0, depth, 0.0)
    return face_index.view(image_size), barycentrics.view(*image_size, 3), depth.view(image_size)


def _intersect(rays: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentrics "rays faces 3" and ray parameters "rays faces" where each ray meets the plane of each triangle."""
    a, b, c = corners.unbind(1)
    normals = torch.stack((torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)), dim=1)
    volumes = torch.einsum("rx,fkx->rfk", rays, normals)
    determinant = (a * normals[:, 0]).sum(-1)
    total = volumes.sum(-1)
    return volumes / total[..., None], determinant / total
