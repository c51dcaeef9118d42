"""Candidate starts: a root pose for every frame, decided by silhouettes and by how the body moves over the ground.

Silhouettes alone confuse a body with its mirror image in depth, and sometimes head with tail. So the best path comes
with its rivals (turned round, mirrored in depth, both); the trainer fits each for a few steps and keeps the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.body.parts import leg_joints
from animal4d.clip import Clip
from animal4d.cues.eyes_views import Views
from animal4d.errors import Animal4dError
from animal4d.fit.pnp_start import PnpPath
from animal4d.fit.view_search import (
    PLACEMENTS,
    ViewBank,
    ViewGrid,
    ViewPath,
    ViewScores,
    best_path,
    build_view_bank,
    cost_of_path,
    mask_moments,
    score_views,
    view_rotation,
)
from animal4d.geometry.rotations import rotation_about


@dataclass(frozen=True)
class Start:
    """A root pose for every frame, in the camera's frame."""

    name: str
    """How it differs from the best path, in words."""
    shape_name: str
    """Species or breed whose silhouettes agreed best."""
    betas: Float[Tensor, "betas"]
    yaw: Float[Tensor, "frames"]
    """Radians; 0 heads to the right of the image, pi / 2 away from the camera. Continuous over time."""
    elevation: Float[Tensor, "frames"]
    """Radians; how far the camera looks down on the animal."""
    R_cam_from_body: Float[Tensor, "frames 3 3"]
    pixels: Float[Tensor, "frames 2"]
    """Where the body's origin projects to, in working pixels."""
    log_depth: Float[Tensor, "frames"]
    """Of the body's origin."""
    score: float
    """Mean overlap of the silhouettes in the window."""
    cost: float
    """Of the path, per frame: overlap, turning and motion over the ground together; a negative log-likelihood."""

    def to_dict(self) -> dict[str, Any]:
        """Tensors and plain values, for checkpoints."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def heading(self) -> str:
        """In words, for the log."""
        x, depth = float(self.yaw.cos().mean()), float(self.yaw.sin().mean())
        side = "right" if x > 0 else "left"
        if abs(depth) > 2 * abs(x):
            return "away from the camera" if depth > 0 else "towards the camera"
        if abs(depth) > 0.35 * abs(x):
            return f"{side} and {'away' if depth > 0 else 'towards the camera'}"
        return side

    def heads_as(self, other: Start) -> bool:
        """Whether both see the animal head the same way, give or take 45 degrees in the mean over the frames."""
        ahead = (self.R_cam_from_body[:, :, 0] * other.R_cam_from_body[:, :, 0]).sum(-1)
        return float(ahead.mean()) > math.cos(math.pi / 4)


@dataclass(frozen=True)
class ViewSearch:
    """Silhouettes from all around compared with a clip's masks, and what else is known of the views."""

    clip: Clip
    shapes: dict[str, Float[Tensor, "betas"]]
    bank: ViewBank
    scores: ViewScores
    yaw_evidence: Float[Tensor, "frames yaws"]
    view_evidence: Float[Tensor, "frames elevations yaws"] | None

    def starts(self, count: int) -> list[Start]:
        """The best path and up to `count - 1` rivals, best first."""
        grid, valid, names = self.bank.grid, self.clip.mask_valid, list(self.shapes)
        search = partial(best_path, self.scores.overlap, valid, self.yaw_evidence, view_evidence=self.view_evidence)
        best = search()
        paths = [("best", best)]
        yaw = grid.yaws[best.yaw_index]
        rivals = {
            "turned round": yaw + math.pi,
            "mirrored in depth": -yaw,
            "turned round and mirrored in depth": math.pi - yaw,
        }
        for name, center in rivals.items():
            near = _within(grid.yaws[None], center[:, None], math.radians(40))
            near &= ~_within(grid.yaws[None], yaw[:, None], math.radians(25))
            if bool(near.any(dim=1).all()):
                paths.append((name, search(allowed_yaws=near)))
        paths = [paths[0], *sorted(paths[1:], key=lambda item: item[1].cost)][:count]
        return [
            _start_from_path(name, path, self.clip, self.bank, self.scores, names[path.body], self.shapes)
            for name, path in paths
        ]

    def cost_of(self, start: Start) -> float:
        """What the path of a start that was found otherwise costs here."""
        views = self.bank.grid.nearest(start.yaw, start.elevation)
        return cost_of_path(self.scores.overlap, self.clip.mask_valid, self.yaw_evidence, self.view_evidence, *views)


def search_views(
    clip: Clip,
    model: BodyModel,
    shapes: dict[str, Float[Tensor, "betas"]],
    motion: Float[Tensor, "frames"],
    views: Views | None = None,
    view_weight: float = 0.0,
) -> ViewSearch:
    """Compare silhouettes from all around with the clip's masks.

    `shapes` are the bodies to try (betas by name). `motion` is the horizontal motion of the animal over the ground
    in every frame, positive to the right, in lengths of the animal per second (zero where unknown). `views` are what
    the built-in network says, `view_weight` how much that counts where it is sure.
    """
    grid = ViewGrid.default()
    moments = mask_moments(clip.masks)
    focal = clip.intrinsics[:, [0, 1], [0, 1]].mean(1)
    angular_size = float((moments.root_areas / focal)[clip.mask_valid].median())
    poses = _usual_poses(model)
    bodies = [[model.with_shape(betas).with_pose(pose) for pose in poses] for betas in shapes.values()]
    bank = build_view_bank(bodies, grid, angular_size)
    scores = score_views(clip.masks, bank)
    seen = None if views is None else view_weight * _view_evidence(views, grid)
    return ViewSearch(clip, shapes, bank, scores, _yaw_evidence(motion, grid), seen)


def _usual_poses(model: BodyModel) -> list[Float[Tensor, "joints 3 3"]]:
    """Standing, striding with the tail down, and that with the neck lowered too."""
    standing = torch.eye(3).repeat(model.n_joints, 1, 1)
    striding = standing.clone()
    striding[model.joint_names.index("tail_1")] = rotation_about("y", torch.tensor(-0.9))
    for pair, side, angle in (
        ("front", "left", -0.35),
        ("front", "right", 0.35),
        ("back", "left", 0.35),
        ("back", "right", -0.35),
    ):
        striding[leg_joints(model.joint_names, pair, side)[0]] = rotation_about("y", torch.tensor(angle))
    lowered = striding.clone()
    lowered[model.joint_names.index("neck")] = rotation_about("y", torch.tensor(0.6))
    return [standing, striding, lowered]


def start_on_path(
    path: PnpPath, clip: Clip, betas: Float[Tensor, "betas"], cost: float, shape_name: str = "mean"
) -> Start:
    """A start from known correspondences. `cost` says how much it is believed, as that of a view path does."""
    forward, up = path.R_cam_from_body[:, :, 0], path.R_cam_from_body[:, :, 2]
    in_pixels = (clip.intrinsics @ path.t_cam_from_body[..., None]).squeeze(-1)
    return Start(
        name="surface map",
        shape_name=shape_name,
        betas=betas,
        yaw=_unwrap(torch.atan2(forward[:, 2], forward[:, 0])),
        elevation=torch.asin(-up[:, 2].clamp(-1, 1)),
        R_cam_from_body=path.R_cam_from_body,
        pixels=in_pixels[:, :2] / in_pixels[:, 2:],
        log_depth=path.t_cam_from_body[:, 2].log(),
        score=float(path.valid.float().mean()),
        cost=cost,
    )


def load_start(path: Path) -> tuple[Start, dict[str, Any]]:
    """Start and notes of a checkpoint. Raises Animal4dError when it cannot be read."""
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        return Start(**saved["start"]), saved["notes"]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Animal4dError(f"{path}: is not a checkpoint ({reason}); start again with --overwrite") from error


def _yaw_evidence(motion: Float[Tensor, "frames"], grid: ViewGrid) -> Float[Tensor, "frames yaws"]:
    """Log-likelihood of a yaw by the motion over the ground: animals walk where they look."""
    strength = torch.tanh(motion / 0.5)
    return 1.5 * strength[:, None] * grid.yaws.cos()[None]


def _view_evidence(views: Views, grid: ViewGrid) -> Float[Tensor, "frames elevations yaws"]:
    """Log-likelihood of a view by the direction of the camera that the built-in network sees (von Mises-Fisher), up to
    its weight."""
    return torch.einsum("eyc,fc->fey", grid.camera_directions, views.confidence[:, None] * views.direction)


def _within(a: Tensor, b: Tensor, tolerance: float) -> Bool[Tensor, "..."]:
    """Whether two angles differ by less than `tolerance`."""
    return torch.cos(a - b) > math.cos(tolerance)


def _start_from_path(
    name: str,
    path: ViewPath,
    clip: Clip,
    bank: ViewBank,
    scores: ViewScores,
    shape_name: str,
    shapes: dict[str, Float[Tensor, "betas"]],
) -> Start:
    smooth = partial(_local_line, times=clip.times)
    yaw = smooth(_unwrap(bank.grid.yaws[path.yaw_index])[:, None], seconds=0.33)[:, 0]
    elevation = smooth(bank.grid.elevations[path.elevation_index][:, None], seconds=0.33)[:, 0]

    view = (torch.arange(len(clip)), path.body, path.elevation_index, path.yaw_index)
    posed_view = (path.body, scores.pose[view], path.elevation_index, path.yaw_index)
    center, root_area = bank.centroids[posed_view], bank.root_areas[posed_view]
    moments = mask_moments(clip.masks).placed(PLACEMENTS[scores.placement[view]])
    focal = clip.intrinsics[:, [0, 1], [0, 1]].mean(1)
    depth = focal * root_area / moments.root_areas
    pixels = moments.centroids - center * (focal / depth)[:, None]
    # Legs move the centroid and the area about from frame to frame; in the original frames the body moves smoothly.
    in_original = clip.crop.to_original(pixels[:, None])[:, 0]
    in_original = smooth(_fill(in_original, clip.mask_valid), seconds=0.2)
    pixels = clip.crop.from_original(in_original[:, None])[:, 0]
    log_scale = clip.crop.scale.log()
    original_depth = _fill((depth.log() + log_scale)[:, None], clip.mask_valid)
    log_depth = smooth(original_depth, seconds=0.27)[:, 0] - log_scale

    rays = torch.cat((pixels, torch.ones(len(clip), 1)), dim=1)
    rays = (torch.linalg.inv(clip.intrinsics) @ rays[..., None]).squeeze(-1)
    R_cam_from_body = rotation_to_ray(rays) @ view_rotation(yaw, elevation)
    return Start(
        name,
        shape_name,
        shapes[shape_name],
        yaw,
        elevation,
        R_cam_from_body,
        pixels,
        log_depth,
        path.mean_iou,
        path.cost,
    )


def rotation_to_ray(rays: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 3 3"]:
    """Smallest rotation that turns the optical axis into each ray: a view of the image's middle, seen off centre."""
    axis = torch.nn.functional.normalize(rays, dim=-1)
    x, y, z = axis.unbind(-1)
    k = 1 / (1 + z)
    return torch.stack((1 - k * x * x, -k * x * y, x, -k * x * y, 1 - k * y * y, y, -x, -y, z), dim=-1).unflatten(
        -1, (3, 3)
    )


def _unwrap(angle: Float[Tensor, "frames"]) -> Float[Tensor, "frames"]:
    step = torch.remainder(angle.diff() + math.pi, 2 * math.pi) - math.pi
    return torch.cat((angle[:1], angle[:1] + step.cumsum(0)))


def _fill(values: Float[Tensor, "frames n"], valid: Bool[Tensor, "frames"]) -> Float[Tensor, "frames n"]:
    """Linear interpolation over frames that are not valid; the nearest valid value at the ends."""
    if bool(valid.all()) or not bool(valid.any()):
        return values
    known = torch.nonzero(valid).squeeze(1).double().numpy()
    ticks = np.arange(len(values))
    columns = [np.interp(ticks, known, values[valid, i].double().numpy()) for i in range(values.shape[1])]
    return torch.tensor(np.stack(columns, axis=1), dtype=values.dtype)


def _local_line(
    values: Float[Tensor, "frames n"], times: Float[Tensor, "frames"], seconds: float
) -> Float[Tensor, "frames n"]:
    """Gaussian-weighted straight line through the neighbours of every frame: smooth, and without lag at the ends.

    The weight falls off over `seconds`, but over no less than 1.5 frames.
    """
    if len(values) < 3:
        return values
    reach = max(seconds, 1.5 * float(times.diff().median()))
    offset = (times[None] - times[:, None]).double() / reach
    weight = torch.exp(-0.5 * offset**2)
    s0, s1, s2 = weight.sum(1), (weight * offset).sum(1), (weight * offset**2).sum(1)
    level = weight * (s2[:, None] - s1[:, None] * offset)
    return (level @ values.double() / (s0 * s2 - s1**2).clamp_min(1e-9)[:, None]).to(values.dtype)
