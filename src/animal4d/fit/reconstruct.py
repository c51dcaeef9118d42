"""From a clip to a reconstruction: candidate starts, short fits, the fit of the best, and the world around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.body.smal import load_smal
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.clip import Clip
from animal4d.config import Config, FitConfig
from animal4d.cues.carried_masks import carry_masks
from animal4d.cues.cues import Cues
from animal4d.cues.surface import SurfacePoints
from animal4d.errors import Animal4dError
from animal4d.fit.gait import candidate_gaits
from animal4d.fit.objective import Objective, frames_that_teach
from animal4d.fit.parameters import AnimalParameters, AnimalState, clear_frames
from animal4d.fit.pnp_start import path_of_poses, pnp_path
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.split import Split, split_frames
from animal4d.fit.start import Start, ViewSearch, load_start, search_views, start_on_path
from animal4d.fit.trainer import FitDiverged, StepReport, Trainer
from animal4d.fit.uncertainty import joint_uncertainty
from animal4d.fit.world import fit_cameras, put_on_ground, scale_camera_track
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.distance import signed_distance
from animal4d.geometry.pnp import PnpSettings
from animal4d.losses.appearance import AppearanceTarget
from animal4d.makers import MakerSettings, wanted_providers
from animal4d.readers.load import wanted_eyes

BUILTIN = "builtin"
"""Name of the template that is always there."""
RHYTHM_GAIN = 0.01
"""Overlap on hidden frames that a rhythm of the legs must add: less may be chance."""
SURFACE_FRAMES = 0.5
"""Share of the frames that must have a pose from their surface map for it to be believed before any silhouette."""
SURFACE_TRUST = 2.0
"""How much better than that of the best view path the cost of such a start is taken to be."""
EYES_PNP = PnpSettings(threshold=0.08, least_inliers=0.3)
"""For the built-in network's surface map, whose errors are larger than CSE's; the threshold is that of the window."""
HOPELESS = 6.0
"""Cost above the best start's beyond which a rival is not worth a short fit, where views are known."""
START_SHAPES = ("dog", "dachshund", "greyhound", "cat", "horse", "cow", "camel")
"""Species whose silhouettes are tried by the view search, where the template is the built-in one."""


class FitProgress(Protocol):
    """Who wants to hear how the fit goes: the console, a notebook, a log."""

    def message(self, text: str) -> None:
        """Something was decided."""

    def step(self, stage: str, report: StepReport) -> None:
        """A step is done; stage is "start 1/4" or "fit"."""


class SilentProgress:
    """Says nothing."""

    def message(self, text: str) -> None:
        del text

    def step(self, stage: str, report: StepReport) -> None:
        del stage, report


@dataclass(frozen=True)
class FitHistory:
    """What a fit decided on the way."""

    split: Split
    start_name: str
    start_losses: dict[str, float] = field(default_factory=dict)
    validation_iou: float = math.nan
    warnings: tuple[str, ...] = ()
    diverged: str | None = None
    """Why the fit stopped early, where it did."""


def load_template(name: str) -> BodyModel:
    """The body model "builtin", or that in a SMAL pickle. Raises Animal4dError where there is none or it is broken."""
    if name == BUILTIN:
        return load_builtin_template()
    if not Path(name).is_file():
        raise Animal4dError(f'template "{name}": no such file; give "builtin" or the path of a SMAL pickle')
    return load_smal(name)


def absolute_template(name: str) -> str:
    """The name as a run records it: a file is found again from anywhere."""
    return name if name == BUILTIN else str(Path(name).expanduser().resolve())


def start_shapes(name: str, model: BodyModel) -> dict[str, Float[Tensor, "betas"]]:
    """Betas by name whose silhouettes are tried by the view search: species that we know in the built-in shape space,
    the mean of any other."""
    if name == BUILTIN:
        shapes = load_species_betas()
        return {species: shapes[species] for species in START_SHAPES if species in shapes}
    return {"mean": torch.zeros(model.n_betas)}


def resolve_device(device: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda". Raises Animal4dError where CUDA is asked for and not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise Animal4dError("--device cuda: this torch sees no CUDA device; use --device cpu or auto")
    return torch.device(device)


@dataclass(frozen=True)
class _Problem:
    """What all fits of one clip share."""

    clip: Clip
    """As the fit may see it: without the masks of held-out frames."""
    filmed_masks: Float[Tensor, "frames height width"]
    """Of all frames, to judge by."""
    cues: Cues
    model: BodyModel
    split: Split
    config: Config
    device: torch.device

    @cached_property
    def mask_distances(self) -> Float[Tensor, "frames height width"]:
        """Computed once for all fits of the clip."""
        return signed_distance(self.clip.masks)

    @cached_property
    def appearance(self) -> AppearanceTarget:
        return AppearanceTarget.from_clip(self.clip.frames, self.clip.masks, self.mask_distances)

    def trainer(self, start: Start, steps: int) -> Trainer:
        """A fresh fit from a start."""
        cameras = Cameras(self.clip.intrinsics, fit_cameras(self.clip, start), self.clip.image_size)
        fit = self.config.fit
        features, views = self.cues.features, self.cues.views
        own_pose = frames_that_teach(self.clip, self.split, fit)
        if views is not None:
            own_pose = own_pose & clear_frames(views.clarity, fit.least_clarity)
        torch.manual_seed(self.config.seed)  # of the network's first weights
        parameters = AnimalParameters(
            self.model,
            start,
            _standardized(features.pooled if fit.pooling == "parts" else features.patches.mean(1)),
            self.clip.times,
            cameras,
            own_pose,
            fit.frame_residuals,
        ).to(self.device)
        objective = Objective(
            self.clip,
            self.filmed_masks,
            self.cues,
            self.model,
            cameras,
            self.split,
            fit,
            self.mask_distances,
            self.appearance,
        )
        return Trainer(objective, parameters, fit, steps, self.config.seed)


def reconstruct(clip: Clip, config: Config | None = None, progress: FitProgress | None = None) -> Reconstruction:
    """Fit an animal to a clip. The function of the Python API; nothing is written.

    Raises Animal4dError when no frame has a usable mask, and where the built-in network is wanted and not there.
    """
    from animal4d.cues.cues import make_cues

    config, progress = config or Config(), progress or SilentProgress()
    shown = without_held_out_masks(clip)
    model = load_template(config.template)
    settings = MakerSettings(config.choice, str(resolve_device(config.device)))
    eyes = wanted_eyes() if config.choice.opens_eyes else None
    providers = wanted_providers(shown, model, settings, eyes, progress.message, progress.message)
    cues = make_cues(shown, providers=providers, notify=progress.message)
    reconstruction, _ = fit_clip(clip, shown, cues, config, progress)
    return reconstruction


def without_held_out_masks(clip: Clip) -> Clip:
    """The clip as cues and fit may see it: masks of validation and test frames are carried there from the others."""
    return carry_masks(clip, split_frames(clip.mask_valid).held_out)


def fit_clip(
    clip: Clip,
    shown: Clip,
    cues: Cues,
    config: Config,
    progress: FitProgress,
    checkpoints: Path | None = None,
    resume: bool = False,
) -> tuple[Reconstruction, FitHistory]:
    """Starts, short fits, the fit; with a folder, checkpoints that `resume` goes on from.

    `shown` (`without_held_out_masks`) and the cues made of it teach; the masks of `clip` choose the best state. A fit
    that diverges ends early in its last good state; `FitHistory.diverged` says so.
    """
    if not bool(clip.mask_valid.any()):
        raise Animal4dError(f"{clip.source}: no frame has a usable mask; see the warnings above, or try --box x,y,w,h")
    config = replace(config, fit=config.fit_of_cues)
    cues = cues.without(config.without)
    device = resolve_device(config.device)
    model = load_template(config.template).to(device)
    split = split_frames(clip.mask_valid)
    problem = _Problem(shown, clip.masks, cues, model, split, config, device)
    last = None if checkpoints is None else checkpoints / "last.pt"

    if resume and last is not None:
        trainer, start_name, start_losses = _resumed(problem, last)
        progress.message(f"going on at step {trainer.step} of {trainer.steps}")
    else:
        trainer, start_name, start_losses = _best_start(problem, progress)
    trainer.notes = {"start_name": start_name, "start_losses": start_losses}
    diverged = None
    try:
        if config.fit.gaits == 0 and not trainer.gait_known:
            trainer.take_up(None)
        if not trainer.gait_known:
            trainer.run(partial(progress.step, "fit"), checkpoints, until=int(config.fit.gait_at * trainer.steps))
            if last is not None:
                trainer.save(last)
            _choose_gait(trainer, config.fit, progress)
            if last is not None:
                trainer.save(last)
        trainer.run(partial(progress.step, "fit"), checkpoints)
    except FitDiverged as error:
        diverged = str(error)
        progress.message(diverged)
    state = trainer.best()
    if checkpoints is not None:
        trainer.save(checkpoints / "best.pt")
    history = FitHistory(split, start_name, start_losses, trainer.best_score, clip.warnings, diverged)
    return _reconstruction(problem, trainer, state), history


def _starts(problem: _Problem) -> list[Start]:
    """Views of the silhouettes, and where the surface is known what that says, before them."""
    config, clip, cues = problem.config, problem.clip, problem.cues
    model = problem.model.to("cpu")
    shapes = start_shapes(config.template, model)
    if cues.initial_betas is not None:
        shapes = {"given": torch.nn.functional.pad(cues.initial_betas, (0, model.n_betas))[: model.n_betas]}
    search = search_views(clip, model, shapes, ground_speed(clip, cues), cues.views, config.fit.view_evidence)
    starts = search.starts(config.fit.starts)
    if cues.views is not None:
        starts = [start for start in starts if start.cost < starts[0].cost + HOPELESS]
    if cues.surface is not None and cues.by_eyes("surface"):
        return [*starts, *_start_by_eyes(clip, model, cues.surface, search, starts[0])]
    path, betas = None, torch.zeros(model.n_betas) if cues.initial_betas is None else shapes["given"]
    if cues.surface is not None:
        rest = model.with_shape(betas).with_pose(torch.eye(3).expand(model.n_joints, 3, 3))
        path = pnp_path(clip, rest.vertices, cues.surface)
    elif cues.pnp_cameras is not None:
        path = path_of_poses(clip, cues.pnp_cameras.world_to_camera, cues.pnp_cameras.valid.long())
    if path is None:
        return starts
    if int(path.valid.sum()) < SURFACE_FRAMES * len(clip):
        return [start_on_path(path, clip, betas, starts[0].cost), *starts]
    # Correspondences do not confuse left with right or head with tail: one view path is enough to check them by.
    return [start_on_path(path, clip, betas, starts[0].cost - SURFACE_TRUST), starts[0]]


def _start_by_eyes(
    clip: Clip, model: BodyModel, surface: SurfacePoints, search: ViewSearch, best: Start
) -> list[Start]:
    """The start that the network's surface map gives, as one more rival; none where too few frames have a pose.

    It is judged as the view paths are, by silhouettes among others: the network may be wrong all clip long.
    """
    rest = model.with_shape(best.betas).with_pose(torch.eye(3).expand(model.n_joints, 3, 3))
    path = pnp_path(clip, rest.vertices, surface, EYES_PNP, of_window=True)
    if path is None or int(path.valid.sum()) < SURFACE_FRAMES * len(clip):
        return []
    if not bool((path.t_cam_from_body[:, 2] > 0).all()):
        return []
    start = start_on_path(path, clip, best.betas, 0.0, best.shape_name)
    return [replace(start, cost=search.cost_of(start))]


def _best_start(problem: _Problem, progress: FitProgress) -> tuple[Trainer, str, dict[str, float]]:
    """Candidate starts, a short fit of each, and the trainer of the full fit from the best of them."""
    config = problem.config
    starts = _starts(problem)
    losses: dict[str, float] = {}
    for number, start in enumerate(starts, start=1):
        trainer = problem.trainer(start, config.fit.start_steps)
        trainer.take_up(None)
        with suppress(FitDiverged):  # judged by its last good state
            trainer.run(partial(progress.step, f"start {number}/{len(starts)}"))
        losses[start.name] = trainer.full_loss()
    # A short fit can bend the wrong way round into the masks, so what the search knew keeps its say.
    merit = {start.name: math.log(losses[start.name]) + 0.5 * start.cost for start in starts}
    chosen = min(starts, key=lambda start: merit[start.name])
    # Two estimates of the same heading are no doubt about it.
    margin = min((merit[s.name] - merit[chosen.name] for s in starts if not s.heads_as(chosen)), default=math.inf)
    sure = "sure" if margin > 0.4 else "fairly sure" if margin > 0.1 else "unsure"
    others = ", ".join(f"{s.name} ({merit[s.name] - merit[chosen.name]:.2f})" for s in starts if s is not chosen)
    progress.message(
        f"the animal ({chosen.shape_name} build) heads {chosen.heading}; {sure}"
        + (f"; rivals and how much worse they are (log): {others}" if others else "")
    )
    return problem.trainer(chosen, config.fit.steps), chosen.name, losses


def _choose_gait(trainer: Trainer, fit: FitConfig, progress: FitProgress) -> None:
    """Of the candidate gaits and none, goes on with the one under which hidden stretches of the training frames are
    foretold best after a short fit, from the end of that fit."""
    gaits = [None, *candidate_gaits(trainer.parameters, trainer.objective, fit.gaits)]
    before = deepcopy(trainer.state())
    until = min(trainer.step + fit.gait_steps, trainer.steps)
    overlaps, states = [], []
    for number, gait in enumerate(gaits, start=1):
        trainer.go_on_from(deepcopy(before))
        trainer.take_up(gait)
        if len(gaits) > 1:
            with suppress(FitDiverged):  # judged by its last good state
                trainer.run(_counting_to(until, partial(progress.step, f"gait {number}/{len(gaits)}")), until=until)
        overlaps.append(trainer.foretold())
        states.append(deepcopy(trainer.state()))
    best = max(range(len(gaits)), key=overlaps.__getitem__)
    if overlaps[best] < overlaps[0] + RHYTHM_GAIN:
        best = 0
    trainer.go_on_from(states[best])
    gait, without = gaits[best], overlaps[0]
    progress.message(
        "no rhythm of the legs foretells hidden frames: every frame has its own pose"
        if gait is None
        else f"the animal walks with {gait.stride_frequency:.2f} strides a second (hidden frames overlap by "
        f"{overlaps[best]:.3f}, without a rhythm by {without:.3f})"
    )


def _counting_to(until: int, report: Callable[[StepReport], None]) -> Callable[[StepReport], None]:
    """The same reports for a run that ends at step `until`."""
    return lambda step: report(replace(step, steps=until))


def ground_speed(clip: Clip, cues: Cues) -> Float[Tensor, "frames"]:
    """Horizontal speed of the animal over the ground as the picture shows it, in its own sizes per second, positive to
    the right; smoothed over a second, zero where unknown."""
    motion = cues.ground_motion
    if len(clip) < 2:
        return torch.zeros(len(clip))
    intervals = clip.times.diff().clamp_min(1e-6)
    speed = motion.relative[:, 0] / motion.animal_size.clamp_min(1.0) / intervals
    weight = motion.valid.float()
    midpoints = 0.5 * (clip.times[1:] + clip.times[:-1])
    kernel = torch.exp(-0.5 * ((clip.times[:, None] - midpoints[None]) / 0.4) ** 2) * weight
    total = kernel.sum(1)
    return torch.where(total > 1e-3, (kernel @ speed) / total.clamp_min(1e-3), 0.0)


def _resumed(problem: _Problem, path: Path) -> tuple[Trainer, str, dict[str, float]]:
    start, notes = load_start(path)
    trainer = problem.trainer(start, problem.config.fit.steps)
    trainer.load(path)
    return trainer, notes["start_name"], notes["start_losses"]


def _standardized(features: Float[Tensor, "frames channels"]) -> Float[Tensor, "frames channels"]:
    """Zero mean over the clip, and unit variance over all channels together."""
    centered = features - features.mean(0)
    return centered / centered.square().mean().sqrt().clamp_min(1e-6)


def _reconstruction(problem: _Problem, trainer: Trainer, state: AnimalState) -> Reconstruction:
    clip, model = problem.clip, problem.model
    raw = Reconstruction(
        betas=state.betas,
        limb_scales=state.limb_scales,
        vertex_offsets=state.vertex_offsets,
        joint_rotations=state.joint_rotations,
        translation=state.translation,
        intrinsics=clip.intrinsics,
        world_to_camera=trainer.objective.cameras.world_to_camera,
        image_size=clip.image_size,
        crop=clip.crop,
        frame_numbers=clip.frame_numbers,
        times=clip.times,
        fps=clip.fps,
        template=problem.config.template,
    ).to("cpu")
    model = model.to("cpu")
    placed = put_on_ground(raw if clip.world_to_camera is None else scale_camera_track(raw, model), model)
    surface = problem.cues.surface
    return placed if surface is None else replace(placed, joint_uncertainty=joint_uncertainty(placed, model, surface))
