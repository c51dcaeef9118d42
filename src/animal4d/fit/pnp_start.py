"""Where the animal stands in every frame, from pixels whose vertices are known: PnP frame by frame, then one path.

Source: 4D-Animal (arXiv 2507.10437) and Animal Avatars (arXiv 2403.17103); see method.md 5. The template is in rest
pose, so that a moving animal's pairs agree with a pose only within a generous threshold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.surface import SurfacePoints
from animal4d.geometry.alignment import align_camera_tracks
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.pnp import PUBLISHED, PnpPose, PnpSettings, solve_pnp
from animal4d.geometry.rotations import angle_between, axis_angle_from_matrix, matrix_from_axis_angle

SMOOTHING_SECONDS = 0.15
"""Standard deviation of the smoothing over time, where there are no cameras."""
_NEAR_SECONDS = 1.0
_LARGEST_DEPARTURE = 60.0
"""Degrees by which a frame's rotation may depart from the one that most frames agree on."""


@dataclass(frozen=True)
class PnpPath:
    """A root pose for every frame, in the camera's frame: `X_cam = R_cam_from_body @ X_body + t_cam_from_body`."""

    R_cam_from_body: Float[Tensor, "frames 3 3"]
    t_cam_from_body: Float[Tensor, "frames 3"]
    valid: Bool[Tensor, "frames"]
    """Frames with a pose of their own that agrees with the others; the rest is filled in from them."""
    inliers: Int[Tensor, "frames"]
    """Pairs that agree with the frame's own pose; zero where it has none."""


def pnp_poses(
    clip: Clip,
    rest_vertices: Float[Tensor, "vertices 3"],
    points: SurfacePoints,
    settings: PnpSettings = PUBLISHED,
    of_window: bool = False,
) -> list[PnpPose | None]:
    """Each frame's own pose; None where there are no points, or they do not agree.

    `rest_vertices` is the template in the shape that is assumed, in rest pose. The threshold is relative to the frame,
    as published, or `of_window`: to the window that follows the animal, for animals that are small in the frame.
    """
    intrinsics = clip.crop.original_intrinsics(clip.intrinsics).cpu().double().numpy()
    windows = (clip.crop.scale * max(clip.image_size)).tolist()
    sides = windows if of_window else [float(max(clip.crop.original_size))] * len(clip)
    vertices = rest_vertices.detach().cpu().double().numpy()
    poses = []
    for frame in range(len(clip)):
        filled = points.confidence[frame] > 0
        places = vertices[points.vertices[frame][filled].cpu().numpy()]
        pixels = points.pixels[frame][filled].cpu().double().numpy()
        threshold = settings.threshold * sides[frame] / 2
        poses.append(solve_pnp(places, pixels, intrinsics[frame], threshold, settings))
    return poses


def pnp_path(
    clip: Clip,
    rest_vertices: Float[Tensor, "vertices 3"],
    points: SurfacePoints,
    settings: PnpSettings = PUBLISHED,
    of_window: bool = False,
) -> PnpPath | None:
    """The root path of a clip; None where no frame has a pose.

    With a camera track, one similarity brings the track nearest to the poses, and the animal stands still in its world:
    the published way, whose path shakes no more than the cameras do. Without one, the poses are made smooth over time.
    Poses that contradict the majority (an animal seen the wrong way round) are left out of both. A track that
    contradicts the poses altogether is left out too.
    """
    own = torch.eye(4, dtype=torch.float64).repeat(len(clip), 1, 1)
    inliers = torch.zeros(len(clip), dtype=torch.long)
    for frame, pose in enumerate(pnp_poses(clip, rest_vertices, points, settings, of_window)):
        if pose is not None:
            own[frame, :3, :3] = torch.from_numpy(pose.R_cam_from_body)
            own[frame, :3, 3] = torch.from_numpy(pose.t_cam_from_body)
            inliers[frame] = int(pose.inliers.sum())
    return path_of_poses(clip, own, inliers)


def path_of_poses(clip: Clip, own: Float[Tensor, "frames 4 4"], inliers: Int[Tensor, "frames"]) -> PnpPath | None:
    """The path from the frames' own poses (camera from body) and how many pairs each is held by; zero for none."""
    own = own.double()
    solved = torch.nonzero(inliers).squeeze(1).tolist()
    if not solved:
        return None
    path, chosen = None, torch.tensor(solved)
    if clip.world_to_camera is not None:
        track = clip.world_to_camera.cpu().double()
        R_world_from_body = track[solved, :3, :3].transpose(1, 2) @ own[solved, :3, :3]
        chosen = torch.tensor(solved)[_agreeing(R_world_from_body, clip.times[solved], torch.inf, inliers[solved])]
        path = _aligned(track, own, chosen)
    if path is None:
        kept = _agreeing(own[solved, :3, :3], clip.times[solved], _NEAR_SECONDS, inliers[solved])
        chosen = torch.tensor(solved)[kept]
        path = _smoothed(own[chosen], clip.times[chosen], clip.times)
    valid = torch.zeros(len(clip), dtype=torch.bool)
    valid[chosen] = True
    return PnpPath(path[:, :3, :3].float(), path[:, :3, 3].float(), valid, inliers)


def _agreeing(
    rotations: Float[Tensor, "solved 3 3"], times: Float[Tensor, "solved"], reach: float, inliers: Int[Tensor, "solved"]
) -> Bool[Tensor, "solved"]:
    """Frames whose rotation is near to the one, of those at most `reach` seconds away, that has most inliers behind
    it."""
    near_in_time = (times[:, None] - times[None]).abs() <= reach
    angles = torch.rad2deg(angle_between(rotations[:, None], rotations[None]))
    close = angles < _LARGEST_DEPARTURE
    # votes[i, j]: inliers among the frames near i that agree with j.
    votes = (near_in_time.double() * inliers.double()) @ close.double()
    leader = votes.masked_fill(~near_in_time, -1.0).argmax(1)
    return close.gather(1, leader[:, None]).squeeze(1)


def _smoothed(
    poses: Float[Tensor, "solved 4 4"], times: Float[Tensor, "solved"], wanted: Float[Tensor, "frames"]
) -> Float[Tensor, "frames 4 4"]:
    """Gaps filled (the nearest pose at the ends), then a straight line fitted to the neighbours of every frame with
    Gaussian weights: steady turning and walking stay as they are, up to the ends, where a mean would lag behind."""
    known, every = times.double().numpy(), wanted.double().numpy()
    inside = every.clip(known[0], known[-1])
    if len(known) == 1:
        filled = poses.expand(len(every), 4, 4).clone()
    else:
        filled = torch.eye(4, dtype=torch.float64).repeat(len(every), 1, 1)
        turns = Slerp(known, Rotation.from_matrix(poses[:, :3, :3].numpy()))(inside).as_matrix()
        filled[:, :3, :3] = torch.from_numpy(np.ascontiguousarray(turns))
        shifts = [np.interp(inside, known, poses[:, axis, 3].numpy()) for axis in range(3)]
        filled[:, :3, 3] = torch.from_numpy(np.stack(shifts, axis=-1))
    apart = (wanted[None] - wanted[:, None]).double() / SMOOTHING_SECONDS
    weights = torch.softmax(-0.5 * apart.square(), dim=1)
    first, second = (weights * apart).sum(1, keepdim=True), (weights * apart.square()).sum(1, keepdim=True) + 1e-9
    lines = weights * (second - first * apart) / (second - first.square())

    u, _, vt = torch.linalg.svd(torch.einsum("ij,jab->iab", weights, filled[:, :3, :3]))
    u[:, :, 2] *= torch.linalg.det(u @ vt)[:, None]
    near = u @ vt
    from_near = axis_angle_from_matrix(near[:, None].transpose(-1, -2) @ filled[None, :, :3, :3])
    smooth = filled.clone()
    smooth[:, :3, :3] = near @ matrix_from_axis_angle(torch.einsum("ij,ijc->ic", lines, from_near))
    smooth[:, :3, 3] = lines @ filled[:, :3, 3]
    return smooth


def _aligned(
    track: Float[Tensor, "frames 4 4"], own: Float[Tensor, "frames 4 4"], chosen: Int[Tensor, "solved"]
) -> Float[Tensor, "frames 4 4"] | None:
    """The camera track in the body's frame, by the similarity that aligns it with the own poses of chosen frames.

    None where that would mirror the world or put the body behind a camera, because track and poses contradict.
    """
    some = Cameras(torch.eye(3, dtype=torch.float64).repeat(len(chosen), 1, 1), track[chosen], (1, 1))
    aligned = align_camera_tracks(some, replace(some, world_to_camera=own[chosen]))
    # What it did to the chosen cameras is done to all: R' = R turn, t' = R shift + scale t.
    turn = some.R_cam_from_world[0].T @ aligned.R_cam_from_world[0]
    before, after = (cameras.centers - cameras.centers.mean(0) for cameras in (some, aligned))
    spread = before.square().sum()
    scale = ((before @ turn) * after).sum() / spread if spread > 1e-12 else torch.ones_like(spread)
    moved = aligned.t_cam_from_world - scale * some.t_cam_from_world
    shift = (some.R_cam_from_world.transpose(1, 2) @ moved[..., None]).squeeze(-1).mean(0)
    result = track.clone()
    result[:, :3, :3] = track[:, :3, :3] @ turn
    result[:, :3, 3] = track[:, :3, :3] @ shift + scale * track[:, :3, 3]
    return result if scale > 0 and bool((result[:, 2, 3] > 0).all()) else None
