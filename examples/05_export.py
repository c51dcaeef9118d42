"""From a finished run folder to other programs: load it, read what is in it, and write the GLB of an edited animal.

    make demo
    python examples/05_export.py runs/demo

Without a run folder, an animal that stands in the template's rest pose and nods is exported.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch

from animal4d.body.template import load_builtin_template
from animal4d.clip import Crop
from animal4d.export.cameras import write_cameras
from animal4d.export.glb import write_glb
from animal4d.export.poses import write_poses
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.cameras import intrinsics_from_fov
from animal4d.geometry.rotations import rotation_about

FRAMES, FPS, SIZE = 24, 12.0, (256, 256)


def nodding_animal() -> Reconstruction:
    """A reconstruction made by hand: everything that a fit would have found."""
    model = load_builtin_template()
    rotations = torch.eye(3).repeat(FRAMES, model.n_joints, 1, 1)
    nod = 0.4 * torch.sin(torch.arange(FRAMES) / FRAMES * 2 * math.pi)
    rotations[:, model.joint_names.index("head")] = rotation_about("y", nod)
    camera = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0.5], [0, 1, 0, 3], [0, 0, 0, 1]])
    return Reconstruction(
        betas=torch.zeros(model.n_betas),
        limb_scales=torch.zeros(7),
        vertex_offsets=torch.zeros(model.n_vertices, 3),
        joint_rotations=rotations,
        translation=torch.tensor([0.0, 0.0, 0.6]).repeat(FRAMES, 1),
        intrinsics=intrinsics_from_fov(40.0, SIZE).repeat(FRAMES, 1, 1),
        world_to_camera=camera.repeat(FRAMES, 1, 1),
        image_size=SIZE,
        crop=Crop(torch.zeros(FRAMES, 2), torch.ones(FRAMES), SIZE),
        frame_numbers=torch.arange(FRAMES),
        times=torch.arange(FRAMES) / FPS,
        fps=FPS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a finished run folder")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/05"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    model = load_builtin_template()
    if arguments.run is None:
        reconstruction = nodding_animal()
    else:
        reconstruction = Reconstruction.load(arguments.run / "reconstruction.npz")
    # Edits are replacements: here the coat becomes red.
    red = torch.tensor([0.6, 0.25, 0.15]).expand(model.n_vertices, 3)
    edited = replace(reconstruction, vertex_colors=red)
    summary = write_glb(edited, model, arguments.out / "asset.glb")
    write_cameras(edited, arguments.out / "cameras.json")
    write_poses(edited, model, arguments.out / "poses.npz")
    print(summary)
    print(f"written: asset.glb (y up), cameras.json (the same world) and poses.npz in {arguments.out}")


if __name__ == "__main__":
    main()
