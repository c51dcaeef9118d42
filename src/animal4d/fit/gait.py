"""Does the animal walk, how fast, and which leg goes first? Starting values for the repeating part of the pose.

From rest, both legs of a pair are equally near to either leg of the mask, and a gradient may as well let them bounce
off each other as to let them pass. So once root and shape have settled, the legs of a pair are put through all pairs
of angles in every training frame and the overlap with the mask is kept in a table. A stride is a path through that
table: its frequency, and for each pair the middle, width and phase of the swing, left and right half a stride apart,
are found by looking up all of them. What counts is how well it foretells stretches that it was not chosen on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.body.parts import part_of_joint
from animal4d.fit.objective import Objective, overlap
from animal4d.fit.parameters import N_ROOT, AnimalParameters, AnimalState
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from animal4d.geometry.rotations import rotation_about

LEAST_GAIN = 0.01
"""Mean overlap that a stride must add on frames it was not chosen on; less is no gait worth the name."""
_FEWEST_STRIDES = 1.2
_HIGHEST_STRIDES_PER_SECOND = 4.0
_FEWEST_FRAMES_PER_STRIDE = 4.0
_FEWEST_FRAMES = 12
_BLOCKS = 6
_ANGLES = torch.linspace(-0.75, 0.75, 7)
"""Of a leg's uppermost joint, radians."""
_MIDDLES = torch.linspace(-0.3, 0.3, 5)
_WIDTHS = torch.linspace(0.1, 0.6, 6)
_PHASES = torch.arange(12) * (2 * math.pi / 12)
_PITCH_ENTRY = 2
"""Of the 6D rotation: the tangent of a turn about the body's lateral axis."""


@dataclass(frozen=True)
class Swing:
    """How the left leg of a pair swings: `middle + width * cos(stride phase - phase)`, in radians. The right leg does
    the same half a stride later."""

    middle: float
    width: float
    phase: float


@dataclass(frozen=True)
class Gait:
    """A stride that was found."""

    stride_frequency: float
    """Whole strides (all four legs once) per second."""
    front: Swing
    back: Swing
    gain: float
    """Overlap that it adds on stretches of frames on which it was not chosen, against legs that stand still."""


@torch.no_grad()
def candidate_gaits(parameters: AnimalParameters, objective: Objective, count: int) -> list[Gait]:
    """Up to `count` gaits that bring the legs into the masks of the training frames, best first; none where the animal
    does not walk, or too little of it is seen."""
    train = objective.split.train
    seconds = parameters.seconds[train].cpu()
    duration = float(parameters.seconds[-1] - parameters.seconds[0])
    if len(train) < _FEWEST_FRAMES or duration <= 0:
        return []
    frames_per_second = (len(parameters.seconds) - 1) / duration
    lowest = _FEWEST_STRIDES / duration
    highest = min(_HIGHEST_STRIDES_PER_SECOND, frames_per_second / _FEWEST_FRAMES_PER_STRIDE)
    if lowest >= highest:
        return []
    # Steps fine enough that the phase at the ends of the clip moves by less than a tenth of a turn.
    frequencies = torch.linspace(lowest, highest, max(2, math.ceil((highest - lowest) * duration * 10))).tolist()
    state = parameters()
    tables = [leg_table(state, objective, pair) for pair in ("front", "back")]
    blocks = torch.arange(len(train)) * _BLOCKS // len(train)
    still = sum(_held_out(_standing(table), blocks) for table in tables)
    gains = [
        sum(_held_out(_swinging(table, frequency, seconds), blocks) for table in tables) - still
        for frequency in frequencies
    ]
    peaks = [i for i, gain in enumerate(gains) if gain >= LEAST_GAIN and gain == max(gains[max(i - 2, 0) : i + 3])]
    peaks = sorted(peaks, key=lambda i: -gains[i])[:count]
    front, back = tables
    return [
        Gait(
            frequencies[i],
            _best_swing(front, frequencies[i], seconds),
            _best_swing(back, frequencies[i], seconds),
            gains[i],
        )
        for i in peaks
    ]


@torch.no_grad()
def swing_legs(gait: Gait, parameters: AnimalParameters) -> None:
    """Lets the legs swing as the gait says, instead of as single frames had them."""
    parameters.stride_frequency.fill_(gait.stride_frequency)
    for pair, swing in (("front", gait.front), ("back", gait.back)):
        for side, lag in (("left", 0.0), ("right", math.pi)):
            leg = leg_joints(parameters.model, f"{pair}_{side}_leg")
            for joint in leg:
                parameters.joint_residuals[:, 6 * (joint - 1) : 6 * joint] = 0.0
            entry = 6 * (leg[0] - 1) + _PITCH_ENTRY
            parameters.joint_residuals[:, entry] = swing.middle
            parameters.cycle[0, N_ROOT + entry] = swing.width * math.cos(swing.phase + lag)
            parameters.cycle[len(parameters.cycle) // 2, N_ROOT + entry] = swing.width * math.sin(swing.phase + lag)


def leg_joints(model: BodyModel, part: str) -> list[int]:
    """Indices of the joints of a leg, the uppermost first."""
    return [index for index, name in enumerate(model.joint_names) if part_of_joint(name) == part]


@torch.no_grad()
def leg_table(state: AnimalState, objective: Objective, pair: str) -> Float[Tensor, "frames left right"]:
    """Overlap with the mask, for every training frame and every pair of angles of the two legs, which are straight
    otherwise; at half the working size."""
    model, frames = objective.model, objective.split.train
    height, width = (side // 2 for side in objective.cameras.image_size)
    scale = torch.tensor([[0.5], [0.5], [1.0]], device=frames.device)
    cameras = objective.cameras[frames]
    cameras = Cameras(cameras.intrinsics * scale, cameras.world_to_camera, (height, width))
    mask = _halved(objective.binary[frames])
    inside = _halved(objective.inside[frames])
    rotations = state.joint_rotations[frames].clone()
    for part in ("front_left_leg", "front_right_leg", "back_left_leg", "back_right_leg"):
        rotations[:, leg_joints(model, part)] = torch.eye(3, device=frames.device)
    left, right = (leg_joints(model, f"{pair}_{side}_leg")[0] for side in ("left", "right"))
    table = torch.zeros(len(frames), len(_ANGLES), len(_ANGLES))
    turns = rotation_about("y", _ANGLES).to(frames.device)
    for i, left_turn in enumerate(turns):
        for j, right_turn in enumerate(turns):
            rotations[:, left], rotations[:, right] = left_turn, right_turn
            in_camera = cameras.transform(state.shaped.with_pose(rotations, state.translation[frames]).vertices)
            drawn = rasterize(in_camera, model.faces, cameras.intrinsics, cameras.image_size).covered & inside
            table[:, i, j] = overlap(drawn, mask).cpu()
    return table


def _halved(mask: Bool[Tensor, "frames height width"]) -> Bool[Tensor, "frames half_height half_width"]:
    return torch.nn.functional.avg_pool2d(mask[:, None].float(), 2)[:, 0] > 0.5


def _look_up(
    table: Float[Tensor, "frames left right"],
    left: Float[Tensor, "choices frames"],
    right: Float[Tensor, "choices frames"],
) -> Float[Tensor, "choices frames"]:
    """Bilinear in the two angles."""
    step, last = float(_ANGLES[1] - _ANGLES[0]), len(_ANGLES) - 1
    u = ((left - _ANGLES[0]) / step).clamp(0, last - 1e-4)
    v = ((right - _ANGLES[0]) / step).clamp(0, last - 1e-4)
    i, j, frame = u.long(), v.long(), torch.arange(len(table)).expand(u.shape)
    u, v = u - i, v - j
    near = (1 - u) * table[frame, i, j] + u * table[frame, i + 1, j]
    far = (1 - u) * table[frame, i, j + 1] + u * table[frame, i + 1, j + 1]
    return (1 - v) * near + v * far


def _standing(table: Float[Tensor, "frames left right"]) -> Float[Tensor, "choices frames"]:
    """Overlaps of legs that do not move, for all pairs of angles."""
    return table.flatten(1).T


def _swinging(
    table: Float[Tensor, "frames left right"], frequency: float, seconds: Float[Tensor, "frames"]
) -> Float[Tensor, "choices frames"]:
    """Overlaps of all swings of a frequency: middles x widths x phases."""
    wave = torch.cos(2 * math.pi * frequency * seconds - _PHASES[:, None])
    middle, wave = _MIDDLES[:, None, None, None], _WIDTHS[:, None, None] * wave
    return _look_up(table, (middle + wave).flatten(0, 2), (middle - wave).flatten(0, 2))


def _best_swing(table: Float[Tensor, "frames left right"], frequency: float, seconds: Float[Tensor, "frames"]) -> Swing:
    choice = int(_swinging(table, frequency, seconds).mean(1).argmax())
    rest, phase = divmod(choice, len(_PHASES))
    middle, width = divmod(rest, len(_WIDTHS))
    return Swing(float(_MIDDLES[middle]), float(_WIDTHS[width]), float(_PHASES[phase]))


def _held_out(overlaps: Float[Tensor, "choices frames"], blocks: Tensor) -> float:
    """Mean overlap on stretches of frames, each with the choice that is best on all others."""
    total = 0.0
    for block in range(int(blocks[-1]) + 1):
        held_out = blocks == block
        choice = overlaps[:, ~held_out].mean(1).argmax()
        total += float(overlaps[choice, held_out].sum())
    return total / len(blocks)
