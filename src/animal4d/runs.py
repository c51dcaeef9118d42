"""A run folder, from beginning to end: checked, locked, fitted, written, measured.

Everything a run needs to be repeated, resumed or measured again lies in its folder (docs/architecture.md).
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from animal4d import __version__
from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.config import Config, load_config, to_dict
from animal4d.errors import Animal4dError
from animal4d.evaluate.metrics import evaluate
from animal4d.export.cameras import write_cameras
from animal4d.export.glb import write_glb
from animal4d.export.poses import write_poses
from animal4d.export.video import write_contact_sheet, write_overlay
from animal4d.files.atomic import write_json, write_text
from animal4d.fit.reconstruct import FitProgress, load_template, reconstruct_with_history
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.split import Split
from animal4d.readers.load import load_clip

FINISHED = "metrics.json"
"""Written last: a folder with it holds a finished run."""


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for: where the clip is, how to read it, and where the run goes."""

    source: Path
    out: Path
    masks: Path | None = None
    box: str | None = None
    cameras: Path | None = None
    fov: float | None = None
    fps: float | None = None
    start: int = 0
    stop: int | None = None
    stride: int = 1
    max_frames: int | None = None
    truth: Path | None = None
    keypoints: Path | None = None
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True)
class RunResult:
    """A finished run: its metrics, and where the time went."""

    metrics: dict[str, Any]
    seconds: dict[str, float]
    warnings: tuple[str, ...]


def check_folder(out: Path, overwrite: bool, resume: bool) -> None:
    """Raises Animal4dError when the folder holds a run and nothing was said about it, or is not a folder."""
    if out.exists() and not out.is_dir():
        raise Animal4dError(f"{out}: is a file; give --out a folder")
    if overwrite and resume:
        raise Animal4dError("--overwrite and --resume exclude each other; give one of them")
    finished = (out / FINISHED).exists()
    begun = (out / "checkpoints" / "last.pt").exists()
    if (finished or begun) and not (overwrite or resume):
        what = "a finished run" if finished else "an interrupted run"
        remedy = "--overwrite to replace it" if finished else "--resume to go on or --overwrite to start again"
        raise Animal4dError(f"{out}: holds {what}; use {remedy}")
    if resume and not begun:
        raise Animal4dError(f"{out}: nothing to resume here; leave --resume away")


def parse_box(text: str | None) -> tuple[float, float, float, float] | None:
    """x, y, width and height in pixels from "x,y,w,h"."""
    if text is None:
        return None
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise Animal4dError(f"--box {text}: expected four numbers X,Y,W,H in pixels of the first frame") from None
    if width <= 0 or height <= 0:
        raise Animal4dError(f"--box {text}: width and height must be positive")
    return x, y, width, height
