"""Fewer keys for the same motion.

Every channel, one joint's rotation or the root's place, keeps its own frames as keys: from each key it goes straight
to the furthest frame for which all frames between are met by interpolation (slerp, linear). How far a channel may be
off follows from how far it reaches: a joint that carries the whole animal is held tighter than the tip of an ear. The
one number that scales all of these is the largest for which no vertex, measured by posing the model with the
interpolated motion, leaves its place by more than the bound at any frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.quaternions import angle_of, matrix_from_quaternion, slerp
from animal4d.geometry.rotations import quaternion_from_matrix

BOUND = 1e-4
"""Of the body length: a twentieth of a pixel on an animal that fills 500, and what an asset may be off at all. Fits of
a gait at 24 frames per second keep nearly all keys under any bound that nobody sees; calm clips keep a tenth."""
_LONGEST = 32
"""Frames between two keys, at most."""
_HALVINGS = 7
_KEY, _OWN_TIMES = 16, 250
"""Bytes of a rotation, and of the description of an array of times in a glTF file."""
_FRAMES_PER_BLOCK = 32

Frames = Int[np.ndarray, "keys"]


@dataclass(frozen=True)
class Keys:
    """Frames that stay keys; the first and the last always do."""

    root: Frames
    """Of the root's translation."""
    joints: tuple[Frames, ...]
    """Of every joint's rotation."""
    deviation: float
    """Largest distance of a vertex from its place at any frame, in body lengths."""

    @property
    def share(self) -> float:
        """Of the keys that are left."""
        kept = len(self.root) + sum(len(frames) for frames in self.joints)
        return kept / ((len(self.joints) + 1) * (int(self.root[-1]) + 1))


@torch.no_grad()
def fewest_keys(reconstruction: Reconstruction, model: BodyModel, bound: float = BOUND) -> Keys:
    """The keys of a motion whose vertices stay within `bound` body lengths at all original times; with a bound of 0
    every frame is a key."""
    if bound <= 0:
        return _every_frame(len(reconstruction), model.n_joints)
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    motion = _Motion.of(reconstruction)
    errors, reach = _segment_errors(motion), _reach(reconstruction, model)
    allowed = bound * model.body_length / torch.cat((torch.ones(1), reach.clamp_min(1e-6)))
    best = _every_frame(len(reconstruction), model.n_joints)
    low, high = 0.0, 1.0
    for step in range(_HALVINGS):
        # The first try is the whole bound for every channel: errors of a chain seldom add up.
        scale = high if step == 0 else (low + high) / 2
        frames = _worthwhile(_kept(errors, (allowed * scale).double().numpy()), len(reconstruction))
        deviation = largest_deviation(reconstruction, model, _played(reconstruction, motion, frames), model)
        if deviation < bound:
            low, best = scale, Keys(frames[0], tuple(frames[1:]), deviation)
            if step == 0:
                break
        else:
            high = scale
    return best


@dataclass(frozen=True)
class _Motion:
    rotations: Float[Tensor, "frames joints 4"]
    translation: Float[Tensor, "frames 3"]
    times: Float[Tensor, "frames"]

    @staticmethod
    def of(reconstruction: Reconstruction) -> _Motion:
        return _Motion(
            quaternion_from_matrix(reconstruction.joint_rotations.double()),
            reconstruction.translation.double(),
            reconstruction.times.double(),
        )


def _every_frame(frames: int, joints: int) -> Keys:
    return Keys(np.arange(frames), (np.arange(frames),) * joints, 0.0)


def _reach(reconstruction: Reconstruction, model: BodyModel) -> Float[Tensor, "joints"]:
    """How far from a joint the furthest vertex lies that it or a joint below it carries, at rest."""
    posed = reconstruction.shaped(model).with_pose(torch.eye(3).expand(model.n_joints, 3, 3))
    return (torch.cdist(posed.joints, posed.vertices) * model.turning_weights.T.clamp(max=1.0)).amax(1)


def _segment_errors(motion: _Motion) -> NDArray[np.float64]:
    """[length, frame, channel]: how far interpolation from a frame to the one `length` later is off between them, in
    radians for joints and in units for the root, which is channel 0; infinite past the end."""
    frames, joints = motion.rotations.shape[:2]
    longest = min(_LONGEST, frames - 1)
    errors = np.full((longest + 1, frames, joints + 1), np.inf)
    for length in range(1, longest + 1):
        starts = frames - length
        inner = torch.arange(starts)[:, None] + torch.arange(1, length)
        if length == 1:
            errors[1, :starts] = 0
            continue
        times = motion.times
        share = (times[inner] - times[:starts, None]) / (times[length:] - times[:starts])[:, None]
        first, last = motion.rotations[:starts, None], motion.rotations[length:, None]
        turned = slerp(first, last, share[..., None])
        moved = (
            motion.translation[:starts, None] * (1 - share[..., None])
            + motion.translation[length:, None] * share[..., None]
        )
        errors[length, :starts, 1:] = angle_of(turned, motion.rotations[inner]).amax(1).numpy()
        errors[length, :starts, 0] = (moved - motion.translation[inner]).norm(dim=-1).amax(1).numpy()
    return errors


def _kept(errors: NDArray[np.float64], allowed: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Frames of every channel from one key to the furthest that is allowed."""
    longest = len(errors) - 1
    last = errors.shape[1] - 1
    good = errors <= allowed
    # The longest good segment from every frame: lengths are tried from the end.
    steps = longest - np.argmax(good[:0:-1], axis=0) if longest else np.zeros(errors.shape[1:], int)
    kept = []
    for channel in range(errors.shape[2]):
        frames = [0]
        while frames[-1] < last:
            frames.append(frames[-1] + int(steps[frames[-1], channel]))
        kept.append(np.array(frames))
    return kept


def _worthwhile(kept: list[NDArray[np.int64]], frames: int) -> list[NDArray[np.int64]]:
    """All frames for channels that would save less than times of their own cost: that would spend the bound, and make
    the file larger."""
    every = np.arange(frames)
    return [few if _KEY * (frames - len(few)) > _OWN_TIMES + 4 * len(few) else every for few in kept]


def _played(reconstruction: Reconstruction, motion: _Motion, frames: list[NDArray[np.int64]]) -> Reconstruction:
    """As interpolation between the keys moves it."""
    return replace(
        reconstruction,
        joint_rotations=torch.stack(
            [_played_rotation(motion, joint, torch.from_numpy(kept)) for joint, kept in enumerate(frames[1:])], dim=1
        ).float(),
        translation=_played_translation(motion, torch.from_numpy(frames[0])).float(),
    )


def largest_deviation(
    wanted: Reconstruction, model: BodyModel, written: Reconstruction, written_model: BodyModel
) -> float:
    """Largest distance between the same vertex of two motions at any frame, in body lengths of the first model."""
    worst = 0.0
    for start in range(0, len(wanted), _FRAMES_PER_BLOCK):
        block = slice(start, start + _FRAMES_PER_BLOCK)
        apart = wanted.posed(model, block).vertices - written.posed(written_model, block).vertices
        worst = max(worst, float(apart.norm(dim=-1).max()))
    return worst / model.body_length


def _played_rotation(motion: _Motion, joint: int, kept: Tensor) -> Float[Tensor, "frames 3 3"]:
    before, after, share = _between(motion.times, kept)
    return matrix_from_quaternion(slerp(motion.rotations[before, joint], motion.rotations[after, joint], share))


def _played_translation(motion: _Motion, kept: Tensor) -> Float[Tensor, "frames 3"]:
    before, after, share = _between(motion.times, kept)
    return torch.lerp(motion.translation[before], motion.translation[after], share[:, None])


def _between(times: Float[Tensor, "frames"], kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For every frame the keys before and after it, and how far it is from the one to the other."""
    if len(kept) == 1:
        nothing = torch.zeros(len(times), dtype=torch.long)
        return nothing, nothing, torch.zeros_like(times)
    after = torch.searchsorted(kept, torch.arange(len(times))).clamp(1, len(kept) - 1)
    first, last = kept[after - 1], kept[after]
    return first, last, (times - times[first]) / (times[last] - times[first])
