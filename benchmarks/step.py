"""Milliseconds per frame and step for every loss, and for all of them together: `python benchmarks/step.py`.

Every part is timed forward and backward, on its own inputs; "all together" is one graph from pose to the sum of all
losses, with one backward pass. The trainer's own step is timed on a clip with its built-in cues, and with every loss
but colour on one that brings all cues.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from scene import FRAMES, SIZE, Scene, Timing, make_scene, measure, table  # isort: skip
from result_cases import external_config  # isort: skip

import torch
from torch import Tensor

from animal4d.body.model import PosedBody
from animal4d.body.template import load_builtin_template
from animal4d.clip import Clip
from animal4d.config import FitConfig, LossWeights, constant
from animal4d.cues.cues import Cues, make_cues
from animal4d.fit.objective import Objective
from animal4d.fit.parameters import AnimalParameters
from animal4d.fit.split import split_frames
from animal4d.fit.start import search_views
from animal4d.fit.trainer import Trainer
from animal4d.fit.world import fit_cameras
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.mesh import difference_operator, sample_surface, uniform_laplacian, unique_edges
from animal4d.geometry.rasterize import rasterize, visible_faces
from animal4d.losses.priors import joint_limits, mean_square, rest_pose
from animal4d.losses.rigidity import OneRings, arap, edge_length_change, laplacian_length, skinning_maps
from animal4d.losses.silhouette import silhouette_chamfer, silhouette_distance, visibility_weights
from animal4d.losses.smoothness import rotation_smoothness, translation_smoothness
from animal4d.losses.tracks import anchor_tracks, anchored_tracks, neighbour_pairs
from animal4d.providers import providers_for
from animal4d.readers.load import load_clip
from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import demo_config
from animal4d.synth.external_config import ExternalDataConfig
from animal4d.synth.external_data import write_external_data

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


def trainer_steps() -> None:
    """The trainer's own step (network, body, rasteriser, losses, Adam) on a synthetic clip: every loss alone, less what
    all of them share, and all of them together."""
    clip = _small_clip()
    cues = make_cues(clip)
    default, off = LossWeights(), constant(0.0)

    def step_with(names: set[str]) -> Timing:
        weights = LossWeights(**{f.name: getattr(default, f.name) if f.name in names else off for f in fields(default)})
        return _trainer_step(clip, cues, replace(FitConfig(), weights=weights))

    names = {f.name for f in fields(LossWeights)}
    shared = step_with({"pose_prior"})
    parts = {"shared: network, body, rasteriser, Adam": shared}
    for name in sorted(names - {"pose_prior"}):
        alone = step_with({name, "pose_prior"})
        parts[name] = Timing(alone.wall - shared.wall, alone.cpu - shared.cpu)
    parts["sum of the parts"] = sum(parts.values(), Timing(0.0, 0.0))
    parts["whole step"] = step_with(names)
    rows = [(name, f"{timing.wall:.2f}", f"{timing.cpu:.2f}") for name, timing in parts.items()]
    table(f"The trainer's step of {FRAMES} frames, milliseconds per frame", ("part", "wall", "CPU"), rows)


def step_of_all_losses() -> None:
    """The trainer's step with every loss but colour, the published ones too, on a clip with all cues."""
    schedules = {f.name: getattr(LossWeights(), f.name) for f in fields(LossWeights)}
    off = {name: constant(1e-3) for name, schedule in schedules.items() if max(schedule.values) == 0}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        write_external_data(make_synthetic_clip(replace(external_config(), frames=28)), tree)
        clip = load_clip(f"external:{tree}:{ExternalDataConfig().sequence}")
        cues = make_cues(clip, providers=providers_for(clip, load_builtin_template(), lambda notice: None))
    timing = _trainer_step(
        clip, cues, replace(FitConfig(), weights=LossWeights(**schedules | off), hidden_count_less=True)
    )
    table(
        f"The trainer's step of {FRAMES} frames with all cues, milliseconds per frame",
        ("part", "wall", "CPU"),
        [("all losses but colour", f"{timing.wall:.2f}", f"{timing.cpu:.2f}")],
    )


def _trainer_step(clip: Clip, cues: Cues, config: FitConfig) -> Timing:
    """Per frame."""
    config = replace(config, batch_frames=FRAMES)
    model = load_builtin_template()
    split = split_frames(clip.mask_valid)
    start = search_views(clip, model, {"dog": torch.zeros(model.n_betas)}, torch.zeros(len(clip))).starts(1)[0]
    cameras = Cameras(clip.intrinsics, fit_cameras(clip, start), clip.image_size)
    parameters = AnimalParameters(model, start, cues.features.pooled, clip.times, cameras, clip.mask_valid)
    objective = Objective(clip, clip.masks, cues, model, cameras, split, config)
    trainer = Trainer(objective, parameters, config, 1000, seed=0)
    trainer.take_up(None)
    trainer.step = 400  # past the schedules' beginnings, so that every loss takes part
    return measure(trainer.one_step) / min(FRAMES, len(objective.frames))


def _small_clip() -> Clip:
    """Frames and masks of a synthetic dog, read as a user's would be."""
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic_clip(make_synthetic_clip(replace(demo_config(), frames=28)), Path(folder) / "clip")
        return load_clip(Path(folder) / "clip" / "frames", masks=Path(folder) / "clip" / "masks")


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
    trainer_steps()
    step_of_all_losses()


if __name__ == "__main__":
    main()
