"""Everything a run can be told, as frozen dataclasses. YAML in and out; the command line is generated from them.

Schedules are data: a `Schedule` is a piecewise constant weight over the progress of the fit in [0, 1], so that the
number of steps can change without touching it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml

from animal4d.candidates import Choice
from animal4d.errors import Animal4dError

ASSUMED_BODY_LENGTH = 0.75
"""Metres from nose to tail base, where nobody says how large an animal is: a Labrador retriever's."""


@dataclass(frozen=True)
class Schedule:
    """Piecewise constant weight: `values[i]` before `boundaries[i]`, the last value after all of them."""

    boundaries: tuple[float, ...] = ()
    """Fractions of the fit in (0, 1), ascending."""
    values: tuple[float, ...] = (1.0,)
    """One more than boundaries."""

    def __post_init__(self) -> None:
        if len(self.values) != len(self.boundaries) + 1:
            raise Animal4dError(
                f"a schedule needs one value more than boundaries, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )
        if list(self.boundaries) != sorted(self.boundaries):
            raise Animal4dError(f"the boundaries of a schedule must ascend, got {list(self.boundaries)}")

    def at(self, progress: float) -> float:
        """Weight at `progress` in [0, 1]."""
        return self.values[sum(progress >= boundary for boundary in self.boundaries)]


def constant(value: float) -> Schedule:
    return Schedule((), (value,))


@dataclass(frozen=True)
class LossWeights:
    """Weight of every loss over the progress of the fit. Zero leaves a loss out."""

    silhouette: Schedule = field(default_factory=lambda: constant(100.0))
    """Two-sided chamfer between the projected mesh and the mask, in squared units of half the image."""
    outline: Schedule = field(default_factory=lambda: Schedule((0.3, 0.45), (0.0, 100.0, 400.0)))
    """Distance between the outlines of mesh and mask, once the chamfer has brought them together."""
    tracks: Schedule = field(default_factory=lambda: Schedule((0.15,), (100.0, 300.0)))
    """Points that move together in the video stay on their place of the surface."""
    appearance: Schedule = field(default_factory=lambda: Schedule((0.45,), (0.0, 0.8)))
    """A vertex has the same colour in all frames that see it, once the pose is known to some pixels."""
    part_chamfer: Schedule = field(default_factory=lambda: constant(1.0))
    """Two-sided chamfer between the vertices of a part and its mask, where part masks were given."""
    part_keypoints: Schedule = field(default_factory=lambda: constant(0.0))
    """Pixels of a part against random vertices of it: pulls from afar, shrinks when near; a start does better."""
    surface: Schedule = field(default_factory=lambda: Schedule((0.3,), (5.0, 2.0)))
    """Pixels against the vertices that they show, where a surface map was given; in fractions of the image."""
    eyes_parts: Schedule = field(default_factory=lambda: Schedule((0.3,), (1.0, 0.0)))
    """As `part_chamfer`, of parts that the built-in network sees, each leg for itself. They lead the fit to where what
    is, and then leave it to outlines and tracks: the network is not exact, and misreads shapes it does not know."""
    eyes_surface: Schedule = field(default_factory=lambda: Schedule((0.15, 0.4), (2.0, 0.5, 0.1)))
    """As `surface`, of the surface map of the built-in network."""
    published_tracks: Schedule = field(default_factory=lambda: constant(0.0))
    """The published form of `tracks`: nearest visible vertices, summed over 50 tracks."""
    sparse_keypoints: Schedule = field(default_factory=lambda: constant(0.0))
    """The 24 keypoints of a detector, where they were given; in fractions of the image."""
    total_variation: Schedule = field(default_factory=lambda: constant(0.0))
    """Sum of absolute changes of the pose from frame to frame."""
    arap: Schedule = field(default_factory=lambda: constant(0.2))
    """As-rigid-as-possible energy of the vertex offsets."""
    edge_length: Schedule = field(default_factory=lambda: constant(0.0002))
    """Change of edge lengths by the vertex offsets."""
    laplacian: Schedule = field(default_factory=lambda: constant(2.0))
    """Uniform Laplacian of the vertex offsets."""
    parameters: Schedule = field(default_factory=lambda: constant(0.004))
    """Squares of betas, limb scales and offsets."""
    joint_limits: Schedule = field(default_factory=lambda: constant(0.5))
    """Rotations outside of the anatomical limits."""
    lasting_bend: Schedule = field(default_factory=lambda: constant(0.3))
    """Sideways bends of spine, neck and head that last all clip long."""
    pose_prior: Schedule = field(default_factory=lambda: constant(0.001))
    """Squares of the joint rotations: the rest pose where nothing speaks against it."""
    smoothness: Schedule = field(default_factory=lambda: Schedule((0.4,), (0.02, 0.003)))
    """Accelerations of root and joints."""


_LEAST_COUNTS = {
    "steps": 1,
    "batch_frames": 1,
    "start_steps": 1,
    "starts": 1,
    "surface_samples": 1,
    "mask_samples": 1,
    "part_samples": 1,
    "gaits": 0,
    "gait_steps": 1,
    "withhold_frames": 1,
    "checkpoint_every": 1,
}


@dataclass(frozen=True)
class FitConfig:
    """How the animal is fitted."""

    steps: int = 600
    """Steps of Adam after the start has been chosen."""
    batch_frames: int = 16
    """Frames per step, at least."""
    batch_share: Schedule = field(default_factory=lambda: Schedule((0.45,), (0.0, 0.4)))
    """Share of a clip's frames that a step looks at, where that is more, up to 48: frames of a long clip are then seen
    as often as those of a short one. Not before the stride has been chosen: single poses that are learnt well foretell
    their neighbours as well as a stride does."""
    start_steps: int = 60
    """Steps of the short fit of every candidate start."""
    starts: int = 4
    """Candidate starts that are carried into a short fit."""
    surface_samples: int = 3000
    """Points sampled on the mesh by area, per frame and step."""
    mask_samples: int = 2000
    """Pixels sampled from every mask, per step."""
    part_samples: int = 500
    """Pixels sampled from every part's mask, per step."""
    eyes_part_weights: tuple[float, ...] = (2.0, 1.0, 2.0, 0.0)
    """Of head, torso, each leg and tail in the loss `eyes_parts`."""
    view_evidence: float = 4.0
    """What the built-in network's view is worth in the view search: twice so much, times its confidence, lies between
    the view that it sees and the opposite one, as a logarithm."""
    least_clarity: float = 0.4
    """Frames that the built-in network reads less clearly than this share of the clip's median take their pose from
    their neighbours, as held-out frames do. Zero lets every frame have its own."""
    hidden_count_less: bool = False
    """Whether surface samples that are not seen count 0.05 in the silhouette loss, as published."""
    teach_held_out: bool = True
    """Whether losses look at held-out frames, through masks carried from others; their own masks are never seen."""
    pooling: Literal["parts", "mean"] = "parts"
    """What the network sees of a frame: the mean of its patch features (published), or with it their means over parts
    of the animal's box, which keep where a feature comes from."""
    frame_residuals: bool = True
    """Whether single frames may deviate from what the network says of them; the published method lets none."""
    rate_decay: float = 0.1
    """Share of the learning rates that is left at the end of a cosine decay; 1 keeps them as they are."""
    learning_rate_pose: float = 0.01
    """Of the per-frame pose residuals."""
    learning_rate_cycle: float = 0.02
    """Of the part of the pose that repeats with every stride."""
    learning_rate_pace: float = 0.001
    """Of the logarithm of the stride frequency."""
    gait_at: float = 0.15
    """Share of the fit after which a stride is looked for; before that root and shape settle."""
    gaits: int = 2
    """Candidate gaits that are carried into a short fit, beside none."""
    gait_steps: int = 60
    """Steps of the short fit of every candidate gait."""
    rhythm_first: Schedule = field(default_factory=lambda: Schedule((0.5,), (0.0, 0.5)))
    """Factor of the rates of single frames' joints and of the network where the gait has a rhythm: the stride is
    learnt before exceptions, so that left and right legs are the same ones in every stride."""
    learning_rate_network: float = 0.002
    """Of the dense feature network."""
    learning_rate_shape: float = 0.02
    """Of betas and limb scales."""
    learning_rate_offsets: Schedule = field(default_factory=lambda: Schedule((0.6, 0.8), (0.0, 0.0002, 0.0004)))
    """Of the vertex offsets: off until pose and shape have settled."""
    withhold: Schedule = field(default_factory=lambda: constant(0.2))
    """Share of steps that hide the residuals of random stretches of frames, so that the network learns them."""
    withhold_frames: int = 5
    """Length of a hidden stretch."""
    feature_noise: float = 0.3
    """Standard deviation of the noise on what the network sees while it learns; features have one of 1."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient per group of parameters."""
    checkpoint_every: int = 50
    """Steps between checkpoints and validations."""
    weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name, least in _LEAST_COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise Animal4dError(f"fit.{name} must be a whole number of at least {least}, got {value!r}")
        if not 0 <= self.least_clarity <= 1:
            raise Animal4dError(f"fit.least_clarity must be 0 to 1, got {self.least_clarity}")
        if not all(0 <= share <= 1 for share in self.batch_share.values):
            raise Animal4dError(f"fit.batch_share must be 0 to 1, got {list(self.batch_share.values)}")
        if len(self.eyes_part_weights) != 4 or min(self.eyes_part_weights) < 0:
            raise Animal4dError(
                f"fit.eyes_part_weights must be four weights (head, torso, leg, tail), got {self.eyes_part_weights}"
            )


Cue = Literal["silhouette", "colors", "parts", "surface", "tracks", "features", "keypoints", "views"]
"""What can be left out to see what it is worth."""
_LOSSES_OF_PICTURES = {"silhouette": ("silhouette", "outline"), "colors": ("appearance",)}
"""Losses of cues that the clip itself is: leaving one out is leaving out its losses."""


@dataclass(frozen=True)
class Config:
    """A run: resolved, saved with it, and enough to repeat it."""

    template: str = "builtin"
    """Body model: "builtin", or the path of a SMAL pickle (with its symmetry_inds.json, if it has one, beside it)."""
    seed: int = 0
    """Of everything random."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where tensors live; "auto" takes CUDA where there is one."""
    working_size: int = 256
    """Side of the square working images in pixels."""
    eyes: bool = True
    """Whether the built-in network finds masks where none are given, and makes the cues that no files bring."""
    use: tuple[str, ...] = ()
    """Who makes a cue, as "masks=sam2" or "tracks=lucas-kanade": this one and no other. By default the best that is at
    hand does (docs/pretrained.md)."""
    avoid: tuple[str, ...] = ()
    """Providers that are never used, as "xfeat"."""
    strict: bool = False
    """Whether a network that fails ends the run; by default the next best provider takes over, and the run says so."""
    texture_size: int = 1024
    """Side of the asset's square texture in pixels."""
    without: tuple[Cue, ...] = ()
    """Cues that are left out. Without silhouettes the masks still start the fit."""
    fit: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise Animal4dError(f"the seed must be a whole number from 0 to 2**63 - 1, got {self.seed}")
        if not 16 <= self.working_size <= 2048:
            raise Animal4dError(f"working_size must be 16 to 2048 pixels, got {self.working_size}")
        if not 32 <= self.texture_size <= 8192:
            raise Animal4dError(f"texture_size must be 32 to 8192 pixels, got {self.texture_size}")
        for name in ("eyes", "strict"):
            if not isinstance(getattr(self, name), bool):
                raise Animal4dError(f"{name} must be true or false, got {getattr(self, name)!r}")
        for name in ("use", "avoid"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
                raise Animal4dError(f"{name} must be a list of words, got {value!r}")
        _ = self.choice  # its names are checked

    @property
    def choice(self) -> Choice:
        """Who makes the cues."""
        return Choice(self.use, self.avoid, self.eyes, self.strict)

    @property
    def fit_of_cues(self) -> FitConfig:
        """How the animal is fitted with the cues that are left."""
        left_out = {name for cue in self.without for name in _LOSSES_OF_PICTURES.get(cue, ())}
        return replace(self.fit, weights=replace(self.fit.weights, **dict.fromkeys(left_out, constant(0.0))))


def to_dict(config: Any) -> dict[str, Any]:
    """Plain lists and dicts, ready for YAML."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    return plain(asdict(config))


def from_dict(kind: type, data: dict[str, Any], where: str = "config", base: Any = None) -> Any:
    """Inverse of `to_dict`; what `data` does not name is as in `base`, or else the default.

    Raises Animal4dError naming the first key that is unknown or of the wrong type.
    """
    if not isinstance(data, dict):
        raise Animal4dError(f"{where} must be a mapping of settings, got {data!r}")
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise Animal4dError(f"{where}: unknown key '{key}'; known are {', '.join(sorted(known))}")
        hint = hints[key]
        if is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(value, dict):
                raise Animal4dError(f"{where}.{key} must be a mapping, got {value!r}")
            values[key] = from_dict(hint, value, f"{where}.{key}", None if base is None else getattr(base, key))
        elif isinstance(value, list):
            values[key] = tuple(value)
        elif hint in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise Animal4dError(f"{where}.{key} must be a number, got {value!r}")
        else:
            values[key] = value
    return kind(**values) if base is None else replace(base, **values)


def load_config(path: Path, base: Config | None = None) -> Config:
    """Config from a YAML file: a whole `config.yaml` of a run, or only the keys that differ from the defaults."""
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).replace("\n", " ")
        raise Animal4dError(
            f"{path}: cannot be read as YAML ({reason}); give a text file of settings, such as a run's config.yaml"
        ) from error
    if not isinstance(data, dict):
        raise Animal4dError(f"{path}: expected a mapping of settings, see a run's config.yaml")
    return from_dict(Config, data.get("config", data), str(path), base)
