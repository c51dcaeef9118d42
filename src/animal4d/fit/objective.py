"""All losses of a clip together: what the trainer minimises, and the IoU by which it chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.body.model import BodyModel, PosedBody
from animal4d.body.parts import midline_joints
from animal4d.clip import Clip
from animal4d.config import FitConfig
from animal4d.cues.cues import Cues
from animal4d.cues.sparse_keypoints import SparseKeypoints
from animal4d.cues.surface import SurfacePoints
from animal4d.fit.parameters import AnimalState
from animal4d.fit.split import Split
from animal4d.geometry.cameras import Cameras, project
from animal4d.geometry.distance import signed_distance
from animal4d.geometry.mesh import difference_operator, facing_cosines, sample_surface, uniform_laplacian, unique_edges
from animal4d.geometry.rasterize import Fragments, corners_of_marked, rasterize, visible_faces
from animal4d.losses.appearance import AppearanceTarget, color_constancy
from animal4d.losses.outline import OutlineTarget, outline_distance
from animal4d.losses.parts import (
    CHAMFER_PART_WEIGHTS,
    PartTarget,
    PartVertices,
    head_weights,
    part_chamfer,
    part_keypoints,
)
from animal4d.losses.priors import joint_limits, lasting_bend, mean_square, rest_pose
from animal4d.losses.rigidity import OneRings, arap, edge_length_change, laplacian_length
from animal4d.losses.silhouette import SilhouetteTarget, silhouette_distance, surface_weights
from animal4d.losses.smoothness import rotation_smoothness, total_variation, translation_smoothness
from animal4d.losses.sparse_keypoints import sparse_keypoints
from animal4d.losses.surface import HEAD_WEIGHT as SURFACE_HEAD_WEIGHT
from animal4d.losses.surface import SurfaceTarget, surface_keypoints
from animal4d.losses.tracks import (
    anchor_tracks,
    anchored_tracks,
    drawn_tracks,
    neighbour_pairs,
    pairs_with_frame_before,
    published_tracks,
)

USUAL_LIMB_SCALE = 0.2
"""How far the logarithms of limb scales usually stray: betas stray by 1."""
PART_KEYPOINTS, PUBLISHED_TRACKS = 200, 50
"""How many are drawn per step, as published."""
TRACKS_HEAD_WEIGHT = 50.0
"""Published weight of vertices of the head in `published_tracks`."""
LEAST_FACING = 0.5
"""Cosine between a face and the way to the camera from which on its colour is that of the coat."""
USUAL_OFFSET = 0.02
"""How far vertices usually stray from the shape space, in units of the template."""


@dataclass(frozen=True)
class _View:
    """One step's body as its cameras see it: rasterised once, projected once, shared by all losses."""

    posed: PosedBody
    in_camera: Float[Tensor, "batch vertices 3"]
    fragments: Fragments
    cameras: Cameras
    model: BodyModel

    @cached_property
    def projected(self) -> Float[Tensor, "batch vertices 2"]:
        """Vertices in working pixels."""
        return project(self.in_camera, self.cameras.intrinsics)

    @cached_property
    def face_visible(self) -> Bool[Tensor, "batch faces"]:
        return visible_faces(self.fragments, len(self.model.faces))

    @cached_property
    def vertex_visible(self) -> Bool[Tensor, "batch vertices"]:
        return corners_of_marked(self.face_visible, self.model.faces, self.model.n_vertices)

    @cached_property
    def well_seen(self) -> Bool[Tensor, "batch vertices"]:
        """Vertices of visible faces that the camera does not only graze."""
        faces = self.model.faces
        facing = facing_cosines(self.in_camera.detach(), faces) > LEAST_FACING
        return corners_of_marked(self.face_visible & facing, faces, self.model.n_vertices)


class Objective:
    """Losses on the frames of a clip, for one body model and one camera track.

    Losses see the masks of `clip`, in which those of held-out frames have been replaced (`cues/carried_masks.py`).
    `filmed_masks` are the true ones of all frames; only `validation_iou` looks at them.
    """

    def __init__(
        self,
        clip: Clip,
        filmed_masks: Float[Tensor, "frames height width"],
        cues: Cues,
        model: BodyModel,
        cameras: Cameras,
        split: Split,
        config: FitConfig,
        mask_distances: Float[Tensor, "frames height width"] | None = None,
        appearance: AppearanceTarget | None = None,
    ) -> None:
        """`mask_distances`: the `signed_distance` of the clip's masks, and `appearance`: the
        `AppearanceTarget` of the clip, where they are known already."""
        device = model.device
        self.model, self.split, self.config = model, split, config
        taught = frames_that_teach(clip, split, config)
        self.frames = torch.nonzero(taught).squeeze(1).to(device)
        """Those that losses look at."""
        self.cameras = cameras.to(device)
        self.times = clip.times.to(device)
        self.frame_numbers = clip.frame_numbers.to(device)
        self.binary = (clip.masks > 0.5).to(device)
        self.filmed = (filmed_masks > 0.5).to(device)
        self.inside = clip.inside_frame().to(device)
        mask_distances = signed_distance(clip.masks) if mask_distances is None else mask_distances
        self.outlines = OutlineTarget.from_masks(clip.masks, clip.inside_frame(), mask_distances).to(device)
        self.target = SilhouetteTarget.from_masks(clip.masks, mask_distances).to(device)
        if appearance is None:
            appearance = AppearanceTarget.from_clip(clip.frames, clip.masks, mask_distances)
        self.appearance = appearance.to(device)
        # Cues are kept in pixels of the original frames.
        self.track_points = clip.crop.from_original(cues.tracks.points).to(device)
        self.track_visible = cues.tracks.visible.to(device)
        self.part_vertices = PartVertices.of(model.part_labels).to(device)
        self.eyes_made = {name for name in ("parts", "surface") if cues.by_eyes(name)}
        self.part_target = None if cues.parts is None else PartTarget.from_labels(cues.parts.labels).to(device)
        self.surface = None if cues.surface is None else _surface_target(clip, cues.surface).to(device)
        self.keypoints = None if cues.keypoints is None else _working_keypoints(clip, cues.keypoints).to(device)
        self.head_counts_half = head_weights(model.part_labels, SURFACE_HEAD_WEIGHT).to(device)
        self.head_counts_most = head_weights(model.part_labels, TRACKS_HEAD_WEIGHT).to(device)
        self.midline = midline_joints(model.joint_names)
        self.rings = OneRings.of(model.v_template, model.faces)
        self.differences = difference_operator(unique_edges(model.faces), model.n_vertices).to(device)
        self.laplacian = uniform_laplacian(model.faces, model.n_vertices).to(device)

    def losses(
        self, state: AnimalState, frames: Tensor, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Weighted losses, to be summed. Those of single frames are means over the batch; smoothness and pose priors
        speak for all frames, since they cost next to nothing."""
        posed = state.posed(frames)
        cameras = self.cameras[frames]
        in_camera = cameras.transform(posed.vertices)
        fragments = rasterize(in_camera, self.model.faces, cameras.intrinsics, cameras.image_size)
        view = _View(posed, in_camera, fragments, cameras, self.model)
        unweighted = {
            "silhouette": lambda: self._silhouette(state, view, frames, generator),
            "outline": lambda: outline_distance(
                fragments, in_camera, self.model.faces, cameras.intrinsics, self.outlines[frames]
            ).mean(),
            "tracks": lambda: self._tracks(fragments, in_camera, frames),
            "appearance": lambda: color_constancy(view.projected, view.well_seen, self.appearance[frames]).mean(),
            "published_tracks": lambda: self._published_tracks(view, frames, generator),
            "total_variation": lambda: (
                total_variation(state.joint_rotations).mean() + total_variation(state.translation).mean()
            ),
            **self._of_given_cues(view, frames, generator),
            "arap": lambda: self._arap(state).mean(),
            "edge_length": lambda: edge_length_change(
                state.shaped.vertices[None], state.base.vertices.detach(), self.differences
            ).mean(),
            "laplacian": lambda: laplacian_length(state.vertex_offsets[None], self.laplacian).mean(),
            "parameters": lambda: (
                mean_square(state.betas)
                + mean_square(state.limb_scales / USUAL_LIMB_SCALE)
                + mean_square(state.offsets / USUAL_OFFSET)
            ),
            "joint_limits": lambda: joint_limits(state.joint_rotations, self.model.joint_limits).mean(),
            "lasting_bend": lambda: lasting_bend(state.joint_rotations, self.midline),
            "pose_prior": lambda: rest_pose(state.joint_rotations).mean(),
            "smoothness": lambda: (
                rotation_smoothness(state.joint_rotations, self.times)
                + 4.0 * translation_smoothness(state.translation, self.times)
            ).mean(),
        }
        weights = {name: getattr(self.config.weights, name).at(progress) for name in unweighted}
        return {name: weights[name] * loss() for name, loss in unweighted.items() if weights[name] > 0}

    def _of_given_cues(
        self, view: _View, frames: Tensor, generator: torch.Generator
    ) -> dict[str, Callable[[], Float[Tensor, ""]]]:
        """Losses of cues that not every clip has."""
        losses: dict[str, Callable[[], Float[Tensor, ""]]] = {}
        size = self.cameras.image_size
        if (parts := self.part_target) is not None:
            samples = self.config.part_samples
            by_eyes = "parts" in self.eyes_made
            weights = self.config.eyes_part_weights if by_eyes else CHAMFER_PART_WEIGHTS
            losses["eyes_parts" if by_eyes else "part_chamfer"] = lambda: part_chamfer(
                view.projected,
                view.vertex_visible,
                self.part_vertices,
                parts[frames].drawn(samples, generator),
                weights,
            ).mean()
            losses["part_keypoints"] = lambda: part_keypoints(
                view.projected,
                view.vertex_visible,
                self.part_vertices,
                parts[frames].drawn_keypoints(self.part_vertices, PART_KEYPOINTS, generator),
            ).mean()
        if (surface := self.surface) is not None:
            losses["eyes_surface" if "surface" in self.eyes_made else "surface"] = lambda: surface_keypoints(
                view.projected, surface[frames], size, self.head_counts_half
            ).mean()
        if (keypoints := self.keypoints) is not None:
            losses["sparse_keypoints"] = lambda: sparse_keypoints(
                view.cameras.project(view.posed.keypoints), keypoints[frames], size
            ).mean()
        return losses

    def _silhouette(
        self, state: AnimalState, view: _View, frames: Tensor, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        samples = sample_surface(
            state.shaped.vertices.detach(), self.model.faces, self.config.surface_samples, generator
        )
        points = view.cameras.project(samples.on(view.posed.vertices, self.model.faces))
        target = self.target[frames].drawn(self.config.mask_samples, generator)
        weights = self._in_sight(points, frames)
        if self.config.hidden_count_less:
            weights = weights * surface_weights(samples, view.face_visible)
        return silhouette_distance(points, target, weights).mean()

    def _published_tracks(self, view: _View, frames: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:
        pairs = pairs_with_frame_before(self.frame_numbers[frames])
        visible = self.track_visible[frames]
        chosen = drawn_tracks(visible, pairs, PUBLISHED_TRACKS, generator)
        return published_tracks(
            view.projected,
            view.vertex_visible,
            self.cameras.image_size,
            self.track_points[frames][:, chosen],
            visible[:, chosen],
            pairs,
            self.head_counts_most,
        ).mean()

    def _arap(self, state: AnimalState) -> Float[Tensor, "1"]:
        """Of the vertex offsets on the rest shape: poses bend the mesh by skinning, which is free."""
        unturned = torch.eye(3, device=self.model.device).expand(1, self.model.n_vertices, 3, 3)
        return arap(state.shaped.vertices[None], state.base.vertices.detach(), self.rings, unturned)

    def _in_sight(self, points: Float[Tensor, "batch points 2"], frames: Tensor) -> Float[Tensor, "batch points"]:
        """1 where a point falls on the filmed frame, nearly 0 beyond its border, where nobody knows the mask."""
        _, height, width = self.inside.shape
        column = points[..., 0].detach().long().clamp(0, width - 1)
        row = points[..., 1].detach().long().clamp(0, height - 1)
        filmed = self.inside[frames[:, None], row, column]
        return torch.where(filmed, 1.0, 1e-3)

    def _tracks(
        self, fragments: Fragments, in_camera: Float[Tensor, "batch vertices 3"], frames: Tensor
    ) -> Float[Tensor, ""]:
        points, visible = self.track_points[frames], self.track_visible[frames]
        return anchored_tracks(
            anchor_tracks(fragments, points, visible),
            in_camera,
            self.model.faces,
            self.cameras.intrinsics[frames],
            self.cameras.image_size,
            points,
            visible,
            neighbour_pairs(self.frame_numbers[frames]),
        ).mean()

    @torch.no_grad()
    def silhouettes(self, state: AnimalState, frames: Tensor) -> Bool[Tensor, "batch height width"]:
        """The model's silhouette in the given frames."""
        cameras = self.cameras[frames]
        in_camera = cameras.transform(state.posed(frames).vertices)
        return rasterize(in_camera, self.model.faces, cameras.intrinsics, cameras.image_size).covered

    @torch.no_grad()
    def iou(self, state: AnimalState, frames: Tensor) -> Float[Tensor, "batch"]:
        """Overlap of the model's silhouette with the mask that the fit sees, within the filmed frame."""
        return self._overlap(state, frames, self.binary)

    def validation_iou(self, state: AnimalState) -> float:
        """Mean IoU with the filmed masks of the validation frames, of the training frames where nothing is held out."""
        frames = self.split.validation if len(self.split.validation) else self.split.train
        return float(self._overlap(state, frames, self.filmed).mean())

    def _overlap(
        self, state: AnimalState, frames: Tensor, masks: Bool[Tensor, "frames height width"]
    ) -> Float[Tensor, "batch"]:
        return overlap(self.silhouettes(state, frames) & self.inside[frames], masks[frames])


def frames_that_teach(clip: Clip, split: Split, config: FitConfig) -> Bool[Tensor, "frames"]:
    """Frames that losses look at: all with a mask, given or carried, or the training frames alone."""
    if config.teach_held_out:
        return clip.mask_valid
    taught = torch.zeros_like(clip.mask_valid)
    taught[split.train] = True
    return taught & clip.mask_valid


def _surface_target(clip: Clip, surface: SurfacePoints) -> SurfaceTarget:
    return SurfaceTarget(clip.crop.from_original(surface.pixels), surface.vertices, surface.confidence)


def _working_keypoints(clip: Clip, keypoints: SparseKeypoints) -> Float[Tensor, "frames 24 3"]:
    return torch.cat((clip.crop.from_original(keypoints.points), keypoints.score[..., None]), dim=-1)


def overlap(
    drawn: Bool[Tensor, "frames height width"], mask: Bool[Tensor, "frames height width"]
) -> Float[Tensor, "frames"]:
    """Intersection over union; nothing gained where both are empty."""
    return (drawn & mask).sum((1, 2)) / (drawn | mask).sum((1, 2)).clamp_min(1)
