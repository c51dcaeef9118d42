"""Milliseconds per frame and step for every loss, and for all of them together: `python benchmarks/step.py`.

Every part is timed forward and backward, on its own inputs; "all together" is one graph from pose to the sum of all
losses, with one backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

from scene import FRAMES, SIZE, Scene, Timing, make_scene, measure, table  # isort: skip

import torch
from torch import Tensor

from animal4d.body.model import PosedBody
from animal4d.geometry.mesh import difference_operator, sample_surface, uniform_laplacian, unique_edges
from animal4d.geometry.rasterize import rasterize, visible_faces
from animal4d.losses.priors import joint_limits, mean_square, rest_pose
from animal4d.losses.rigidity import OneRings, arap, edge_length_change, laplacian_length, skinning_maps
from animal4d.losses.silhouette import silhouette_chamfer, silhouette_distance, visibility_weights
from animal4d.losses.smoothness import rotation_smoothness, translation_smoothness
from animal4d.losses.tracks import anchor_tracks, anchored_tracks, neighbour_pairs

SURFACE_POINTS = 3000
MASK_PIXELS = 2000


class Step:
    """The parts of a step: each takes the posed vertices (or the rotations) and returns one loss per frame."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        model = scene.model
        generator = torch.Generator().manual_seed(0)
        self.surface = sample_surface(model.v_template, model.faces, SURFACE_POINTS, generator)
        self.target = scene.target.drawn(MASK_PIXELS, generator)
        self.pairs = neighbour_pairs(torch.arange(FRAMES))
        self.rings = OneRings.of(model.v_template, model.faces)
        self.differences = difference_operator(unique_edges(model.faces), model.n_vertices)
        self.laplacian = uniform_laplacian(model.faces, model.n_vertices)
        self.fragments = scene.fragments()
        self.weights = self.surface_weights()
        self.maps = skinning_maps(model.with_shape().with_pose(scene.joint_rotations))

    def posed(self, betas: Tensor, rotations: Tensor, translation: Tensor) -> PosedBody:
        return self.scene.model.with_shape(betas).with_pose(rotations, translation)

    def rasterized(self, vertices: Tensor) -> None:
        """What is seen: no gradient, but every step pays for it."""
        cameras = self.scene.cameras
        with torch.no_grad():
            in_camera = cameras.transform(vertices)
            self.fragments = rasterize(in_camera, self.scene.model.faces, cameras.intrinsics, SIZE)
            self.weights = self.surface_weights()

    def surface_weights(self) -> Tensor:
        seen = visible_faces(self.fragments, len(self.scene.model.faces))
        return visibility_weights(seen[:, self.surface.face_index])

    def silhouette(self, vertices: Tensor) -> Tensor:
        points = self.scene.cameras.project(self.surface.on(vertices, self.scene.model.faces))
        return silhouette_distance(points, self.target, self.weights)

    def silhouette_exact(self, vertices: Tensor) -> Tensor:
        points = self.scene.cameras.project(self.surface.on(vertices, self.scene.model.faces))
        return silhouette_chamfer(points, self.scene.target, self.weights)

    def tracks(self, vertices: Tensor) -> Tensor:
        scene = self.scene
        anchors = anchor_tracks(self.fragments, scene.tracks, scene.tracks_visible)
        return anchored_tracks(
            anchors,
            scene.cameras.transform(vertices),
            scene.model.faces,
            scene.cameras.intrinsics,
            SIZE,
            scene.tracks,
            scene.tracks_visible,
            self.pairs,
        )

    def arap(self, vertices: Tensor) -> Tensor:
        return arap(vertices, self.scene.model.v_template, self.rings, self.maps)

    def edge_length(self, vertices: Tensor) -> Tensor:
        return edge_length_change(vertices, self.scene.model.v_template, self.differences)

    def laplacian_length(self, vertices: Tensor) -> Tensor:
        return laplacian_length(vertices, self.laplacian)

    def priors(self, betas: Tensor, rotations: Tensor) -> Tensor:
        limits = joint_limits(rotations, self.scene.model.joint_limits)
        return limits + rest_pose(rotations) + mean_square(betas)

    def smoothness(self, rotations: Tensor, translation: Tensor) -> Tensor:
        times = self.scene.times
        return rotation_smoothness(rotations, times) + translation_smoothness(translation, times)

    def all_together(self, betas: Tensor, rotations: Tensor, translation: Tensor) -> Tensor:
        vertices = self.posed(betas, rotations, translation).vertices
        self.rasterized(vertices)
        return (
            self.silhouette(vertices)
            + self.tracks(vertices)
            + self.arap(vertices)
            + self.edge_length(vertices)
            + self.laplacian_length(vertices)
            + self.priors(betas, rotations)
            + self.smoothness(rotations, translation)
        )


def main() -> None:
    scene = make_scene()
    step = Step(scene)
    vertices = scene.vertices().requires_grad_()
    betas = torch.zeros(scene.model.n_betas, requires_grad=True)
    rotations = scene.joint_rotations.clone().requires_grad_()
    translation = torch.zeros(FRAMES, 3, requires_grad=True)

    def with_gradient(function: Callable[..., Tensor], *inputs: Tensor) -> Timing:
        return measure(lambda: torch.autograd.grad(function(*inputs).sum(), inputs)) / FRAMES

    parts = {
        "body model": with_gradient(lambda *x: step.posed(*x).vertices, betas, rotations, translation),
        "rasterise and visibility": measure(lambda: step.rasterized(vertices)) / FRAMES,
        f"silhouette ({SURFACE_POINTS} points, {MASK_PIXELS} pixels)": with_gradient(step.silhouette, vertices),
        "tracks": with_gradient(step.tracks, vertices),
        "ARAP": with_gradient(step.arap, vertices),
        "edge length": with_gradient(step.edge_length, vertices),
        "Laplacian": with_gradient(step.laplacian_length, vertices),
        "priors": with_gradient(step.priors, betas, rotations),
        "smoothness": with_gradient(step.smoothness, rotations, translation),
    }
    whole = with_gradient(step.all_together, betas, rotations, translation)
    exact = with_gradient(step.silhouette_exact, vertices)

    parts["sum of the parts"] = sum(parts.values(), Timing(0.0, 0.0))
    parts["all together"] = whole
    parts["for comparison: silhouette, exact, all mask pixels"] = exact
    rows = [(name, f"{timing.wall:.2f}", f"{timing.cpu:.2f}") for name, timing in parts.items()]
    table(f"One step of {FRAMES} frames, milliseconds per frame", ("part", "wall", "CPU"), rows)


if __name__ == "__main__":
    main()
