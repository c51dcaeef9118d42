"""Cues of a clip from the surface that a finished run fitted to it: parts, surface maps, cameras, keypoints, shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.cues.surface import DETECTED_CLASSES, Detection
from animal4d.data.layout import LABELS_OF_PARTS
from animal4d.data.surface_maps import padded_box, render_detection, rest_pose_cameras
from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum
from animal4d.fit.reconstruct import load_template
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import nearest_corners, rasterize
from animal4d.run_folder import RunFolder


@dataclass(frozen=True)
class FittedClip:
    """A run's animal in the frames of a clip."""

    model: BodyModel
    reconstruction: Reconstruction
    vertices: Float[Tensor, "run_frames vertices 3"]
    """In the run's world."""
    cameras: Cameras
    """Of the run's frames, at the resolution of the original frames."""
    rows: tuple[int | None, ...]
    """For each frame of the clip its place in the run; None where the run does not have it."""
    inputs: Any
    """Fingerprint of the run, in plain values."""

    def camera(self, row: int) -> Cameras:
        return self.cameras[[row]]

    def per_frame(self, values: Tensor, missing: Tensor) -> Tensor:
        """Values of the run's frames as those of the clip's; `missing` where the run does not have one."""
        return torch.stack([missing if row is None else values[row] for row in self.rows])


def load_fitted(run: Path, numbers: tuple[int, ...], image_size: tuple[int, int]) -> FittedClip:
    """The run's animal in the frames with these numbers.

    Raises Animal4dError where the run is not finished, or is of another clip.
    """
    path = RunFolder(run).reconstruction
    if not path.is_file():
        raise Animal4dError(f"{run} holds no finished run (no {path.name}): give the folder of `animal4d reconstruct`")
    reconstruction = Reconstruction.load(path)
    if reconstruction.crop.original_size != image_size:
        raise Animal4dError(f"{run} is the run of another clip: its frames have another size; give the clip's own run")
    place = {number: row for row, number in enumerate(reconstruction.frame_numbers.tolist())}
    rows = tuple(place.get(number) for number in numbers)
    if all(row is None for row in rows):
        raise Animal4dError(f"{run} has none of the clip's frames: give the clip's own run")
    model = load_template(reconstruction.template)
    with torch.no_grad():
        vertices = reconstruction.posed(model).vertices
    intrinsics = reconstruction.crop.original_intrinsics(reconstruction.intrinsics)
    cameras = Cameras(intrinsics, reconstruction.world_to_camera, image_size)
    return FittedClip(model, reconstruction, vertices, cameras, rows, file_checksum(path))


def fitted_cameras(fitted: FittedClip) -> list[Cameras | None]:
    """The run's cameras for the frames of the clip, all or none."""
    if any(row is None for row in fitted.rows):
        return [None] * len(fitted.rows)
    return [fitted.camera(row) for row in fitted.rows if row is not None]


def fitted_parts(fitted: FittedClip, row: int, mask: Bool[ndarray, "height width"] | None) -> UInt8[ndarray, "h w"]:
    """Labels of `cues.parts.PART_LABELS` at the frame's resolution; none beyond the mask."""
    camera, faces = fitted.camera(row), fitted.model.faces
    fragments = rasterize(camera.transform(fitted.vertices[[row]]), faces, camera.intrinsics, fitted.cameras.image_size)
    table = torch.tensor(LABELS_OF_PARTS, dtype=torch.uint8)
    part = fitted.model.part_labels[nearest_corners(fragments, faces)]
    labels = (table[part] * fragments.covered)[0].numpy()
    return labels if mask is None else np.where(mask, labels, 0).astype(np.uint8)


def fitted_detection(
    fitted: FittedClip, row: int, embeddings: Float[Tensor, "vertices 16"], category: str
) -> tuple[tuple[str, Detection], ...]:
    """What CSE would see of the fitted surface, with a score of 1; nothing where it is out of the picture."""
    camera = fitted.camera(row)
    # The box needs no more than a coarse silhouette.
    height, width = fitted.cameras.image_size
    shrink = max(1.0, max(height, width) / 400)
    small = camera.resized((max(round(height / shrink), 1), max(round(width / shrink), 1)))
    faces, vertices = fitted.model.faces, fitted.vertices[row]
    seen = rasterize(small.transform(vertices[None]), faces, small.intrinsics, small.image_size)
    box = padded_box(seen.covered[0])
    if box is None:
        return ()
    wanted = category if category in DETECTED_CLASSES else "dog"
    return ((wanted, render_detection(vertices, faces, embeddings, camera, box)),)


def fitted_pnp(fitted: FittedClip) -> tuple[Float[Tensor, "frames 4 4"], Bool[Tensor, "frames"]]:
    """Cameras relative to the template in rest pose, and in which frames there is one."""
    reconstruction = fitted.reconstruction
    root = reconstruction.shaped(fitted.model).joints[0]
    exact = rest_pose_cameras(
        fitted.cameras, root, reconstruction.joint_rotations[:, 0], reconstruction.translation
    ).world_to_camera
    in_front = exact[:, 2, 3] > 0
    poses = fitted.per_frame(exact, torch.eye(4))
    return poses, fitted.per_frame(in_front, torch.tensor(False))


@torch.no_grad()
def fitted_keypoints(fitted: FittedClip) -> tuple[Float[Tensor, "frames 24 2"], Float[Tensor, "frames 24"]]:
    """The 24 keypoints in pixels of the original frames, and their score: 1 within the picture, else 0."""
    posed = fitted.reconstruction.posed(fitted.model)
    height, width = fitted.cameras.image_size
    points = fitted.cameras.project(posed.keypoints)
    depth = fitted.cameras.transform(posed.keypoints)[..., 2]
    inside = (points >= 0).all(-1) & (points <= points.new_tensor([width, height])).all(-1) & (depth > 0)
    missing = torch.zeros(points.shape[1], 2)
    return fitted.per_frame(points.nan_to_num(), missing), fitted.per_frame(inside.float(), missing[:, 0])
