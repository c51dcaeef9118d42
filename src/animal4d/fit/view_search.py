"""Where does the camera stand? Silhouettes of the template from all around, compared with every mask of a clip.

A view is a yaw and an elevation: yaw 0 heads to the right of the image, 90 degrees away from the camera; elevation is
how far the camera looks down. Masks and views are compared in a window that follows their centroid and area, so that
place and scale nearly drop out; what is left of them, as when a neck is stretched or a tail hangs down, is tried out
(`PLACEMENTS`), and so are a few poses, since legs that walk cover other pixels than legs that stand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from animal4d.body.model import PosedBody
from animal4d.geometry.rasterize import rasterize
from animal4d.geometry.rotations import rotation_about

WINDOW = 48
"""Side of the window in which silhouettes are compared, in pixels."""
WINDOW_IN_ROOT_AREAS = 3.0
"""Side of the window in units of the square root of the silhouette's area."""
PLACEMENTS = torch.cartesian_prod(torch.tensor([0.85, 1.0, 1.18]), *(torch.linspace(-0.25, 0.25, 5),) * 2)
"""Scale of a mask's root area, and shift of its centroid (x, y) in root areas, under which it is compared."""
R_CAM_FROM_LEVEL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""A level camera at the origin of a world with x right, y forward and z up."""


@dataclass(frozen=True)
class ViewGrid:
    """The views that are tried."""

    yaws: Float[Tensor, "yaws"]
    """Radians."""
    elevations: Float[Tensor, "elevations"]
    """Radians."""

    @staticmethod
    def default() -> ViewGrid:
        return ViewGrid(
            yaws=torch.deg2rad(torch.arange(0.0, 360.0, 10.0)),
            elevations=torch.deg2rad(torch.tensor([-8.0, 2.0, 12.0, 24.0, 38.0])),
        )

    @property
    def R_cam_from_body(self) -> Float[Tensor, "elevations yaws 3 3"]:
        """Rotation of every view."""
        return view_rotation(self.yaws[None, :], self.elevations[:, None])

    @property
    def camera_directions(self) -> Float[Tensor, "elevations yaws 3"]:
        """Unit vector from the body to the camera, in the body's frame."""
        return -self.R_cam_from_body[..., 2, :]

    def nearest(
        self, yaw: Float[Tensor, "frames"], elevation: Float[Tensor, "frames"]
    ) -> tuple[Int[Tensor, "frames"], Int[Tensor, "frames"]]:
        """Indices of the elevations and yaws that are nearest."""
        rows = (elevation[:, None] - self.elevations[None]).abs().argmin(1)
        return rows, torch.cos(yaw[:, None] - self.yaws[None]).argmax(1)


def view_rotation(yaw: Float[Tensor, "*batch"], elevation: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Camera from body, for a body that stands upright and is seen in the middle of the image."""
    return rotation_about("x", elevation) @ R_CAM_FROM_LEVEL.to(yaw) @ rotation_about("z", yaw)


@dataclass(frozen=True)
class ViewBank:
    """Silhouettes of several bodies in several poses from every view of a grid, normalised to the window."""

    grid: ViewGrid
    windows: Float[Tensor, "bodies poses elevations yaws pixels"]
    centroids: Float[Tensor, "bodies poses elevations yaws 2"]
    """Of the silhouette, relative to the projected body origin, at unit focal length and unit depth."""
    root_areas: Float[Tensor, "bodies poses elevations yaws"]
    """Square root of the silhouette's area, at unit focal length and unit depth."""


@dataclass(frozen=True)
class MaskMoments:
    """Centroid (pixels) and square root of the area (pixels) of every mask."""

    centroids: Float[Tensor, "frames 2"]
    root_areas: Float[Tensor, "frames"]

    def placed(self, placement: Float[Tensor, "*frames 3"]) -> MaskMoments:
        """Moved and scaled by rows of `PLACEMENTS`."""
        scale, shift = placement[..., 0], placement[..., 1:]
        return MaskMoments(self.centroids + shift * self.root_areas[:, None], self.root_areas * scale)


def mask_moments(masks: Float[Tensor, "frames height width"]) -> MaskMoments:
    """Moments of the masks; empty masks get the image's centre and a root area of 1."""
    _, height, width = masks.shape
    area = masks.sum((1, 2))
    x = torch.arange(width, device=masks.device) + 0.5
    y = torch.arange(height, device=masks.device) + 0.5
    safe = area.clamp_min(1.0)
    centroid = torch.stack(((masks.sum(1) * x).sum(1) / safe, (masks.sum(2) * y).sum(1) / safe), dim=-1)
    middle = centroid.new_tensor([width / 2, height / 2])
    return MaskMoments(torch.where(area[:, None] > 0, centroid, middle), area.clamp_min(1.0).sqrt())


def normalized_windows(
    masks: Float[Tensor, "frames height width"], moments: MaskMoments
) -> Float[Tensor, "frames pixels"]:
    """Masks resampled to the window around their centroid, flattened."""
    _, height, width = masks.shape
    ticks = (torch.arange(WINDOW, device=masks.device) + 0.5) / WINDOW - 0.5
    local = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)
    side = WINDOW_IN_ROOT_AREAS * moments.root_areas
    pixels = moments.centroids[:, None, None] + local * side[:, None, None, None]
    grid = pixels / pixels.new_tensor([width / 2, height / 2]) - 1
    # Averaging first keeps thin legs when a large mask shrinks to the window.
    sampled = torch.nn.functional.grid_sample(masks[:, None], grid, align_corners=False)
    return sampled[:, 0].flatten(1)


def build_view_bank(
    bodies: Sequence[Sequence[PosedBody]], grid: ViewGrid, angular_size: float, resolution: int = 96
) -> ViewBank:
    """Render every body in all of its poses (at the origin, in its own frame) from every view.

    `angular_size` is the typical square root of the mask's area over the focal length: it decides how strong
    perspective is.
    """
    rotations = grid.R_cam_from_body.flatten(0, 1)
    windows, centroids, root_areas = [], [], []
    for body in (posed for poses in bodies for posed in poses):
        vertices = body.vertices
        extent = float((vertices.amax(0) - vertices.amin(0)).max())
        distance = max(0.6 * extent / angular_size, 1.2 * extent)
        focal = 0.8 * resolution * (distance - 0.5 * extent) / extent
        intrinsics = torch.tensor([[focal, 0.0, resolution / 2], [0.0, focal, resolution / 2], [0.0, 0.0, 1.0]])
        in_camera = vertices @ rotations.transpose(1, 2) + torch.tensor([0.0, 0.0, distance])
        fragments = rasterize(
            in_camera, body.shaped.model.faces, intrinsics.expand(len(rotations), 3, 3), (resolution, resolution)
        )
        silhouettes = (fragments.face_index >= 0).float()
        moments = mask_moments(silhouettes)
        windows.append(normalized_windows(silhouettes, moments))
        to_unit = distance / focal
        centroids.append((moments.centroids - resolution / 2) * to_unit)
        root_areas.append(moments.root_areas * to_unit)
    shape = (len(bodies), len(bodies[0]), len(grid.elevations), len(grid.yaws))
    flat = (torch.cat(parts) for parts in (windows, centroids, root_areas))
    return ViewBank(grid, *(tensor.unflatten(0, shape) for tensor in flat))


@dataclass(frozen=True)
class ViewScores:
    """How well every mask agrees with every view of every body, in the pose and placement that suit it best."""

    overlap: Float[Tensor, "frames bodies elevations yaws"]
    """Intersection over union in the window."""
    pose: Int[Tensor, "frames bodies elevations yaws"]
    """Index of the pose."""
    placement: Int[Tensor, "frames bodies elevations yaws"]
    """Row of `PLACEMENTS`."""


def score_views(masks: Float[Tensor, "frames height width"], bank: ViewBank) -> ViewScores:
    """Compare every mask with every silhouette of the bank."""
    moments = mask_moments(masks)
    views = bank.windows.flatten(0, 3)
    view_areas = views.sum(1)
    best = torch.full((len(masks), len(views)), -1.0)
    placement = torch.zeros_like(best, dtype=torch.long)
    for row, values in enumerate(PLACEMENTS):
        target = normalized_windows(masks, moments.placed(values.expand(len(masks), 3)))
        intersection = target @ views.T
        overlap = intersection / (target.sum(1, keepdim=True) + view_areas - intersection).clamp_min(1e-6)
        better = overlap > best
        best = torch.where(better, overlap, best)
        placement[better] = row
    best, placement = (tensor.unflatten(1, bank.windows.shape[:4]) for tensor in (best, placement))
    overlap, pose = best.max(2)
    return ViewScores(overlap, pose, placement.gather(2, pose[:, :, None])[:, :, 0])


SHARPNESS = 12.0
"""Log score of a full overlap."""
TURN_COST = 0.15
"""Of a step to the next yaw or elevation of the grid."""


@dataclass(frozen=True)
class ViewPath:
    """A view for every frame, joined over time."""

    body: int
    elevation_index: Int[Tensor, "frames"]
    yaw_index: Int[Tensor, "frames"]
    mean_iou: float
    """Over the frames that have a mask."""
    cost: float
    """What the dynamic programming minimised, per frame."""


def _unary_costs(
    scores: Float[Tensor, "frames bodies elevations yaws"],
    valid: Bool[Tensor, "frames"],
    yaw_evidence: Float[Tensor, "frames yaws"],
    view_evidence: Float[Tensor, "frames elevations yaws"] | None,
) -> NDArray[np.floating]:
    """What every view costs in every frame, whatever comes before and after."""
    costs = -SHARPNESS * scores.numpy() * valid.numpy()[:, None, None, None] - yaw_evidence.numpy()[:, None, None]
    return costs if view_evidence is None else costs - view_evidence.numpy()[:, None]


def cost_of_path(
    scores: Float[Tensor, "frames bodies elevations yaws"],
    valid: Bool[Tensor, "frames"],
    yaw_evidence: Float[Tensor, "frames yaws"],
    view_evidence: Float[Tensor, "frames elevations yaws"] | None,
    elevation_index: Int[Tensor, "frames"],
    yaw_index: Int[Tensor, "frames"],
) -> float:
    """What a path found otherwise costs per frame, as `best_path` counts, with the body that suits it best."""
    unary = _unary_costs(scores, valid, yaw_evidence, view_evidence)
    frames, n_yaws = len(scores), scores.shape[-1]
    along = unary[np.arange(frames), :, elevation_index.numpy(), yaw_index.numpy()].sum(0).min()
    turns = np.abs(np.diff(yaw_index.numpy()))
    steps = np.minimum(turns, n_yaws - turns).sum() + np.abs(np.diff(elevation_index.numpy())).sum()
    return float(along + TURN_COST * steps) / frames


def best_path(
    scores: Float[Tensor, "frames bodies elevations yaws"],
    valid: Bool[Tensor, "frames"],
    yaw_evidence: Float[Tensor, "frames yaws"],
    allowed_yaws: Bool[Tensor, "frames yaws"] | None = None,
    view_evidence: Float[Tensor, "frames elevations yaws"] | None = None,
) -> ViewPath:
    """Viterbi over time: high overlap, slow turning (at most 30 degrees a frame), one body for all frames.

    `yaw_evidence` is added to the log score of a yaw, `view_evidence` to that of a view. Frames without a mask only
    pass the path on.
    """
    frames, bodies, n_elevations, n_yaws = scores.shape
    reach = 3
    best: ViewPath | None = None
    unary_all = _unary_costs(scores, valid, yaw_evidence, view_evidence)
    if allowed_yaws is not None:
        unary_all = unary_all + np.where(allowed_yaws.numpy(), 0.0, 1e3)[:, None, None]
    for body in range(bodies):
        unary = unary_all[:, body]
        total = unary[0]
        came_from = np.zeros((frames, n_elevations, n_yaws), np.int64)
        states = np.arange(n_elevations * n_yaws).reshape(n_elevations, n_yaws)
        for frame in range(1, frames):
            candidates, origins = [], []
            for tilt in (-1, 0, 1):
                moved_rows = np.clip(np.arange(n_elevations) + tilt, 0, n_elevations - 1)
                for turn in range(-reach, reach + 1):
                    candidates.append(np.roll(total[moved_rows], turn, axis=1) + TURN_COST * (abs(turn) + abs(tilt)))
                    origins.append(np.roll(states[moved_rows], turn, axis=1))
            stacked = np.stack(candidates)
            choice = stacked.argmin(0)
            came_from[frame] = np.take_along_axis(np.stack(origins), choice[None], 0)[0]
            total = np.take_along_axis(stacked, choice[None], 0)[0] + unary[frame]
        cost = float(total.min()) / frames
        if best is None or cost < best.cost:
            state = int(total.argmin())
            path = [state]
            for frame in range(frames - 1, 0, -1):
                state = int(came_from[frame].flat[state])
                path.append(state)
            indices = torch.tensor(path[::-1])
            rows, columns = indices // n_yaws, indices % n_yaws
            overlap = scores[torch.arange(frames), body, rows, columns]
            mean_iou = float(overlap[valid].mean()) if bool(valid.any()) else math.nan
            best = ViewPath(body, rows, columns, mean_iou, cost)
    assert best is not None
    return best
