"""The animals that play in synthetic clips: the built-in body with a gait and a coat, or a glTF with its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import LIMB_SCALE_NAMES, PART_NAMES
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.errors import Animal4dError
from animal4d.synth.coats import make_coat
from animal4d.synth.config import SynthConfig
from animal4d.synth.gaits import animate
from animal4d.synth.gltf import GltfAnimal, load_gltf, to_world
from animal4d.synth.legs import rotation
from animal4d.synth.noise import fractal_noise
from animal4d.synth.render import Surface
from animal4d.synth.rigs import find_rig, part_of_node
from animal4d.synth.truth import BodyParameters

BODY_LENGTH = 1.3
"""Foreign animals are scaled to this length from nose to tail base, so that one camera suits all."""
_LIMB_SIGMA = 0.04


@dataclass(frozen=True)
class Performance:
    """An animal in motion in the world, and how its surface looks."""

    vertices: Float[Tensor, "frames vertices 3"]
    rest: Float[Tensor, "vertices 3"]
    surface: Surface
    part_labels: Int[Tensor, "vertices"]
    joints: Float[Tensor, "frames joints 3"]
    joint_names: tuple[str, ...]
    body_length: float
    heading: float
    """Direction of travel about the vertical, radians."""
    origin: str
    """Where the animal comes from, in words."""
    licence: str
    body: BodyParameters | None = None

    @property
    def facing(self) -> Float[Tensor, "frames 3"]:
        """Unit vector from the tail's base to the head; along the heading where the rig is not known."""
        names = self.joint_names
        if "head" not in names or "tail_1" not in names:
            ahead = torch.tensor([np.cos(self.heading), np.sin(self.heading), 0.0], dtype=torch.float32)
            return ahead.expand(len(self.vertices), 3)
        return torch.nn.functional.normalize(
            self.joints[:, names.index("head")] - self.joints[:, names.index("tail_1")], dim=-1
        )


def perform(config: SynthConfig) -> Performance:
    """The animal of a configuration, its way across the ground centred on the world's origin."""
    rng = np.random.default_rng([config.seed, 3])
    heading = float(np.radians(rng.uniform(-180, 180) if config.heading is None else config.heading))
    times = np.arange(config.frames) / config.fps
    if config.source == "builtin":
        return _builtin(config, times, heading)
    return _foreign(load_gltf(config.source), config, times, heading)


def _builtin(config: SynthConfig, times: Float[ndarray, "frames"], heading: float) -> Performance:
    model = load_builtin_template()
    betas, limb_scales = _shape(config, model.n_betas)
    shaped = model.with_shape(betas, limb_scales)
    motion = animate(shaped, config.motion, times, config.seed)
    forward = np.array([np.cos(heading), np.sin(heading), 0.0])
    motion = motion.placed(heading, -0.5 * motion.speed * (times[-1] - times[0]) * forward)
    posed = shaped.with_pose(motion.joint_rotations, motion.translation)
    nose, tail_tip = int(model.keypoint_vertices[0]), int(shaped.vertices[:, 0].argmin())
    coat = make_coat(shaped, config.coat, config.seed)
    rest, faces = shaped.vertices.double().numpy(), model.faces.numpy()

    def color(face: ndarray, weights: ndarray) -> ndarray:
        return coat.color(np.einsum("nk,nkd->nd", weights, rest[faces[face]]))

    tail_base = shaped.joints[model.joint_names.index("tail_1")]
    return Performance(
        vertices=posed.vertices,
        rest=shaped.vertices,
        surface=Surface(model.faces, color),
        part_labels=model.part_labels,
        joints=torch.cat((posed.joints, posed.vertices[:, [nose, tail_tip]]), dim=1),
        joint_names=(*model.joint_names, "nose", "tail_tip"),
        body_length=float((shaped.vertices[nose] - tail_base).norm()),
        heading=heading,
        origin="the built-in body of animal4d",
        licence="Apache-2.0",
        body=BodyParameters(betas, limb_scales, motion.joint_rotations, motion.translation),
    )


def _shape(config: SynthConfig, n_betas: int) -> tuple[Float[Tensor, "betas"], Float[Tensor, "7"]]:
    rng = np.random.default_rng([config.seed, 5])
    still = torch.zeros(len(LIMB_SCALE_NAMES))
    if config.shape == "mean":
        return torch.zeros(n_betas), still
    if config.shape == "random":
        betas = torch.tensor(config.shape_sigma * rng.standard_normal(n_betas), dtype=torch.float32)
        limbs = torch.tensor(_LIMB_SIGMA * rng.standard_normal(len(still)), dtype=torch.float32)
        return betas, limbs
    species = load_species_betas()
    if config.shape not in species:
        raise Animal4dError(f'unknown shape "{config.shape}": choose random, mean or one of {", ".join(species)}')
    return species[config.shape].float(), still


def _foreign(animal: GltfAnimal, config: SynthConfig, times: Float[ndarray, "frames"], heading: float) -> Performance:
    rig = find_rig(animal.path, animal.node_names)
    start = np.random.default_rng([config.seed, 9]).uniform(0, animal.duration(config.motion))
    posed, transforms = animal.pose(config.motion, times + start)
    rest = to_world(animal.vertices)
    parts = np.array([part_of_node(name) for name in animal.dominant_joints])
    landmarks = _landmarks(rest, parts)
    node = animal.node_names.index
    bind_joints = to_world(animal.node_transforms((), np.zeros(1))[0][..., :3, 3])
    tail_base = bind_joints[node(rig.joints["tail_1"])] if rig else rest[rest[:, 0].argmin()]
    scale = BODY_LENGTH / float(np.linalg.norm(rest[landmarks["nose"]] - tail_base))
    way = _way(animal, config.motion, rest, parts, times, to_world(posed)[..., 2].min(axis=1))
    turn = rotation("z", np.array(heading))

    def placed(points: Float[ndarray, "frames points 3"]) -> Float[Tensor, "frames points 3"]:
        return torch.tensor(scale * (to_world(points) + way[:, None]) @ turn.T, dtype=torch.float32)

    names = rig.joints if rig else {name: name for name in animal.joint_names}
    joints = placed(transforms[..., :3, 3][:, [node(theirs) for theirs in names.values()]])
    vertices = placed(posed)
    extra = vertices[:, list(landmarks.values())]
    faces = animal.faces

    def color(face: ndarray, weights: ndarray) -> ndarray:
        places = np.einsum("nk,nkd->nd", weights, scale * rest[faces[face]])
        hair = fractal_noise(places * np.array([0.4, 1.2, 1.0]), 60.0, 2, config.seed)
        tone = fractal_noise(places, 7.0, 3, config.seed + 1)
        return animal.face_colors[face] * np.exp(0.30 * hair + 0.35 * tone)[:, None]

    return Performance(
        vertices=vertices,
        rest=torch.tensor(scale * rest, dtype=torch.float32),
        surface=Surface(torch.tensor(faces), color, smooth=False),
        part_labels=torch.tensor(parts),
        joints=torch.cat((joints, extra), dim=1),
        joint_names=(*names, *landmarks),
        body_length=BODY_LENGTH,
        heading=heading,
        origin=f"{animal.path.name} ({rig.source})" if rig else animal.path.name,
        licence=rig.licence if rig else "that of the source file",
    )


def _way(
    animal: GltfAnimal,
    motion: str,
    rest: Float[ndarray, "vertices 3"],
    parts: Int[ndarray, "vertices"],
    times: Float[ndarray, "frames"],
    lowest: Float[ndarray, "frames"],
) -> Float[ndarray, "frames 3"]:
    """How an animation on the spot travels over the ground, in the file's units; `lowest` is the height of the lowest
    vertex in every frame.

    Animators let toes dip into the ground: the whole animal is lifted by as much. What is above stays, as a leap.
    """
    loop = np.linspace(0, animal.duration(motion), 121)[:-1]
    vertices = to_world(animal.pose(motion, loop)[0])
    level = float(np.percentile(vertices[..., 2].min(axis=1), 75))
    speed = _stance_speed(rest, parts, vertices, float(loop[1]))
    ahead = speed * (times - times.mean())
    return np.stack((ahead, np.zeros_like(ahead), -np.minimum(lowest, level)), axis=1)


def _landmarks(rest: Float[ndarray, "vertices 3"], parts: Int[ndarray, "vertices"]) -> dict[str, int]:
    """Vertices of the nose and, where there is a tail, of its tip: the foremost and the one farthest along the tail."""
    head, tail = parts == PART_NAMES.index("head"), np.flatnonzero(parts == PART_NAMES.index("tail"))
    foremost = np.where(head if head.any() else np.ones_like(head), rest[:, 0], -np.inf)
    landmarks = {"nose": int(foremost.argmax())}
    if len(tail):
        base = rest[tail[rest[tail, 0].argmax()]]
        landmarks["tail_tip"] = int(tail[np.linalg.norm(rest[tail] - base, axis=1).argmax()])
    return landmarks


def _stance_speed(
    rest: Float[ndarray, "vertices 3"],
    parts: Int[ndarray, "vertices"],
    loop: Float[ndarray, "frames vertices 3"],
    step: float,
) -> float:
    """Forward speed at which standing feet slide least, from one loop of an animation on the spot.

    Animated feet rarely move back evenly, so some sliding remains.
    """
    height = float(np.ptp(rest[:, 2]))
    low = rest[:, 2] < rest[:, 2].min() + 0.08 * height
    feet = [low & (parts == leg) for leg in np.unique(parts[low])]
    places = np.stack([loop[:, foot].mean(axis=1) for foot in feet], axis=1)
    standing = places[..., 2] < places[..., 2].min(axis=0) + 0.02 * height
    standing &= np.roll(standing, -1, axis=0)
    backward = (places[..., 0] - np.roll(places[..., 0], -1, axis=0)) / step
    speed = float(backward[standing].mean()) if standing.any() else 0.0
    return speed if abs(speed) > 0.02 * height else 0.0
