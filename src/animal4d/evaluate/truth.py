"""What is known of a synthetic clip: truth.npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.errors import Animal4dError
from animal4d.files.atomic import open_npz


@dataclass(frozen=True)
class Truth:
    """The animal as it really was, in the frames that are measured: what metrics need of a synthetic clip's truth."""

    vertices: Float[Tensor, "frames vertices 3"]
    """In the world."""
    faces: Int[Tensor, "faces 3"]
    joints: Float[Tensor, "frames joints 3"]
    joint_names: tuple[str, ...]
    """Anatomical where a joint has a counterpart in our tree; other names are not compared."""
    world_to_camera: Float[Tensor, "frames 4 4"]
    body_length: float | None = None
    """Nose to tail base at rest, where the file says it."""

    def has_topology_of(self, model: BodyModel) -> bool:
        """Whether vertices can be compared one by one."""
        same_size = self.vertices.shape[1] == model.n_vertices and self.faces.shape == model.faces.shape
        return same_size and bool((self.faces == model.faces.cpu()).all())


def load_truth(path: Path, frame_numbers: Int[Tensor, "frames"]) -> Truth:
    """The truth of the given frames of the video.

    Raises Animal4dError when the file cannot be read, lacks something, or has fewer frames.
    """
    required = ("vertices", "faces", "joints", "joint_names", "world_to_camera")
    try:
        with open_npz(path) as file:
            arrays = {name: file[name] for name in (*required, "frame_numbers", "body_length") if name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise Animal4dError(f"{path}: cannot be read as truth ({error})") from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise Animal4dError(f"{path}: lacks {', '.join(missing)}; `animal4d synth` writes complete truth")
    rows = _rows(path, arrays, frame_numbers.tolist())
    length = float(arrays["body_length"]) if "body_length" in arrays else None
    return Truth(
        vertices=torch.from_numpy(arrays["vertices"][rows]).float(),
        faces=torch.from_numpy(arrays["faces"].astype(np.int64)),
        joints=torch.from_numpy(arrays["joints"][rows]).float(),
        joint_names=tuple(str(name) for name in arrays["joint_names"]),
        world_to_camera=torch.from_numpy(arrays["world_to_camera"][rows]).float(),
        body_length=length,
    )


def _rows(path: Path, arrays: dict[str, np.ndarray], wanted: list[int]) -> list[int]:
    """Where the wanted frames of the video stand in the arrays."""
    known = arrays.get("frame_numbers", np.arange(len(arrays["vertices"]))).tolist()
    place = {number: row for row, number in enumerate(known)}
    absent = [number for number in wanted if number not in place]
    if absent:
        raise Animal4dError(f"{path}: knows {len(known)} frames, but not frame {absent[0]}; is it of another clip?")
    return [place[number] for number in wanted]
