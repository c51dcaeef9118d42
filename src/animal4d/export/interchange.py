"""motion.npz: the motion in the layout of AMASS, which most tools for body motion read.

The arrays of AMASS (Mahmood et al. 2019) keep their names and meaning: `poses` are rotation vectors, the root's first,
and `trans` is added to what the body model gives. The joints and betas are SMAL's or the built-in template's, so a
reader for human bodies reads the file and cannot pose a human with it. World: z up, units of the template.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from animal4d.body.model import BodyModel
from animal4d.files.atomic import write_npz
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.rotations import axis_angle_from_matrix


def write_interchange(
    reconstruction: Reconstruction, model: BodyModel, path: Path, metres_per_unit: float
) -> tuple[Path, ...]:
    """Write shape and motion; docs/formats.md explains every array."""
    reconstruction = reconstruction.to("cpu")
    rotation_vectors = axis_angle_from_matrix(reconstruction.joint_rotations.double())
    arrays = {
        "poses": rotation_vectors.flatten(1).numpy(),
        "trans": reconstruction.translation.double().numpy(),
        "betas": reconstruction.betas.double().numpy(),
        "gender": np.array("neutral"),
        "mocap_framerate": np.array(float(reconstruction.fps)),
        "mocap_frame_rate": np.array(float(reconstruction.fps)),
        "surface_model_type": np.array(f"smal:{model.name}"),
        "limb_scales": reconstruction.limb_scales.double().numpy(),
        "vertex_offsets": reconstruction.vertex_offsets.double().numpy(),
        "joint_names": np.array(model.joint_names),
        "parents": np.array(model.parents),
        "times": reconstruction.times.double().numpy(),
        "frame_numbers": reconstruction.frame_numbers.numpy(),
        "metres_per_unit": np.array(metres_per_unit),
    }
    write_npz(path, arrays)
    return (path,)
