"""What is optimised: one shape for the clip, and a pose per frame around the start's root path."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from animal4d.body.model import BodyModel, PosedBody, ShapedBody
from animal4d.body.parts import part_of_joint
from animal4d.fit.harmonics import HARMONICS, phase_harmonics
from animal4d.fit.start import Start
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rotations import matrix_from_6d
from animal4d.network.dense_feature_network import DenseFeatureNetwork

N_ROOT = 9
"""Numbers of the pose that place the root: translation (3) and orientation (6)."""
IDENTITY_6D = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class AnimalState:
    """The animal as the parameters have it now, in all frames, in the world."""

    betas: Float[Tensor, "betas"]
    limb_scales: Float[Tensor, "7"]
    offsets: Float[Tensor, "offsets"]
    """Compact symmetric vertex offsets."""
    vertex_offsets: Float[Tensor, "vertices 3"]
    joint_rotations: Float[Tensor, "frames joints 3 3"]
    translation: Float[Tensor, "frames 3"]
    shaped: ShapedBody
    base: ShapedBody
    """The same shape without vertex offsets: what the regularisers compare with."""

    def posed(self, frames: Tensor) -> PosedBody:
        return self.shaped.with_pose(self.joint_rotations[frames], self.translation[frames])


class AnimalParameters(nn.Module):
    """Dense feature network plus free residuals, around a start.

    The network sees the features of a frame and its time, so it also speaks for frames that no loss looks at. Once a
    stride has been found, its harmonics are further inputs and carry a linear term of their own: what repeats is learnt
    from all strides together. Residuals let single frames deviate. Root translation is expressed in working pixels and
    log depth, so that it follows the crop.
    """

    features: Tensor
    seconds: Tensor
    stride_frequency: Tensor
    share: Tensor
    network_share: Tensor
    mirrored_entry: Tensor
    mirrored_sign: Tensor
    times: Tensor
    taught: Tensor
    start_betas: Tensor
    start_R_cam_from_body: Tensor
    start_pixels: Tensor
    start_log_depth: Tensor
    inverse_intrinsics: Tensor
    R_world_from_cam: Tensor
    t_cam_from_world: Tensor
    identity_6d: Tensor

    def __init__(
        self,
        model: BodyModel,
        start: Start,
        features: Float[Tensor, "frames channels"],
        seconds: Float[Tensor, "frames"],
        cameras: Cameras,
        taught: Bool[Tensor, "frames"],
        frame_residuals: bool = True,
    ) -> None:
        """`taught` are the frames that may have a pose of their own: those that losses look at, without those that the
        built-in network could not read (`clear_frames`). Without `frame_residuals` the network alone says the pose, as
        published."""
        super().__init__()
        self.model = model
        self.start = start
        self.frame_residuals = frame_residuals
        self.image_side = max(cameras.image_size)
        frames = len(features)
        n_pose = 3 + 6 * model.n_joints
        self.network = DenseFeatureNetwork.for_model(model, feature_channels=features.shape[1] + 2 * HARMONICS)
        self.log_pace = nn.Parameter(torch.zeros(()))
        self.cycle = nn.Parameter(torch.zeros(2 * HARMONICS, n_pose))
        self.shape = nn.Parameter(torch.zeros(model.n_betas + 7))
        self.offsets = nn.Parameter(torch.zeros(model.n_offsets))
        self.root_residuals = nn.Parameter(torch.zeros(frames, N_ROOT))
        self.joint_residuals = nn.Parameter(torch.zeros(frames, n_pose - N_ROOT))
        mirrored, sign = _mirror(model)
        buffers = {
            "features": features,
            "seconds": seconds - seconds.mean(),
            "share": _cycle_share(model),
            "network_share": _network_share(n_pose, frame_residuals),
            "mirrored_entry": mirrored,
            "mirrored_sign": sign,
            "times": time_fractions(seconds),
            "taught": taught,
            "start_betas": start.betas,
            "start_R_cam_from_body": start.R_cam_from_body,
            "start_pixels": start.pixels,
            "start_log_depth": start.log_depth,
            "inverse_intrinsics": torch.linalg.inv(cameras.intrinsics),
            "R_world_from_cam": cameras.R_cam_from_world.transpose(1, 2),
            "t_cam_from_world": cameras.t_cam_from_world,
            "identity_6d": torch.tensor(IDENTITY_6D),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.clone(), persistent=False)
        # Strides per second, zero as long as none has been found; a checkpoint has it.
        self.register_buffer("stride_frequency", torch.zeros(()))

    @property
    def has_rhythm(self) -> bool:
        """Whether the gait repeats, as far as is known."""
        return bool(self.stride_frequency > 0)

    @property
    def phase(self) -> Float[Tensor, "frames"]:
        """Of the stride that was found, in radians; zero in the middle of the clip."""
        return 2 * math.pi * self.stride_frequency * self.seconds

    @property
    def n_inputs(self) -> int:
        """Channels that the network sees of a frame, beside its time."""
        return self.features.shape[1] + 2 * HARMONICS

    def forward(
        self,
        withheld: Bool[Tensor, "frames"] | None = None,
        feature_noise: Float[Tensor, "frames inputs"] | None = None,
    ) -> AnimalState:
        """The animal in all frames. Frames that no loss looks at, and those `withheld`, take their residual from
        their neighbours in time. Noise on what the network sees keeps it from learning single frames by heart."""
        harmonics = phase_harmonics(self.phase) if self.has_rhythm else self.features.new_zeros(1, 2 * HARMONICS)
        inputs = torch.cat((self.features, harmonics.expand(len(self.features), -1)), dim=1)
        if feature_noise is not None:
            inputs = inputs + feature_noise
        predicted = self.network.forward_pooled(inputs, self.times)
        known = self.taught if withheld is None else self.taught & ~withheld
        if not self.frame_residuals:
            known = torch.zeros_like(known)
        residuals = torch.cat(
            (
                interpolation_weights(known, self.times) @ self.root_residuals,
                (fading_weights if self.has_rhythm else interpolation_weights)(known, self.times)
                @ self.joint_residuals,
            ),
            dim=1,
        )
        pose = self.network_share * predicted.pose + self._cycle() + residuals
        n_betas = self.model.n_betas
        shape = predicted.shape + self.shape
        betas = self.start_betas + shape[:n_betas]
        limb_scales = shape[n_betas:]
        offsets = predicted.offsets + self.offsets

        rotations = matrix_from_6d(pose[:, 3:].unflatten(1, (-1, 6)) + self.identity_6d)
        R_world_from_body = self.R_world_from_cam @ self.start_R_cam_from_body @ rotations[:, 0]
        joint_rotations = torch.cat((R_world_from_body[:, None], rotations[:, 1:]), dim=1)
        in_camera = self._root_in_camera(pose[:, :3]) - self.t_cam_from_world
        origin = (self.R_world_from_cam @ in_camera[..., None]).squeeze(-1)

        base = self.model.with_shape(betas, limb_scales)
        vertex_offsets = self.model.expand_offsets(offsets)
        shaped = self.model.with_shape(betas, limb_scales, vertex_offsets)
        # The model turns the body about its root joint, the start about the body's origin.
        root = shaped.joints[0]
        translation = origin + R_world_from_body @ root - root
        return AnimalState(betas, limb_scales, offsets, vertex_offsets, joint_rotations, translation, shaped, base)

    def _cycle(self) -> Float[Tensor, "frames pose"]:
        """The repeating part of the pose. Walk, trot and pace are symmetric: half a stride later the right side does
        what the left side did, mirrored; what is not so is left to the network and the residuals."""
        if not self.has_rhythm:
            return torch.zeros_like(self.root_residuals[:, :1])
        harmonics = phase_harmonics(self.phase * self.log_pace.exp())
        half_stride = 1.0 - 2.0 * (torch.arange(1, HARMONICS + 1, device=self.cycle.device) % 2)
        half_stride = half_stride.repeat(2)[:, None]
        cycle = self.cycle * self.share
        joints = cycle[:, N_ROOT:]
        other_side = half_stride * joints[:, self.mirrored_entry] * self.mirrored_sign
        return harmonics @ torch.cat((cycle[:, :N_ROOT], 0.5 * (joints + other_side)), dim=1)

    def _root_in_camera(self, change: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 3"]:
        """Start's pixel and depth, moved by fractions of the image and of the depth's logarithm."""
        pixels = self.start_pixels + change[:, :2] * self.image_side
        depth = (self.start_log_depth + change[:, 2]).exp()
        rays = torch.cat((pixels, torch.ones_like(depth[:, None])), dim=1)
        return (self.inverse_intrinsics @ rays[..., None]).squeeze(-1) * depth[:, None]


def _mirror(model: BodyModel) -> tuple[Int[Tensor, "entries"], Float[Tensor, "entries"]]:
    """For every entry of the joints' 6D rotations the entry on the animal's other side, and the sign it takes."""
    names = model.joint_names
    swap = {"left": "right", "right": "left"}
    other = [names.index("_".join(swap.get(word, word) for word in name.split("_"))) for name in names[1:]]
    entries = (torch.tensor(other)[:, None] - 1) * 6 + torch.arange(6)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]).repeat(len(other))
    return entries.flatten(), sign


def _cycle_share(model: BodyModel) -> Float[Tensor, "pose"]:
    """How freely each entry of the pose swings with the stride: legs fully, the trunk little, the root not at all.
    Waves of root, spine and neck that cancel each other in the outline are no motion of the animal."""
    legs = torch.tensor([part_of_joint(name).endswith("leg") for name in model.joint_names[1:]])
    joints = torch.where(legs, 1.0, 0.05).repeat_interleave(6)
    return torch.cat((torch.zeros(N_ROOT), joints))


def _network_share(n_pose: int, frame_residuals: bool) -> Float[Tensor, "pose"]:
    """Everything but the root's orientation: that is told by the start and the frames' neighbours, far better than by
    features of a frame that nothing was learnt from. Without residuals of frames there is nothing but the network."""
    share = torch.ones(n_pose)
    if frame_residuals:
        share[3:N_ROOT] = 0.0
    return share


def clear_frames(clarity: Float[Tensor, "frames"], least: float) -> Bool[Tensor, "frames"]:
    """Frames that are read at least `least` times as clearly as the median frame; those that were not looked at (a
    clarity of zero) among them, since nothing is known against them. With `least` in [0, 1] at least half of the
    frames are clear.
    """
    looked_at = clarity > 0
    if not bool(looked_at.any()):
        return torch.ones_like(looked_at)
    return ~looked_at | (clarity >= least * clarity[looked_at].median())


def time_fractions(seconds: Float[Tensor, "frames"]) -> Float[Tensor, "frames"]:
    """Times as fractions of the clip in [0, 1)."""
    span = float(seconds[-1] - seconds[0])
    return (seconds - seconds[0]) / span * (1 - 1 / len(seconds)) if span > 0 else torch.zeros_like(seconds)


def interpolation_weights(
    known: Bool[Tensor, "frames"], times: Float[Tensor, "frames"]
) -> Float[Tensor, "frames frames"]:
    """Linear interpolation over time from the known frames to all; the nearest known frame beyond the ends.

    All zero where nothing is known.
    """
    weights = torch.zeros(len(known), len(known), device=times.device)
    places = torch.nonzero(known).squeeze(1)
    if len(places) == 0:
        return weights
    after = torch.searchsorted(times[places].contiguous(), times.contiguous()).clamp(0, len(places) - 1)
    before = (after - 1).clamp_min(0)
    start, end = times[places[before]], times[places[after]]
    share = ((times - start) / (end - start).clamp_min(1e-9)).clamp(0, 1)
    rows = torch.arange(len(known), device=times.device)
    weights.index_put_((rows, places[before]), 1 - share, accumulate=True)
    weights.index_put_((rows, places[after]), share, accumulate=True)
    return weights


def fading_weights(known: Bool[Tensor, "frames"], times: Float[Tensor, "frames"]) -> Float[Tensor, "frames frames"]:
    """`interpolation_weights` that fade to the mean of all known frames with the distance (in frames) to the nearest:
    a single frame's exception says little about a frame some way off."""
    if not bool(known.any()):
        return interpolation_weights(known, times)
    frames = torch.arange(len(known), dtype=torch.float32, device=known.device)
    nearest = torch.where(known, (frames[:, None] - frames[None]).abs(), torch.inf).amin(1)
    trust = torch.exp(-nearest / 2.0)[:, None]
    mean = known.float() / known.sum()
    return trust * interpolation_weights(known, times) + (1 - trust) * mean
