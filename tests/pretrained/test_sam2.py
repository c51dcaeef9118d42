"""SAM 2 shown frames one by one, against `transformers`' own way through a whole video in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import interpolate

from animal4d.errors import Animal4dError
from animal4d.pretrained.sam2 import Prompt, Sam2, Sam2Track, read_sam2

from .seeded_sam2 import SIZE, seeded_sam2, seeded_sam2_folder

pytest.importorskip("transformers")
HEIGHT, WIDTH, COUNT = 48, 80, 20
BOX = (20.0, 12.0, 40.0, 24.0)


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Sam2:
    return read_sam2(seeded_sam2_folder(tmp_path_factory.mktemp("sam2")))


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    """A bright blot that moves before clutter."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 90, (COUNT, HEIGHT, WIDTH, 3)).astype(np.uint8)
    rows, columns = np.indices((HEIGHT, WIDTH))
    for index, frame in enumerate(frames):
        frame[((columns - 25 - index) / 16) ** 2 + ((rows - 24) / 9) ** 2 < 1] = (230, 180, 120)
    return frames


def own_way(sam2: Sam2, frames: np.ndarray, start: int, reverse: bool) -> dict[int, torch.Tensor]:
    """Low-resolution logits by the package's own session, which holds the video and everything that was seen."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    pixels = interpolate(pixels, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    session = Sam2VideoInferenceSession(
        video=(pixels - mean[:, None, None]) / std[:, None, None],
        video_height=HEIGHT,
        video_width=WIDTH,
        dtype=torch.float32,
    )
    left, top, width, height = BOX
    corners = torch.tensor([[left, top], [left + width, top + height]]) * torch.tensor([SIZE / WIDTH, SIZE / HEIGHT])
    session.add_point_inputs(
        session.obj_id_to_idx(1),
        start,
        {"point_coords": corners[None, None] - 0.5, "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32)},
    )
    session.obj_with_new_inputs = [1]
    answers = sam2.network.propagate_in_video_iterator(session, start_frame_idx=start, reverse=reverse)
    return {answer.frame_idx: answer.pred_masks[0, 0] for answer in answers}


@pytest.mark.parametrize(("start", "reverse"), [(0, False), (COUNT - 1, True)])
def test_what_is_forgotten_is_not_missed(sam2: Sam2, video: np.ndarray, start: int, reverse: bool) -> None:
    """Longer than the memory reaches (16 frames), in both directions."""
    wanted = own_way(sam2, video, start, reverse)
    track = sam2.follow()
    order = range(start, -1, -1) if reverse else range(start, COUNT)
    previous = None
    for index in order:
        found = track.see(video[index], Prompt(BOX) if index == start else None)
        assert found is not None and found.shape == (SIZE // 4, SIZE // 4)
        torch.testing.assert_close(found, wanted[index].clamp(-30, 30), atol=1e-3, rtol=1e-3)
        assert previous is None or (found - previous).abs().max() > 1e-2  # not the same answer over and over
        previous = found


def test_memory_does_not_grow(sam2: Sam2, video: np.ndarray) -> None:
    def held(track: Sam2Track) -> int:
        seen: dict[int, int] = {}

        def visit(value: object) -> None:
            if isinstance(value, torch.Tensor):
                seen[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            elif isinstance(value, dict):
                for part in value.values():
                    visit(part)
            elif isinstance(value, (list, tuple)):
                for part in value:
                    visit(part)

        visit(vars(track._session))
        visit(vars(track._session.cache))
        return sum(seen.values())

    track = sam2.follow()
    sizes = []
    for index in range(36):
        track.see(video[index % COUNT], Prompt(BOX) if index == 0 else None)
        sizes.append(held(track))
    assert sizes[-1] == sizes[18] > sizes[2]


@pytest.mark.parametrize(
    ("prompt", "fractions", "labels"),
    [
        (Prompt(BOX), [(0.25, 0.25), (0.75, 0.75)], [2, 3]),
        (Prompt(points=((60.0, 12.0),)), [(0.75, 0.25)], [1]),
        (Prompt(BOX, ((40.0, 36.0),)), [(0.25, 0.25), (0.75, 0.75), (0.5, 0.75)], [2, 3, 1]),
    ],
)
def test_prompts_reach_the_network_where_they_belong(
    sam2: Sam2, video: np.ndarray, prompt: Prompt, fractions: list[tuple[float, float]], labels: list[int]
) -> None:
    """As fractions of the frame, at the network's positional encoding, behind all scaling and shifting."""
    given: list[torch.Tensor] = []
    encoder = sam2.network.prompt_encoder
    hooks = [
        encoder.shared_embedding.register_forward_pre_hook(
            lambda module, inputs: given.append(inputs[0] / torch.tensor(inputs[1]).flip(0))
        ),
        encoder.register_forward_pre_hook(
            lambda module, inputs, options: given.append(options["input_labels"]), with_kwargs=True
        ),
    ]
    try:
        sam2.follow().see(video[0], prompt)
    finally:
        for hook in hooks:
            hook.remove()
    said, places = given
    assert said.flatten().tolist() == labels
    torch.testing.assert_close(places[0, 0, : len(labels)], torch.tensor(fractions), atol=1e-6, rtol=0)


def test_the_prompt_decides(sam2: Sam2, video: np.ndarray) -> None:
    left, right = (sam2.follow().see(video[0], Prompt((x, 10.0, 25.0, 25.0))) for x in (2.0, 50.0))
    assert left is not None and right is not None and (left - right).abs().max() > 1e-2


def test_a_frame_looked_at_again_is_as_if_prompted_at_once(sam2: Sam2, video: np.ndarray) -> None:
    corrected, prompted = sam2.follow(), sam2.follow()
    for track in (corrected, prompted):
        track.see(video[0], Prompt(BOX))
    corrected.see(video[1])
    found = corrected.correct(video[1], Prompt(points=((30.0, 24.0),)))
    wanted = prompted.see(video[1], Prompt(points=((30.0, 24.0),)))
    assert found is not None and wanted is not None
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(corrected.see(video[2]), prompted.see(video[2]))


def test_an_object_that_is_gone(video: np.ndarray, tmp_path: Path) -> None:
    model = seeded_sam2()
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(-50.0)
    model.save_pretrained(tmp_path)
    assert read_sam2(tmp_path).follow().see(video[0], Prompt(BOX)) is None


def test_one_encoding_of_places_is_enough(sam2: Sam2, video: np.ndarray, tmp_path: Path) -> None:
    """It is one and the same for pictures and prompts, and published files hold it once."""
    folder = seeded_sam2_folder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("prompt_encoder.shared_embedding.positional_embedding", None)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    found, wanted = (network.follow().see(video[0], Prompt(BOX)) for network in (read_sam2(folder), sam2))
    assert found is not None and wanted is not None and torch.equal(found, wanted)
    del tensors["shared_image_embedding.positional_embedding"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(Animal4dError, match="positional_embedding is missing"):
        read_sam2(folder)


def test_the_first_frame_needs_a_prompt(sam2: Sam2, video: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needs a prompt"):
        sam2.follow().see(video[0])


def test_another_network_is_one_line(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(hidden_size=32, num_attention_heads=2, num_hidden_layers=1)).save_pretrained(tmp_path)
    with pytest.raises(Animal4dError, match="kind 'vit', not SAM 2") as raised:
        read_sam2(tmp_path)
    assert "\n" not in str(raised.value)
