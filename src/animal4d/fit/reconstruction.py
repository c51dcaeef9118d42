"""`Reconstruction`: what a fit ends with. One shape, a pose and a camera per frame."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.body.model import BodyModel, PosedBody, ShapedBody
from animal4d.clip import Crop
from animal4d.errors import Animal4dError
from animal4d.files.atomic import read_npz_record, write_npz
from animal4d.geometry.cameras import Cameras

_FORMAT = 2


@dataclass(frozen=True)
class Reconstruction:
    """One animal: a rest shape, its motion, and the cameras that saw it.

    World: x, y, z with z up and the ground at z = 0, in units of the template (asset.glb has y up instead; the
    export turns animal and cameras alike).
    """

    betas: Float[Tensor, "betas"]
    limb_scales: Float[Tensor, "7"]
    vertex_offsets: Float[Tensor, "vertices 3"]
    joint_rotations: Float[Tensor, "frames joints 3 3"]
    """Index 0 turns the body into the world."""
    translation: Float[Tensor, "frames 3"]
    intrinsics: Float[Tensor, "frames 3 3"]
    """Of the working images."""
    world_to_camera: Float[Tensor, "frames 4 4"]
    image_size: tuple[int, int]
    """Height and width of the working images."""
    crop: Crop
    frame_numbers: Int[Tensor, "frames"]
    times: Float[Tensor, "frames"]
    fps: float
    template: str = "builtin"
    joint_uncertainty: Float[Tensor, "frames joints"] | None = None
    """Radians (`fit/uncertainty.py`); None where no surface map was known."""
    vertex_colors: Float[Tensor, "vertices 3"] | None = None
    """RGB in [0, 1], averaged over the frames that see a vertex."""
    texel_logits: Float[Tensor, "texels 3"] | None = None
    """Colours of the shell texture (`fit/texture.py`), before the logistic function."""
    coat: Float[Tensor, "vertices steps"] | None = None
    """Opacity of the shell texture beyond the skin (`texture/coat.py`)."""

    def _check(self) -> None:
        """Raises ValueError where frames do not agree, or something is not finite."""
        for name in ("joint_rotations", "intrinsics", "world_to_camera", "frame_numbers", "times"):
            if len(getattr(self, name)) != len(self):
                raise ValueError(f"{name} has {len(getattr(self, name))} frames, translation {len(self)}")
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor) and not bool(value.isfinite().all()):
                raise ValueError(f"{f.name} is not finite")

    def __len__(self) -> int:
        return self.translation.shape[0]

    @property
    def cameras(self) -> Cameras:
        """Of the working images."""
        return Cameras(self.intrinsics, self.world_to_camera, self.image_size)

    def shaped(self, model: BodyModel) -> ShapedBody:
        return model.with_shape(self.betas, self.limb_scales, self.vertex_offsets)

    def posed(self, model: BodyModel, frames: Tensor | slice | list[int] = slice(None)) -> PosedBody:
        """The animal in the world, in the given frames."""
        return self.shaped(model).with_pose(self.joint_rotations[frames], self.translation[frames])

    def to(self, device: torch.device | str) -> Reconstruction:
        moved = {f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **moved)

    def save(self, path: Path | str) -> None:
        """Write everything to one `.npz` file."""
        plain = {
            "format": _FORMAT,
            "image_size": self.image_size,
            "original_size": self.crop.original_size,
            "fps": self.fps,
            "template": self.template,
        }
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        tensors |= {"crop_origin": self.crop.origin, "crop_scale": self.crop.scale}
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        write_npz(path, {**arrays, "plain": np.array(json.dumps(plain))})

    @staticmethod
    def load(path: Path | str) -> Reconstruction:
        """Read what `save` wrote. Raises Animal4dError where the file is missing or damaged."""
        try:
            arrays, plain = read_npz_record(path, _FORMAT)
            tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
            crop = Crop(tensors.pop("crop_origin"), tensors.pop("crop_scale"), tuple(plain.pop("original_size")))
            loaded = Reconstruction(crop=crop, image_size=tuple(plain.pop("image_size")), **plain, **tensors)
            loaded._check()
            return loaded
        except FileNotFoundError as error:
            raise Animal4dError(f"no such reconstruction: {path}") from error
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise Animal4dError(f"{path} is not a saved reconstruction, or is damaged ({error})") from error
