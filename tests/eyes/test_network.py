"""The network's parts against plain reference implementations, and its outputs' promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.eyes.embedding import VertexEmbedding
from animal4d.eyes.eyes import FORMAT, load_eyes
from animal4d.eyes.labels import CROP, LABELS, MAP
from animal4d.eyes.network import (
    EyesNetwork,
    Trunk,
    load_imagenet,
    network_input,
    view_directions,
    view_from_logits,
)
from animal4d.eyes.training.export import packed

# Expansion, channels, kernel and stride of EfficientNet-Lite0's 16 blocks, written out from the paper's table.
_BLOCKS = (
    [(1, 16, 3, 1)]
    + [(6, 24, 3, 2), (6, 24, 3, 1)]
    + [(6, 40, 5, 2), (6, 40, 5, 1)]
    + [(6, 80, 3, 2), (6, 80, 3, 1), (6, 80, 3, 1)]
    + [(6, 112, 5, 1)] * 3
    + [(6, 192, 5, 2)]
    + [(6, 192, 5, 1)] * 3
    + [(6, 320, 3, 1)]
)
_STRIDE_ENDS = (2, 4, 10, 15)


def _published_state(seed: int) -> dict[str, Tensor]:
    """Random weights under the names and with the shapes of the published file."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def convolution(name: str, outputs: int, inputs: int, kernel: int) -> None:
        fan = inputs * kernel**2
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) / fan**0.5

    def norm(name: str, channels: int) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=generator)
        state[f"{name}.bias"] = torch.randn(channels, generator=generator)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=generator)

    convolution("_conv_stem", 32, 3, 3)
    norm("_bn0", 32)
    channels = 32
    for number, (expansion, outputs, kernel, _stride) in enumerate(_BLOCKS):
        block, hidden = f"_blocks.{number}", channels * expansion
        if expansion > 1:
            convolution(f"{block}._expand_conv", hidden, channels, 1)
            norm(f"{block}._bn0", hidden)
        convolution(f"{block}._depthwise_conv", hidden, 1, kernel)
        norm(f"{block}._bn1", hidden)
        convolution(f"{block}._project_conv", outputs, hidden, 1)
        norm(f"{block}._bn2", outputs)
        channels = outputs
    return state


def _reference_taps(state: dict[str, Tensor], colors: Tensor) -> list[Tensor]:
    def convolved(x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        statistics = (state[f"{norm}.running_mean"], state[f"{norm}.running_var"])
        return F.batch_norm(x, *statistics, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-3)

    x = F.relu6(convolved(colors, "_conv_stem", "_bn0", stride=2))
    taps = []
    for number, (expansion, outputs, _kernel, stride) in enumerate(_BLOCKS):
        block, before = f"_blocks.{number}", x
        if expansion > 1:
            x = F.relu6(convolved(x, f"{block}._expand_conv", f"{block}._bn0"))
        x = F.relu6(convolved(x, f"{block}._depthwise_conv", f"{block}._bn1", stride, groups=x.shape[1]))
        x = convolved(x, f"{block}._project_conv", f"{block}._bn2")
        if stride == 1 and before.shape[1] == outputs:
            x = x + before
        if number in _STRIDE_ENDS:
            taps.append(x)
    return taps


def test_the_trunk_is_the_published_network() -> None:
    state, trunk = _published_state(0), Trunk()
    with torch.no_grad():
        trunk.mask[2].bias.zero_()
        trunk.mask[2].weight.zero_()
        load_imagenet(trunk, state)
        x = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(1))
        for ours, theirs in zip(trunk.eval()(x), _reference_taps(state, x[:, :3]), strict=True):
            # Folding the normalisation into the kernel rounds otherwise.
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_new_network_ignores_the_mask_and_first_stages_can_rest() -> None:
    torch.manual_seed(0)
    network = EyesNetwork()
    network.trunk.keep_first_stages()
    x = torch.randn(1, 4, CROP, CROP)
    without = torch.cat((x[:, :3], torch.zeros_like(x[:, :1])), dim=1)
    with torch.no_grad():
        torch.testing.assert_close(network(x).parts, network(without).parts)
    network(x).parts.square().mean().backward()
    assert network.trunk.stem.convolution.weight.grad is None
    assert network.trunk.mask[2].weight.grad is not None and network.trunk.mask[2].weight.grad.abs().max() > 0


def test_outputs_have_the_promised_shapes() -> None:
    torch.manual_seed(0)
    network = EyesNetwork().eval()
    images = torch.randint(0, 256, (2, CROP, CROP, 3), dtype=torch.uint8)
    with torch.no_grad():
        output = network(network_input(images, torch.zeros(2, CROP, CROP)))
    assert output.foreground.shape == output.log_error.shape == (2, MAP, MAP)
    assert output.parts.shape == (2, LABELS, MAP, MAP)
    assert output.features.shape == (2, 64)
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(2, MAP, MAP))
    torch.testing.assert_close(output.view.norm(dim=-1), torch.ones(2))


def test_views_between_two_sides_are_not_their_mean() -> None:
    directions = view_directions()
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(len(directions)))
    left, right = torch.tensor((0.0, 1.0, 0.0)), torch.tensor((0.0, -1.0, 0.0))
    for share in (0.45, 0.55):
        density = share * (20 * directions @ left).softmax(0) + (1 - share) * (20 * directions @ right).softmax(0)
        view = view_from_logits(density.log()[None])[0]
        expected = left if share > 0.5 else right
        assert view @ expected > 0.97  # within 14 degrees: the lattice's spacing is about 20


@pytest.mark.parametrize("seed", range(5))
def test_a_sharp_view_is_read_back(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    true = F.normalize(torch.randn(50, 3, generator=generator), dim=-1)
    logits = 20.0 * true @ view_directions().T
    assert (view_from_logits(logits) * true).sum(-1).min() > 0.985  # 10 degrees, half of the lattice's spacing


def test_vertex_embeddings_are_smooth_and_tell_the_sides_apart() -> None:
    torch.manual_seed(0)
    model = load_builtin_template()
    with torch.no_grad():
        embeddings = VertexEmbedding(model)()
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(model.n_vertices))
    edges = model.faces[:, :2]
    neighbours = (embeddings[edges[:, 0]] * embeddings[edges[:, 1]]).sum(-1)
    sides = (embeddings[model.left_indices] * embeddings[model.right_indices]).sum(-1)
    assert neighbours.median() > 0.95
    assert sides[model.part_labels[model.left_indices] > 2].max() < 0.9  # the legs


def _shipped_like(path: Path, **metadata: str) -> Path:
    torch.manual_seed(0)
    embeddings = F.normalize(torch.randn(load_builtin_template().n_vertices, 16), dim=-1)
    about = {"format": FORMAT, "training": json.dumps({"steps": 1})} | metadata
    save_file(packed(EyesNetwork().state_dict(), embeddings), path, metadata=about)
    return path


def test_eyes_look(tmp_path: Path) -> None:
    eyes = load_eyes(_shipped_like(tmp_path / "eyes.safetensors"))
    assert (tmp_path / "eyes.safetensors").stat().st_size <= 8_000_000
    images = torch.randint(0, 256, (18, CROP, CROP, 3), dtype=torch.uint8)
    look = eyes.look(images)
    assert look.parts.shape == (18, LABELS, MAP, MAP)
    torch.testing.assert_close(look.parts.sum(1), torch.ones(18, MAP, MAP))
    for values in (look.foreground, look.confidence):
        assert values.min() >= 0 and values.max() <= 1
    # A crop is seen alike whatever stands beside it, and a mask of one half says nothing.
    unknown = eyes.look(images[17:], torch.full((1, CROP, CROP), 0.5))
    torch.testing.assert_close(unknown.parts, look.parts[17:], rtol=1e-3, atol=1e-4)
    assert eyes.look(images[:0]).parts.shape == (0, LABELS, MAP, MAP)
    assert eyes.training == {"steps": 1}


def test_half_precision_hardly_changes_what_is_seen(tmp_path: Path) -> None:
    eyes = load_eyes(_shipped_like(tmp_path / "eyes.safetensors"))
    torch.manual_seed(0)
    torch.randn(load_builtin_template().n_vertices, 16)
    whole = EyesNetwork().eval()
    images = torch.randint(0, 256, (2, CROP, CROP, 3), dtype=torch.uint8)
    with torch.no_grad():
        probability = whole(network_input(images, torch.zeros(2, CROP, CROP))).parts.softmax(1)
    # On weights that were not trained, whose activations are larger than learnt ones.
    assert (eyes.look(images).parts - probability).abs().mean() < 0.005


def test_wrong_files_and_sizes_are_told(tmp_path: Path) -> None:
    with pytest.raises(Animal4dError, match="no such file"):
        load_eyes(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(Animal4dError, match="does not hold the network's weights"):
        load_eyes(tmp_path / "text.safetensors")
    with pytest.raises(Animal4dError, match="format"):
        load_eyes(_shipped_like(tmp_path / "other.safetensors", format="something else"))
    path = _shipped_like(tmp_path / "eyes.safetensors")
    tensors = load_file(path)
    del tensors["last.weight"]
    save_file(tensors, tmp_path / "less.safetensors", metadata={"format": FORMAT, "training": "{}"})
    with pytest.raises(Animal4dError, match=r"last\.weight"):
        load_eyes(tmp_path / "less.safetensors")
    eyes = load_eyes(path)
    with pytest.raises(ValueError, match="crops must be"):
        eyes.look(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="masks must be"):
        eyes.look(torch.zeros(1, CROP, CROP, 3, dtype=torch.uint8), torch.zeros(1, MAP, MAP))
