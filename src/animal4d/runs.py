"""A run, from beginning to end: read, cues, fit, results, measures.

Everything that a run needs to be repeated, resumed or measured again lies in its folder (docs/architecture.md).
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.config import Config, to_dict
from animal4d.cues.cues import Cues, make_cues
from animal4d.errors import Animal4dError
from animal4d.evaluate.keypoints import load_keypoints
from animal4d.evaluate.metrics import evaluate
from animal4d.evaluate.truth import load_truth
from animal4d.export.cameras import write_cameras
from animal4d.export.colors import vertex_colors
from animal4d.export.glb import GlbSummary, write_glb
from animal4d.export.poses import write_poses
from animal4d.export.scale import check_body_length, in_metres
from animal4d.export.texture import baked_texture, read_texture, write_texture
from animal4d.export.video import write_contact_sheet, write_overlay
from animal4d.files.atomic import write_json
from animal4d.finished_run import check_same_template, open_fitted_run, template_checksum
from animal4d.fit.reconstruct import (
    FitHistory,
    absolute_template,
    fit_clip,
    load_template,
    resolve_device,
    without_held_out_masks,
)
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.split import Split, split_frames
from animal4d.fit.texture import with_shell_texture
from animal4d.makers import MakerSettings, as_begun, wanted_providers
from animal4d.readers.crop import Box
from animal4d.readers.load import load_clip, wanted_eyes
from animal4d.readers.mask_finders import Point
from animal4d.readers.originals import original_frames
from animal4d.readers.source import Progress
from animal4d.readers.ways_to_masks import were_found
from animal4d.report.report import write_report
from animal4d.run_folder import RunFolder, RunRequest, resumed_settings, versions
from animal4d.run_progress import Monitor, RunProgress, SilentRunProgress
from animal4d.texture.bake import BakedTexture

__all__ = ["RunInterrupted", "RunRequest", "RunResult", "evaluate_run", "run_reconstruction"]


@dataclass(frozen=True)
class RunResult:
    """A finished run: its metrics, where the time went, and what the user should know."""

    metrics: dict[str, Any]
    seconds: dict[str, float]
    """Per stage, of this call."""
    warnings: tuple[str, ...] = ()
    diverged: str | None = None
    """Why the fit stopped early, where it did; the results are those of its last good state."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C; the message says how to go on."""


def run_reconstruction(request: RunRequest, config: Config, progress: RunProgress | None = None) -> RunResult:
    """Fit an animal to a clip and write the run's folder.

    With `request.resume` the run in the folder goes on with its own settings and clip.

    Raises:
        Animal4dError: The input or the folder cannot be used, or the disk is full.
        RunInterrupted: Ctrl-C; what was computed is kept.
    """
    folder = RunFolder(request.out)
    folder.check(request.overwrite, request.resume)
    config = replace(config, template=absolute_template(config.template))
    notes: tuple[str, ...] = ()
    if request.resume:
        request, config, notes = resumed_settings(request, config, folder)
    monitor = Monitor(folder.log, progress or SilentRunProgress())
    try:
        with monitor.deferring_interrupts():
            return _run(request, config, folder, monitor, notes)
    except KeyboardInterrupt:
        untouched = request.overwrite and not monitor.seconds
        raise RunInterrupted(_how_to_go_on(request, folder, untouched)) from None


def evaluate_run(folder: Path, truth: Path | None = None, keypoints: Path | None = None) -> RunResult:
    """Measure a finished run again, and write its metrics anew.

    Without truth or keypoints those that the run was started with are used.
    """
    run = open_fitted_run(folder)
    config, request = run.folder.recorded_config(), run.folder.recorded_request()
    request = replace(request, truth=truth or request.truth, keypoints=keypoints or request.keypoints)
    clip = _clip_of_run(request, config, run.folder, begun=True)
    _check_same_clip(clip, run.record, run.folder)
    before = _previous_metrics(run.folder)
    split = split_frames(clip.mask_valid)
    metrics = _measure(run.reconstruction, run.model, clip, read_texture(folder, run.model), request, split)
    kept = {name: before.get(name) for name in ("start", "diverged", "warnings", "seconds")}
    write_json(run.folder.metrics, {**metrics, **kept})
    write_report(run.folder)
    return RunResult(metrics, {}, clip.warnings, kept["diverged"])


def parse_box(text: str | None) -> Box | None:
    """x, y, width and height in pixels from "x,y,w,h"."""
    if text is None:
        return None
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise Animal4dError(f"--box {text}: expected four numbers X,Y,W,H in pixels of the first frame") from None
    return x, y, width, height


def parse_point(text: str | None) -> Point | None:
    """x and y in pixels from "x,y"."""
    if text is None:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise Animal4dError(f"--point {text}: expected two numbers X,Y in pixels of the first frame") from None
    return x, y


def _run(request: RunRequest, config: Config, folder: RunFolder, monitor: Monitor, notes: tuple[str, ...]) -> RunResult:
    # What can be wrong with the request is found before the first minute has gone by.
    check_body_length(request.body_length)
    device = str(resolve_device(config.device))
    config.choice.check()
    model = load_template(config.template)
    with monitor.stage("reading the clip"):
        clip = _clip_of_run(request, config, folder, request.resume, monitor.watcher.part)
        _check_measures(request, clip)
        choice = config.choice
        eyes = wanted_eyes() if choice.opens_eyes else None
        record = folder.read_record() if request.resume else _new_record(request, config, clip, model)
        if request.resume:
            choice = as_begun(choice, record)
            check_same_template(model, record, folder)
            _check_same_clip(clip, record, folder)
        settings = MakerSettings(choice, device, monitor.watcher.part)
        providers = wanted_providers(clip, model, settings, eyes, monitor.watcher.message, monitor.watcher.warning)
    if request.overwrite and not request.resume:
        folder.clear()
    warnings = (*notes, *clip.warnings)
    for warning in warnings:
        monitor.watcher.warning(warning)
    folder.write_record(record)
    if were_found(clip.mask_source):
        clip.save(folder.clip)

    with monitor.stage("finding cues"):
        shown = without_held_out_masks(clip)
        failed: list[str] = []
        cues = make_cues(shown, folder.cues, providers, monitor.watcher.message, failed.append)
    for failure in failed:
        monitor.watcher.warning(failure)
    warnings = (*warnings, *failed)
    folder.write_record(record | {"cues": [dict(note) for note in cues.provenance]})

    with monitor.stage("fitting"):
        reconstruction, history = _fit(clip, shown, cues, config, folder, monitor, request.resume)
    record = _with_fit(record, cues, history, monitor.decisions)
    with monitor.stage("writing results"):
        colored = sorted((*history.split.train.tolist(), *history.split.validation.tolist()))
        colors = vertex_colors(reconstruction, model, clip, colored)
        reconstruction = replace(reconstruction, vertex_colors=colors)
        reconstruction = with_shell_texture(reconstruction, model, clip, colored, config.seed)
        originals = original_frames(clip, request.source)
        texture = baked_texture(reconstruction, model, clip, colored, config.texture_size, originals)
        asset = _write_results(reconstruction, model, clip, texture, folder, request.body_length)
        if not asset.exact:
            warnings += (f"asset.glb is off by up to {asset.max_error:.2%} of the body: {'; '.join(asset.notes)}",)
            monitor.watcher.warning(warnings[-1])
    folder.write_record(record)
    with monitor.stage("measuring"):
        metrics = _measure(reconstruction, model, clip, texture, request, history.split)
    about = {
        "start": record["start"],
        "diverged": history.diverged,
        "warnings": list(warnings),
        "seconds": monitor.seconds,
    }
    write_json(folder.metrics, {**metrics, **about})
    with monitor.stage("writing the report"):
        write_report(folder)
    return RunResult(metrics, monitor.seconds, warnings, history.diverged)


def _fit(
    clip: Clip, shown: Clip, cues: Cues, config: Config, folder: RunFolder, monitor: Monitor, resume: bool
) -> tuple[Reconstruction, FitHistory]:
    # A run that was stopped before its first checkpoint has nothing to go on from but its settings and cues.
    go_on = resume and folder.last_checkpoint.is_file()
    return fit_clip(clip, shown, cues, config, monitor, folder.checkpoints, go_on)


def _clip_of_run(
    request: RunRequest, config: Config, folder: RunFolder, begun: bool, progress: Progress | None = None
) -> Clip:
    """The clip as it was when the run began, where its masks were found by the network (made anew, they may differ in
    the last bits on other threads); else as it is read now."""
    if begun and folder.clip.is_file():
        kept = Clip.load(folder.clip)
        if kept.checksum() == folder.read_record()["clip"].get("checksum"):
            return kept
    return _read_clip(request, config, progress)


def _read_clip(request: RunRequest, config: Config, progress: Progress | None = None) -> Clip:
    return load_clip(
        request.source,
        masks=request.masks,
        cameras=request.cameras,
        box=parse_box(request.box),
        point=parse_point(request.point),
        providers=config.choice,
        device=str(resolve_device(config.device)),
        fov=request.fov,
        fps=request.fps,
        start=request.start,
        stop=request.stop,
        stride=request.stride,
        max_frames=request.max_frames,
        working_size=config.working_size,
        progress=progress,
    )


def _check_measures(request: RunRequest, clip: Clip) -> None:
    """Raises Animal4dError now, rather than after the fit, when truth or keypoints cannot be used."""
    if request.truth is not None:
        load_truth(request.truth, clip.frame_numbers)
    if request.keypoints is not None:
        load_keypoints(request.keypoints, clip.crop.original_size)


def _check_same_clip(clip: Clip, record: dict[str, Any], folder: RunFolder) -> None:
    if clip.checksum() != record["clip"].get("checksum"):
        raise Animal4dError(
            f"{clip.source}: frames or masks have changed since the run in {folder.path} began; start again with "
            "`reconstruct --overwrite`"
        )


def _new_record(request: RunRequest, config: Config, clip: Clip, model: BodyModel) -> dict[str, Any]:
    """What config.yaml says of a run that begins; "config" is what `--config` reads."""
    split = split_frames(clip.mask_valid)
    numbers = clip.frame_numbers
    return {
        "versions": versions(),
        "request": request.to_record(),
        "config": to_dict(config),
        "template_checksum": template_checksum(model),
        "clip": {
            "name": clip.name,
            "frames": len(clip),
            "frames_per_second": round(clip.fps, 6),
            "original_size": list(clip.crop.original_size),
            "intrinsics": clip.intrinsics_source,
            "masks": clip.mask_source,
            "warnings": list(clip.warnings),
            "checksum": clip.checksum(),
        },
        "split": {name: numbers[frames].tolist() for name, frames in split.as_lists().items()},
    }


def _with_fit(record: dict[str, Any], cues: Cues, history: FitHistory, decisions: list[str]) -> dict[str, Any]:
    """The record of a run whose fit is done."""
    losses = {name: round(loss, 6) for name, loss in history.start_losses.items()}
    return record | {
        "cues": [dict(note) for note in cues.provenance],
        "start": {"name": history.start_name, "losses": losses},
        "decisions": [*record.get("decisions", []), *decisions],  # of a resumed run: those before as well
    }


@torch.no_grad()
def _write_results(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    texture: BakedTexture,
    folder: RunFolder,
    body_length: float,
) -> GlbSummary:
    reconstruction.save(folder.reconstruction)
    write_texture(texture, folder.path)
    metric, metric_model = in_metres(reconstruction, model, body_length)
    asset = write_glb(metric, metric_model, folder.asset, texture)
    write_cameras(metric, folder.cameras)
    write_poses(reconstruction, model, folder.poses, body_length)
    write_contact_sheet(reconstruction, model, clip, folder.contact_sheet, texture=texture)
    write_overlay(reconstruction, model, clip, folder.overlay, texture=texture)
    return asset


def _measure(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    texture: BakedTexture | None,
    request: RunRequest,
    split: Split,
) -> dict[str, Any]:
    return evaluate(reconstruction, model, clip, request.truth, request.keypoints, split.as_lists(), texture=texture)


def _previous_metrics(folder: RunFolder) -> dict[str, Any]:
    try:
        metrics = json.loads(folder.metrics.read_text())
    except (OSError, ValueError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def _how_to_go_on(request: RunRequest, folder: RunFolder, untouched: bool) -> str:
    """`untouched`: what lies in the folder is of the run that was to be replaced."""
    if untouched or not folder.record.exists():
        return "interrupted before anything was computed; the same command starts again"
    kept = "the checkpoint is kept" if folder.last_checkpoint.exists() else "settings and cues are kept"
    command = shlex.join(["animal4d", "reconstruct", str(request.source), "--out", str(folder.path), "--resume"])
    return f"interrupted, {kept}; go on with: {command}"
