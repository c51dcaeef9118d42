"""poses.npz: the parameters of a reconstruction, in the world and body frame of the package (z up)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from animal4d.body.model import BodyModel
from animal4d.config import ASSUMED_BODY_LENGTH
from animal4d.export.scale import metres_per_unit
from animal4d.files.atomic import write_npz
from animal4d.fit.reconstruction import Reconstruction

_TENSORS = ("betas", "limb_scales", "vertex_offsets", "joint_rotations", "translation", "frame_numbers")


def write_poses(
    reconstruction: Reconstruction, model: BodyModel, path: Path, body_length: float = ASSUMED_BODY_LENGTH
) -> None:
    """Everything that `model.with_shape(...).with_pose(...)` needs, with names and times beside it.

    Lengths are in units of the template; `metres_per_unit` leads from there to the world of asset.glb, in which the
    animal is `body_length` metres long.

    Where a surface map was known, `joint_uncertainty` (frames, joints) says in radians how far each joint may be off.
    """
    arrays = {name: getattr(reconstruction, name).cpu().numpy() for name in _TENSORS}
    arrays |= {
        "joint_names": np.array(model.joint_names),
        "times": reconstruction.times.cpu().numpy(),
        "fps": np.array(reconstruction.fps),
        "template": np.array(reconstruction.template),
        "metres_per_unit": np.array(metres_per_unit(reconstruction, model, body_length)),
    }
    for name in ("joint_uncertainty", "vertex_colors"):
        if (tensor := getattr(reconstruction, name)) is not None:
            arrays[name] = tensor.cpu().numpy()
    write_npz(path, arrays)
