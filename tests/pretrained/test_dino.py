"""Features of patches by networks with seeded weights in the true layout of DINO ViT-S/8, DINOv2 and DINOv3."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import grid_sample, interpolate

from animal4d.clip import Clip
from animal4d.cues.cache import cached
from animal4d.cues.dino_features import DinoFeatures
from animal4d.cues.features import BuiltinFeatures, PatchFeatures
from animal4d.errors import Animal4dError
from animal4d.pretrained.batches import batch_by_memory, normalized
from animal4d.pretrained.dino import read_dino
from cues.moving_picture import moving_picture

transformers = pytest.importorskip("transformers")
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def saved(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vits8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of facebook/dino-vits8 but for the number of layers, and large positions, as trained."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=384,
        num_attention_heads=6,
        num_hidden_layers=2,
        intermediate_size=1536,
        patch_size=8,
        image_size=224,
        layer_norm_eps=1e-12,
        qkv_bias=True,
    )
    model = transformers.ViTModel(config, add_pooling_layer=False)
    with torch.no_grad():
        model.embeddings.position_embeddings.copy_(smooth_positions(28, 384))
    return saved(tmp_path_factory.mktemp("vits8"), model)


def smooth_positions(side: int, channels: int) -> torch.Tensor:
    """Learnt positions change slowly from patch to patch."""
    coarse = torch.randn(1, channels, 5, 5)
    grid = interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return torch.cat([torch.randn(1, 1, channels), grid.flatten(2).transpose(1, 2)], dim=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return moving_picture(tmp_path_factory.mktemp("picture"), count=3).clip


def own_answer(folder: Path, pixel_values: torch.Tensor, **options: Any) -> torch.Tensor:
    """What the model says itself, by its own class."""
    model = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        return model(pixel_values, **options).last_hidden_state


def test_the_seeded_file_has_the_published_layout(vits8: Path) -> None:
    tensors = load_file(vits8 / "model.safetensors")
    assert tensors["embeddings.patch_embeddings.projection.weight"].shape == (384, 3, 8, 8)
    assert tensors["embeddings.position_embeddings"].shape == (1, 1 + 28 * 28, 384)
    assert tensors["encoder.layer.0.attention.attention.query.weight"].shape == (384, 384)
    assert tensors["encoder.layer.1.intermediate.dense.weight"].shape == (1536, 384)
    assert tensors["layernorm.weight"].shape == (384,)


def test_features_are_the_models_own(vits8: Path, clip: Clip) -> None:
    pictures = interpolate(
        clip.frames[:1].permute(0, 3, 1, 2) / 255, (480, 480), mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)
    wanted = own_answer(vits8, (pictures - MEAN[:, None, None]) / STD[:, None, None], interpolate_pos_encoding=True)[
        :, 1:
    ]
    features = DinoFeatures(vits8, grid=60)(replace_frames(clip, 1))
    assert features.patches.shape == (1, 3600, 384)
    low, high = wanted.amin(1, keepdim=True), wanted.amax(1, keepdim=True)
    # Rounded to half precision below 1: half of 2**-11.
    torch.testing.assert_close(features.patches, (wanted - low) / (high - low), atol=4e-4, rtol=0)


def replace_frames(clip: Clip, count: int) -> Clip:
    """The first frames alone."""
    tensors = {
        name: getattr(clip, name)[:count]
        for name in ("frames", "masks", "mask_valid", "frame_numbers", "times", "intrinsics")
    }
    return replace(clip, crop=clip.crop[:count], **tensors)


def test_nothing_is_interpolated_at_the_native_size(vits8: Path) -> None:
    images = torch.randint(0, 256, (2, 224, 224, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    wanted = own_answer(vits8, (images.permute(0, 3, 1, 2) / 255 - MEAN[:, None, None]) / STD[:, None, None])[:, 1:]
    torch.testing.assert_close(read_dino(vits8).patch_features(images, 224), wanted, atol=2e-5, rtol=1e-5)


def test_positions_are_interpolated_as_the_first_authors_do(vits8: Path) -> None:
    """Against bicubic sampling at the patches' own places, and against DINO's own rule, which asks for 60.1 patches."""
    dino = read_dino(vits8)
    positions = dino.network.embeddings.position_embeddings
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (28, 28))
    used = dino.network.embeddings.interpolate_pos_encoding(torch.zeros(1, 3601, 384), 480, 480)
    assert torch.equal(used[:, :1], positions[:, :1])

    centers = (torch.arange(60) + 0.5) / 60 * 2 - 1
    places = torch.stack(torch.meshgrid(centers, centers, indexing="xy"), dim=-1)[None]
    sampled = grid_sample(grid, places, mode="bicubic", padding_mode="border", align_corners=False)
    inside = slice(3, -3)  # at the border the two continue the grid differently
    torch.testing.assert_close(
        used[:, 1:].transpose(1, 2).unflatten(2, (60, 60))[..., inside, inside],
        sampled[..., inside, inside],
        atol=1e-4,
        rtol=0,
    )
    theirs = interpolate(grid, scale_factor=60.1 / 28, mode="bicubic", align_corners=False)
    assert theirs.shape[-2:] == (60, 60)
    # A tenth of a patch in sixty moves no place by more than a twentieth of a cell.
    error = (theirs.flatten(2).transpose(1, 2) - used[:, 1:]).abs().max()
    step = grid.diff(dim=3).abs().max()
    assert error < 0.1 * step


def test_positions_matter(vits8: Path) -> None:
    """Equal patches differ by their positions only."""
    plain = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    features = read_dino(vits8).patch_features(plain, 160)[0]
    assert (features[0] - features[-1]).abs().mean() > 0.1


@pytest.mark.parametrize(
    ("kind", "side", "options"),
    [
        ("Dinov2", 476, {"patch_size": 14, "image_size": 518}),
        ("DINOv3ViT", 480, {"patch_size": 16, "num_register_tokens": 4, "intermediate_size": 256}),
    ],
)
def test_newer_networks(tmp_path: Path, clip: Clip, kind: str, side: int, options: dict[str, int]) -> None:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=64, num_attention_heads=2, num_hidden_layers=2, **options
    )
    model = getattr(transformers, f"{kind}Model")(config).eval()
    dino = read_dino(saved(tmp_path, model))
    patches = (side // options["patch_size"]) ** 2
    assert dino.side() == side
    found = dino.patch_features(clip.frames[:1])
    pictures = interpolate(
        clip.frames[:1].permute(0, 3, 1, 2) / 255, (side, side), mode="bicubic", antialias=True, align_corners=False
    )
    with torch.no_grad():
        tokens = model(normalized(pictures.clamp(0, 1))).last_hidden_state
    assert tokens.shape[1] == 1 + options.get("num_register_tokens", 0) + patches
    torch.testing.assert_close(found, tokens[:, -patches:], atol=1e-4, rtol=1e-4)


def test_batches_change_nothing_and_the_cache_is_exact(vits8: Path, clip: Clip, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    provider = DinoFeatures(vits8, size=120, batch=2, progress=lambda *said: told.append(said))
    made, note = cached(provider, clip, tmp_path, PatchFeatures.from_arrays)
    assert told == [("features by DINO", 2, 3), ("features by DINO", 3, 3)]
    assert note["kind"] == "pretrained" and note["provider"] == "dino"
    alone = replace(provider, batch=1, progress=None)(clip)
    torch.testing.assert_close(made.patches, alone.patches, atol=1e-3, rtol=0)
    again, _ = cached(provider, clip, tmp_path, PatchFeatures.from_arrays)
    assert len(told) == 2  # from the cache
    assert torch.equal(again.patches, made.patches) and torch.equal(again.pooled, made.pooled)
    # 15 x 15 blocks of 384 channels, two bytes each, before compression
    assert made.to_arrays()["patches"].nbytes == 3 * 225 * 384 * 2


def test_kept_blocks_have_the_mean_of_all_patches(vits8: Path, clip: Clip) -> None:
    one = replace_frames(clip, 1)
    every, few = (DinoFeatures(vits8, size=160, grid=grid)(one).patches for grid in (20, 8))
    assert every.shape == (1, 400, 384) and few.shape == (1, 25, 384)
    torch.testing.assert_close(few.mean(1), every.mean(1), atol=3e-4, rtol=0)


def test_pooled_features_keep_how_frames_differ(vits8: Path, clip: Clip) -> None:
    """The hand-made ones come first; DINO's keep the distances between frames up to one scale."""
    from animal4d.cues.features import min_max, pooled_in_box

    pooled = DinoFeatures(vits8, size=120)(clip).pooled
    handmade = BuiltinFeatures()(clip).pooled
    assert torch.equal(pooled[:, : handmade.shape[1]], handmade)
    ours = pooled[:, handmade.shape[1] :]
    assert ours.shape == (3, 3)
    whole = pooled_in_box(min_max(read_dino(vits8).patch_features(clip.frames, 120)), clip.masks, 4)
    ratio = torch.pdist(ours) / torch.pdist(whole)
    torch.testing.assert_close(ratio, ratio[:1].expand(3), rtol=1e-3, atol=0)
    variance = [(part - part.mean(0)).square().sum() for part in (ours, handmade)]
    torch.testing.assert_close(variance[0], variance[1], rtol=1e-3, atol=0)


def test_settings_and_weights_make_another_cue(vits8: Path, tmp_path: Path) -> None:
    provider = DinoFeatures(vits8)
    assert provider.config() == DinoFeatures(vits8, device="cpu", batch=3).config()
    assert provider.config() != replace(provider, size=240).config()
    other = saved(tmp_path, transformers.ViTModel(transformers.ViTConfig.from_pretrained(vits8)))
    assert provider.config()["weights"] != DinoFeatures(other).config()["weights"]
    json.dumps(provider.config())


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_weights_in_half_precision(vits8: Path, tmp_path: Path, clip: Clip) -> None:
    folder = copied(vits8, tmp_path / "half")
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    found, wanted = (read_dino(place).patch_features(clip.frames[:1], 120) for place in (folder, vits8))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


def _truncate(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size // 2)


def _drop_a_layer(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if ".0." in name or "layer" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def _narrow(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 768}))


def _another_network(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_truncate, "DINO cannot be read"),
        (_drop_a_layer, "the weights are of another network"),
        (_narrow, "DINO cannot be read|another network"),
        (_another_network, "kind 'bert', not DINO"),
        (_pickled, "model.safetensors is missing; pytorch_model.bin is not read"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged"),
        (lambda folder: (folder / "config.json").unlink(), "no network is here"),
    ],
)
def test_broken_folders_are_one_line(
    vits8: Path, tmp_path: Path, spoil: Any, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = copied(vits8, tmp_path / "broken")
    spoil(folder)
    with pytest.raises(Animal4dError, match=said) as raised:
        read_dino(folder)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_without_the_package(vits8: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("animal4d.pretrained.transformers_folder.PACKAGE", "no_such_package")
    with pytest.raises(Animal4dError, match=r"pip install 'animal4d\[pretrained\]'"):
        DinoFeatures(vits8)(clip)


def test_a_batch_fits_the_memory() -> None:
    cpu = torch.device("cpu")
    assert batch_by_memory(1 << 40, cpu) == 1
    assert 1 < batch_by_memory(100 << 20, cpu) <= 10
    assert batch_by_memory(1, cpu) <= 64
