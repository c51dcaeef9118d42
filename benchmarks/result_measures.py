"""What is read from a finished run folder for the report: figures, headings, and a sheet of pictures to look at."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from animal4d.body.model import PosedBody
from animal4d.body.template import load_builtin_template
from animal4d.clip import Clip
from animal4d.evaluate.keypoints import BODY_POINTS, load_keypoints
from animal4d.export.axes import asset_from_world
from animal4d.export.cameras import read_cameras
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize

SHEET_ROWS, SHEET_COLUMNS, SHEET_WIDTH = 8, 2, 800


def read_measurements(folder: Path, keypoints: Path | None) -> dict[str, Any]:
    """The figures of a run, from the files that every user gets."""
    metrics = json.loads((folder / "metrics.json").read_text())
    joints, pixels = _joints_in_view(folder)
    names = load_builtin_template().joint_names
    forward = joints[:, names.index("head")] - joints[:, names.index("tail_1")]
    result = {
        "frames": metrics["frames"],
        "iou_test": metrics["iou"].get("test"),
        "iou_w5_test": metrics["iou_w5"].get("test"),
        "texture_psnrm_test": metrics["texture_psnrm"].get("test"),
        "iou_by_frame": metrics["iou"].get("per_frame", []),
        "headings": [heading_in_words(*direction) for direction in forward.tolist()],
        **{
            name: metrics[name]["mean"]
            for name in (
                "iou",
                "iou_w5",
                "psnrm",
                "texture_psnrm",
                "asset_psnrm",
                "chamfer",
                "vertex_error",
                "pa_mpjpe",
                "joint_motion_error",
                "pck_0.2",
                "pck_0.1",
            )
        },
        "right_way_round": metrics["right_way_round"]["mean"],
    }
    if keypoints is not None:
        result["right_way_round"] = _share_heading_as_annotated(keypoints, metrics["frames"], pixels)
    return result


def against_true_masks(folder: Path, masks: Path, frames: list[int]) -> dict[str, float]:
    """Mean overlap of the drawn animal, and of the masks that the run found, with true ones of the original frames."""
    files = sorted(path for path in masks.iterdir() if path.suffix == ".png")
    true = [np.asarray(Image.open(files[number]).convert("L")) > 127 for number in frames]
    clip = Clip.load(folder / "cues" / "clip.npz")
    vertices, cameras = _vertices_in_view(folder)
    faces = load_builtin_template().faces
    drawn_overlaps, found_overlaps = [], []
    for index, mask in enumerate(true):
        camera = cameras[[index]]
        drawn = rasterize(camera.transform(vertices[[index]]), faces, camera.intrinsics, mask.shape).covered[0].numpy()
        drawn_overlaps.append((drawn & mask).sum() / max((drawn | mask).sum(), 1))
        found = _in_original_frame(clip, index, mask.shape)
        found_overlaps.append((found & mask).sum() / max((found | mask).sum(), 1))
    return {"iou_true": float(np.mean(drawn_overlaps)), "mask_iou_true": float(np.mean(found_overlaps))}


def _in_original_frame(clip: Clip, index: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The clip's mask on the pixels of the original frame."""
    rows, columns = torch.meshgrid(torch.arange(shape[0]) + 0.5, torch.arange(shape[1]) + 0.5, indexing="ij")
    pixels = (torch.stack((columns, rows), dim=-1) - clip.crop.origin[index]) / clip.crop.scale[index]
    height, width = clip.image_size
    grid = pixels * torch.tensor([2 / width, 2 / height]) - 1
    sampled = torch.nn.functional.grid_sample(
        clip.masks[[index], None].float(), grid[None], align_corners=False, padding_mode="zeros"
    )
    return (sampled.view(shape) > 0.5).numpy()


def heading_in_words(right: float, down: float, forward: float) -> str:
    """Where a direction in the camera's frame (x right, y down, z forward) points, as one of eight words."""
    del down
    words = (
        "right",
        "right and away",
        "away",
        "left and away",
        "left",
        "left and near",
        "to the camera",
        "right and near",
    )
    return words[round(math.atan2(forward, right) / (math.pi / 4)) % 8]


def _joints_in_view(folder: Path) -> tuple[Float[Tensor, "frames joints 3"], Float[Tensor, "frames joints 2"]]:
    """Joints in the camera's frame, and in pixels of the original frames."""
    (posed, metres_per_unit), cameras = _posed(folder), read_cameras(folder / "cameras.json").cameras
    in_asset = metres_per_unit * posed.joints @ torch.from_numpy(asset_from_world()).float().T
    return cameras.transform(in_asset), cameras.project(in_asset)


def _vertices_in_view(folder: Path) -> tuple[Float[Tensor, "frames vertices 3"], Cameras]:
    """Vertices in the world of the asset, with its cameras."""
    posed, metres_per_unit = _posed(folder)
    vertices = metres_per_unit * posed.vertices @ torch.from_numpy(asset_from_world()).float().T
    return vertices, read_cameras(folder / "cameras.json").cameras


def _posed(folder: Path) -> tuple[PosedBody, float]:
    """In units of the template, and metres per unit."""
    with np.load(folder / "poses.npz") as file:
        poses = {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind == "f"}
    shaped = load_builtin_template().with_shape(poses["betas"], poses["limb_scales"], poses["vertex_offsets"])
    return shaped.with_pose(poses["joint_rotations"], poses["translation"]), float(poses["metres_per_unit"])


def _share_heading_as_annotated(path: Path, frames: list[int], pixels: Float[Tensor, "frames joints 2"]) -> float:
    """Share of the annotated frames in which the line from the tail's base to the head points, in the picture, to the
    side where the annotation has it. Head: the mean of the visible points on it."""
    keypoints = load_keypoints(path)
    model_names = load_builtin_template().joint_names
    ours = pixels[:, model_names.index("head")] - pixels[:, model_names.index("tail_1")]
    on_body = [BODY_POINTS[name] for name in keypoints.names]
    head = [i for i, name in enumerate(on_body) if name in ("jaw", "nose_end", "chin", "left_ear_tip", "right_ear_tip")]
    tail = on_body.index("tail_start")
    agrees = []
    for row, number in enumerate(keypoints.frame_numbers.tolist()):
        seen = [i for i in head if bool(keypoints.visible[row, i])]
        if number not in frames or not seen or not bool(keypoints.visible[row, tail]):
            continue
        theirs = keypoints.pixels[row, seen].mean(0) - keypoints.pixels[row, tail]
        agrees.append(float(ours[frames.index(number)] @ theirs) > 0)
    return sum(agrees) / len(agrees) if agrees else math.nan


def write_sheet(overlay: Path, path: Path) -> None:
    """Frames of the overlay video, evenly spread, on one picture."""
    with av.open(str(overlay)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = np.unique(np.linspace(0, len(frames) - 1, SHEET_ROWS * SHEET_COLUMNS).round().astype(int))
    height, width = frames[0].shape[:2]
    size = (SHEET_WIDTH, round(height * SHEET_WIDTH / width))
    sheet = Image.new("RGB", (SHEET_COLUMNS * size[0], math.ceil(len(chosen) / SHEET_COLUMNS) * size[1]), "white")
    for place, frame in enumerate(chosen):
        row, column = divmod(place, SHEET_COLUMNS)
        sheet.paste(Image.fromarray(frames[frame]).resize(size), (column * size[0], row * size[1]))
    sheet.save(path)
