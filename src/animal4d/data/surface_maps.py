"""What 2D models would say of an animal whose surface and pose are known: CSE's boxes and maps, and PnP's cameras."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.cues.surface import MAP_SIZE, Detection
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.geometry.rasterize import interpolate, rasterize

_LOGIT = 4.0
_LEAST_SIDE = 8.0


def padded_box(
    mask: Bool[Tensor, "height width"], jitter: Float[Tensor, "4"] | None = None
) -> Float[Tensor, "4"] | None:
    """Left, top, right, bottom of a mask in the padded square, within the frame; None where it is empty or has hardly
    an extent.

    `jitter` moves the four sides, in shares of the box's size.
    """
    rows, columns = mask.nonzero(as_tuple=True)
    if len(rows) == 0:
        return None
    height, width = mask.shape
    scale = PADDED_SIZE / max(height, width)
    corners = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float() * scale
    size = (corners[2:] - corners[:2]).repeat(2)
    moved = corners if jitter is None else corners + jitter * size
    frame = torch.tensor([width, height, width, height]) * scale
    box = torch.minimum(moved.clamp_min(0), frame)
    return box if (box[2:] - box[:2]).min() >= _LEAST_SIDE else None


def box_camera(camera: Cameras, box: Float[Tensor, "4"]) -> Cameras:
    """The one camera of a frame as that of a map of 112 x 112 of a box in the padded square."""
    scale = PADDED_SIZE / max(camera.image_size)
    zoom = MAP_SIZE / (box[2:] - box[:2])
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, :2] *= scale
    intrinsics[:, :2, 2] -= box[:2]
    intrinsics[:, :2] *= zoom[:, None]
    return Cameras(intrinsics, camera.world_to_camera, (MAP_SIZE, MAP_SIZE))


def render_detection(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    embeddings: Float[Tensor, "vertices 16"],
    camera: Cameras,
    box: Float[Tensor, "4"],
    score: float = 1.0,
) -> Detection:
    """A detection without error: embeddings of the surface that each place of the box shows, unit vectors; zero and
    background elsewhere. `vertices` are in the world, `camera` is that of the original frame."""
    seen = box_camera(camera, box)
    fragments = rasterize(seen.transform(vertices[None]), faces, seen.intrinsics, seen.image_size)
    maps = torch.nn.functional.normalize(interpolate(fragments, faces, embeddings[None])[0], dim=-1)
    animal = torch.where(fragments.covered[0], _LOGIT, -_LOGIT)
    return Detection(maps.permute(2, 0, 1), torch.stack((-animal, animal)), box, score)


def rest_pose_cameras(
    cameras: Cameras,
    root: Float[Tensor, "3"],
    R_world_from_body: Float[Tensor, "frames 3 3"],
    translation: Float[Tensor, "frames 3"],
) -> Cameras:
    """Cameras relative to the animal in rest pose at the origin, as PnP finds them: its root pose goes into them.

    `root` is the root joint's place at rest, about which the body turns.
    """
    pose = torch.eye(4).repeat(len(cameras), 1, 1)
    pose[:, :3, :3] = R_world_from_body
    pose[:, :3, 3] = root - R_world_from_body @ root + translation
    return Cameras(cameras.intrinsics, cameras.world_to_camera @ pose, cameras.image_size)
