"""Synthetic clips: frames, masks and parts of an animal in a scene, with full truth; and their folder.

frames/00000.jpg ...   pictures
masks/00000.png ...    255 where the animal is
parts/00000.png ...    0 background, 1 + index into PART_NAMES elsewhere
cameras.json           intrinsics and poses of all frames, OpenCV convention
truth.npz              see `Truth`
meta.json              configuration, source and licence
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image

from animal4d import __version__
from animal4d.errors import Animal4dError
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import nearest_corners, rasterize
from animal4d.synth.actors import perform
from animal4d.synth.camera_paths import camera_track
from animal4d.synth.config import SynthConfig
from animal4d.synth.render import render
from animal4d.synth.scenery import make_scenery
from animal4d.synth.truth import Truth, sample_surface, save_truth, track_points, visible_points

_PARTS_OF_CLIP = ("frames", "masks", "parts", "cameras.json", "truth.npz", "meta.json")
_TOLERANCE = 0.008
"""Of the body length: how much nearer another surface must be to hide a tracked point."""


@dataclass(frozen=True)
class SyntheticClip:
    """A clip in memory."""

    config: SynthConfig
    frames: UInt8[ndarray, "frames height width 3"]
    """RGB."""
    masks: Bool[ndarray, "frames height width"]
    parts: UInt8[ndarray, "frames height width"]
    """0 background, 1 + index into `PART_NAMES` elsewhere."""
    truth: Truth
    origin: str
    """Where the animal comes from, in words."""
    licence: str

    @property
    def cameras(self) -> Cameras:
        return self.truth.cameras


def make_synthetic_clip(config: SynthConfig) -> SyntheticClip:
    """Animate, film and render. The same configuration gives the same clip.

    Raises Animal4dError for an unknown motion, shape, coat or animation, and for a glTF that cannot be used.
    """
    actor = perform(config)
    rng = np.random.default_rng([config.seed, 1])
    cameras = camera_track(config.camera_style, actor.vertices, actor.heading, config.image_size, rng)
    scenery = make_scenery(
        config.seed,
        animal_path=actor.vertices.mean(dim=1)[:, :2].double().numpy(),
        camera_path=cameras.centers[:, :2].double().numpy(),
        biome=None if config.biome == "random" else config.biome,
    )
    faces = actor.surface.faces
    fragments = rasterize(cameras.transform(actor.vertices), faces, cameras.intrinsics, config.image_size)
    covered = fragments.covered.numpy()
    track_faces, track_barycentrics = sample_surface(actor.rest, faces, config.tracks, rng)
    points = track_points(actor.vertices, faces, track_faces, track_barycentrics)
    truth = Truth(
        vertices=actor.vertices,
        faces=faces,
        part_labels=actor.part_labels,
        joints=actor.joints,
        joint_names=actor.joint_names,
        facing=actor.facing,
        body_length=actor.body_length,
        tracks=cameras.project(points),
        track_visible=visible_points(points, cameras, fragments, _TOLERANCE * actor.body_length),
        track_faces=track_faces,
        track_barycentrics=track_barycentrics,
        cameras=cameras,
        fps=config.fps,
        body=actor.body,
    )
    part = actor.part_labels[nearest_corners(fragments, faces)].numpy()
    parts = np.where(covered, 1 + part, 0).astype(np.uint8)
    frames = render(actor.vertices, actor.surface, cameras, scenery, config.seed)
    return SyntheticClip(config, frames, covered, parts, truth, actor.origin, actor.licence)


def write_synthetic_clip(clip: SyntheticClip, folder: str | Path, overwrite: bool = False) -> None:
    """Write the clip's folder. Raises Animal4dError when something is in the way, or the disk is full."""
    folder = Path(folder)
    if not overwrite:
        check_empty(folder)
    try:
        for name in _PARTS_OF_CLIP:
            _remove(folder / name)
        for name in ("frames", "masks", "parts"):
            (folder / name).mkdir(parents=True)
        for index, (frame, mask, parts) in enumerate(zip(clip.frames, clip.masks, clip.parts, strict=True)):
            stem = f"{index:05d}"
            Image.fromarray(frame).save(folder / "frames" / f"{stem}.jpg", quality=95, subsampling=0)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{stem}.png")
            Image.fromarray(parts).save(folder / "parts" / f"{stem}.png")
        save_truth(clip.truth, folder / "truth.npz")
        (folder / "cameras.json").write_text(json.dumps(_cameras_json(clip), indent=1))
        meta = {
            "animal4d": __version__,
            "animal": clip.origin,
            "licence": clip.licence,
            "fps": clip.config.fps,
            "seed": clip.config.seed,
            "config": asdict(clip.config),
        }
        (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    except OSError as error:
        raise Animal4dError(f"{folder}: cannot write the clip ({error.strerror or error})") from error


def check_empty(folder: Path) -> None:
    """Raises Animal4dError where a clip cannot be written without harm to what is there."""
    if folder.exists() and not folder.is_dir():
        raise Animal4dError(f"{folder}: is a file; give a folder")
    if folder.exists() and any(folder.iterdir()):
        raise Animal4dError(f"{folder}: is not empty; give another folder")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def _cameras_json(clip: SyntheticClip) -> dict[str, object]:
    cameras = clip.cameras
    return {
        "fps": clip.config.fps,
        "frames": [
            {
                "frame": index,
                "time": index / clip.config.fps,
                "image_size": list(cameras.image_size),
                "K": cameras.intrinsics[index].tolist(),
                "world_to_camera": cameras.world_to_camera[index].tolist(),
            }
            for index in range(len(cameras))
        ],
    }
