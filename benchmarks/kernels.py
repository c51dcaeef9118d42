"""Each kernel against its reference in one run: `python benchmarks/kernels.py`."""

from __future__ import annotations

from collections.abc import Callable

from scene import FRAMES, SIZE, Timing, make_scene, measure, table  # isort: skip

import torch
from torch import Tensor

from animal4d.geometry.distance import squared_distance_to_mask
from animal4d.geometry.mesh import sample_surface, uniform_laplacian, unique_edges
from animal4d.geometry.nearest import chamfer_2d, squared_distances_to_nearest
from animal4d.geometry.rasterize import rasterize
from animal4d.losses.rigidity import OneRings, arap, skinning_maps
from animal4d.network.dense_feature_network import DenseFeatureNetwork

POINTS = 10_000


def backward(function: Callable[[Tensor], Tensor], variable: Tensor) -> Callable[[], object]:
    """A call of the function and of its gradient."""
    return lambda: torch.autograd.grad(function(variable).sum(), variable)


def main() -> None:
    scene = make_scene()
    model, cameras = scene.model, scene.cameras
    vertices = scene.vertices()
    in_camera = cameras.transform(vertices)
    rows: list[tuple[str, ...]] = []

    def compare(kernel: str, ours: Timing, peer: str, theirs: Timing) -> None:
        rows.append((kernel, f"{ours.wall:.1f}", peer, f"{theirs.wall:.1f}", f"{theirs.wall / ours.wall:.1f}"))

    covered = scene.fragments().covered.float().mean()
    # The reference's time grows with the number of pixels: it sees a corner of one frame, and its time is scaled.
    few = 32 * 32
    compare(
        f"rasterise, {covered:.0%} of the picture covered",
        measure(lambda: rasterize(in_camera, model.faces, cameras.intrinsics, SIZE, "numba")),
        "torch reference (scaled)",
        measure(lambda: rasterize(in_camera[:1], model.faces, cameras.intrinsics[:1], (32, 32), "torch"), 1)
        / (few / (FRAMES * SIZE[0] * SIZE[1])),
    )

    generator = torch.Generator().manual_seed(0)
    surface = sample_surface(model.v_template, model.faces, POINTS, generator)
    points = (cameras.project(surface.on(vertices, model.faces)) / 128).requires_grad_()
    target = scene.target.drawn(POINTS, generator).pixels / 128
    compare(
        "chamfer 10k x 10k both ways, with gradients",
        measure(backward(lambda p: chamfer_2d(p, target), points)),
        "SciPy k-d tree",
        measure(backward(lambda p: chamfer_2d(p, target, backend="scipy"), points), 3),
    )
    distances = scene.target.distances
    compare(
        "mesh to mask only, with gradients",
        measure(backward(lambda p: squared_distance_to_mask(distances, p * 128), points)),
        "SciPy k-d tree",
        measure(backward(lambda p: squared_distances_to_nearest(p, target, backend="scipy"), points), 3),
    )

    variable = vertices.clone().requires_grad_()
    laplacian = uniform_laplacian(model.faces, model.n_vertices)
    first, second = unique_edges(model.faces).unbind(1)
    degree = torch.bincount(torch.cat((first, second)), minlength=model.n_vertices)[:, None]

    def index_add_laplacian(x: Tensor) -> Tensor:
        difference = x[:, second] - x[:, first]
        summed = torch.zeros_like(x).index_add(1, first, difference).index_add(1, second, -difference)
        return summed / degree

    compare(
        "uniform Laplacian, with gradients",
        measure(backward(lambda x: (laplacian @ x).square(), variable)),
        "index_add",
        measure(backward(lambda x: index_add_laplacian(x).square(), variable)),
    )
    rings = OneRings.of(model.v_template, model.faces)
    maps = skinning_maps(model.with_shape().with_pose(scene.joint_rotations))
    compare(
        "ARAP, rotations from the skinning, with gradients",
        measure(backward(lambda x: arap(x, model.v_template, rings, maps), variable)),
        "rotations by SVD",
        measure(backward(lambda x: arap(x, model.v_template, rings), variable), 3),
    )
    network = DenseFeatureNetwork.for_model(model, feature_channels=384)
    patches = torch.rand(FRAMES, 3600, 384)
    pooled = patches.mean(1)
    branch = network.pose_branch
    compare(
        "features to pose, pooled",
        measure(lambda: network.forward_pooled(pooled, scene.times).pose),
        "the first layer alone on every patch",
        measure(lambda: patches @ branch.reduction.weight[:, 8:].T, 3),
    )
    table(
        f"Kernels, {FRAMES} frames, {model.n_vertices} vertices, milliseconds",
        ("kernel", "ours", "peer", "peer's", "ratio"),
        rows,
    )


if __name__ == "__main__":
    main()
