"""How far every joint of a reconstruction may be off, from the surface map that it was fitted to.

A joint is known as well as the points that turn with it: their number and confidence, their distance from the joint,
and how well they lie where the map says. Each point adds to the joint's Fisher information what its place in the image
tells of a rotation about an axis of any direction; a joint of which nothing is seen keeps the spread of poses in
general. The prior of smooth motion is not counted: frames that lean on their neighbours are shown as unsure.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.cues.surface import SurfacePoints
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.cameras import project

PRIOR = 0.6
"""Radians by which joints usually stray."""
POINT_ERROR = 0.03
"""Standard deviation of a point of full confidence that fits exactly, in body lengths."""
ALIKE = 20.0
"""Points of a surface map that are as good as one: neighbours are wrong together."""


@torch.no_grad()
def joint_uncertainty(
    reconstruction: Reconstruction, model: BodyModel, surface: SurfacePoints
) -> Float[Tensor, "frames joints"]:
    """Standard deviation of every joint's rotation in every frame, in radians; at most `PRIOR`.

    A point with confidence c, residual r and lever l (both in body lengths, l_z along the line of sight) tells a joint
    `c w (l^2 + l_z^2) / 3 / (POINT_ERROR^2 + r^2)`, where w is how much of its vertex turns with the joint: the squared
    displacement in the image per squared radian, averaged over the axes.
    """
    posed = reconstruction.posed(model)
    shaped = posed.shaped
    nose = shaped.vertices[model.keypoint_vertices[0]]
    length = (nose - shaped.joints[model.joint_names.index("tail_1")]).norm().clamp_min(1e-6)
    cameras = reconstruction.cameras
    vertices, joints = cameras.transform(posed.vertices), cameras.transform(posed.joints)
    projected = project(vertices, reconstruction.intrinsics)
    wanted = reconstruction.crop.from_original(surface.pixels)
    focal = reconstruction.intrinsics[:, [0, 1], [0, 1]].mean(1)
    information = torch.zeros(len(reconstruction), model.n_joints)
    for frame in range(len(reconstruction)):
        filled = surface.confidence[frame] > 0
        vertex, confidence = surface.vertices[frame][filled], surface.confidence[frame][filled]
        place = vertices[frame][vertex]
        off = (projected[frame][vertex] - wanted[frame][filled]).norm(dim=-1)
        residual = off * place[:, 2] / focal[frame] / length
        lever = (place[:, None] - joints[frame][None]) / length
        moved = (lever.square().sum(-1) + lever[..., 2].square()) / 3
        told = confidence / (POINT_ERROR**2 + residual**2)
        information[frame] = (told[:, None] * model.turning_weights[vertex] * moved).sum(0)
    return (PRIOR**-2 + information / ALIKE).rsqrt()
