"""The network against the published one's numbers, and what pooling promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animal4d.network.dense_feature_network import DenseFeatureNetwork
from animal4d.network.time_embedding import TimeEmbedding

PUBLISHED_NAMES = {
    "vertices": "offsets_branch",
    "shape": "shape_branch",
    "pose": "pose_branch",
    "reduction_layer": "reduction",
    "model.0.0": "hidden",
    "model.1": "output",
}
"""Parts of the published parameter names, and ours."""


def our_name(published: str) -> str:
    branch, rest = published.split("_", 1)
    layer, kind = rest.rsplit(".", 1)
    return f"{PUBLISHED_NAMES[branch]}.{PUBLISHED_NAMES[layer]}.{kind}"


def random_inputs(frames: int = 5, channels: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(frames, 7, channels, generator=generator), torch.arange(frames) / frames


@pytest.mark.golden
def test_golden_dense_feature_network(golden_dir, golden_recipe):
    golden = np.load(golden_dir / "dense_feature_network.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files if key != "names"}
    network = DenseFeatureNetwork()
    own = network.state_dict()
    published = [str(name) for name in golden["names"] if not str(name).startswith("positional_embedder")]
    filled = {our_name(p): torch.from_numpy(golden_recipe.fill(p, own[our_name(p)].shape, 0.05)) for p in published}
    network.load_state_dict(filled)

    torch.testing.assert_close(network.embed_time(tensors["times"]), tensors["embedding"], rtol=1e-4, atol=1e-6)
    predicted = network(tensors["features"], tensors["times"])
    torch.testing.assert_close(predicted.shape[:, :30], tensors["betas"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(predicted.shape[:, 30:], tensors["limb_scales"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(predicted.pose, tensors["pose"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(predicted.offsets[:, ::37], tensors["offsets"], rtol=1e-4, atol=1e-6)


def test_reducing_every_patch_equals_reducing_their_mean():
    """The identity that makes pooling once before the optimisation exact."""
    features, times = random_inputs()
    network = DenseFeatureNetwork(feature_channels=12)
    branch = network.pose_branch
    embedding = network.embed_time(times)[:, None].expand(-1, features.shape[1], -1)
    reduced = branch.reduction(torch.cat((embedding, features), dim=2)).mean(1)
    expected = branch.output(torch.nn.functional.leaky_relu(branch.hidden(reduced)))
    torch.testing.assert_close(network(features, times).pose, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(network.forward_pooled(features.mean(1), times).pose, expected, rtol=1e-5, atol=1e-6)


def test_one_shape_per_video_is_the_mean_of_the_frames():
    features, times = random_inputs()
    network = DenseFeatureNetwork(feature_channels=12)
    torch.nn.init.normal_(network.offsets_branch.output.weight)
    per_frame = network(features, times)
    video = network.forward_pooled(features.mean(1), times)
    torch.testing.assert_close(video.shape, per_frame.shape.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(video.offsets, per_frame.offsets.mean(0), rtol=1e-5, atol=1e-6)


def test_published_network_starts_without_offsets_and_ours_with_nothing():
    features, times = random_inputs()
    published = DenseFeatureNetwork(feature_channels=12)(features, times)
    assert (published.offsets == 0).all()
    assert (published.pose != 0).any()
    network = DenseFeatureNetwork(feature_channels=12, start_at_zero=True)
    video = network.forward_pooled(features.mean(1), times)
    assert all((value == 0).all() for value in (video.shape, video.offsets, video.pose))
    (video.pose.sum() + video.shape.sum() + video.offsets.sum()).backward()
    assert (network.pose_branch.output.weight.grad != 0).any()


@pytest.mark.parametrize("frames", [1, 3])
def test_sizes_follow_the_body_model(frames):
    features, times = random_inputs(frames)
    network = DenseFeatureNetwork(feature_channels=12, n_shape=9, n_offsets=40, n_joints=4, hidden_channels=16)
    video = network.forward_pooled(features.mean(1), times)
    assert video.shape.shape == (9,)
    assert video.offsets.shape == (40,)
    assert video.pose.shape == (frames, 27)


def test_time_embedding_has_cosines_before_sines():
    embedding = TimeEmbedding()(torch.tensor([0.0, 0.5]))
    assert embedding[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    torch.testing.assert_close(embedding[1, 0], torch.tensor(0.5).cos())
    torch.testing.assert_close(embedding[1, 7], torch.tensor(4.0).sin())
