"""From a checkpoint to what is shipped: weights at half precision, and what the model card says of their training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from animal4d.eyes.eyes import FORMAT, VERTEX_EMBEDDINGS
from animal4d.eyes.training.curve_picture import draw_curve
from animal4d.eyes.training.trainer import CURVE, VALIDATION_BATCH, averaged_learner, read_checkpoint, read_curve
from animal4d.files.atomic import write_bytes, write_text

WEIGHTS, CARD, PICTURE = "eyes.safetensors", "training.md", "curve.png"
_WORDS = {
    "foreground_iou": "mask, IoU of a sample (mean)",
    "part_iou": "parts, IoU (mean of the seven)",
    "leg_side": "leg pixels on the right side",
    "surface_error": "surface, geodesic error (median, body lengths)",
    "view_error": "view, angle (median, degrees)",
    "heading": "views from the side read from that side",
}


def export(out: Path) -> tuple[Path, ...]:
    """Write weights, card section and picture of the learning curve beside a run's checkpoint; returns their paths.

    Raises Animal4dError where there is no checkpoint.
    """
    content, curve = read_checkpoint(out), read_curve(out / CURVE)
    measured = [entry for entry in curve if entry.get("metrics") and entry["step"] <= content["step"]]
    config = content["config"]
    training = {
        "command": _command(config),
        "config": config,
        "steps_done": content["step"],
        "samples": content["step"] * config["fresh"],
        "hours": round(content["seconds"] / 3600, 2),
        "torch": torch.__version__,
        "metrics": measured[-1]["metrics"] if measured else {},
    }
    learner = averaged_learner(content)
    with torch.no_grad():
        tensors = packed(learner.network.state_dict(), learner.embedding())
    about = {"format": FORMAT, "training": json.dumps(training), "licence": "Apache-2.0; see LICENCES.md beside it"}
    write_bytes(out / WEIGHTS, save(tensors, metadata=about))
    write_text(out / CARD, card(training))
    if measured:
        draw_curve(curve, out / PICTURE)
    return (out / WEIGHTS, out / CARD, *((out / PICTURE,) if measured else ()))


def packed(state: Mapping[str, Tensor], vertex_embeddings: Tensor) -> dict[str, Tensor]:
    """Half precision, but for the statistics of the normalisations, which reach beyond its range."""
    tensors = {
        name: (value.float() if ".norm." in name else value.half()).contiguous() for name, value in state.items()
    }
    tensors[VERTEX_EMBEDDINGS] = vertex_embeddings.half().contiguous()
    return tensors


def card(training: Mapping[str, Any]) -> str:
    """Section of the model card, in Markdown."""
    config = training["config"]
    start = "EfficientNet-Lite0's ImageNet weights" if config["init"] == "imagenet" else "random weights"
    rows = [f"| {words} | {_written(training['metrics'].get(name))} |" for name, words in _WORDS.items()]
    parts = [
        f"| parts, IoU of {name.partition('/')[2].replace('_', ' ')} | {_written(value)} |"
        for name, value in training["metrics"].items()
        if name.startswith("part_iou/")
    ]
    measured = config["validation_batches"] * VALIDATION_BATCH
    unfinished = training["steps_done"] < config["steps"]
    return "\n".join(
        [
            "## Training",
            "",
            f"- Command: `{training['command']}`"
            + (f", of which {training['steps_done']} steps are done" if unfinished else ""),
            f"- Start: {start}; seed {config['seed']}; torch {training['torch']}",
            f"- Data: {training['samples']:,} samples of `animal4d.eyes.training.samples`, each seen twice, once in a "
            "mirror; nothing else",
            f"- Duration: {training['hours']:.2f} hours on {_processor(config['device'])}",
            f"- Shipped: the moving average of the weights (decay {config['averaging']}) at the last step; nothing "
            "was chosen by a measurement",
            "",
            f"Measured on {measured} samples of another seed, of the same kind as those that "
            "it learnt from; about half of them come with a mask:",
            "",
            "| measure | value |",
            "| --- | --- |",
            *rows,
            *parts,
            "",
        ]
    )


def _command(config: Mapping[str, Any]) -> str:
    command = f"animal4d train-eyes --steps {config['steps']} --seed {config['seed']} --init {config['init']}"
    return f"{command} --fresh {config['fresh']} --device {config['device']}"


def _processor(device: str) -> str:
    return torch.cuda.get_device_name() if device.startswith("cuda") and torch.cuda.is_available() else device.upper()


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
