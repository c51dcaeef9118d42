"""What the benchmarks measure on: the built-in animal in 16 random poses, seen from the side in 256 x 256 pixels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

# Before torch is imported, so import this module first: threads that wait must not spin, or they take a small
# machine's cores from the kernels.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.body.template import load_builtin_template
from animal4d.geometry.cameras import Cameras, intrinsics_from_fov
from animal4d.geometry.rasterize import Fragments, rasterize
from animal4d.geometry.rotations import matrix_from_axis_angle
from animal4d.losses.silhouette import SilhouetteTarget

FRAMES = 16
SIZE = (256, 256)
SIDE_VIEW = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, -1.0, 0.0), (0.0, 1.0, 0.0, 3.2), (0.0, 0.0, 0.0, 1.0))
"""World to camera: the animal's head to the right, its back up, 3.2 units away."""


@dataclass(frozen=True)
class Scene:
    model: BodyModel
    cameras: Cameras
    joint_rotations: Tensor
    """The animal as it is now."""
    target: SilhouetteTarget
    """The silhouette that it should have: another random pose."""
    tracks: Tensor
    tracks_visible: Tensor
    times: Tensor

    def vertices(self) -> Tensor:
        return self.model.with_shape().with_pose(self.joint_rotations).vertices

    def fragments(self) -> Fragments:
        in_camera = self.cameras.transform(self.vertices())
        return rasterize(in_camera, self.model.faces, self.cameras.intrinsics, SIZE)


def make_scene() -> Scene:
    generator = torch.Generator().manual_seed(0)
    model = load_builtin_template()
    intrinsics = intrinsics_from_fov(27.0, SIZE).repeat(FRAMES, 1, 1)
    cameras = Cameras(intrinsics, torch.tensor(SIDE_VIEW).repeat(FRAMES, 1, 1), SIZE)

    def random_pose() -> Tensor:
        return matrix_from_axis_angle(0.15 * torch.randn(FRAMES, model.n_joints, 3, generator=generator))

    wanted = cameras.transform(model.with_shape().with_pose(random_pose()).vertices)
    masks = rasterize(wanted, model.faces, intrinsics, SIZE).covered
    start = 64 + 128 * torch.rand(1, 300, 2, generator=generator)
    tracks = start + torch.randn(FRAMES, 300, 2, generator=generator).cumsum(0)
    visible = torch.rand(FRAMES, 300, generator=generator) > 0.2
    times = torch.arange(FRAMES) / 30
    return Scene(model, cameras, random_pose(), SilhouetteTarget.from_masks(masks), tracks, visible, times)


@dataclass(frozen=True)
class Timing:
    """Medians in milliseconds."""

    wall: float
    cpu: float
    """Of all threads; hardly disturbed by what else runs on a shared machine."""

    def __truediv__(self, divisor: float) -> Timing:
        return Timing(self.wall / divisor, self.cpu / divisor)

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall + other.wall, self.cpu + other.cpu)


def measure(function: Callable[[], object], repeats: int = 9) -> Timing:
    """Median time of a call, after one to warm up. Shared machines jump, so compare within one run only."""
    function()
    wall, cpu = [], []
    for _ in range(repeats):
        start_wall, start_cpu = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start_wall)
        cpu.append(time.process_time() - start_cpu)
    return Timing(1e3 * median(wall), 1e3 * median(cpu))


def table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Prints a Markdown table."""
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("| --- " + "| ---: " * (len(columns) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
