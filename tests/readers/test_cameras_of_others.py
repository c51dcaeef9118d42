"""Cameras as COLMAP, VGGT and MegaSaM write them: where do points of the world fall?"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from animal4d.errors import Animal4dError
from animal4d.readers.cameras import read_cameras
from animal4d.readers.load import load_clip

from . import footage

HERE = Path(__file__).parent / "colmap"
SIZE = footage.HEIGHT, footage.WIDTH
COUNT = 5
STEMS = [f"{index:05d}" for index in range(COUNT)]


def projected(intrinsics: Any, world_to_camera: Any, points: np.ndarray) -> np.ndarray:
    in_camera = points @ np.asarray(world_to_camera, float)[:3, :3].T + np.asarray(world_to_camera, float)[:3, 3]
    pixels = in_camera @ np.asarray(intrinsics, float).T
    return pixels[:, :2] / pixels[:, 2:]


def random_cameras(count: int = COUNT, seed: int = 0) -> list[np.ndarray]:
    return [np.array(entry["world_to_camera"]) for entry in footage.camera_entries(count, seed)]


def test_points_fall_where_colmap_itself_projects_them():
    """The model was written, and the points projected, by pycolmap; its weakly bent lenses move no pixel by 0.01."""
    truth = json.loads((HERE / "projections.json").read_text())["pictures"]
    for kind in ("binary", "text"):
        intrinsics, poses = read_cameras(HERE / kind, range(COUNT), COUNT, SIZE, STEMS)
        for index, picture in enumerate(truth):
            pixels = projected(intrinsics[index], poses[index], np.array(picture["world"]))
            np.testing.assert_allclose(pixels, picture["pixels"], atol=0.02)


def test_text_and_binary_say_the_same_and_frames_choose():
    every = read_cameras(HERE / "binary", range(COUNT), COUNT, SIZE, STEMS)
    text = read_cameras(HERE / "text", range(COUNT), COUNT, SIZE, STEMS)
    some = read_cameras(HERE / "binary", [1, 4], COUNT, SIZE, None)
    for binary, other, chosen in zip(every, text, some, strict=True):
        np.testing.assert_allclose(binary, other, atol=1e-6)
        np.testing.assert_array_equal(binary[[1, 4]], chosen)


def write_colmap(
    folder: Path,
    poses: Sequence[np.ndarray],
    names: Sequence[str],
    camera: str = "PINHOLE 256 192 300 304 120 100",
    points: str = "",
) -> Path:
    """A text model; rotations as quaternions by scipy."""
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(f"# cameras\n1 {camera}\n")
    lines = []
    for number, (pose, name) in enumerate(zip(poses, names, strict=True), start=1):
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        values = " ".join(f"{value:.17g}" for value in (w, x, y, z, *pose[:3, 3]))
        lines += [f"{number} {values} 1 {name}", points]
    (folder / "images.txt").write_text("# images\n" + "\n".join(lines) + "\n")
    (folder / "points3D.txt").write_text("# none\n")
    return folder


def test_a_clip_with_a_model_of_larger_pictures(tmp_path: Path):
    """The model is of pictures twice as large; it lies in the folder `sparse/0` of the one that is given."""
    poses = random_cameras()
    write_colmap(tmp_path / "scene/sparse/0", poses[::-1], [f"a b/{stem}.jpg" for stem in STEMS[::-1]])
    footage.write_folder(tmp_path / "frames", footage.frames(COUNT))
    masks = footage.write_masks(tmp_path / "masks", COUNT)
    clip = load_clip(tmp_path / "frames", masks=masks, cameras=tmp_path / "scene", start=1)
    assert clip.world_to_camera is not None
    np.testing.assert_allclose(clip.world_to_camera, poses[1:], atol=1e-6)
    original = clip.crop.original_intrinsics(clip.intrinsics)
    np.testing.assert_allclose(original[0], [[150, 0, 60], [0, 152, 50], [0, 0, 1]], atol=1e-3)


def test_names_with_numbers_serve_videos(tmp_path: Path):
    poses = random_cameras()
    from_one = write_colmap(tmp_path / "one", poses, [f"frame_{index + 1:04d}.jpg" for index in range(COUNT)])
    np.testing.assert_allclose(read_cameras(from_one, [2], COUNT, SIZE)[1][0], poses[2], atol=1e-6)
    some = write_colmap(tmp_path / "some", poses[1:4], [f"frame_{index + 1:04d}.jpg" for index in range(1, 4)])
    with pytest.raises(Animal4dError, match="cannot be matched with 5 frames"):  # do they count from 0 or from 1?
        read_cameras(some, [2], COUNT, SIZE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda to: write_colmap(to, random_cameras(4), ["00000", "00001", "00002", "00004"]),
            r"none for frame 3 \(00003",
        ),
        (lambda to: bent(to, "SIMPLE_RADIAL 128 96 100 64 48 0.05"), r"moves pixels by up to \d.*image_undistorter"),
        (lambda to: bent(to, "OPENCV 128 96 100 100 64 48 0 0 0.01 0"), "moves pixels by up to"),
        (lambda to: bent(to, "OPENCV_FISHEYE 128 96 100 100 64 48 0 0 0 0"), "OPENCV_FISHEYE, no pinhole"),
        (lambda to: bent(to, "PINHOLE 128 96 100 100 64"), "has 3 parameters"),
        (lambda to: bent(to, "PINHOLE 128 96 -100 100 64 48"), "positive fx"),
        (lambda to: bent(to, "PINHOLE 96 128 100 100 48 64"), "must belong to these frames"),
        (lambda to: bent(to, "PINHOLE 128 96 nan 100 48 64"), "NaN"),
        (lambda to: bent(to, "PINHOLE 0 96 100 100 48 64"), "must be height and width"),
        (lambda to: (bent(to, "PINHOLE 128 96 100 100 64 48") / "images.txt").unlink(), "images.txt is missing"),
        (lambda to: (bent(to, "PINHOLE 128 96 100 100 64 48") / "images.txt").write_text("1 2 3\n"), "damaged"),
        (lambda to: to.mkdir(), "holds no COLMAP model"),
        (lambda to: [bent(to / name, "PINHOLE 128 96 100 100 64 48") for name in "01"], "holds 2 COLMAP models"),
    ],
)
def test_models_that_cannot_be_used_are_one_line(tmp_path: Path, change: Callable[[Path], Any], words: str):
    change(tmp_path / "model")
    with pytest.raises(Animal4dError, match=words) as raised:
        read_cameras(tmp_path / "model", range(COUNT), COUNT, SIZE, STEMS)
    assert "\n" not in str(raised.value)


def bent(folder: Path, camera: str) -> Path:
    return write_colmap(folder, random_cameras(), STEMS, camera)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin"])
def test_a_binary_model_that_ends_too_early(tmp_path: Path, name: str):
    for path in (HERE / "binary").iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[: len(content) // 2] if path.name == name else content)
    with pytest.raises(Animal4dError, match=r"damaged \(it ends too early\)"):
        read_cameras(tmp_path, range(COUNT), COUNT, SIZE, STEMS)
    if name == "cameras.bin":
        content = (HERE / "binary" / name).read_bytes()
        (tmp_path / name).write_bytes(content[:12] + struct.pack("<i", 5) + content[16:])
        with pytest.raises(Animal4dError, match="model number 5, no pinhole"):
            read_cameras(tmp_path, range(COUNT), COUNT, SIZE, STEMS)


def in_front_of(pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    in_camera = rng.uniform(-0.4, 0.4, (20, 3)) + np.array([0.0, 0.0, 3.0])
    return (in_camera - pose[:3, 3]) @ pose[:3, :3]


def shrunk(points: np.ndarray, size: tuple[int, int], resized: tuple[int, int], cut: tuple[int, int]) -> np.ndarray:
    """Pixels of a frame of `size` in its copy of size `resized`, cut by (top, left)."""
    return points * [resized[1] / size[1], resized[0] / size[0]] - [cut[1], cut[0]]


@pytest.mark.parametrize(
    ("size", "resized", "pictures", "cut", "white"),
    [
        # load_and_preprocess_images, "crop": 518 wide, whole patches of 14 high, cut in the middle from 518 on.
        ((480, 854), (294, 518), (294, 518), (0, 0), False),
        ((1080, 1920), (294, 518), (294, 518), (0, 0), False),
        ((1920, 1080), (924, 518), (518, 518), (203, 0), False),
        # "pad": the longer side has 518, the shorter is filled up in white.
        ((480, 854), (294, 518), (518, 518), (-112, 0), False),
        ((1920, 1080), (518, 294), (518, 518), (0, -112), True),
        ((500, 500), (518, 518), (518, 518), (0, 0), False),
    ],
)
def test_vggt_speaks_of_pictures_that_were_resized_and_cut(tmp_path: Path, size, resized, pictures, cut, white):
    """Points projected by the file's cameras, and by what was read, are the same places of the frame."""
    rng = np.random.default_rng(1)
    poses = random_cameras(3)
    intrinsic = np.array([[400.0, 0, pictures[1] / 2], [0, 410.0, pictures[0] / 2], [0, 0, 1]])
    images = np.full((3, 3, *pictures), 0.5, np.float32)
    if white:
        images[..., :112] = images[..., -112:] = 1.0
    extrinsic = np.stack(poses)[:, :3]
    path = tmp_path / "predictions.npz"
    np.savez(path, extrinsic=extrinsic, intrinsic=np.tile(intrinsic, (3, 1, 1)), images=images)
    read, world_to_camera = read_cameras(path, [0, 2], 3, size)
    for index, place in enumerate((0, 2)):
        points = in_front_of(poses[place], rng)
        in_frame = projected(read[index], world_to_camera[index], points)
        expected = projected(intrinsic, poses[place], points)
        np.testing.assert_allclose(shrunk(in_frame, size, resized, cut), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("size", "resized", "pictures"),
    [((480, 854), (332, 591), (328, 584)), ((1920, 1080), (591, 332), (584, 328)), ((96, 128), (384, 512), (384, 512))],
)
def test_megasam_has_cameras_in_the_world_and_cuts_right_and_bottom(tmp_path: Path, size, resized, pictures):
    poses = random_cameras()
    intrinsic = np.array([[500.0, 0, 290], [0, 500, 165], [0, 0, 1]], np.float32)
    path = tmp_path / "dog_sgd_cvd_hr.npz"
    depths = np.zeros((COUNT, *pictures), np.float16)
    np.savez(path, depths=depths, intrinsic=intrinsic, cam_c2w=np.linalg.inv(np.stack(poses)))
    read, world_to_camera = read_cameras(path, range(COUNT), COUNT, size)
    np.testing.assert_allclose(world_to_camera, poses, atol=1e-6)
    points = in_front_of(poses[1], np.random.default_rng(1))
    in_frame = projected(read[1], world_to_camera[1], points)
    np.testing.assert_allclose(
        shrunk(in_frame, size, resized, (0, 0)), projected(intrinsic, poses[1], points), atol=2e-3
    )


GOOD = {"extrinsic": np.tile(np.eye(4)[:3], (COUNT, 1, 1)), "intrinsic": np.diag([100.0, 100, 1])}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"poses": np.eye(4)}, "must hold extrinsic and intrinsic .*it has poses"),
        ({**GOOD, "extrinsic": np.eye(4)}, "poses must be frames x 3 x 4"),
        ({**GOOD, "intrinsic": np.ones((2, 3, 3))}, "intrinsic must be 3 x 3 or 5 x 3 x 3"),
        ({**GOOD}, "does not tell the size"),
        ({**GOOD, "depth": np.zeros((COUNT, 100, 50, 1))}, "not made from frames of 128x96"),
        ({**GOOD, "extrinsic": GOOD["extrinsic"][:3], "depth": np.zeros((3, 96, 128, 1))}, "3 cameras but 5 frames"),
        (
            {**GOOD, "extrinsic": 2 * GOOD["extrinsic"], "depth": np.zeros((5, 96, 128, 1))},
            "frame 0: .*rigid transform",
        ),
        ({**GOOD, "intrinsic": np.full((3, 3), np.nan), "depth": np.zeros((5, 96, 128, 1))}, "NaN"),
        ({"extrinsic": np.array([None, 1], object)}, r"no npz of cameras, or is damaged \(it holds Python objects\)"),
    ],
)
def test_arrays_that_cannot_be_used_are_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], words: str):
    path = tmp_path / "cameras.npz"
    np.savez(path, **arrays)
    with pytest.raises(Animal4dError, match=words) as raised:
        read_cameras(path, range(COUNT), COUNT, SIZE)
    assert "\n" not in str(raised.value)


def test_upright_pictures_without_the_pictures(tmp_path: Path):
    path = tmp_path / "cameras.npz"
    np.savez(path, **(GOOD | {"depth": np.zeros((COUNT, 518, 518, 1), np.float16)}))
    with pytest.raises(Animal4dError, match=r"cut or filled up.*save it with its images"):
        read_cameras(path, range(COUNT), COUNT, (1920, 1080))


def test_files_that_are_no_npz(tmp_path: Path):
    (tmp_path / "cameras.npz").write_bytes(b"PK no")
    with pytest.raises(Animal4dError, match="damaged"):
        read_cameras(tmp_path / "cameras.npz", [0], 1, SIZE)
    with (tmp_path / "renamed.npz").open("wb") as file:
        np.save(file, np.eye(4))
    with pytest.raises(Animal4dError, match=r"not a \.npz file.*save it again"):
        read_cameras(tmp_path / "renamed.npz", [0], 1, SIZE)
    with pytest.raises(Animal4dError, match="no such cameras file"):
        read_cameras(tmp_path / "nowhere.npz", [0], 1, SIZE)
