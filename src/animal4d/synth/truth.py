"""Everything that is known about a synthetic clip, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import Fragments


@dataclass(frozen=True)
class BodyParameters:
    """How the built-in body was shaped and posed."""

    betas: Float[Tensor, "betas"]
    limb_scales: Float[Tensor, "7"]
    joint_rotations: Float[Tensor, "frames joints 3 3"]
    translation: Float[Tensor, "frames 3"]


@dataclass(frozen=True)
class Truth:
    """World: z up, ground at z = 0; the animal's body is about 1.3 long from nose to tail base."""

    vertices: Float[Tensor, "frames vertices 3"]
    faces: Int[Tensor, "faces 3"]
    part_labels: Int[Tensor, "vertices"]
    """Index into `animal4d.body.model.PART_NAMES`."""
    joints: Float[Tensor, "frames joints 3"]
    joint_names: tuple[str, ...]
    """Names of the built-in body's joints where the place is the same; also `nose` and `tail_tip`."""
    facing: Float[Tensor, "frames 3"]
    """Unit vector from the tail's base to the head."""
    body_length: float
    """From nose to tail base in the rest pose: the unit of errors."""
    tracks: Float[Tensor, "frames points 2"]
    """Pixels of the followed surface points."""
    track_visible: Bool[Tensor, "frames points"]
    track_faces: Int[Tensor, "points"]
    track_barycentrics: Float[Tensor, "points 3"]
    cameras: Cameras
    fps: float
    body: BodyParameters | None = None
    """None where the animal is not the built-in body."""

    def __len__(self) -> int:
        return self.vertices.shape[0]


def sample_surface(
    vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], count: int, rng: np.random.Generator
) -> tuple[Int[Tensor, "points"], Float[Tensor, "points 3"]]:
    """Faces and barycentrics of points spread evenly over a surface."""
    corners = vertices[faces].double()
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1).numpy()
    chosen = rng.choice(len(area), size=count, p=area / area.sum())
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack((1 - root, root * (1 - along), root * along), axis=1)
    return torch.tensor(chosen), torch.tensor(weights, dtype=torch.float32)


def track_points(
    vertices: Float[Tensor, "frames vertices 3"],
    faces: Int[Tensor, "faces 3"],
    track_faces: Int[Tensor, "points"],
    track_barycentrics: Float[Tensor, "points 3"],
) -> Float[Tensor, "frames points 3"]:
    """World positions of surface points."""
    return (vertices[:, faces[track_faces]] * track_barycentrics[..., None]).sum(dim=2)


def visible_points(
    points: Float[Tensor, "frames points 3"], cameras: Cameras, fragments: Fragments, tolerance: float
) -> Bool[Tensor, "frames points"]:
    """Points inside the image that no nearer surface hides.

    A point counts as hidden when the surface in its pixel and in the three pixels nearest to it is nearer by more than
    `tolerance`: near a silhouette the pixel's centre may lie on another part.
    """
    height, width = cameras.image_size
    pixels = cameras.project(points)
    depth = cameras.transform(points)[..., 2]
    inside = (pixels >= 0).all(-1) & (pixels[..., 0] < width) & (pixels[..., 1] < height) & (depth > 0)
    shown = torch.where(fragments.covered, fragments.depth, -torch.inf)
    frame = torch.arange(len(points))[:, None]
    corner = (pixels - 0.5).floor().long()
    farthest = torch.full_like(depth, -torch.inf)
    for dx in (0, 1):
        for dy in (0, 1):
            column = (corner[..., 0] + dx).clamp(0, width - 1)
            row = (corner[..., 1] + dy).clamp(0, height - 1)
            farthest = torch.maximum(farthest, shown[frame, row, column])
    return inside & (depth <= farthest + tolerance)


def save_truth(truth: Truth, path: Path) -> None:
    """One compressed npz with plain arrays."""
    arrays = {
        "vertices": truth.vertices,
        "faces": truth.faces.int(),
        "part_labels": truth.part_labels.to(torch.uint8),
        "joints": truth.joints,
        "joint_names": np.array(truth.joint_names),
        "facing": truth.facing,
        "body_length": np.float64(truth.body_length),
        "tracks": truth.tracks,
        "track_visible": truth.track_visible,
        "track_faces": truth.track_faces.int(),
        "track_barycentrics": truth.track_barycentrics,
        "intrinsics": truth.cameras.intrinsics,
        "world_to_camera": truth.cameras.world_to_camera,
        "image_size": np.array(truth.cameras.image_size),
        "fps": np.float64(truth.fps),
    }
    if truth.body is not None:
        arrays |= {name: getattr(truth.body, name) for name in BodyParameters.__dataclass_fields__}
    plain: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez_compressed(path, **plain)


def load_truth(folder: str | Path) -> Truth:
    """The truth of a synthetic clip's folder. Raises Animal4dError when it is missing or unreadable."""
    path = Path(folder) / "truth.npz"
    if not path.is_file():
        raise Animal4dError(f"{path}: no such file; truth comes with clips made by `animal4d synth`")
    try:
        with np.load(path) as packed:
            data = {name: packed[name] for name in packed.files}
        tensors = {name: torch.from_numpy(value) for name, value in data.items() if value.dtype.kind in "fiub"}
        height, width = data["image_size"].tolist()
        body = None
        if "betas" in data:
            body = BodyParameters(**{name: tensors[name] for name in BodyParameters.__dataclass_fields__})
        return Truth(
            vertices=tensors["vertices"],
            faces=tensors["faces"].long(),
            part_labels=tensors["part_labels"].long(),
            joints=tensors["joints"],
            joint_names=tuple(data["joint_names"].tolist()),
            facing=tensors["facing"],
            body_length=float(data["body_length"]),
            tracks=tensors["tracks"],
            track_visible=tensors["track_visible"],
            track_faces=tensors["track_faces"].long(),
            track_barycentrics=tensors["track_barycentrics"],
            cameras=Cameras(tensors["intrinsics"], tensors["world_to_camera"], (height, width)),
            fps=float(data["fps"]),
            body=body,
        )
    except (KeyError, ValueError, OSError) as error:
        raise Animal4dError(f"{path}: not the truth of a synthetic clip ({error})") from error
