"""A small animal for tests: SMAL's joints inside of a symmetric blob, cheap and independent of the template."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from animal4d.body.joint_names import JOINT_NAMES, PARENTS
from animal4d.body.model import BodyModel
from animal4d.clip import Clip, Crop
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.rotations import matrix_from_axis_angle, rotation_about

IMAGE_SIZE = (96, 96)


def toy_animal(influences: int = 4) -> BodyModel:
    vertices, faces = _half_split_sphere()
    vertices = vertices * [0.9, 0.25, 0.35]
    rng = np.random.default_rng(0)
    joints = np.zeros((35, 3))
    joints[:, 0] = -0.2
    for joint, parent in enumerate(PARENTS[1:], start=1):
        name = JOINT_NAMES[joint]
        side = 0.15 * (("left" in name) - ("right" in name))
        step = (-0.08, 0, 0) if "tail" in name else (0.1, 0, 0.02)
        if name.startswith(("front", "back")):
            step = (0, 0, -0.1)
        joints[joint] = joints[parent] + step
        joints[joint, 1] = side
    distance = ((vertices[:, None] - joints) ** 2).sum(-1)
    weights = np.exp(-distance / 0.02)
    np.put_along_axis(weights, np.argsort(weights, axis=1)[:, :-influences], 0, axis=1)
    weights /= weights.sum(1, keepdims=True)
    regressor = np.exp(-distance.T / 0.005) + 1e-12
    regressor /= regressor.sum(1, keepdims=True)
    center = np.flatnonzero(np.abs(vertices[:, 1]) < 1e-9)
    left = np.flatnonzero(vertices[:, 1] > 1e-9)
    mirrored = vertices[left] * [1, -1, 1]
    right = ((vertices[None] - mirrored[:, None]) ** 2).sum(-1).argmin(1)
    return BodyModel(
        v_template=torch.tensor(vertices, dtype=torch.float32),
        faces=torch.tensor(faces),
        shape_directions=torch.tensor(0.02 * rng.standard_normal((len(vertices), 3, 5)), dtype=torch.float32),
        joint_regressor=torch.tensor(regressor, dtype=torch.float32),
        skinning_weights=torch.tensor(weights, dtype=torch.float32),
        parents=PARENTS,
        joint_names=JOINT_NAMES,
        center_indices=torch.tensor(center),
        left_indices=torch.tensor(left),
        right_indices=torch.tensor(right),
        part_labels=torch.zeros(len(vertices), dtype=torch.long),
        keypoint_vertices=torch.full((12,), int(vertices[:, 0].argmax())),
        joint_limits=torch.zeros(35, 3, 2),
        name="toy",
    )


def _half_split_sphere(rings: int = 12, segments: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere of rings around the x axis, mirror symmetric in y to the last bit."""
    angles = np.arange(segments) * 2 * np.pi / segments
    vertices = [[1.0, 0.0, 0.0]]
    for ring in range(1, rings):
        polar = np.pi * ring / rings
        vertices += [[np.cos(polar), np.sin(polar) * np.sin(a), np.sin(polar) * np.cos(a)] for a in angles]
    vertices.append([-1.0, 0.0, 0.0])
    faces = []
    for segment in range(segments):
        following = (segment + 1) % segments
        faces.append([0, 1 + following, 1 + segment])
        for ring in range(rings - 2):
            a, b = 1 + ring * segments + segment, 1 + ring * segments + following
            faces += [[a, b, b + segments], [a, b + segments, a + segments]]
        last = 1 + (rings - 2) * segments
        faces.append([len(vertices) - 1, last + segment, last + following])
    return np.round(np.array(vertices), 12), np.array(faces)


def toy_reconstruction(model: BodyModel, frames: int = 5, seed: int = 0) -> Reconstruction:
    """Random shape, wild poses, seen from the side by a camera that drifts."""
    generator = torch.Generator().manual_seed(seed)
    rotations = matrix_from_axis_angle(0.3 * torch.randn(frames, 35, 3, generator=generator))
    rotations[:, 0] = rotation_about("z", torch.linspace(-0.4, 0.6, frames)) @ rotations[:, 0]
    height, width = IMAGE_SIZE
    intrinsics = torch.tensor([[width * 1.2, 0, width / 2], [0, width * 1.2, height / 2], [0, 0, 1]])
    world_to_camera = torch.eye(4).repeat(frames, 1, 1)
    world_to_camera[:, :3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    world_to_camera[:, 2, 3] = 3.0
    world_to_camera[:, 0, 3] = torch.linspace(0, 0.2, frames)
    return Reconstruction(
        betas=0.5 * torch.randn(5, generator=generator),
        limb_scales=0.2 * torch.randn(7, generator=generator),
        vertex_offsets=0.005 * torch.randn(model.n_vertices, 3, generator=generator),
        joint_rotations=rotations,
        translation=torch.stack((torch.linspace(-0.2, 0.2, frames), torch.zeros(frames), torch.zeros(frames)), dim=-1),
        intrinsics=intrinsics.repeat(frames, 1, 1),
        world_to_camera=world_to_camera,
        image_size=IMAGE_SIZE,
        crop=Crop(torch.tensor([[10.0, 20.0]]).repeat(frames, 1), torch.full((frames,), 1.5), (240, 320)),
        frame_numbers=torch.arange(frames) * 2 + 3,
        times=(torch.arange(frames) * 2 + 3) / 30,
        fps=15.0,
        template=model.name,
    )


def coloured_reconstruction(model: BodyModel) -> Reconstruction:
    """The same with a colour of its own for every vertex."""
    colors = torch.rand(model.n_vertices, 3, generator=torch.Generator().manual_seed(1))
    return replace(toy_reconstruction(model), vertex_colors=colors)


def toy_clip(reconstruction: Reconstruction, frames: torch.Tensor, masks: torch.Tensor) -> Clip:
    return Clip(
        name="toy",
        frames=frames,
        masks=masks.float(),
        mask_valid=masks.flatten(1).any(1),
        frame_numbers=reconstruction.frame_numbers,
        times=reconstruction.times,
        fps=reconstruction.fps,
        intrinsics=reconstruction.intrinsics,
        crop=reconstruction.crop,
    )
