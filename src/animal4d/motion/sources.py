"""Where a motion comes from: another run, a procedural gait, or a file of poses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from animal4d.body.model import BodyModel, ShapedBody
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.atomic import open_npz
from animal4d.finished_run import FinishedRun, open_finished_run
from animal4d.geometry.rotations import matrix_from_axis_angle
from animal4d.motion.contacts import PathFrom, grounded
from animal4d.motion.motion import Motion
from animal4d.motion.skeleton import Skeleton, skeleton_of
from animal4d.motion.transfer import carried_over
from animal4d.synth.gaits import GAITS, MOTIONS, animate
from animal4d.synth.legs import legs_of
from animal4d.synth.pace import Pace, froude_number, gait_for, pace_at, speeds_of
from animal4d.synth.plan import Motion as GaitMotion
from animal4d.synth.plan import stand_of

SECONDS = 3.0
GO = "go"
"""Walk, trot or gallop, whichever the speed asks for."""
_GRAVITY = 9.81
"""Metres per squared second."""
_ROTATION_TOLERANCE = 1e-3
_LEAST_STANDING = 0.2
"""Share of paws that stand, from which a file's path is taken for one over the ground."""
_MOST_FPS = 1000.0
_MOST_SECONDS = 600.0
"""Of gaits and loops, which come again and again anyway."""
_MOST_FRAMES = 20_000
"""The same at high rates: the asset has every joint's rotation in every frame."""
_UNEVEN = 0.5
"""Share of a frame's time by which steps of a file may differ from it: times are rounded, cameras jitter."""

PathChoice = Literal["auto", "given", "feet"]


@dataclass(frozen=True)
class MotionRequest:
    """How motions are to be made or read."""

    speed: float | None = None
    """Of gaits, in body lengths per second; None: the gait's own."""
    seconds: float | None = None
    """Of gaits; of others at most."""
    fps: float | None = None
    """None: that of the source; of gaits, that of the run."""
    path: PathChoice = "auto"
    """Where the path over the ground is taken from."""


def motion_named(text: str, run: FinishedRun, target: Skeleton, request: MotionRequest) -> Motion:
    """A motion on the run's own shape, its feet not planted yet.

    `text` is a gait, the folder of a run or a .npz file. Raises Animal4dError where it is none of these, of another
    template, or broken.
    """
    _check(request)
    if text == GO or text in MOTIONS:
        return _procedural(text, run, target, request)
    if request.speed is not None:
        raise Animal4dError(
            f"--speed: only {GO}, {', '.join(GAITS)} can be given a speed, {text} has its own; leave it away"
        )
    path = Path(text)
    if path.is_dir():
        motion = of_run(open_finished_run(path), run, target, request.path)
    elif path.suffix == ".npz" and path.is_file():
        motion = _of_file(path, run.model, run.reconstruction.template, target, request.path)
    else:
        raise Animal4dError(
            f"--motion {text}: no folder of a run, no .npz file, and none of {GO}, {', '.join(MOTIONS)}"
        )
    if request.seconds is not None:
        motion = motion.part(0, min(len(motion) - 1, max(1, round(request.seconds * motion.fps))))
    return motion if request.fps is None else motion.resampled(request.fps)


def _check(request: MotionRequest) -> None:
    if request.fps is not None and not 0 < request.fps <= _MOST_FPS:
        raise Animal4dError(f"--fps {request.fps:g}: give frames per second from above 0 to {_MOST_FPS:g}")
    if request.seconds is not None and not 0 < request.seconds < float("inf"):
        raise Animal4dError(f"--seconds {request.seconds:g}: give a duration above 0")


def _procedural(name: str, run: FinishedRun, target: Skeleton, request: MotionRequest) -> Motion:
    fps = run.reconstruction.fps if request.fps is None else request.fps
    seconds = SECONDS if request.seconds is None else request.seconds
    if seconds > _MOST_SECONDS or seconds * fps > _MOST_FRAMES:
        raise Animal4dError(
            f"--seconds {seconds:g}: {name} comes again and again; at {fps:g} frames per second give "
            f"{min(_MOST_SECONDS, _MOST_FRAMES / fps):g} seconds at most"
        )
    times = np.arange(max(2, round(seconds * fps) + 1)) / fps
    if request.speed is None:
        if name == GO:
            raise Animal4dError(f"--motion {GO}: needs --speed, in body lengths per second; it chooses the gait")
        return of_gait(animate(target.body, name, times), fps)
    if name != GO and name not in GAITS:
        raise Animal4dError(
            f"--speed: {name} stays where it is; leave the speed away, or choose {GO}, {', '.join(GAITS)}"
        )
    gait, pace = _paced(name, request.speed, target, _GRAVITY * target.body_length / run.body_length)
    return of_gait(animate(target.body, gait, times, pace=pace), fps)


def _paced(name: str, speed: float, target: Skeleton, gravity: float) -> tuple[str, Pace]:
    """The gait, and how it goes at a speed in body lengths per second; `gravity` in units of the template."""
    height = stand_of(target.body, legs_of(target.body)).hip_height
    gaits = tuple(GAITS) if name == GO else (name,)
    ends = [end / target.body_length for gait in gaits for end in speeds_of(gait, height, gravity)]
    if not min(ends) <= speed <= max(ends):
        what, other = ("", "") if name == GO else (f"'s {name}", ", or another gait")
        raise Animal4dError(
            f"--speed {speed:g}: this animal{what} goes from {min(ends):.2f} to {max(ends):.2f} body lengths per "
            f"second; give one of these{other}"
        )
    units = speed * target.body_length
    gait = gait_for(froude_number(units, height, gravity)) if name == GO else name
    return gait, pace_at(gait, units, height, gravity)


def of_gait(made: GaitMotion, fps: float) -> Motion:
    """Over the ground, with the stances that the gait was made of."""
    return Motion(
        made.joint_rotations.double(),
        (made.root + made.translation).double(),
        torch.from_numpy(made.stance.copy()),
        fps,
        torch.zeros(2, dtype=torch.float64),
    )


def of_run(source: FinishedRun, run: FinishedRun, target: Skeleton, path: PathChoice = "auto") -> Motion:
    """What the animal of one run does, on the shape of another."""
    theirs, ours = source.reconstruction.template, run.reconstruction.template
    if theirs != ours:
        raise Animal4dError(
            f"{source.folder.path} has the template {theirs}, {run.folder.path} has {ours}; motion goes between "
            "runs of one template"
        )
    reconstruction = source.reconstruction
    if path == "auto":
        cameras = reconstruction.world_to_camera
        moves = bool((cameras - cameras[:1]).abs().max() > 1e-6)
        path = "given" if moves else "feet"
    skeleton = skeleton_of(reconstruction.shaped(source.model))
    return _carried(
        skeleton, reconstruction.joint_rotations, reconstruction.translation, reconstruction.fps, target, path
    )


def _carried(
    source: Skeleton, rotations: torch.Tensor, translation: torch.Tensor, fps: float, target: Skeleton, path: PathFrom
) -> Motion:
    root = translation.double() + source.body.joints[0].double()
    return carried_over(grounded(source, rotations, root, fps, path), source, target)


def _of_file(path: Path, model: BodyModel, template: str, target: Skeleton, choice: PathChoice) -> Motion:
    """Poses in our layout (poses.npz of a run) or in that of AMASS."""
    try:
        with open_npz(path) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else error
        raise Animal4dError(
            f"{path}: cannot be read as a file of poses ({reason}); give a run's poses.npz or a file of AMASS"
        ) from error
    theirs = str(arrays["template"]) if "template" in arrays else template
    kind = str(arrays.get("surface_model_type", ""))
    if theirs != template or kind not in ("", f"smal:{model.name}"):
        raise Animal4dError(f"{path}: poses of {theirs if theirs != template else kind}, but the run has {template}")
    if "joint_names" in arrays and [str(name) for name in arrays["joint_names"]] != list(model.joint_names):
        raise Animal4dError(f"{path}: its joint_names are not those of the run's template {template}")
    if "joint_rotations" in arrays:
        rotations = _matrices(path, arrays["joint_rotations"], model.n_joints)
        names = ("translation", "fps")
    elif "poses" in arrays:
        vectors = checked_array(arrays["poses"], (None, 3 * model.n_joints), f"{path}: poses")
        rotations = matrix_from_axis_angle(torch.from_numpy(vectors).unflatten(1, (model.n_joints, 3)))
        names = ("trans", "mocap_framerate" if "mocap_framerate" in arrays else "mocap_frame_rate")
    else:
        raise Animal4dError(f"{path}: has neither joint_rotations (poses.npz of a run) nor poses (AMASS's layout)")
    absent = [name for name in names if name not in arrays]
    if absent:
        raise Animal4dError(f"{path}: lacks {absent[0]}")
    translation = torch.from_numpy(checked_array(arrays[names[0]], (len(rotations), 3), f"{path}: {names[0]}"))
    fps = float(checked_array(np.atleast_1d(arrays[names[1]]), (1,), f"{path}: {names[1]}")[0])
    if not 0 < fps <= _MOST_FPS or not len(rotations):
        raise Animal4dError(
            f"{path}: has {len(rotations)} frames at {fps:g} frames per second; it needs frames, and a rate above "
            f"0 and up to {_MOST_FPS:g} in {names[1]}"
        )
    if "times" in arrays:
        _check_times(path, checked_array(arrays["times"], (len(rotations),), f"{path}: times"), fps)
    skeleton = skeleton_of(_body_of(path, arrays, model))
    if choice != "auto":
        return _carried(skeleton, rotations, translation, fps, target, choice)
    motion = _carried(skeleton, rotations, translation, fps, target, "given")
    if float(motion.stance.double().mean()) >= _LEAST_STANDING:
        return motion
    return _carried(skeleton, rotations, translation, fps, target, "feet")


def _matrices(path: Path, values: np.ndarray, joints: int) -> torch.Tensor:
    rotations = torch.from_numpy(checked_array(values, (None, joints, 3, 3), f"{path}: joint_rotations"))
    off = (rotations @ rotations.mT - torch.eye(3, dtype=torch.float64)).abs().amax((1, 2, 3))
    wrong = ((off > _ROTATION_TOLERANCE) | (torch.linalg.det(rotations) < 0).any(1)).nonzero().flatten()
    if len(wrong):
        raise Animal4dError(f"{path}: joint_rotations of frame {int(wrong[0])} are no rotations")
    return rotations


def _check_times(path: Path, times: Float[ndarray, "frames"], fps: float) -> None:
    """Raises Animal4dError where frames do not follow each other at the file's rate, at which they would be played."""
    off = np.abs(np.diff(times) * fps - 1) > _UNEVEN
    if off.any():
        frame = int(off.argmax()) + 1
        raise Animal4dError(
            f"{path}: times must rise evenly at {fps:g} frames per second, but go from {times[frame - 1]:g} to "
            f"{times[frame]:g} s at frame {frame}; sample the poses at even times"
        )


def _body_of(path: Path, arrays: dict[str, np.ndarray], model: BodyModel) -> ShapedBody:
    """The individual whose poses they are; the template's mean where the file does not say."""
    shapes: dict[str, tuple[int | None, ...]] = {
        "betas": (None,), "limb_scales": (7,), "vertex_offsets": (model.n_vertices, 3),
    }  # fmt: skip
    given = {
        name: torch.from_numpy(checked_array(arrays[name], shape, f"{path}: {name}")).float()
        for name, shape in shapes.items()
        if name in arrays
    }
    if len(given.get("betas", ())) > model.n_betas:
        raise Animal4dError(f"{path}: has {len(given['betas'])} betas, the run's template {model.n_betas}")
    return model.with_shape(**given)
