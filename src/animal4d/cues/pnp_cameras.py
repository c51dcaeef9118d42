"""Cameras relative to the rest-pose animal, one per frame, found beforehand by PnP with RANSAC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.sequence_frames import places_in_sequence, sequence_file_note
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.unpickle import load_pickle
from animal4d.geometry.cameras import PYTORCH3D_FLIP

_ENTRIES = ("valid_indices_pnp", "R_PNP", "T_PNP")
_ORTHONORMAL = 2e-3


@dataclass(frozen=True)
class PnpCameras:
    """World (the template in rest pose at the origin) to camera, OpenCV axes."""

    world_to_camera: Float[Tensor, "frames 4 4"]
    """The identity where there is no solution."""
    valid: Bool[Tensor, "frames"]
    """Frames with a solution."""

    def __len__(self) -> int:
        return self.valid.shape[0]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"world_to_camera": self.world_to_camera.cpu().numpy(), "valid": self.valid.cpu().numpy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> PnpCameras:
        return PnpCameras(torch.from_numpy(arrays["world_to_camera"]).float(), torch.from_numpy(arrays["valid"]).bool())


@dataclass(frozen=True)
class PnpCameraFile:
    """`<sequence>_<frame limit>_pnp_R_T.pk`: `R_PNP` (T, 3, 3), `T_PNP` (T, 3) and the list of valid indices.

    PyTorch3D's convention: row vectors, `X_cam = X_world @ R + T`, x left, y up, z forward.
    """

    name: ClassVar[str] = "pnp-camera-file"
    kind: ClassVar[str] = "precomputed"
    version: ClassVar[int] = 1

    path: Path
    sequence_frames: tuple[int, ...]
    """Numbers of all frames of the sequence; those of the file are places in this list."""
    frame_limit: int
    """The file covers the first so many frames, or all where the sequence has fewer."""

    @property
    def cue(self) -> str:
        return "pnp_cameras"

    def config(self) -> dict[str, Any]:
        """Raises Animal4dError where the file is missing."""
        note = sequence_file_note(self.path, "PnP cameras", self.sequence_frames)
        return note | {"frame_limit": self.frame_limit}

    def __call__(self, clip: Clip) -> PnpCameras:
        """Cameras of the clip's frames; those beyond the frame limit have no solution.

        Raises Animal4dError where the file is missing, damaged or does not belong to the sequence.
        """
        places = places_in_sequence(clip, self.sequence_frames)
        content = load_pickle(self.path)
        if not isinstance(content, dict) or not all(entry in content for entry in _ENTRIES):
            raise Animal4dError(f"{self.path} must hold a dict with {', '.join(_ENTRIES)}: make it again, or remove it")
        n_covered = min(self.frame_limit, len(self.sequence_frames))
        R = checked_array(content["R_PNP"], (n_covered, 3, 3), f"{self.path}: R_PNP", finite=False)
        T = checked_array(content["T_PNP"], (n_covered, 3), f"{self.path}: T_PNP", finite=False)
        solved = self._valid_indices(content["valid_indices_pnp"], n_covered)
        self._check(R, T, solved)

        world_to_camera = torch.eye(4).repeat(len(self.sequence_frames), 1, 1)
        flip = np.array(PYTORCH3D_FLIP)
        world_to_camera[solved, :3, :3] = torch.from_numpy(flip[:, None] * R[solved].transpose(0, 2, 1)).float()
        world_to_camera[solved, :3, 3] = torch.from_numpy(flip * T[solved]).float()
        valid = torch.zeros(len(self.sequence_frames), dtype=torch.bool)
        valid[solved] = True
        return PnpCameras(world_to_camera[places], valid[places])

    def _valid_indices(self, value: Any, n_covered: int) -> list[int]:
        """Ascending places of the frames with a solution."""
        indices = checked_array(value, (None,), f"{self.path}: valid_indices_pnp")
        if (indices != np.floor(indices)).any() or ((indices < 0) | (indices >= n_covered)).any():
            raise Animal4dError(
                f"{self.path}: valid_indices_pnp must be whole numbers from 0 to {n_covered - 1}: make it again, or "
                "remove it"
            )
        return sorted(set(indices.astype(int).tolist()))

    def _check(self, R: NDArray[np.float64], T: NDArray[np.float64], solved: list[int]) -> None:
        for place in solved:
            where = f"{self.path}, frame {self.sequence_frames[place]}"
            if not np.isfinite(R[place]).all() or not np.isfinite(T[place]).all():
                raise Animal4dError(f"{where} is valid but holds NaN or infinity: make it again, or remove it")
            if np.abs(R[place] @ R[place].T - np.eye(3)).max() > _ORTHONORMAL or np.linalg.det(R[place]) < 0:
                raise Animal4dError(f"{where} is valid but R_PNP is not a rotation: make it again, or remove it")
