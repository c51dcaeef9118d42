"""The dense feature network of 4D-Animal: from the image features of a frame and its time to shape and pose.

Three branches of the same build (shape, vertex offsets, pose): every patch feature joined with the time embedding,
one linear layer, the mean over the patches, one hidden layer, one output layer. A linear layer followed by a mean is
the same layer on the mean, so `forward_pooled` takes features that were averaged once, before the optimisation, and
gives the same function at a small fraction of the cost.

The published network predicts shape and offsets per frame, which leaves no single animal to animate. Here the whole
video has one: hidden activations of these two branches are averaged over the frames (`forward_pooled`); the published
mode stays available (`forward`, `forward_per_frame`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animal4d.body.model import LIMB_SCALE_NAMES, BodyModel
from animal4d.network.time_embedding import TimeEmbedding


@dataclass(frozen=True)
class FramePredictions:
    """What the published network says: everything anew in every frame."""

    shape: Float[Tensor, "frames shape"]
    """Betas, then limb scales."""
    offsets: Float[Tensor, "frames offsets"]
    """Compact symmetric vertex offsets (`BodyModel.expand_offsets`)."""
    pose: Float[Tensor, "frames pose"]
    """Translation (3), root orientation (6), then the other joints' rotations (6 each)."""


@dataclass(frozen=True)
class VideoPrediction:
    """One animal, and its pose in every frame."""

    shape: Float[Tensor, "shape"]
    """Betas, then limb scales."""
    offsets: Float[Tensor, "offsets"]
    """Compact symmetric vertex offsets (`BodyModel.expand_offsets`)."""
    pose: Float[Tensor, "frames pose"]
    """Translation (3), root orientation (6), then the other joints' rotations (6 each)."""


class Branch(nn.Module):
    """Reduction of the features, one hidden layer, one output layer."""

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(in_channels, hidden_channels)
        self.hidden = nn.Linear(hidden_channels, hidden_channels)
        self.output = nn.Linear(hidden_channels, out_channels)

    def activations(self, inputs: Float[Tensor, "frames channels"]) -> Float[Tensor, "frames hidden"]:
        """The hidden layer's answer to pooled features joined with the time embedding."""
        return nn.functional.leaky_relu(self.hidden(self.reduction(inputs)))

    def forward(self, inputs: Float[Tensor, "frames channels"]) -> Float[Tensor, "frames out"]:
        return self.output(self.activations(inputs))

    def start_at_zero(self) -> None:
        """Makes the branch answer zero, until its output layer has been trained."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)


class DenseFeatureNetwork(nn.Module):
    """Predicts shape, vertex offsets and pose. Offsets start at zero; shape and pose too where `start_at_zero`.

    Times are fractions of the video in [0, 1).
    """

    def __init__(
        self,
        feature_channels: int = 384,
        n_shape: int = 37,
        n_offsets: int = 5901,
        n_joints: int = 35,
        hidden_channels: int = 64,
        start_at_zero: bool = False,
    ) -> None:
        super().__init__()
        self.embed_time = TimeEmbedding()
        in_channels = self.embed_time.channels + feature_channels
        self.offsets_branch = Branch(in_channels, n_offsets, hidden_channels)
        self.shape_branch = Branch(in_channels, n_shape, hidden_channels)
        self.pose_branch = Branch(in_channels, 3 + 6 * n_joints, hidden_channels)
        self.offsets_branch.start_at_zero()
        if start_at_zero:
            self.shape_branch.start_at_zero()
            self.pose_branch.start_at_zero()

    @classmethod
    def for_model(cls, model: BodyModel, feature_channels: int, hidden_channels: int = 64) -> DenseFeatureNetwork:
        """With outputs for a body model. All start at zero, so that a fit begins at the very start it was given."""
        n_shape = model.n_betas + len(LIMB_SCALE_NAMES)
        return cls(feature_channels, n_shape, model.n_offsets, model.n_joints, hidden_channels, start_at_zero=True)

    def forward(
        self, patch_features: Float[Tensor, "frames patches channels"], times: Float[Tensor, "frames"]
    ) -> FramePredictions:
        """The published computation, on the features of all patches."""
        return self.forward_per_frame(patch_features.mean(1), times)

    def forward_per_frame(
        self, mean_features: Float[Tensor, "frames channels"], times: Float[Tensor, "frames"]
    ) -> FramePredictions:
        """The published function, on features averaged over the patches of each frame."""
        inputs = torch.cat((self.embed_time(times), mean_features), dim=1)
        return FramePredictions(self.shape_branch(inputs), self.offsets_branch(inputs), self.pose_branch(inputs))

    def forward_pooled(
        self, mean_features: Float[Tensor, "frames channels"], times: Float[Tensor, "frames"]
    ) -> VideoPrediction:
        """One shape for the video: the mean of the per-frame answers, computed on the mean activation."""
        inputs = torch.cat((self.embed_time(times), mean_features), dim=1)
        shape, offsets = (
            branch.output(branch.activations(inputs).mean(0)) for branch in (self.shape_branch, self.offsets_branch)
        )
        return VideoPrediction(shape, offsets, self.pose_branch(inputs))
