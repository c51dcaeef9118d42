"""Original pictures come back as they were, whatever the clip was read from, and lie where the crop says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.readers.crop import cut_image
from animal4d.readers.load import load_clip
from animal4d.readers.originals import original_frames

from . import external_tree, footage

SIZE = 24
COUNT = 9


def assert_the_clip_is_cut_from_them(clip: Clip, source: Path | str, order: list[int]) -> None:
    originals = original_frames(clip, source)
    assert originals is not None
    for frame in order:
        side = round(float(clip.crop.scale[frame]) * clip.image_size[0])
        cut = cut_image(originals(frame), clip.crop.origin[frame].numpy(), side, clip.image_size[0])
        np.testing.assert_array_equal(cut, clip.frames[frame].numpy())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    footage.write_folder(tmp_path / "clip" / "frames", footage.frames(COUNT))
    footage.write_masks(tmp_path / "clip" / "masks", COUNT)
    return tmp_path / "clip"


def test_of_a_folder(folder: Path) -> None:
    clip = load_clip(folder, fps=10, start=1, stride=2, working_size=SIZE)
    assert_the_clip_is_cut_from_them(clip, folder, [0, 2, 1, 3])


def test_of_a_video(folder: Path, tmp_path: Path) -> None:
    """In any order; ascending with gaps, as baking asks."""
    video = footage.write_video(tmp_path / "clip.mp4", footage.frames(COUNT))
    clip = load_clip(video, masks=folder / "masks", start=1, stride=2, working_size=SIZE)
    assert_the_clip_is_cut_from_them(clip, video, [0, 1, 3, 2, 2, 0])


@pytest.mark.parametrize("layout", ["cop3d", "external"])
def test_of_a_sequence(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    if layout == "cop3d":
        external_tree.write_cop3d(root, external_tree.PORTRAIT)
    else:
        external_tree.write_external(root)
    source = f"{layout}:{root}:{external_tree.PORTRAIT.name}"
    clip = load_clip(source, working_size=16)
    originals = original_frames(clip, source)
    assert originals is not None
    for frame in range(len(clip)):
        picture = originals(frame)
        assert picture.shape[:2] == clip.crop.original_size
        # Working pixels are means of the original ones, twice resampled.
        height, width = (round(side / float(clip.crop.scale[frame])) for side in picture.shape[:2])
        working = clip.frames[frame, :height, :width].double().mean((0, 1))
        torch.testing.assert_close(working, torch.from_numpy(picture.mean((0, 1))), atol=6.0, rtol=0)


def test_none_where_working_images_lack_nothing(folder: Path) -> None:
    clip = load_clip(folder, fps=10, working_size=512)
    assert original_frames(clip, folder) is None


def test_a_source_that_changed_is_named(folder: Path) -> None:
    clip = load_clip(folder, fps=10, working_size=SIZE)
    originals = original_frames(clip, folder)
    assert originals is not None
    (folder / "frames" / "00003.png").write_bytes(b"a dog")
    with pytest.raises(Animal4dError, match=r"00003\.png"):
        originals(3)
    for file in (folder / "frames").iterdir():
        Image.new("RGB", (40, 30)).save(file)
    with pytest.raises(Animal4dError, match="40x30 now, but were 128x96"):
        original_frames(clip, folder)
    with pytest.raises(Animal4dError, match="nowhere"):
        original_frames(clip, folder / "nowhere")
