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
    """Scale of the user's world in units of the template.

    Of all scales the one under which the animal, seen where the start sees it, accelerates least in the world
    (linear least squares). 1 where the cameras do not move.
    """
    assert clip.world_to_camera is not None
    R_world_from_cam = clip.world_to_camera[:, :3, :3].transpose(1, 2)
    rays = torch.cat((start.pixels, torch.ones(len(clip), 1)), dim=1)
    rays = (torch.linalg.inv(clip.intrinsics) @ rays[..., None]).squeeze(-1)
    seen = (R_world_from_cam @ (rays * start.log_depth.exp()[:, None])[..., None]).squeeze(-1)
    centers = -(R_world_from_cam @ clip.world_to_camera[:, :3, 3:]).squeeze(-1)
    if len(clip) < 3:
        return 1.0
    a, b = seen.diff(n=2, dim=0).flatten(), centers.diff(n=2, dim=0).flatten()
    # Positions matter more than jitter: the mean velocity enters as well, so that a straight dolly is no free ride.
    a = torch.cat((a, 0.1 * seen.diff(dim=0).flatten()))
    b = torch.cat((b, 0.1 * centers.diff(dim=0).flatten()))
    if float(b.norm()) < 1e-6 * max(float(a.norm()), 1e-6):
        return 1.0
    return max(float(-(a @ b) / (b @ b)), 1e-3)


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
