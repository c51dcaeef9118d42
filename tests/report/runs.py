"""Folders of finished runs, made in a second: a body that walks past a camera on its left, without a fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from animal4d import __version__
from animal4d.body.template import load_builtin_template
from animal4d.clip import Clip, Crop
from animal4d.config import Config
from animal4d.export.video import write_overlay
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.rotations import rotation_about
from animal4d.run_folder import RunFolder
from export.finished import write_results

SIZE = 96
PANE = 128
FPS = 12.0
SPEED = 1.5
"""Template units per second along x."""


def walking(frames: int = 8) -> Reconstruction:
    """Seen from the animal's left (+y) only."""
    model = load_builtin_template()
    time = torch.arange(frames) / FPS
    rotations = torch.eye(3).repeat(frames, model.n_joints, 1, 1)
    for leg, phase in (("front_left_shoulder", 0.0), ("front_right_shoulder", 3.14)):
        rotations[:, model.joint_names.index(leg)] = rotation_about("y", 0.4 * torch.sin(9 * time + phase))
    rest = model.with_shape().with_pose(torch.eye(3).expand(model.n_joints, 3, 3))
    translation = torch.stack((SPEED * time, torch.zeros(frames), -rest.vertices[:, 2].min().expand(frames)), dim=1)
    world_to_camera = torch.eye(4).repeat(frames, 1, 1)
    # x of the camera against that of the world, y down, looking along -y.
    world_to_camera[:, :3, :3] = torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
    world_to_camera[:, :3, 3] = torch.stack(
        (SPEED * time, torch.full((frames,), 0.5), torch.full((frames,), 3.5)), dim=1
    )
    intrinsics = torch.tensor([[1.6 * SIZE, 0, 0.53 * SIZE], [0, 1.6 * SIZE, 0.48 * SIZE], [0, 0, 1]])
    return Reconstruction(
        betas=torch.zeros(model.n_betas),
        limb_scales=torch.zeros(7),
        vertex_offsets=torch.zeros(model.n_vertices, 3),
        joint_rotations=rotations,
        translation=translation,
        intrinsics=intrinsics.repeat(frames, 1, 1),
        world_to_camera=world_to_camera,
        image_size=(SIZE, SIZE),
        crop=Crop(torch.tensor([[10.0, 20.0]]).repeat(frames, 1), torch.full((frames,), 1.5), (240, 320)),
        frame_numbers=torch.arange(frames) + 5,
        times=time + 0.5,
        fps=FPS,
        vertex_colors=torch.full((model.n_vertices, 3), 0.5),
    )


def filmed(reconstruction: Reconstruction) -> Clip:
    """Smooth pictures that differ from frame to frame."""
    n = len(reconstruction)
    across = torch.linspace(0, 200, SIZE)
    frames = torch.stack(
        [
            torch.stack(
                (across.expand(SIZE, SIZE), across[:, None].expand(SIZE, SIZE), torch.full((SIZE, SIZE), 30.0 * index)),
                dim=-1,
            )
            for index in range(n)
        ]
    )
    return Clip(
        name="frames",
        frames=frames.clamp(0, 255).to(torch.uint8),
        masks=torch.ones(n, SIZE, SIZE),
        mask_valid=torch.ones(n, dtype=torch.bool),
        frame_numbers=reconstruction.frame_numbers,
        times=reconstruction.times,
        fps=reconstruction.fps,
        intrinsics=reconstruction.intrinsics,
        crop=reconstruction.crop,
    )


def write_run(path: Path, reconstruction: Reconstruction | None = None, iou: float = 0.95, seed: int = 0) -> RunFolder:
    """What `reconstruct` would have left."""
    reconstruction = reconstruction or walking()
    numbers = reconstruction.frame_numbers.tolist()
    split = {"train": numbers[:-3], "validation": numbers[-3:-2], "test": numbers[-2:]}
    entry = {"unit": "share", "mean": iou, "train": iou, "validation": iou, "test": iou}
    metrics = {
        "frames": numbers,
        "splits": split,
        "iou": {**entry, "per_frame": [iou] * len(numbers)},
        "psnrm": {"unit": "dB", "mean": 20.0, "train": 20.0, "validation": 20.0, "test": 20.0},
        "vertex_error": {"mean": None, "reason": "no truth was given"},
        "diverged": None,
        "warnings": [],
        "seconds": {"reading the clip": 1.0, "fitting": 75.0},
    }
    clip = {"name": "frames", "original_size": [240, 320], "intrinsics": "assumed, 50 degrees", "masks": "given"}
    folder = write_results(
        path,
        reconstruction,
        replace(Config(), seed=seed),
        metrics=metrics,
        versions={"animal4d": __version__},
        clip=clip,
        split=split,
        cues=[{"cue": "tracks", "provider": "lucas-kanade", "kind": "builtin", "version": 1}],
        decisions=["the animal (dog build) heads right; sure"],
    )
    write_overlay(reconstruction, load_builtin_template(), filmed(reconstruction), folder.overlay, pane=PANE)
    steps = [
        {
            "stage": "fit",
            "step": step,
            "total": 1 / step,
            "losses": {"silhouette": 0.9 / step, "arap": 0.1 / step},
            **({"validation_iou": 1 - 1 / step} if step % 5 == 0 else {}),
            "seconds": 0.1 * step,
        }
        for step in range(1, 21)
    ]
    folder.log.write_text("".join(json.dumps(entry) + "\n" for entry in steps) + '{"stage": "fi')
    return folder


def copy_of(folder: RunFolder, path: Path) -> RunFolder:
    """Of what the run wrote; reports are left out."""
    shutil.copytree(folder.path, path, ignore=shutil.ignore_patterns("report"))
    return RunFolder(path)


def change_metrics(folder: RunFolder, **changes: object) -> None:
    folder.metrics.write_text(json.dumps(json.loads(folder.metrics.read_text()) | changes))


def corners_of(image_size: tuple[int, int]) -> np.ndarray:
    height, width = image_size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
