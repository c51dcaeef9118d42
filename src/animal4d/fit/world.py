"""The world of a reconstruction: which cameras the fit sees, and how the result is put on the ground."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.start import Start
from animal4d.fit.view_search import R_CAM_FROM_LEVEL
from animal4d.geometry.rotations import skew

_SCALE_SECONDS = 0.6
_LEAST_BEND = 0.01
"""How far a camera path must bend, as a share of its extent, to tell the scale of the world."""


def fit_cameras(clip: Clip, start: Start) -> Float[Tensor, "frames 4 4"]:
    """World to camera for the fit: the user's track scaled to the animal, or one level camera for all frames.

    Without a track, what the camera does and what the animal does cannot be told apart; the world then moves with the
    camera, and so does everything that is reported about it.
    """
    if clip.world_to_camera is None:
        fixed = torch.eye(4)
        fixed[:3, :3] = R_CAM_FROM_LEVEL
        return fixed.repeat(len(clip), 1, 1)
    scaled = clip.world_to_camera.clone()
    scaled[:, :3, 3] *= camera_track_scale(clip, start)
    return scaled


def camera_track_scale(clip: Clip, start: Start) -> float:
    """Scale of the user's world in units of the template, by where the start sees the animal."""
    assert clip.world_to_camera is not None
    rays = torch.cat((start.pixels, torch.ones(len(clip), 1)), dim=1)
    rays = (torch.linalg.inv(clip.intrinsics) @ rays[..., None]).squeeze(-1)
    return _steadiest_scale(clip.world_to_camera, rays * start.log_depth.exp()[:, None], clip.times)


def _steadiest_scale(
    world_to_camera: Float[Tensor, "frames 4 4"], in_camera: Float[Tensor, "frames 3"], times: Float[Tensor, "frames"]
) -> float:
    """The scale of the camera track under which the animal, seen in the cameras' frames, accelerates least in the world
    (linear least squares). 1 where the cameras do not move.

    Accelerations are taken over a good part of a second: over less, strides and errors of the path drown those of the
    camera. Where the cameras move on a straight line they say nothing of the scale, and the animal is taken to move as
    little as it can.
    """
    R_world_from_cam = world_to_camera[:, :3, :3].transpose(1, 2)
    seen = (R_world_from_cam @ in_camera[..., None]).squeeze(-1)
    centers = -(R_world_from_cam @ world_to_camera[:, :3, 3:]).squeeze(-1)
    frames = len(times)
    travel = float((centers - centers.mean(0)).norm())
    if frames < 3 or travel < 1e-6 * float(seen.norm()):
        return 1.0
    lag = min(max(round(_SCALE_SECONDS / max(float(times.diff().median()), 1e-6)), 1), (frames - 1) // 2)
    bends = [path[2 * lag :] - 2 * path[lag:-lag] + path[: -2 * lag] for path in (seen, centers)]
    if float(bends[1].norm()) > _LEAST_BEND * travel:
        scale = float(-(bends[0] * bends[1]).sum() / bends[1].square().sum())
        if scale > 0:
            return scale
    a, b = seen.diff(dim=0).flatten(), centers.diff(dim=0).flatten()
    return max(float(-(a @ b) / (b @ b)), 1e-3)


def scale_camera_track(reconstruction: Reconstruction, model: BodyModel) -> Reconstruction:
    """The same animal in the same pictures, with the camera track scaled by what the fitted path says of it."""
    root = reconstruction.posed(model).joints[:, 0]
    in_camera = reconstruction.cameras.transform(root[:, None])[:, 0]
    scale = _steadiest_scale(reconstruction.world_to_camera, in_camera, reconstruction.times)
    world_to_camera = reconstruction.world_to_camera.clone()
    world_to_camera[:, :3, 3] *= scale
    shift = (scale - 1) * reconstruction.cameras.centers
    return replace(reconstruction, translation=reconstruction.translation + shift, world_to_camera=world_to_camera)


def put_on_ground(reconstruction: Reconstruction, model: BodyModel) -> Reconstruction:
    """The same reconstruction in a world whose z axis is the animal's mean up direction, with the ground at z = 0 under
    the lowest paws and the animal's mean place at x = y = 0."""
    up = torch.nn.functional.normalize(reconstruction.joint_rotations[:, 0, :, 2].mean(0), dim=0)
    R_new_from_old = _rotation_between(up, up.new_tensor([0.0, 0.0, 1.0]))
    vertices = reconstruction.posed(model).vertices @ R_new_from_old.T
    lowest = vertices[..., 2].amin(1)
    ground = torch.quantile(lowest, 0.2)
    # The model turns the body about its root joint: turning the world about its origin moves that joint as well.
    root = reconstruction.shaped(model).joints[0]
    places = (reconstruction.translation + root) @ R_new_from_old.T
    middle = places.mean(0)
    shift = -torch.stack((middle[0], middle[1], ground))
    translation = places - root + shift

    rotations = reconstruction.joint_rotations.clone()
    rotations[:, 0] = R_new_from_old @ rotations[:, 0]
    world_to_camera = reconstruction.world_to_camera.clone()
    R_cam_from_new = world_to_camera[:, :3, :3] @ R_new_from_old.T
    world_to_camera[:, :3, :3] = R_cam_from_new
    world_to_camera[:, :3, 3] -= R_cam_from_new @ shift
    return replace(
        reconstruction,
        joint_rotations=rotations,
        translation=translation,
        world_to_camera=world_to_camera,
    )


def _rotation_between(source: Float[Tensor, "3"], target: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Smallest rotation that takes one unit vector to another (not its opposite)."""

    cross = skew(torch.linalg.cross(source, target))
    cosine = float(source @ target)
    if cosine < -0.999:
        return torch.diag(source.new_tensor([1.0, -1.0, -1.0]))
    return torch.eye(3, device=source.device) + cross + cross @ cross / (1 + cosine)
