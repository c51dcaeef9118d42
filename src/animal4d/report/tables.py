"""Metrics in words and units, for people: the same in the report, in a comparison, and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MetricWords:
    """How a metric is called and written."""

    key: str
    words: str
    short: str
    kind: str
    """"percent", "decibel" or "number"."""
    higher_is_better: bool


METRICS = (
    MetricWords("iou", "overlap of mesh and mask", "IoU", "percent", True),
    MetricWords("iou_w5", "the same in the worst 5 % of frames", "IoUw5", "percent", True),
    MetricWords("psnr", "colour, whole picture", "PSNR", "decibel", True),
    MetricWords("psnrm", "colour inside of the mask", "PSNRM", "decibel", True),
    MetricWords("ssim", "structure of the picture", "SSIM", "number", True),
    MetricWords("texture_psnr", "colour with the shell texture", "PSNR, texture", "decibel", True),
    MetricWords("texture_psnrm", "the same inside of the mask", "PSNRM, texture", "decibel", True),
    MetricWords("texture_ssim", "structure with the shell texture", "SSIM, texture", "number", True),
    MetricWords("asset_psnr", "colour of the baked asset", "PSNR, asset", "decibel", True),
    MetricWords("asset_psnrm", "the same inside of the mask", "PSNRM, asset", "decibel", True),
    MetricWords("asset_ssim", "structure of the baked asset", "SSIM, asset", "number", True),
    MetricWords("lpips", "perceptual distance", "LPIPS", "number", False),
    MetricWords("vertex_error", "distance of the vertices, of the body length", "vertex error", "percent", False),
    MetricWords("pa_mpjpe", "distance of the joints, of the body length", "PA-MPJPE", "percent", False),
    MetricWords("chamfer", "distance of the surfaces, of the diagonal", "Chamfer", "percent", False),
    MetricWords("acceleration_error", "trembling beside the true motion", "acceleration error", "number", False),
    MetricWords("right_way_round", "head and tail the right way round", "right way", "percent", True),
    MetricWords("pck_0.2", "keypoints within 0.2", "PCK@0.2", "percent", True),
    MetricWords("pck_0.1", "keypoints within 0.1", "PCK@0.1", "percent", True),
    MetricWords("jitter", "mean acceleration, body lengths per squared frame", "jitter", "number", False),
)
NOTHING = "\N{EN DASH}"
_NOT_METRICS = ("frames", "splits", "start", "diverged", "warnings", "seconds")


def metrics_of(*measured: Mapping[str, Any]) -> list[MetricWords]:
    """All metrics that any of these have an entry for, known ones first."""
    present = {key for metrics in measured for key, entry in metrics.items() if isinstance(entry, dict)}
    present -= set(_NOT_METRICS)
    known = [metric for metric in METRICS if metric.key in present]
    others = sorted(present - {metric.key for metric in METRICS})
    return [*known, *(MetricWords(key, key.replace("_", " "), key, "number", True) for key in others)]


def written(value: float | None, kind: str) -> str:
    """A value with its unit; a dash where there is none."""
    if value is None:
        return NOTHING
    if kind == "percent":
        return f"{100 * value:.1f} %"
    return f"{value:.1f} dB" if kind == "decibel" else f"{value:.3f}"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
