"""The optimisation: Adam on the animal's parameters, checkpoints, the best state by validation frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from animal4d.config import FitConfig
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_torch
from animal4d.fit.gait import Gait, swing_legs
from animal4d.fit.objective import Objective
from animal4d.fit.parameters import AnimalParameters, AnimalState

_MOST_BATCH_FRAMES = 48
"""That a share of the clip may come to: memory grows with them."""
_LARGEST = 1e4
"""Coefficient, scale, or place in units of the template that no animal in front of a camera comes near."""


class FitDiverged(Animal4dError):
    """The loss is no longer finite; the last good state was kept."""


@dataclass(frozen=True)
class StepReport:
    """What a step tells the progress display and the log."""

    step: int
    steps: int
    total: float
    losses: dict[str, float]
    """Weighted, as they enter the total."""
    validation_iou: float | None
    """On steps that validate."""
    seconds: float
    """Spent on all steps so far, by whichever session took them."""


class Trainer:
    """Fits one animal from one start. Deterministic for a seed on one machine."""

    def __init__(
        self, objective: Objective, parameters: AnimalParameters, config: FitConfig, steps: int, seed: int
    ) -> None:
        self.gait_known = False
        """Whether it is decided if and how the legs swing; before that the network keeps still."""
        self.objective = objective
        self.parameters = parameters
        self.config = config
        self.steps = steps
        self.step = 0
        self.seconds = 0.0
        self.generator = torch.Generator(device=parameters.root_residuals.device).manual_seed(seed)
        self.best_score = -1.0
        self.best_state: dict[str, Tensor] = _copy(parameters.state_dict())
        self.last_good: dict[str, Tensor] = self.best_state
        self.recent_total = float("nan")
        self.notes: dict[str, Any] = {}
        self._order: list[int] = []
        network = parameters.network
        groups: list[dict[str, Any]] = [
            {"name": "root", "params": [parameters.root_residuals], "lr": config.learning_rate_pose},
            {"name": "joints", "params": [parameters.joint_residuals], "lr": config.learning_rate_pose},
            {"name": "cycle", "params": [parameters.cycle], "lr": config.learning_rate_cycle},
            {"name": "pace", "params": [parameters.log_pace], "lr": config.learning_rate_pace},
            {"name": "network", "params": [*network.pose_branch.parameters()], "lr": config.learning_rate_network},
            {
                "name": "shape network",
                "params": [*network.shape_branch.parameters()],
                "lr": config.learning_rate_network,
            },
            {"name": "shape", "params": [parameters.shape], "lr": config.learning_rate_shape},
            {"name": "offsets", "params": [parameters.offsets, *network.offsets_branch.parameters()], "lr": 0.0},
        ]
        self.base_rates = {group["name"]: group["lr"] for group in groups}
        self.optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))

    def run(
        self,
        report: Callable[[StepReport], None] | None = None,
        checkpoints: Path | None = None,
        until: int | None = None,
    ) -> None:
        """Steps until the end, or until step `until`. With a folder, `last.pt` is written at every validation and on
        an interrupt.

        Raises FitDiverged when the loss is no longer finite, after going back to the last good state.
        """
        began = time.monotonic() - self.seconds
        try:
            while self.step < (self.steps if until is None else until):
                losses = self.one_step()
                self.seconds = time.monotonic() - began
                validate = self.step % self.config.checkpoint_every == 0 or self.step == self.steps
                score = self.validate() if validate else None
                if validate and checkpoints is not None:
                    self.save(checkpoints / "last.pt")
                if report is not None:
                    report(StepReport(self.step, self.steps, self.recent_total, losses, score, self.seconds))
            self._check(self.current())
        except (KeyboardInterrupt, FitDiverged):
            if checkpoints is not None:
                self.save(checkpoints / "last.pt")
            raise

    def validate(self) -> float:
        """Mean IoU on the validation frames (training frames where there are none); keeps the best state.

        Raises FitDiverged when the state is not one of an animal.
        """
        state = self.current()
        self._check(state)
        score = self.objective.validation_iou(state)
        self.last_good = _copy(self.parameters.state_dict())
        if score > self.best_score:
            self.best_score = score
            self.best_state = self.last_good
        return score

    def current(self) -> AnimalState:
        with torch.no_grad():
            return self.parameters()

    def full_loss(self) -> float:
        """The loss over all training frames, with the samples that every fit of this clip gets."""
        frames = self.objective.split.train
        generator = torch.Generator(device=frames.device).manual_seed(0)
        with torch.no_grad():
            losses = self.objective.losses(self.parameters(), frames, 1.0, generator)
        return float(torch.stack(list(losses.values())).sum())

    def best(self) -> AnimalState:
        """The state that did best on the validation frames."""
        self.parameters.load_state_dict(self.best_state)
        return self.current()

    def one_step(self) -> dict[str, float]:
        """One step of Adam; the weighted losses it saw."""
        progress = self.step / self.steps
        self._set_rates(progress)
        frames = self._next_batch(progress)
        self.optimizer.zero_grad(set_to_none=True)
        state = self.parameters(self._withhold(progress), self._feature_noise())
        self._check(state)
        losses = self.objective.losses(state, frames, progress, self.generator)
        total = torch.stack(list(losses.values())).sum()
        self.recent_total = float(total.detach())
        if not torch.isfinite(total):
            self._diverged(", ".join(name for name, value in losses.items() if not torch.isfinite(value)))
        total.backward()
        for group in self.optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], self.config.gradient_clip)
        self.optimizer.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def take_up(self, gait: Gait | None) -> None:
        """Goes on with the legs swinging as the gait says; with None, with every frame in its own pose."""
        self.gait_known = True
        if gait is not None:
            swing_legs(gait, self.parameters)
            # What Adam remembers of the joints speaks of the poses that the stride replaces.
            self.optimizer.state.pop(self.parameters.joint_residuals, None)
        self.last_good = _copy(self.parameters.state_dict())
        if self.best_score < 0:
            self.best_state = self.last_good

    def foretold(self) -> float:
        """Mean overlap on training frames while their own residuals are hidden, in stretches."""
        frames, length = len(self.parameters.root_residuals), self.config.withhold_frames
        place = torch.arange(frames, device=self.parameters.root_residuals.device) // length % 3
        overlaps = []
        with torch.no_grad():
            for turn in range(3):
                hidden = place == turn
                judged = self.objective.split.train[hidden.cpu()[self.objective.split.train]]
                if len(judged):
                    overlaps.append(self.objective.iou(self.parameters(hidden), judged))
        return float(torch.cat(overlaps).mean())

    def _check(self, state: AnimalState) -> None:
        """Raises FitDiverged before areas and distances overflow."""
        for name in ("betas", "limb_scales", "vertex_offsets", "joint_rotations", "translation"):
            # Comparisons with NaN are false.
            if not bool((getattr(state, name).detach().abs() < _LARGEST).all()):
                self._diverged(name)

    def _diverged(self, bad: str) -> None:
        self.parameters.load_state_dict(self.last_good)
        raise FitDiverged(
            f"the fit diverged at step {self.step} ({bad}: not finite, or out of all proportion); the last good state "
            "is kept: lower the learning rates (fit.learning_rate_pose, fit.learning_rate_shape) or check the masks "
            "and cameras"
        )

    def _set_rates(self, progress: float) -> None:
        # A cosine: large steps find the pose, small ones settle it.
        left = self.config.rate_decay
        decay = left + 0.5 * (1 - left) * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))
        for group in self.optimizer.param_groups:
            base = self.base_rates[group["name"]]
            if group["name"] == "offsets":
                base = self.config.learning_rate_offsets.at(progress)
            elif self.parameters.has_rhythm and group["name"] in ("joints", "network"):
                base *= self.config.rhythm_first.at(progress)
            waits_for_gait = group["name"] == "network" and not self.gait_known
            if waits_for_gait or (group["name"] in ("cycle", "pace") and not self.parameters.has_rhythm):
                base = 0.0
            group["lr"] = base * decay

    def _next_batch(self, progress: float) -> Tensor:
        """Frames in random order without repetition until all were seen; in order of time."""
        frames = self.objective.frames
        share = min(round(self.config.batch_share.at(progress) * len(frames)), _MOST_BATCH_FRAMES)
        size = min(max(self.config.batch_frames, share), len(frames))
        if len(self._order) < size:
            self._order = torch.randperm(len(frames), generator=self.generator, device=self.generator.device).tolist()
        chosen, self._order = self._order[:size], self._order[size:]
        return frames[torch.tensor(sorted(chosen))]

    def _withhold(self, progress: float) -> Tensor | None:
        """A random stretch of frames whose own residuals are hidden, so that the network learns to speak for frames
        that it is not taught."""
        if self._uniform() > self.config.withhold.at(progress):
            return None
        frames = len(self.parameters.root_residuals)
        if frames < 2:
            return None
        length = min(self.config.withhold_frames, frames - 1)
        begin = int(self._uniform() * (frames + length - 1)) - length + 1
        hidden = torch.zeros(frames, dtype=torch.bool)
        for offset in range(begin, frames, 3 * length):
            hidden[max(offset, 0) : max(offset + length, 0)] = True
        return hidden.to(self.parameters.root_residuals.device)

    def _feature_noise(self) -> Tensor:
        residuals = self.parameters.root_residuals
        shape = (len(residuals), self.parameters.n_inputs)
        return self.config.feature_noise * torch.randn(shape, generator=self.generator, device=residuals.device)

    def _uniform(self) -> float:
        return float(torch.rand((), generator=self.generator, device=self.generator.device))

    def state(self) -> dict[str, Any]:
        """Everything that is needed to go on as if nothing had happened; it refers to live tensors."""
        return {
            "start": self.parameters.start.to_dict(),
            "notes": self.notes,
            "step": self.step,
            "seconds": self.seconds,
            "steps": self.steps,
            "gait_known": self.gait_known,
            "parameters": self.parameters.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "order": self._order,
            "best_score": self.best_score,
            "best_state": self.best_state,
            "last_good": self.last_good,
        }

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Takes over what `state` gave."""
        if state["steps"] != self.steps:
            raise ValueError(f"it is of a fit of {state['steps']} steps, this one has {self.steps}")
        self.parameters.load_state_dict(state["parameters"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self._order = list(state["order"])
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.gait_known = state["gait_known"]
        self.best_score, self.best_state = state["best_score"], state["best_state"]
        self.last_good = state["last_good"]

    def save(self, path: Path) -> None:
        """`state` as a file, written atomically."""
        write_torch(path, self.state())

    def load(self, path: Path) -> None:
        """Goes on from `save`. Raises Animal4dError when the file is unreadable or belongs to another fit."""
        try:
            # To the CPU, where Adam counts its steps; what belongs elsewhere is copied there.
            self.go_on_from(torch.load(path, weights_only=True, map_location="cpu"))
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Animal4dError(f"{path}: cannot resume from it ({reason}); start again with --overwrite") from error


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
