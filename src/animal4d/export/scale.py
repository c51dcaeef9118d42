"""Metres: a video does not tell how large an animal is, so a length is given or assumed.

Scaled are the numbers themselves (vertices, joints, path, cameras), not a node above them: programs that take skins
apart do not expect a scaled root, and limb scales stay what they are.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from animal4d.body.model import BodyModel, ShapedBody
from animal4d.config import ASSUMED_BODY_LENGTH
from animal4d.errors import Animal4dError
from animal4d.fit.reconstruction import Reconstruction

_SMALLEST, _LARGEST = 0.01, 100.0


def rest_length(reconstruction: Reconstruction, model: BodyModel) -> float:
    """Nose to tail base of this animal at rest, in units of the template."""
    return length_of(reconstruction.to(model.device).shaped(model))


@torch.no_grad()
def length_of(body: ShapedBody) -> float:
    """Nose to tail base of an individual at rest, in units of the template."""
    model = body.model
    rest = body.with_pose(torch.eye(3, device=model.device).expand(model.n_joints, 3, 3))
    nose = rest.vertices[model.keypoint_vertices[0]]
    return float((nose - rest.joints[model.joint_names.index("tail_1")]).norm())


def check_body_length(body_length: float) -> None:
    """Raises Animal4dError where the length, in metres, is none of an animal."""
    if not _SMALLEST <= body_length <= _LARGEST:
        raise Animal4dError(
            f"--body-length {body_length:g}: give metres from nose to tail base, from {_SMALLEST:g} to {_LARGEST:g}"
        )


def in_metres(
    reconstruction: Reconstruction, model: BodyModel, body_length: float = ASSUMED_BODY_LENGTH
) -> tuple[Reconstruction, BodyModel]:
    """The same animal, path and cameras with `body_length` metres from nose to tail base, for any exporter.

    Raises Animal4dError where the length is none of an animal.
    """
    check_body_length(body_length)
    return scaled(reconstruction, model, metres_per_unit(reconstruction, model, body_length))


def metres_per_unit(reconstruction: Reconstruction, model: BodyModel, body_length: float) -> float:
    """Metres per unit of the template when the animal at rest is `body_length` metres from nose to tail base."""
    return body_length / rest_length(reconstruction, model)


def scaled(reconstruction: Reconstruction, model: BodyModel, factor: float) -> tuple[Reconstruction, BodyModel]:
    """Animal and world in units that are `factor` times as many."""
    correctives = None if model.pose_correctives is None else model.pose_correctives * factor
    larger = replace(
        model,
        v_template=model.v_template * factor,
        shape_directions=model.shape_directions * factor,
        pose_correctives=correctives,
    )
    world_to_camera = reconstruction.world_to_camera.clone()
    world_to_camera[:, :3, 3] *= factor
    moved = replace(
        reconstruction,
        vertex_offsets=reconstruction.vertex_offsets * factor,
        translation=reconstruction.translation * factor,
        world_to_camera=world_to_camera,
    )
    return moved, larger
