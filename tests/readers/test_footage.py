"""Real footage, where the shared folder has it: DAVIS, COP3D-like frames, a phone video with a box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.readers.load import load_clip


@pytest.mark.parametrize(("name", "count"), [("davis/dog", 60), ("davis/camel", 90), ("dog-robolounge", 205)])
def test_clips_with_masks(shared_dir: Path, name: str, count: int) -> None:
    folder = shared_dir / "clips" / name
    clip = load_clip(folder, stride=10)
    assert len(clip) == -(-count // 10) and clip.mask_valid.all()
    assert "matched by name" in clip.mask_source
    for index in (0, len(clip) - 1):
        # The crop loses nothing of the animal: the areas agree, in pixels of the original frame.
        file = sorted((folder / "masks").iterdir())[int(clip.frame_numbers[index])]
        values = np.asarray(Image.open(file))
        original = np.count_nonzero(values[..., 0] if values.ndim == 3 else values)
        assert float(clip.masks[index].sum() * clip.crop.scale[index] ** 2) == pytest.approx(original, rel=0.01)
    # And it shows the animal, not the meadow.
    occupied = clip.masks > 0.5
    extents = torch.maximum(occupied.any(dim=1).sum(dim=1), occupied.any(dim=2).sum(dim=1))
    assert extents.float().mean() > 0.55 * clip.image_size[0] and extents.min() > 0.35 * clip.image_size[0]


def test_grabcut_on_a_phone_video(shared_dir: Path) -> None:
    clip = load_clip(
        shared_dir / "clips" / "shiba-haru-6.mp4", box=(384, 86, 400, 296), eyes=False, stride=3, max_frames=6
    )
    assert clip.fps == pytest.approx(29.97 / 3, rel=0.01) and clip.mask_valid.all()
    assert clip.crop.original_size == (480, 864)
    areas = clip.masks.sum(dim=(1, 2)) * clip.crop.scale**2
    assert (areas > 35_000).all() and (areas < 80_000).all()
    # The trunk is the animal, the feeder to the left of it is not.
    pixels = clip.crop.from_original(torch.tensor([[[600.0, 180.0], [230.0, 280.0]]]).expand(6, -1, -1)).long()
    for index, ((x, y), (feeder_x, feeder_y)) in enumerate(pixels.tolist()):
        assert clip.masks[index, y, x] == 1
        if 0 <= feeder_x < 256 and 0 <= feeder_y < 256:
            assert clip.masks[index, feeder_y, feeder_x] == 0
