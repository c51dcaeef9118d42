"""Clips for the animal of a run: made, faded into each other, looped, with feet that stand; and written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from animal4d.errors import Animal4dError
from animal4d.export.poses import write_poses
from animal4d.export.texture import read_texture
from animal4d.files.atomic import write_bytes
from animal4d.finished_run import FinishedRun
from animal4d.motion.asset import with_animations
from animal4d.motion.crossfade import crossfaded
from animal4d.motion.feet import planted
from animal4d.motion.loop import best_loop
from animal4d.motion.measures import FootMeasures, measure_feet
from animal4d.motion.motion import Motion, as_reconstruction, headings
from animal4d.motion.preview import write_preview
from animal4d.motion.skeleton import Skeleton, skeleton_of
from animal4d.motion.sources import MotionRequest, motion_named, of_run

ASSET = "asset.glb"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LONGEST_FADE = 5.0
_SHOWN_CYCLES = 2


@dataclass(frozen=True)
class ClipOptions:
    """What is done with the motions, in this order."""

    request: MotionRequest = field(default_factory=MotionRequest)
    crossfade: float | None = None
    """Seconds; None: every motion is a clip of its own."""
    loop: bool = False
    in_place: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clip:
    name: str
    motion: Motion
    measures: FootMeasures
    loop_gap: float | None = None
    """How far the ends of a loop were apart before they were closed, in leg lengths."""


@torch.no_grad()
def make_clips(run: FinishedRun, motions: Sequence[str], options: ClipOptions) -> list[Clip]:
    """Clips on the run's own shape; without motions the run's own, looped.

    Raises Animal4dError where a motion cannot be had or an option does not go with it.
    """
    _check(motions, options)
    target = skeleton_of(run.reconstruction.shaped(run.model))
    if motions:
        made = [motion_named(text, run, target, options.request) for text in motions]
        names = [_short(text) for text in motions]
    else:
        made, names = [of_run(run, run, target, options.request.path)], [run.name]
    if options.crossfade is not None:
        joined, names = made[0], ["_to_".join(names)]
        for motion in made[1:]:
            joined = crossfaded(target, joined, motion, options.crossfade)
        made = [joined]
    names = [name + "_loop" * options.loop + "_in_place" * options.in_place for name in names]
    names = _named(names, options.names)
    return [_finished(target, name, motion, options) for name, motion in zip(names, made, strict=True)]


def _check(motions: Sequence[str], options: ClipOptions) -> None:
    if not motions and not options.loop:
        raise Animal4dError("no motion: give --motion the folder of a run, a gait or a .npz file, or --loop")
    if options.crossfade is None:
        return
    if len(motions) < 2:
        raise Animal4dError("--crossfade joins motions; give --motion two or more of them")
    if not 0 < options.crossfade <= _LONGEST_FADE:
        raise Animal4dError(f"--crossfade {options.crossfade:g}: give seconds from above 0 to {_LONGEST_FADE:g}")


def _short(text: str) -> str:
    """What a clip is called after its source."""
    path = Path(text)
    name = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-") or "clip"


def _named(names: list[str], given: Sequence[str]) -> list[str]:
    if not given:
        return [name if name not in names[:at] else f"{name}_{at + 1}" for at, name in enumerate(names)]
    if len(given) != len(names) or len(set(given)) != len(given):
        raise Animal4dError(f"--clip: give {len(names)} different name{'s' * (len(names) > 1)}, one per clip")
    for name in given:
        if not _NAME.fullmatch(name):
            raise Animal4dError(
                f'--clip "{name}": a name has letters, digits, "_", "-" and ".", for it names files too'
            )
    return list(given)


def _finished(target: Skeleton, name: str, motion: Motion, options: ClipOptions) -> Clip:
    gap = None
    if options.loop:
        found = best_loop(target, motion)
        motion, gap = found.motion, found.gap
    motion = _from_the_origin(planted(target, motion))
    if options.in_place:
        motion = motion.on_the_spot()
    return Clip(name, motion, measure_feet(target, motion), gap)


def _from_the_origin(motion: Motion) -> Motion:
    """Begins at the origin and looks ahead."""
    turn = -float(headings(motion.joint_rotations)[0])
    return motion.moved(turn, motion.root[0, :2], torch.zeros(2, dtype=torch.float64))


@torch.no_grad()
def write_clips(
    run: FinishedRun, clips: Sequence[Clip], out: Path, preview: bool = True, overwrite: bool = False
) -> None:
    """The run's asset with the clips beside its own, and per clip poses and a preview.

    Raises Animal4dError where the run has no asset, or `out` holds such files and is not to be overwritten.
    """
    _check_out(run, clips, out, overwrite)
    body = run.reconstruction.shaped(run.model)
    source = run.folder.asset
    try:
        own = source.read_bytes()
    except OSError as error:
        raise Animal4dError(
            f"{source}: cannot be read ({error.strerror}); write it anew with `reconstruct --resume`"
        ) from error
    asset = with_animations(own, body, {clip.name: clip.motion for clip in clips}, source)
    texture = read_texture(run.folder.path, run.model) if preview else None
    write_bytes(out / ASSET, asset)
    for clip in clips:
        moving = as_reconstruction(run.reconstruction, body, clip.motion)
        write_poses(moving, run.model, out / f"{clip.name}.npz", run.body_length)
        if preview:
            shown = clip.motion.repeated(_SHOWN_CYCLES) if clip.motion.cyclic else clip.motion
            write_preview(as_reconstruction(run.reconstruction, body, shown), run.model, out, clip.name, texture)


def _check_out(run: FinishedRun, clips: Sequence[Clip], out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise Animal4dError(f"--out {out}: is a file; give a folder")
    if (out / run.folder.record.name).exists():
        raise Animal4dError(f"--out {out}: is the folder of a run; give another, so that its asset stays what it is")
    names = [ASSET, *(f"{clip.name}.{suffix}" for clip in clips for suffix in ("npz", "mp4", "png"))]
    there = [name for name in names if (out / name).exists()]
    if there and not overwrite:
        raise Animal4dError(f"--out {out}: holds {there[0]} already; --overwrite replaces it, another folder leaves it")
