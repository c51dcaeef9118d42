"""Training of the built-in network: deterministic for a seed on one machine, and resumable to identical numbers."""

from __future__ import annotations

import copy
import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.eyes.embedding import VertexEmbedding
from animal4d.eyes.network import EyesNetwork
from animal4d.eyes.training.batches import Batch, batches, joined, mirrored
from animal4d.eyes.training.imagenet import load_imagenet_weights
from animal4d.eyes.training.losses import LossWeights, eyes_losses, starting_log_scale
from animal4d.eyes.training.schedule import plateau_end, rate
from animal4d.eyes.training.surface_targets import SurfaceTargets, surface_targets
from animal4d.eyes.training.validation import SEED_OFFSET, validate
from animal4d.files.atomic import write_text, write_torch

CHECKPOINT, CURVE = "checkpoint.pt", "curve.jsonl"
FORMAT = "animal4d eyes checkpoint 1"
Init = Literal["imagenet", "scratch"]
VALIDATION_BATCH = 16
"""Samples of a batch that is validated on."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that the shipped weights follow from."""

    steps: int
    seed: int = 0
    init: Init = "imagenet"
    fresh: int = 16
    """New samples of a step."""
    replay: int = 64
    """As many samples of so many steps ago are seen again, in a mirror: they are dearer to make than to learn from."""
    trunk_rate: float = 4e-4
    rate: float = 1.2e-3
    """Of everything but the trunk, and of the mask's entrance to it; from scratch of all."""
    weight_decay: float = 0.02
    gradient_limit: float = 5.0
    averaging: float = 0.998
    """Decay of the moving average of the weights, which is what is measured and shipped."""
    validation_batches: int = 8
    validate_every: int = 250
    device: str = "cpu"
    """Of the network; samples are always made on the CPU."""


@dataclass(frozen=True)
class StepReport:
    step: int
    """Steps done."""
    losses: dict[str, float]
    metrics: dict[str, float] | None
    """Of the averaged weights on the validation samples, now and then."""
    seconds: float
    """Of training in all, over all sittings."""


class Learner(nn.Module):
    """All that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EyesNetwork()
        self.embedding = VertexEmbedding(load_builtin_template())
        self.log_scale = nn.Parameter(starting_log_scale())


@dataclass
class _State:
    learner: Learner
    average: Learner
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0


def train(
    config: TrainingConfig,
    out: Path,
    resume: bool = False,
    processes: int = 1,
    checkpoint_seconds: float = 180.0,
    report: Callable[[StepReport], None] = lambda _report: None,
) -> Learner:
    """Train to the end and return the averaged weights; checkpoint and learning curve lie in `out`.

    With `resume` a run goes on from its checkpoint, where it is of the same configuration (the number of steps may be
    another one as long as neither run has begun to lower its rate). Raises Animal4dError where it is not, where `out`
    already holds a run, and where the loss is no longer finite.
    """
    device = _device(config)
    state = _resumed(config, out) if resume else _started(config, out)
    surface = surface_targets().to(device)
    made = batches(config.seed + SEED_OFFSET, VALIDATION_BATCH, 0, config.validation_batches, processes=0)
    validation = [batch.to(device) for batch in made]
    began, saved = time.monotonic() - state.seconds, time.monotonic()
    try:
        for batch in _training_batches(config, state.step, processes, surface):
            losses = _step(state, config, batch, surface)
            state.step += 1
            state.seconds = time.monotonic() - began
            metrics = None
            if state.step % config.validate_every == 0 or state.step == config.steps:
                metrics = validate(state.average.network, state.average.embedding(), validation, surface)
                state.seconds = time.monotonic() - began
            done = StepReport(state.step, losses, metrics, state.seconds)
            _append(out / CURVE, done)
            report(done)
            if time.monotonic() - saved > checkpoint_seconds or state.step == config.steps:
                save_checkpoint(state, config, out)
                saved = time.monotonic()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; --resume goes on from the last checkpoint in {out}") from None
    return state.average


def _training_batches(config: TrainingConfig, start: int, processes: int, surface: SurfaceTargets) -> Iterator[Batch]:
    """New samples, and mirrored ones of `replay` steps ago, for every step from `start` on."""
    first = max(start - config.replay, 0)
    earlier: deque[Batch] = deque(maxlen=config.replay)
    made = batches(config.seed, config.fresh, first, config.steps, processes)
    for step, on_cpu in enumerate(made, start=first):
        batch = on_cpu.to(_device(config))
        again = earlier[0] if len(earlier) == config.replay else batch
        earlier.append(batch)
        if step >= start:
            yield joined((batch, mirrored(again, surface.mirror)))


def _step(state: _State, config: TrainingConfig, batch: Batch, surface: SurfaceTargets) -> dict[str, float]:
    learner = state.learner
    for group in state.optimizer.param_groups:
        group["lr"] = group["full_rate"] * rate(state.step, config.steps)
    with torch.autocast(batch.input.device.type, dtype=torch.bfloat16):
        output = learner.network(batch.input)
    losses = eyes_losses(output, batch, learner.embedding(), learner.log_scale, surface)
    total = torch.stack([weight * losses[name] for name, weight in asdict(LossWeights()).items()]).sum()
    # One transfer for all of them.
    told = torch.stack((total, *losses.values())).tolist()
    values = dict(zip(("total", *losses), told, strict=True))
    if not math.isfinite(values["total"]):
        raise Animal4dError(f"the loss of step {state.step} is not finite: start again with a lower rate")
    state.optimizer.zero_grad()
    total.backward()
    nn.utils.clip_grad_norm_(learner.parameters(), config.gradient_limit)
    state.optimizer.step()
    _average(state.average, learner, min(config.averaging, (1 + state.step) / (10 + state.step)))
    return values


@torch.no_grad()
def _average(average: Learner, learner: Learner, decay: float) -> None:
    means, values = list(average.state_dict().values()), list(learner.state_dict().values())
    smooth = [mean.is_floating_point() for mean in means]
    get_ema_multi_avg_fn(decay)(list(compress(means, smooth)), list(compress(values, smooth)), 0)
    for mean, value, is_smooth in zip(means, values, smooth, strict=True):
        if not is_smooth:
            mean.copy_(value)


def _device(config: TrainingConfig) -> torch.device:
    """Raises Animal4dError where there is no such device."""
    try:
        return torch.empty(0, device=config.device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise Animal4dError(f"--device {config.device} cannot be used ({reason}): try --device cpu") from error


def _started(config: TrainingConfig, out: Path) -> _State:
    if (out / CHECKPOINT).exists() or (out / CURVE).exists():
        raise Animal4dError(f"{out} already holds a training run: go on with --resume, or choose another folder")
    state = _fresh_state(config)
    write_text(out / CURVE, "")
    return state


def _fresh_state(config: TrainingConfig) -> _State:
    torch.manual_seed(config.seed)
    learner = Learner()
    if config.init == "imagenet":
        load_imagenet_weights(learner.network.trunk)
        learner.network.trunk.keep_first_stages()
    else:
        learner.network.freeze_statistics(False)
    learner.train()
    learner.to(_device(config))
    learner.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    trunk_rate = config.trunk_rate if config.init == "imagenet" else config.rate
    groups = []
    for is_trunk in (True, False):
        for decayed in (True, False):
            chosen = [
                parameter
                for name, parameter in learner.named_parameters()
                if parameter.requires_grad
                and (name.startswith("network.trunk.") and ".mask." not in name) == is_trunk
                and (parameter.ndim > 1 and not name.startswith("embedding.")) == decayed
            ]
            full = trunk_rate if is_trunk else config.rate
            decay = config.weight_decay if decayed else 0.0
            groups.append({"params": chosen, "full_rate": full, "lr": full, "weight_decay": decay})
    average = copy.deepcopy(learner).requires_grad_(False)
    return _State(learner, average, torch.optim.AdamW(groups))


def save_checkpoint(state: _State, config: TrainingConfig, out: Path) -> None:
    """All that the next step depends on: nothing is drawn at random but the start and the samples of a number."""
    content = {
        "format": FORMAT,
        "config": asdict(config),
        "learner": state.learner.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
    }
    write_torch(out / CHECKPOINT, content)


def read_checkpoint(out: Path) -> dict[str, Any]:
    """Raises Animal4dError where there is none, or it is damaged."""
    path = out / CHECKPOINT
    if not path.is_file():
        raise Animal4dError(f"{path}: no such file; train without --resume first")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        if content["format"] != FORMAT:
            raise ValueError("it was written by another version")
        TrainingConfig(**content["config"])
    except Exception as error:
        raise Animal4dError(
            f"{path}: not a checkpoint of this version ({error}); start again in another folder"
        ) from error
    return content


def averaged_learner(content: dict[str, Any]) -> Learner:
    """What a checkpoint would ship."""
    learner = Learner()
    learner.load_state_dict(content["average"])
    return learner


def _resumed(config: TrainingConfig, out: Path) -> _State:
    content = read_checkpoint(out)
    before = TrainingConfig(**content["config"])
    step = content["step"]
    for name, value in asdict(config).items():
        if name != "steps" and value != getattr(before, name):
            raise Animal4dError(
                f"{out / CHECKPOINT} was trained with {name} {getattr(before, name)}, not {value}: "
                "go on with the same, or start again in another folder"
            )
    latest = min(plateau_end(before.steps), plateau_end(config.steps))
    if config.steps != before.steps and step > latest:
        raise Animal4dError(
            f"{out / CHECKPOINT} has done {step} steps of {before.steps}, and its rate already falls (or would, of "
            f"{config.steps}): give --steps {before.steps}"
        )
    state = _fresh_state(config)
    state.learner.load_state_dict(content["learner"])
    state.average.load_state_dict(content["average"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.step, state.seconds = step, content["seconds"]
    _forget_after(out / CURVE, step)
    return state


def _append(path: Path, done: StepReport) -> None:
    line: dict[str, Any] = {"step": done.step, "seconds": round(done.seconds, 1)}
    line["losses"] = {name: _short(value) for name, value in done.losses.items()}
    if done.metrics is not None:
        line["metrics"] = done.metrics
    with path.open("a") as file:
        # A metric of something that no sample shows is NaN, which strict JSON does not have.
        file.write(json.dumps(_without_nan(line)) + "\n")


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Lines of a learning curve; half a line of a run that was killed is left out."""
    entries = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def _forget_after(path: Path, step: int) -> None:
    kept = [entry for entry in read_curve(path) if entry["step"] <= step]
    write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: float) -> float:
    return float(f"{value:.5g}")
