"""Videos and folders of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animal4d.errors import Animal4dError
from animal4d.readers.load import load_clip
from animal4d.readers.video import VideoSource

from . import footage


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "tolerance"),
    [
        ("a.mp4", "libx264", "yuv420p", 12),
        ("a.mov", "mpeg4", "yuv420p", 12),
        ("a.webm", "libvpx-vp9", "yuv420p", 12),
        ("a.gif", "gif", "rgb8", 40),
    ],
)
def test_video_containers(tmp_path: Path, name: str, codec: str, pixel_format: str, tolerance: float) -> None:
    images = footage.frames(12)
    path = footage.write_video(tmp_path / name, images, codec, pixel_format)
    clip = load_clip(path, masks=footage.write_masks(tmp_path / "masks", 12))
    assert len(clip) == 12 and clip.name == "a"
    assert clip.fps == pytest.approx(25, rel=0.02)
    assert clip.times.tolist() == pytest.approx(np.arange(12) / 25, abs=6e-3)
    read = np.stack(list(VideoSource(path).read(range(12)))).astype(float)
    assert np.abs(read - images).mean() < tolerance


def test_variable_frame_rate_keeps_the_times_of_the_file(tmp_path: Path) -> None:
    milliseconds = [0, 40, 60, 200, 240, 500]
    path = footage.write_video(tmp_path / "a.mp4", footage.frames(6), milliseconds=milliseconds)
    masks = footage.write_masks(tmp_path / "masks", 6)
    clip = load_clip(path, masks=masks)
    assert clip.times.tolist() == pytest.approx([m / 1000 for m in milliseconds], abs=2e-3)
    assert clip.fps == pytest.approx(5 / 0.5, rel=1e-2)
    later = load_clip(path, masks=masks, start=2, stride=2)
    assert later.frame_numbers.tolist() == [2, 4]
    assert later.times.tolist() == pytest.approx([0.06, 0.24], abs=2e-3)


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    ],
)
def test_phone_videos_are_turned_upright(tmp_path: Path, matrix: tuple[int, int, int, int], upright) -> None:
    images = footage.frames(3)
    path = footage.write_video(tmp_path / "a.mp4", images)
    footage.set_display_matrix(path, *matrix)
    source = VideoSource(path)
    expected = np.stack([upright(image) for image in images]).astype(float)
    assert source.size == expected.shape[1:3]
    assert np.abs(np.stack(list(source.read(range(3)))) - expected).mean() < 12


def test_choice_of_frames(tmp_path: Path) -> None:
    folder = footage.write_folder(tmp_path / "dog", footage.frames(11), stem="f{}")
    masks = footage.write_folder(tmp_path / "masks", footage.masks(11).astype(np.uint8), stem="f{}")
    video = footage.write_video(tmp_path / "dog.mp4", footage.frames(11))
    for source in (folder, video):
        choices: list[tuple[dict[str, Any], Any]] = [
            ({}, range(11)),
            ({"start": 2, "stop": 9, "stride": 3}, [2, 5, 8]),
            ({"stride": 4, "max_frames": 2}, [0, 4]),
            ({"stop": 100}, range(11)),
        ]
        for options, expected in choices:
            assert load_clip(source, masks=masks, **options).frame_numbers.tolist() == list(expected)
        with pytest.raises(Animal4dError, match="has 11 frames"):
            load_clip(source, masks=masks, start=11)
        impossible: list[dict[str, Any]] = [{"stride": 0}, {"start": -1}, {"start": 4, "stop": 4}, {"max_frames": 0}]
        for options in impossible:
            with pytest.raises(Animal4dError, match="--"):
                load_clip(source, masks=masks, **options)
    clip = load_clip(folder, masks=masks, stride=2, fps=60)
    assert clip.fps == 30 and clip.times.tolist() == pytest.approx([i / 30 for i in range(6)])
    with pytest.raises(Animal4dError, match="--fps"):
        load_clip(video, masks=masks, fps=60)


def test_one_frame_is_enough(tmp_path: Path) -> None:
    picture = footage.write_folder(tmp_path / "f", footage.frames(1)) / "00000.png"
    clip = load_clip(picture, masks=footage.write_masks(tmp_path / "masks", 1))
    assert len(clip) == 1 and clip.mask_valid.all() and clip.name == "00000"
    video = footage.write_video(tmp_path / "a.mp4", footage.frames(1))
    assert len(load_clip(video, masks=tmp_path / "masks")) == 1


def test_a_folder_with_frames_and_masks_in_it(tmp_path: Path) -> None:
    footage.write_folder(tmp_path / "camel" / "frames", footage.frames(2), suffix=".jpg")
    footage.write_masks(tmp_path / "camel" / "masks", 2)
    clip = load_clip(tmp_path / "camel")
    assert clip.name == "camel" and clip.mask_valid.all() and "matched by name" in clip.mask_source


def test_exif_turns_pictures_and_tells_the_focal_length(tmp_path: Path) -> None:
    frame, mask = footage.frames(1)[0], footage.masks(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to the right
    exif.get_ifd(0x8769)[0xA405] = 26
    (tmp_path / "f").mkdir()
    Image.fromarray(np.rot90(frame, 1)).save(tmp_path / "f" / "a.jpg", exif=exif, quality=95)
    (tmp_path / "m").mkdir()
    Image.fromarray(mask).save(tmp_path / "m" / "a.png")
    clip = load_clip(tmp_path / "f", masks=tmp_path / "m")
    assert clip.crop.original_size == frame.shape[:2]
    assert "EXIF" in clip.intrinsics_source
    original = clip.crop.original_intrinsics(clip.intrinsics)[0]
    assert original[0, 0] == pytest.approx(26 / 43.267 * np.hypot(*frame.shape[:2]), rel=1e-3)
    # An angle that was asked for goes before the file's.
    wide = load_clip(tmp_path / "f", masks=tmp_path / "m", fov=90)
    assert wide.crop.original_intrinsics(wide.intrinsics)[0, 0, 0] == pytest.approx(footage.WIDTH / 2, rel=1e-5)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16", "CMYK"])
def test_pictures_of_every_kind(tmp_path: Path, mode: str) -> None:
    grey = footage.frames(1)[0].mean(axis=-1)
    if mode == "I;16":
        picture = Image.fromarray((grey * 257).astype(np.uint16))
    else:
        picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB").convert(mode)
    (tmp_path / "f").mkdir()
    picture.save(tmp_path / "f" / f"00000.{'tif' if mode == 'CMYK' else 'png'}")
    clip = load_clip(tmp_path / "f", masks=footage.write_masks(tmp_path / "m", 1), working_size=64)
    assert abs(clip.frames.float().mean() - grey[30:70, 20:60].mean()) < 40


def test_input_that_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("a walk in the park\n" * 100)
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    for name, words in [
        ("nowhere.mp4", "no such file"),
        ("empty", "holds no frames"),
        ("notes.txt", "not a video"),
        ("zero.mp4", "not a video"),
        ("noise.mp4", "not a video"),
    ]:
        with pytest.raises(Animal4dError, match=words) as caught:
            load_clip(tmp_path / name, box=(10, 10, 40, 40), eyes=False)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_frames_of_different_sizes_are_named(tmp_path: Path) -> None:
    folder = footage.write_folder(tmp_path / "f", footage.frames(3))
    Image.fromarray(footage.frames(1)[0, :50]).save(folder / "00001.png")
    with pytest.raises(Animal4dError, match=r"00001\.png is 128x50 but 00000\.png is 128x96"):
        load_clip(folder, masks=footage.write_masks(tmp_path / "m", 3))


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    folder = footage.write_folder(tmp_path / "f", footage.frames(3))
    data = (folder / "00002.png").read_bytes()
    (folder / "00002.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(Animal4dError, match=r"00002\.png cannot be read"):
        load_clip(folder, masks=footage.write_masks(tmp_path / "m", 3))


def test_damaged_and_truncated_videos(tmp_path: Path) -> None:
    masks = footage.write_masks(tmp_path / "masks", 12)
    path = footage.write_video(tmp_path / "a.mp4", footage.frames(12))
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov")
    data[(start + 4 * end) // 5 : end - 8] = bytes(len(data[(start + 4 * end) // 5 : end - 8]))
    path.write_bytes(data)
    with pytest.raises(Animal4dError, match=r"a\.mp4: frame \d+ cannot be decoded"):
        load_clip(path, masks=masks)
    path = footage.write_video(tmp_path / "b.webm", footage.frames(30), "libvpx-vp9")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 8 // 10])
    clip = load_clip(path, masks=footage.write_masks(tmp_path / "masks", 30), max_frames=40)
    assert len(clip) < 30 and any("truncated" in warning for warning in clip.warnings)
