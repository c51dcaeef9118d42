"""metrics.json: everything that can be measured of a reconstruction, per frame and mean, by parts of the clip.

Every metric is a mapping with `unit`, `mean`, one mean per part of the split (`train`, `validation`, `test`) and
`per_frame` (null where a frame cannot be measured). What cannot be had at all has a null mean and a `reason`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.evaluate import image
from animal4d.evaluate.entries import Metric, Splits, missing, per_frame_metric, summary_metric
from animal4d.evaluate.keypoints import Keypoints2D, keypoint_errors, load_keypoints
from animal4d.evaluate.spatial import jitter_metric, spatial_metrics
from animal4d.evaluate.truth import Truth, load_truth
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.texture import draw_shell, shell_texture
from animal4d.geometry.rasterize import interpolate, rasterize
from animal4d.texture.bake import BakedTexture, draw_baked
from animal4d.texture.shell import ShellTexture

PCK_THRESHOLDS = (0.2, 0.1)
_FRAMES_PER_BLOCK = 8
_UNITS = {"psnr": "dB", "psnrm": "dB", "ssim": "share"}
"""Of what compares pictures."""
_LACKING = {
    "": "the reconstruction has no colours",
    "texture_": "the reconstruction has no texture",
    "asset_": "the asset has no texture",
}
"""Prefixes of metrics by what is drawn, with why one of them may be missing: the vertex colours, the shell texture, the
asset with its baked texture."""
_NO_LPIPS = "its network's weights (VGG) are not part of this installation"


def evaluate(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    truth: Truth | Path | None = None,
    keypoints: Keypoints2D | Path | None = None,
    splits: Splits | None = None,
    texture: BakedTexture | None = None,
) -> dict[str, Any]:
    """All metrics, ready for JSON. `splits` names positions in the clip, e.g. {"train": [0, 1], "test": [2]}.

    Colours are judged as the reconstruction has them: make them of the training frames where held-out frames are to
    judge them. `texture` is the asset's.
    """
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    splits = splits or {}
    if isinstance(truth, Path):
        truth = load_truth(truth, clip.frame_numbers)
    if isinstance(keypoints, Path):
        keypoints = load_keypoints(keypoints, clip.crop.original_size)
    numbers = clip.frame_numbers.tolist()
    with torch.no_grad():
        return {
            "frames": numbers,
            "splits": {name: [numbers[frame] for frame in frames] for name, frames in splits.items()},
            **_image_metrics(reconstruction, model, clip, splits, texture),
            **spatial_metrics(reconstruction, model, clip, truth, splits),
            **_keypoint_metrics(reconstruction, model, clip, keypoints, splits),
            "jitter": jitter_metric(reconstruction, model, splits),
        }


def _image_metrics(
    reconstruction: Reconstruction, model: BodyModel, clip: Clip, splits: Splits, baked: BakedTexture | None
) -> dict[str, Metric]:
    """Silhouettes and pictures in working resolution, in the frames with a usable mask."""
    names = ("iou", *(f"{prefix}{name}" for prefix in _LACKING for name in _UNITS))
    usable = clip.mask_valid.nonzero().flatten()
    if not len(usable):
        metrics = dict.fromkeys((*names, "iou_w5"), missing("no frame has a usable mask"))
        return {**metrics, "lpips": missing(_NO_LPIPS)}
    texture = shell_texture(reconstruction, model)
    drawn = {"": reconstruction.vertex_colors, "texture_": texture, "asset_": baked}
    values = {name: torch.full((len(clip),), torch.nan) for name in names}
    for block in usable.split(_FRAMES_PER_BLOCK):
        for name, measured in _compare_images(reconstruction, model, clip, block, texture, baked).items():
            values[name][block] = measured
    metrics = {
        "iou": per_frame_metric(values["iou"], "share", splits),
        "iou_w5": summary_metric(values["iou"], "share", splits, image.mean_of_worst),
    }
    for name, unit in _UNITS.items():
        for prefix, reason in _LACKING.items():
            key = f"{prefix}{name}"
            known = drawn[prefix] is not None
            metrics[key] = per_frame_metric(values[key], unit, splits) if known else missing(reason)
    return {**metrics, "lpips": missing(_NO_LPIPS)}


def _compare_images(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    block: Tensor,
    texture: ShellTexture | None,
    baked: BakedTexture | None,
) -> dict[str, Tensor]:
    cameras = reconstruction.cameras[block]
    posed = reconstruction.posed(model, block).vertices
    vertices = cameras.transform(posed)
    fragments = rasterize(vertices, model.faces, cameras.intrinsics, cameras.image_size)
    mask = clip.masks[block].cpu() > 0.5
    result = {"iou": image.intersection_over_union(fragments.covered, mask)}
    # The background is black in both pictures, as published.
    filmed = clip.frames[block].cpu().float() / 255 * mask[..., None]
    pictures = {}
    if reconstruction.vertex_colors is not None:
        pictures[""] = interpolate(fragments, model.faces, reconstruction.vertex_colors[None])
    if texture is not None:
        pictures["texture_"] = draw_shell(reconstruction, model, texture, block)
    if baked is not None:
        pictures["asset_"] = draw_baked(baked, posed, model.faces, cameras)
    for prefix, drawn in pictures.items():
        result |= {
            f"{prefix}psnr": image.psnr(drawn, filmed),
            f"{prefix}psnrm": image.psnr(drawn, filmed, mask),
            f"{prefix}ssim": image.ssim(drawn, filmed),
        }
    return result


def _keypoint_metrics(
    reconstruction: Reconstruction, model: BodyModel, clip: Clip, keypoints: Keypoints2D | None, splits: Splits
) -> dict[str, Metric]:
    """Share of the visible annotated points within a threshold, counted over points, not frames."""
    names = {threshold: f"pck_{threshold:g}" for threshold in PCK_THRESHOLDS}
    if keypoints is None:
        return {name: missing("no keypoints were given") for name in names.values()}
    errors = keypoint_errors(reconstruction, model, clip, keypoints)
    if not errors.frames:
        return {name: missing("no annotated frame is among the frames with a usable mask") for name in names.values()}
    metrics: dict[str, Metric] = {}
    for threshold, name in names.items():
        correct = torch.full((len(clip), len(errors.names)), torch.nan)
        correct[list(errors.frames)] = errors.correct(threshold)
        metric = summary_metric(correct, "share", splits, lambda known: float(known.mean()))
        metric["per_frame"] = per_frame_metric(correct.nanmean(1), "share", {})["per_frame"]
        per_keypoint = per_frame_metric(correct.nanmean(0), "share", {})["per_frame"]
        metric["per_keypoint"] = dict(zip(errors.names, per_keypoint, strict=True))
        metrics[name] = metric
    return metrics
