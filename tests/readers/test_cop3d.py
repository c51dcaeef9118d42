"""COP3D: cameras as PyTorch3D's own loader gives them, padded frames, gaps in the numbers, and an index to distrust."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.readers.external_tree import LANDSCAPE, PORTRAIT, change_frame, write_cop3d

import animal4d
from animal4d.errors import Animal4dError
from animal4d.geometry.cameras import Cameras, cameras_to_pytorch3d
from animal4d.readers.address import parse_address
from animal4d.readers.cop3d import padded, read_cop3d, whole_frame_crop
from animal4d.readers.cop3d_index import Cop3dIndex


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_cop3d(tmp_path / "cop3d", PORTRAIT, LANDSCAPE)
    return tmp_path / "cop3d"


def error_of(*arguments, **options) -> str:
    """The one line that `load_clip` fails with."""
    with pytest.raises(Animal4dError) as caught:
        animal4d.load_clip(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.golden
@pytest.mark.parametrize(
    ("database", "expected"),
    [("metadata.sqlite", "expected.json"), ("portrait_and_legacy.sqlite", "portrait_and_legacy_expected.json")],
)
def test_cameras_at_800_are_those_of_pytorch3ds_loader(golden_dir, database, expected):
    folder = golden_dir / "cop3d_index"
    index = Cop3dIndex(folder, folder / database)
    wanted = json.loads((folder / expected).read_text())["frames"]
    categories = {sequence.name: sequence.category for sequence in index.sequences()}
    frames = {name: {frame.number: frame for frame in index.frames(name)} for name in categories}
    assert len(wanted) > 0
    for want in wanted:
        frame = frames[want["sequence"]][want["frame"]]
        assert categories[want["sequence"]] == want["category"]
        assert frame.image_size == tuple(want["original_size_hw"])
        assert frame.timestamp == pytest.approx(want["timestamp"], abs=1e-6)
        assert frame.camera is not None
        crop = whole_frame_crop(1, frame.image_size, 800)
        intrinsics = crop.working_intrinsics(frame.camera.intrinsics)
        cameras = cameras_to_pytorch3d(Cameras(intrinsics, frame.camera.world_to_camera, (800, 800)))
        for key in ("R", "T", "focal_length", "principal_point"):
            # float32 through one conversion and back; 1e-6 absolute for zeros
            torch.testing.assert_close(cameras[key][0], torch.tensor(want[key]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sequence", [PORTRAIT, LANDSCAPE])
def test_a_sequence_is_read_back(root, sequence):
    clip = animal4d.load_clip(f"cop3d:{root}:{sequence.name}")
    longer = max(sequence.size)
    assert clip.name == sequence.name
    assert clip.frame_numbers.tolist() == list(sequence.numbers)
    assert clip.times.tolist() == pytest.approx([place / 15 for place in range(len(sequence.numbers))])
    assert clip.fps == pytest.approx(15)
    assert clip.image_size == (256, 256)
    assert clip.mask_valid.all()
    assert clip.crop.original_size == sequence.size
    assert (clip.crop.origin == 0).all()
    torch.testing.assert_close(clip.crop.scale, torch.full((len(clip),), longer / 256))
    assert f"cop3d:{root}" in clip.source and "cameras" in clip.intrinsics_source

    height, width = (round(side * 256 / longer) for side in sequence.size)
    assert (clip.frames[:, height + 1 :] == 0).all() and (clip.frames[:, :, width + 1 :] == 0).all()
    assert (clip.masks[:, height + 1 :] == 0).all() and (clip.masks[:, :, width + 1 :] == 0).all()
    for index, number in enumerate(sequence.numbers):
        row, column = (int(side * 3 / 8 * 256 / longer) for side in sequence.size)
        truth = sequence.images[number][sequence.size[0] * 3 // 8, sequence.size[1] * 3 // 8]
        # JPEG of quality 98 keeps flat colours within a few values
        assert np.abs(clip.frames[index, row, column].numpy().astype(int) - truth).max() <= 4
        assert float(clip.masks[index, row, column]) == pytest.approx(0.8, abs=0.01)
    # The area of the mask is that of the rectangle in working pixels, within the rows and columns of its border.
    area = 0.8 * (sequence.size[0] // 2 - sequence.size[0] // 4) * (sequence.size[1] // 2 - sequence.size[1] // 4)
    assert float(clip.masks[0].sum()) == pytest.approx(area * (256 / longer) ** 2, rel=0.02)


@pytest.mark.parametrize("sequence", [PORTRAIT, LANDSCAPE])
def test_cameras_see_points_where_pytorch3ds_formula_puts_them(root, sequence):
    """NDC by hand, from the row vector convention and the definition of the two formats."""
    clip = animal4d.load_clip(f"cop3d:{root}:{sequence.name}")
    point = np.array([0.3, 0.2, 0.5])
    assert clip.cameras is not None
    pixels = clip.cameras.project(torch.tensor(point, dtype=torch.float32).expand(len(clip), 1, 3))
    height, width = sequence.size
    half = np.full(2, min(height, width) / 2) if sequence is PORTRAIT else np.array([width, height]) / 2
    for place in range(len(clip)):
        angle = 0.1 * place
        R = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        x, y, z = point @ R + [0.1, -0.2, 4.0]
        ndc = np.array([2.5 * x / z + 0.03, 2.4 * y / z - 0.02])
        original = np.array([width, height]) / 2 - ndc * half
        np.testing.assert_allclose(pixels[place, 0].numpy(), original * 256 / max(height, width), rtol=1e-4)


def test_start_stop_and_stride_count_places_in_the_list_of_frames(root):
    address = f"cop3d:{root}:{PORTRAIT.name}"
    clip = animal4d.load_clip(address, start=1, stride=2)
    assert clip.frame_numbers.tolist() == [3, 9]
    assert clip.fps == pytest.approx(7.5)
    assert animal4d.load_clip(address, start=1, stop=4, max_frames=2).frame_numbers.tolist() == [3, 6]
    single = animal4d.load_clip(address, start=4)
    assert single.frame_numbers.tolist() == [20] and single.fps == pytest.approx(15)
    assert "--start 5" in error_of(address, start=5)
    assert "--stride" in error_of(address, stride=0)


def test_padding_is_bilinear_without_aligned_corners():
    """Against torch, on a frame whose sides 800 is a multiple of, so that both sample the same places."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 100, 40, generator=generator)
    ours = padded(image.permute(1, 2, 0).contiguous().numpy(), 800)
    reference = torch.nn.functional.interpolate(image[None], size=(800, 320), mode="bilinear", align_corners=False)[0]
    # The last columns border on the padding, with which ours interpolates.
    np.testing.assert_allclose(ours[:, :312], reference.permute(1, 2, 0).numpy()[:, :312], atol=1e-5)
    assert (ours[:, 332:] == 0).all()


def test_the_index_is_opened_read_only(root):
    database = root / "metadata.sqlite"
    before = database.read_bytes(), database.stat().st_mtime_ns, sorted(path.name for path in root.iterdir())
    read_cop3d(root, PORTRAIT.name)
    index = Cop3dIndex(root, database)
    with pytest.raises(Animal4dError, match="readonly"):
        index._rows("frame_annots", "DELETE FROM frame_annots")
    assert before == (database.read_bytes(), database.stat().st_mtime_ns, sorted(path.name for path in root.iterdir()))


def test_folders_with_odd_names(tmp_path):
    root = tmp_path / "a:b #1 100%?mode=rw&x"
    write_cop3d(root, PORTRAIT)
    assert len(animal4d.load_clip(f"cop3d:{root}:{PORTRAIT.name}")) == 5


@pytest.mark.parametrize("column", ["_image_path", "_mask_path"])
@pytest.mark.parametrize(
    "path",
    ["../outside.jpg", "dog/../../outside.jpg", "/etc/passwd", "C:\\x.jpg", "..\\x.jpg", "dog/../x.jpg", "a\0b", b"x"],
)
def test_paths_that_leave_the_root_are_refused(root, column, path):
    change_frame(root / "metadata.sqlite", column, path, "frame_number = 6")
    message = error_of(f"cop3d:{root}:{PORTRAIT.name}", max_frames=1)
    assert "metadata.sqlite" in message and "frame 6" in message and column in message


def test_links_that_leave_the_root_are_refused(root, tmp_path):
    outside = tmp_path / "outside.jpg"
    Image.new("RGB", (60, 100)).save(outside)
    (root / "link.jpg").symlink_to(outside)
    change_frame(root / "metadata.sqlite", "_image_path", "link.jpg", "frame_number = 6")
    assert "leads out" in error_of(f"cop3d:{root}:{PORTRAIT.name}")


def test_what_is_missing_is_named(root, tmp_path):
    message = error_of(f"cop3d:{root}:1000_1_11")
    assert "1000_1_10" in message and "data list" in message
    assert "metadata.sqlite" in error_of(f"cop3d:{tmp_path / 'nowhere'}:x")
    assert "<sequence>" in error_of("cop3d:x")
    assert "<sequence>" in error_of(f"cop3d:{root}:")
    image = root / PORTRAIT.folder / "images" / "frame000006.jpg"
    image.unlink()
    message = error_of(f"cop3d:{root}:{PORTRAIT.name}")
    assert str(image) in message and "frame 6" in message and "--start" in message
    assert len(animal4d.load_clip(f"cop3d:{root}:{PORTRAIT.name}", stop=2)) == 2


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "no frames table", "no column", "no sequences"])
def test_a_damaged_index_is_one_line(root, damage):
    database = root / "metadata.sqlite"
    if damage in ("empty", "text", "truncated"):
        whole = database.read_bytes()
        database.write_bytes({"empty": b"", "text": b"hello" * 500, "truncated": whole[: len(whole) // 2]}[damage])
    else:
        query = {
            "no frames table": "DROP TABLE frame_annots",
            "no column": "ALTER TABLE frame_annots DROP COLUMN _viewpoint_T",
            "no sequences": "DELETE FROM sequence_annots",
        }[damage]
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(query)
            connection.commit()
    message = error_of(f"cop3d:{root}:{PORTRAIT.name}")
    assert str(database) in message and "download" in message


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("_image_size", b"abc", "_image_size"),
        ("_image_size", np.array([0, 5], "<i4").tobytes(), "_image_size"),
        ("_image_size", np.array([60, 100], "<i4").tobytes(), "60x100"),
        ("_viewpoint_R", b"\0" * 36, "rotation"),
        ("_viewpoint_R", b"\0" * 35, "9 32-bit floats"),
        ("_viewpoint_R", np.diag([1, 1, -1]).astype("<f4").tobytes(), "rotation"),
        ("_viewpoint_T", np.full(3, np.nan, "<f4").tobytes(), "NaN"),
        ("_viewpoint_focal_length", np.array([-1, 1], "<f4").tobytes(), "positive"),
        ("_viewpoint_principal_point", "text", "2 32-bit floats"),
        ("_viewpoint_intrinsics_format", "pixels", "pixels"),
        ("frame_number", "six", "frame_number"),
    ],
)
def test_damaged_rows_are_one_line(root, column, value, word):
    change_frame(root / "metadata.sqlite", column, value, f"frame_number = 6 AND sequence_name = '{PORTRAIT.name}'")
    assert word in error_of(f"cop3d:{root}:{PORTRAIT.name}")


def test_damaged_pictures_are_one_line(root):
    folder = root / PORTRAIT.folder
    mask = folder / "masks" / "frame000003.png"
    whole = mask.read_bytes()
    mask.write_bytes(whole[: len(whole) // 2])
    assert str(mask) in error_of(f"cop3d:{root}:{PORTRAIT.name}")
    Image.new("L", (61, 100)).save(mask)
    assert "61x100" in error_of(f"cop3d:{root}:{PORTRAIT.name}")
    mask.write_bytes(whole)
    image = folder / "images" / "frame000003.jpg"
    image.write_bytes(image.read_bytes()[:300])
    assert str(image) in error_of(f"cop3d:{root}:{PORTRAIT.name}")
    Image.new("RGB", (100, 60)).save(image)
    assert "100x60" in error_of(f"cop3d:{root}:{PORTRAIT.name}")


def test_missing_masks_are_a_notice(root):
    database = root / "metadata.sqlite"
    (root / PORTRAIT.folder / "masks" / "frame000003.png").unlink()
    change_frame(database, "_mask_path", None, "frame_number = 9")
    clip = animal4d.load_clip(f"cop3d:{root}:{PORTRAIT.name}")
    assert clip.mask_valid.tolist() == [True, False, True, False, True]
    assert any("mask is missing" in warning and "3, 9" in warning for warning in clip.warnings)
    change_frame(database, "_mask_path", None)
    assert "usable mask" in error_of(f"cop3d:{root}:{PORTRAIT.name}")


def test_times_that_do_not_increase_are_assumed(root):
    change_frame(root / "metadata.sqlite", "frame_timestamp", -1.0)
    address = f"cop3d:{root}:{PORTRAIT.name}"
    clip = animal4d.load_clip(address)
    assert clip.times.tolist() == pytest.approx([number / 30 for number in PORTRAIT.numbers])
    assert any("--fps" in warning for warning in clip.warnings)
    assert animal4d.load_clip(address, fps=10).times[-1] == pytest.approx(2.0)
    assert "--fps" in error_of(f"cop3d:{root}:{PORTRAIT.name}", fps=-1)


def test_cameras_that_are_not_there_are_a_notice(root):
    change_frame(root / "metadata.sqlite", "_viewpoint_R", None, "frame_number = 6")
    clip = animal4d.load_clip(f"cop3d:{root}:{PORTRAIT.name}", fov=60)
    assert clip.world_to_camera is None and "60" in clip.intrinsics_source
    assert any("frame 6" in warning for warning in clip.warnings)


def test_options_that_cannot_be_used_are_told(root):
    address = f"cop3d:{root}:{PORTRAIT.name}"
    assert "--masks" in error_of(address, masks=root)
    assert "--box" in error_of(address, box=(0, 0, 5, 5))
    assert "--cameras" in error_of(address, cameras=root / "cameras.json")
    assert "--fov" in error_of(address, fov=50)
    assert "--fps" in error_of(address, fps=30)


def test_addresses(tmp_path):
    address = parse_address("cop3d:some/folder:1_2_3")
    assert address is not None and str(address) == "cop3d:some/folder:1_2_3"
    assert address.resolved().root.is_absolute() and address.resolved().sequence == "1_2_3"
    assert parse_address(tmp_path) is None and parse_address("videos/cop3d:x:y") is None
    windows = parse_address(r"external:C:\data:7_8")
    assert windows is not None and re.fullmatch(r"C:\\data", str(windows.root))
