"""The published settings of 4D-Animal (arXiv 2507.10437) as data: weights, boundaries and learning rates.

Boundaries are published in steps of a fit of 10,000; here they are fractions of the fit, so that they hold for any
number of steps. Learning rates are not scaled: a shorter fit goes less far.

Keys are names of fields of `LossWeights` and `FitConfig`, so that a preset is applied by `dataclasses.replace`.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

from animal4d.config import FitConfig, LossWeights, Schedule, constant

Preset = Literal["default", "paper"]

PAPER_STEPS = 10_000
"""Steps of the published fit, in which its boundaries are given."""


def _published(boundaries: tuple[int, ...], values: tuple[float, ...]) -> Schedule:
    """A schedule from boundaries in published steps."""
    return Schedule(tuple(boundary / PAPER_STEPS for boundary in boundaries), values)


PAPER_WEIGHTS: dict[str, Schedule] = {
    "silhouette": _published((300, 1000, 6000), (1.0, 100.0, 500.0, 800.0)),
    "part_chamfer": constant(5.0),
    "part_keypoints": _published((300,), (5e-5, 5e-8)),
    "surface": _published((1000, 6000), (5.0, 0.1, 0.01)),
    # The built-in network stands in for PartGLEE and CSE where nobody brings theirs.
    "eyes_parts": constant(5.0),
    "eyes_surface": _published((1000, 6000), (5.0, 0.1, 0.01)),
    "published_tracks": _published((300,), (5e-4, 5e-2)),
    "color": constant(10.0),
    # Published on the posed mesh against the canonical one; ours act on the vertex offsets of the one rest shape, since
    # poses bend the mesh by skinning only.
    "arap": _published((9950,), (1.0, 5.0)),
    "edge_length": _published((9950,), (0.01, 0.05)),
    "laplacian": _published((9950,), (10.0, 100.0)),
    # Published on plain betas, limb scales and offsets; ours divides each by how far it usually strays.
    "parameters": constant(0.01),
    "sparse_keypoints": constant(0.0),
    "total_variation": constant(0.0),
    # Ours, which the published method does not have.
    "outline": constant(0.0),
    "tracks": constant(0.0),
    "appearance": constant(0.0),
    "joint_limits": constant(0.0),
    "lasting_bend": constant(0.0),
    "pose_prior": constant(0.0),
    "smoothness": constant(0.0),
}
"""Weight of every loss, by the name of its field in `LossWeights`."""

PAPER_FIT: dict[str, Any] = {
    "batch_frames": 32,
    "batch_share": constant(0.0),
    "surface_samples": 10_000,
    "gradient_clip": 1.0,
    "checkpoint_every": 1000,
    # The published pose is what the network predicts, without residuals of single frames; its rate is the network's.
    "learning_rate_network": 5e-4,
    "learning_rate_pose": 5e-4,
    "learning_rate_shape": 5e-4,
    "learning_rate_offsets": _published((3000, 5000, 9000), (0.0, 2.5e-5, 5e-5, 7.5e-5)),
    # Ours, which the published method does not have: strides, hidden residuals, noise on the features.
    "gaits": 0,
    "withhold": constant(0.0),
    "feature_noise": 0.0,
    "eyes_part_weights": (50.0, 1.0, 0.001, 0.01),
    "least_clarity": 0.0,
    "hidden_count_less": True,
    "teach_held_out": False,
    "frame_residuals": False,
    "pooling": "mean",
    "rate_decay": 1.0,
}
"""Settings by the name of their field in `FitConfig`; the number of steps is the user's."""

PAPER_TEXTURE: dict[str, Schedule] = {
    "learning_rate_grid": _published((9000, 9500), (0.1, 0.05, 0.025)),
    "learning_rate_decoder": _published((9000, 9500), (0.01, 0.005, 0.0025)),
}
"""Learning rates of the texture's feature grid and of its decoder (method of the duplex mesh)."""


def preset(name: Preset) -> FitConfig:
    """How the animal is fitted: ours, or as published, but for the number of steps, which is ours."""
    if name == "default":
        return FitConfig()
    weights = {field.name: PAPER_WEIGHTS[field.name] for field in fields(LossWeights)}
    return replace(FitConfig(), **PAPER_FIT, weights=LossWeights(**weights))
