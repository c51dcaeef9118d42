"""Rotations: the continuous 6D representation, axis-angle and quaternions. Batch axes are free."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def matrix_from_6d(rotation_6d: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Gram-Schmidt on two 3-vectors that become the first two ROWS (Zhou et al. 2019; PyTorch3D's convention)."""
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    row_1 = torch.nn.functional.normalize(first, dim=-1)
    row_2 = torch.nn.functional.normalize(second - (row_1 * second).sum(-1, keepdim=True) * row_1, dim=-1)
    return torch.stack((row_1, row_2, torch.linalg.cross(row_1, row_2)), dim=-2)


def matrix_to_6d(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The first two rows, flattened: right inverse of `matrix_from_6d`."""
    return matrix[..., :2, :].flatten(-2)


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Cross-product matrix: `skew(a) @ b == a x b`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))


def matrix_from_axis_angle(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula; the vector's length is the angle in radians. Differentiable at zero."""
    squared = (axis_angle * axis_angle).sum(-1)[..., None, None]
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    cross = skew(axis_angle)
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine * cross + cosine * (cross @ cross)


def axis_angle_from_matrix(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector with an angle in [0, pi]; inverse of `matrix_from_axis_angle` there."""
    quaternion = quaternion_from_matrix(matrix)
    sine = quaternion[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    factor = torch.where(sine < 1e-7, torch.full_like(sine, 2.0), angle / sine.clamp_min(1e-7))
    return quaternion[..., 1:] * factor


def quaternion_from_matrix(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w, x, y, z) with w >= 0, from the largest of four equivalent formulas (Shepperd 1978)."""
    m = matrix
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    candidates = torch.stack(
        (
            torch.stack((1 + m00 + m11 + m22, wx, wy, wz), -1),
            torch.stack((wx, 1 + m00 - m11 - m22, xy, xz), -1),
            torch.stack((wy, xy, 1 - m00 + m11 - m22, yz), -1),
            torch.stack((wz, xz, yz, 1 - m00 - m11 + m22), -1),
        ),
        dim=-2,
    )
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(-1)
    chosen = torch.gather(candidates, -2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    quaternion = torch.nn.functional.normalize(chosen, dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def rotation_about(axis: str, angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Right-handed rotation about a coordinate axis ("x", "y" or "z") by `angle` radians."""
    unit = torch.zeros(3, dtype=angle.dtype, device=angle.device)
    unit["xyz".index(axis)] = 1.0
    return matrix_from_axis_angle(angle[..., None] * unit)


def angle_between(a: Float[Tensor, "*batch 3 3"], b: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Geodesic distance of two rotations in radians, in [0, pi]."""
    return axis_angle_from_matrix(a.transpose(-1, -2) @ b).norm(dim=-1)
