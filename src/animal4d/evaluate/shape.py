"""Errors in three dimensions, where the truth is known. Lengths come out in the unit of the truth."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from animal4d.geometry.alignment import Similarity, fit_similarity, procrustes_aligned
from animal4d.geometry.mesh import sample_surface

_ICP_ROUNDS = 20
_ICP_FRAMES = 24
_ICP_POINTS = 600
_CHAMFER_QUERIES = 4000
_CHAMFER_TARGETS = 20000

Points = NDArray[np.float64]


def align_clip(source: Float[Tensor, "frames points 3"], target: Float[Tensor, "frames points 3"]) -> Similarity:
    """The ONE similarity over all frames that brings corresponding points nearest."""
    return fit_similarity(source.flatten(0, 1).double(), target.flatten(0, 1).double())


def apply_to_clip(alignment: Similarity, points: Float[Tensor, "frames points 3"]) -> Float[Tensor, "frames points 3"]:
    return alignment.apply(points.flatten(0, 1).double()).unflatten(0, points.shape[:2]).to(points)


def vertex_errors(
    vertices: Float[Tensor, "frames vertices 3"], truth: Float[Tensor, "frames vertices 3"]
) -> Float[Tensor, "frames"]:
    """Mean distance of corresponding vertices per frame, after one similarity over the clip."""
    return (apply_to_clip(align_clip(vertices, truth), vertices) - truth).norm(dim=-1).mean(1)


def procrustes_joint_errors(
    joints: Float[Tensor, "frames joints 3"], truth: Float[Tensor, "frames joints 3"]
) -> Float[Tensor, "frames"]:
    """PA-MPJPE: mean distance of corresponding joints, after a similarity in every frame."""
    return (procrustes_aligned(joints, truth) - truth).norm(dim=-1).mean(1)


def joint_motion_errors(
    joints: Float[Tensor, "frames joints 3"], truth: Float[Tensor, "frames joints 3"]
) -> Float[Tensor, "frames"]:
    """What is left of the joint error where every joint may lie beside its counterpart by a vector that is fixed in the
    animal's own frame: skeletons of different makers do not mean quite the same place by a knee.

    The animal's frame in each frame of the clip is the rotation that brings the true joints nearest to those of the
    first one.
    """
    errors = procrustes_aligned(joints, truth) - truth
    R_first_from_frame = fit_similarity(truth, truth[:1].expand_as(truth), with_scale=False).rotation
    in_animal = errors @ R_first_from_frame.transpose(1, 2)
    return (in_animal - in_animal.mean(0)).norm(dim=-1).mean(1)


def bounding_diagonals(vertices: Float[Tensor, "frames vertices 3"]) -> Float[Tensor, "frames"]:
    return (vertices.amax(1) - vertices.amin(1)).norm(dim=-1)


def align_surfaces(
    vertices: Float[Tensor, "frames vertices 3"],
    faces: Int[Tensor, "faces 3"],
    truth: Float[Tensor, "frames others 3"],
    truth_faces: Int[Tensor, "other_faces 3"],
    start: Similarity,
    seed: int = 0,
) -> Similarity:
    """The ONE similarity over all frames that brings two surfaces together, by iterated closest points both ways.

    `start` comes from corresponding joints, or from `align_extents`.
    """
    frames = np.unique(np.linspace(0, len(vertices) - 1, _ICP_FRAMES).round().astype(int))
    generator = torch.Generator().manual_seed(seed)
    source = sample_points(vertices[frames], faces, _ICP_POINTS, generator)
    target = sample_points(truth[frames], truth_faces, _ICP_POINTS, generator)
    target_trees = [KDTree(points) for points in target]
    alignment = start
    for _ in range(_ICP_ROUNDS):
        moved = apply_to_clip(alignment, torch.from_numpy(source)).numpy()
        pairs: list[tuple[Points, Points]] = []
        for frame, tree in enumerate(target_trees):
            pairs.append((source[frame], target[frame][_nearest(tree, moved[frame])[1]]))
            pairs.append((source[frame][_nearest(KDTree(moved[frame]), target[frame])[1]], target[frame]))
        ours, theirs = (torch.from_numpy(np.concatenate(side)) for side in zip(*pairs, strict=True))
        alignment = fit_similarity(ours, theirs)
    return alignment


def align_extents(vertices: Float[Tensor, "frames vertices 3"], truth: Float[Tensor, "frames others 3"]) -> Similarity:
    """A start without correspondences: same centre and spread, not turned."""
    center, truth_center = vertices.double().mean((0, 1)), truth.double().mean((0, 1))
    spread = (vertices.double() - vertices.double().mean(1, keepdim=True)).square().mean().sqrt()
    truth_spread = (truth.double() - truth.double().mean(1, keepdim=True)).square().mean().sqrt()
    scale = truth_spread / spread
    return Similarity(scale, torch.eye(3, dtype=torch.float64), truth_center - scale * center)


def chamfer_distances(
    vertices: Float[Tensor, "frames vertices 3"],
    faces: Int[Tensor, "faces 3"],
    truth: Float[Tensor, "frames others 3"],
    truth_faces: Int[Tensor, "other_faces 3"],
    seed: int = 0,
) -> Float[Tensor, "frames"]:
    """Symmetric Chamfer per frame of surfaces that are already aligned: the mean distance from points on one to the
    other, averaged over both directions.

    The other surface is represented by 20,000 points drawn by area, which adds about 0.3 % of the diagonal at most.
    """
    generator = torch.Generator().manual_seed(seed)
    result = []
    for frame in range(len(vertices)):
        ours, theirs = (
            sample_points(mesh[frame : frame + 1], triangles, _CHAMFER_TARGETS, generator)[0]
            for mesh, triangles in ((vertices, faces), (truth, truth_faces))
        )
        there = _nearest(KDTree(theirs), ours[:_CHAMFER_QUERIES])[0].mean()
        back = _nearest(KDTree(ours), theirs[:_CHAMFER_QUERIES])[0].mean()
        result.append(0.5 * (there + back))
    return torch.tensor(np.array(result), dtype=torch.float32)


def sample_points(
    vertices: Float[Tensor, "frames vertices 3"], faces: Int[Tensor, "faces 3"], count: int, generator: torch.Generator
) -> Points:
    """Points on the surface, uniform by area, for every frame its own."""
    vertices = vertices.double()
    return sample_surface(vertices, faces, count, generator).on(vertices, faces).numpy()


def _nearest(tree: KDTree, queries: Points) -> tuple[Points, NDArray[np.intp]]:
    distances, indices = tree.query(queries)
    return np.asarray(distances), np.asarray(indices)


def faces_right_way(
    tail: Float[Tensor, "frames 3"],
    head: Float[Tensor, "frames 3"],
    true_tail: Float[Tensor, "frames 3"],
    true_head: Float[Tensor, "frames 3"],
) -> Bool[Tensor, "frames"]:
    """Whether the direction from tail to head is within 90 degrees of the true one, all in the camera's frame."""
    return ((head - tail) * (true_head - true_tail)).sum(-1) > 0


def mean_accelerations(points: Float[Tensor, "frames points 3"]) -> Float[Tensor, "frames-2"]:
    """Mean length of the second difference in time, per inner frame: what trembles has a large one."""
    return (points[2:] - 2 * points[1:-1] + points[:-2]).norm(dim=-1).mean(1)
