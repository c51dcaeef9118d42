"""Does the animal walk, how fast, and which leg goes first? Starting values for the repeating part of the pose.

From rest, both legs of a pair are equally near to either leg of the mask, and a gradient may as well let them bounce
off each other as to let them pass. So once root and shape have settled, the legs of a pair are put through all pairs
of angles in every frame and the overlap with the mask is kept in a table. A stride is a path through that table: its
frequency, and for each pair the middle, width and phase of the swing, left and right half a stride apart, are found by
looking up all of them. What counts is how well it foretells stretches that it was not chosen on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from animal4d.body.parts import leg_joints
from animal4d.fit.objective import Objective, overlap
from animal4d.fit.parameters import N_ROOT, AnimalParameters, AnimalState
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from animal4d.geometry.rotations import rotation_about

LEAST_GAIN = 0.0
"""Mean overlap that a stride must add on frames it was not chosen on, to be worth a short fit."""
PAIRS = ("front", "back")
SIDES = ("left", "right")
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
    """Up to `count` gaits that bring the legs into the masks, best first; none where the animal does not walk, or
    too little of it is seen."""
    frames = objective.frames
    seconds = parameters.seconds[frames].cpu()
    duration = float(parameters.seconds[-1] - parameters.seconds[0])
    if len(frames) < _FEWEST_FRAMES or duration <= 0:
        return []
    frames_per_second = (len(parameters.seconds) - 1) / duration
    lowest = _FEWEST_STRIDES / duration
    highest = min(_HIGHEST_STRIDES_PER_SECOND, frames_per_second / _FEWEST_FRAMES_PER_STRIDE)
    if lowest >= highest:
        return []
    # Steps fine enough that the phase at the ends of the clip moves by less than a tenth of a turn.
    frequencies = torch.linspace(lowest, highest, max(2, math.ceil((highest - lowest) * duration * 10))).tolist()
    legs = _DrawnLegs(parameters(), objective)
    front, back = (leg_table(legs, pair) for pair in PAIRS)
    blocks = torch.arange(len(frames)) * _BLOCKS // len(frames)
    still = _held_out(_standing(front), blocks) + _held_out(_standing(back), blocks)
    gaits = []
    for frequency in frequencies:
        swings = [_swinging(table, frequency, seconds) for table in (front, back)]
        gain = sum(_held_out(overlaps, blocks) for overlaps in swings) - still
        front_swing, back_swing = (_swing(int(overlaps.mean(1).argmax())) for overlaps in swings)
        gaits.append(Gait(frequency, front_swing, back_swing, gain))
    gains = [gait.gain for gait in gaits]
    peaks = [
        gait
        for i, gait in enumerate(gaits)
        if gait.gain >= LEAST_GAIN and gait.gain == max(gains[max(i - 2, 0) : i + 3])
    ]
    best = sorted(peaks, key=lambda gait: -gait.gain)[:count]
    return [_polished(gait, legs, seconds, duration) for gait in best]


@torch.no_grad()
def swing_legs(gait: Gait, parameters: AnimalParameters) -> None:
    """Lets the legs swing as the gait says, instead of as single frames had them."""
    parameters.stride_frequency.fill_(gait.stride_frequency)
    for pair, swing in (("front", gait.front), ("back", gait.back)):
        for side, lag in (("left", 0.0), ("right", math.pi)):
            leg = leg_joints(parameters.model.joint_names, pair, side)
            for joint in leg:
                parameters.joint_residuals[:, 6 * (joint - 1) : 6 * joint] = 0.0
            entry = 6 * (leg[0] - 1) + _PITCH_ENTRY
            parameters.joint_residuals[:, entry] = swing.middle
            parameters.cycle[0, N_ROOT + entry] = swing.width * math.cos(swing.phase + lag)
            parameters.cycle[len(parameters.cycle) // 2, N_ROOT + entry] = swing.width * math.sin(swing.phase + lag)


class _DrawnLegs:
    """The silhouettes of all frames with a mask at half the working size, with legs that are straight but for a turn of
    their uppermost joint."""

    def __init__(self, state: AnimalState, objective: Objective) -> None:
        frames = objective.frames
        height, width = (side // 2 for side in objective.cameras.image_size)
        cameras = objective.cameras[frames]
        halving = torch.tensor([[0.5], [0.5], [1.0]], device=frames.device)
        self.cameras = Cameras(cameras.intrinsics * halving, cameras.world_to_camera, (height, width))
        self.mask = _halved(objective.binary[frames])
        self.inside = _halved(objective.inside[frames])
        self.shaped, self.translation = state.shaped, state.translation[frames]
        self.rotations = state.joint_rotations[frames].clone()
        self.uppermost = {}
        for pair in PAIRS:
            for side in SIDES:
                joints = leg_joints(objective.model.joint_names, pair, side)
                self.rotations[:, joints] = torch.eye(3, device=frames.device)
                self.uppermost[pair, side] = joints[0]

    def overlap(self, turns: dict[tuple[str, str], Tensor]) -> Float[Tensor, "frames"]:
        """Overlap with the masks, for angles (one, or one per frame) of some of the legs."""
        rotations = self.rotations.clone()
        for leg, angle in turns.items():
            rotations[:, self.uppermost[leg]] = rotation_about("y", angle).to(rotations)
        in_camera = self.cameras.transform(self.shaped.with_pose(rotations, self.translation).vertices)
        faces = self.shaped.model.faces
        drawn = rasterize(in_camera, faces, self.cameras.intrinsics, self.cameras.image_size).covered
        return overlap(drawn & self.inside, self.mask).cpu()


def leg_table(legs: _DrawnLegs, pair: str) -> Float[Tensor, "frames left right"]:
    """Overlap with the mask, for every frame and every pair of angles of the two legs."""
    rows = [
        torch.stack([legs.overlap({(pair, "left"): left, (pair, "right"): right}) for right in _ANGLES], dim=1)
        for left in _ANGLES
    ]
    return torch.stack(rows, dim=1)


def _polished(gait: Gait, legs: _DrawnLegs, seconds: Float[Tensor, "frames"], duration: float) -> Gait:
    """The gait after a pattern search on what is drawn: between the angles of a table the overlap is only guessed, and
    swings come out too small."""

    def drawn(gait: Gait) -> float:
        turns = {}
        for pair, swing in (("front", gait.front), ("back", gait.back)):
            wave = swing.width * torch.cos(2 * math.pi * gait.stride_frequency * seconds - swing.phase)
            turns |= {(pair, "left"): swing.middle + wave, (pair, "right"): swing.middle - wave}
        return float(legs.overlap(turns).mean())

    best, height = gait, drawn(gait)
    for fraction in (1.0, 0.5, 0.25):
        for move in _moves(fraction, duration):
            for sign in (1.0, -1.0):
                moved = move(best, sign)
                overlap_there = drawn(moved)
                if overlap_there > height:
                    best, height = moved, overlap_there
    return best


def _moves(fraction: float, duration: float) -> list[Callable[[Gait, float], Gait]]:
    """Ways to change a gait a little, each forwards and backwards."""

    def change_frequency(gait: Gait, sign: float) -> Gait:
        return replace(gait, stride_frequency=gait.stride_frequency + sign * fraction * 0.05 / duration)

    def change_swing(pair: str, name: str, step: float) -> Callable[[Gait, float], Gait]:
        def change(gait: Gait, sign: float) -> Gait:
            swing = getattr(gait, pair)
            return replace(gait, **{pair: replace(swing, **{name: getattr(swing, name) + sign * fraction * step})})

        return change

    steps = (("width", 0.1), ("phase", math.pi / 12), ("middle", 0.08))
    return [change_frequency, *(change_swing(pair, name, step) for pair in PAIRS for name, step in steps)]


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


def _swing(choice: int) -> Swing:
    """The swing that `_swinging` has at a place."""
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
