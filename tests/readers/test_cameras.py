"""Cameras that the user brings, and what can be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.readers.load import load_clip

from . import footage

COUNT = 5


def _load(tmp_path: Path, cameras: Path, **options: Any) -> Clip:
    if not (tmp_path / "frames").exists():
        footage.write_folder(tmp_path / "frames", footage.frames(COUNT))
        footage.write_masks(tmp_path / "masks", COUNT)
    return load_clip(tmp_path / "frames", masks=tmp_path / "masks", cameras=cameras, **options)


def _write(tmp_path: Path, change: Callable[[list[dict]], Any] = lambda entries: None) -> Path:
    entries = footage.camera_entries(COUNT)
    change(entries)
    return footage.write_cameras(tmp_path / "cameras.json", entries)


def test_points_fall_where_the_given_cameras_put_them(tmp_path: Path) -> None:
    clip = _load(tmp_path, _write(tmp_path), start=1, stride=2)
    entries = footage.camera_entries(COUNT)[1::2]
    points = np.random.default_rng(1).normal(size=(2, 50, 3)) * 0.1
    assert clip.cameras is not None and len(clip) == 2
    for index, entry in enumerate(entries):
        pose = np.array(entry["world_to_camera"])
        # Points in front of this very camera.
        in_camera = points[index] + [0, 0, 3]
        world = (in_camera - pose[:3, 3]) @ pose[:3, :3]
        expected = in_camera @ np.array(entry["K"]).T
        expected = expected[:, :2] / expected[:, 2:]
        working = clip.cameras[[index]].project(torch.from_numpy(world[None]).float())
        original = clip.crop[[index]].to_original(working)[0].numpy()
        np.testing.assert_allclose(original, expected, atol=1e-3)
    assert "given cameras" in clip.intrinsics_source


def test_cameras_are_found_by_frame_or_by_order(tmp_path: Path) -> None:
    def without_numbers(entries: list[dict]) -> None:
        for entry in entries:
            del entry["frame"]

    expected = _load(tmp_path, _write(tmp_path), start=2)
    reversed_order = _load(tmp_path, _write(tmp_path, lambda entries: entries.reverse()), start=2)
    by_order = _load(tmp_path, _write(tmp_path, without_numbers), start=2)
    only_chosen = _load(tmp_path, _write(tmp_path, lambda entries: entries.__delitem__(slice(0, 2))), start=2)
    for clip in (reversed_order, by_order, only_chosen):
        assert clip.world_to_camera is not None and expected.world_to_camera is not None
        assert torch.equal(clip.world_to_camera, expected.world_to_camera)


def test_intrinsics_of_another_resolution_are_rescaled(tmp_path: Path) -> None:
    def twice(entries: list[dict]) -> None:
        for entry in entries:
            entry["image_size"] = [2 * footage.HEIGHT, 2 * footage.WIDTH]
            entry["K"] = (np.array(entry["K"]) * [[2], [2], [1]]).tolist()

    torch.testing.assert_close(
        _load(tmp_path, _write(tmp_path, twice)).intrinsics, _load(tmp_path, _write(tmp_path)).intrinsics
    )


def _set(index: int, key: str, value: Any) -> Callable[[list[dict]], None]:
    def change(entries: list[dict]) -> None:
        entries[index][key] = value

    return change


def _scale_rotation(entries: list[dict]) -> None:
    entries[2]["world_to_camera"] = (np.array(entries[2]["world_to_camera"]) * 2).tolist()


def _mirror(entries: list[dict]) -> None:
    entries[2]["world_to_camera"] = (np.diag([-1, 1, 1, 1]) @ np.array(entries[2]["world_to_camera"])).tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(3, "K", [[float("nan"), 0, 1], [0, 1, 1], [0, 0, 1]]), 'frame 3: "K" holds NaN'),
        (_set(1, "world_to_camera", np.full((4, 4), np.inf).tolist()), 'frame 1: "world_to_camera" holds NaN or inf'),
        (_set(1, "world_to_camera", np.eye(3).tolist()), "frame 1: .* must be a 4x4 matrix"),
        (_set(0, "K", "wide"), "frame 0: .* must be a 3x3 matrix"),
        (_set(0, "K", [[10**400, 0, 1], [0, 1, 1], [0, 0, 1]]), "frame 0: .* must be a 3x3 matrix"),
        (_set(0, "image_size", [10**400, 5]), "frame 0: .*must be height and width"),
        (_set(0, "K", [[1, 2], [3]]), "frame 0: .* must be a 3x3 matrix"),
        (_set(4, "K", [[-1, 0, 1], [0, 1, 1], [0, 0, 1]]), "frame 4: .*positive fx"),
        (_set(4, "image_size", [10, 500]), "frame 4: .*must belong to these frames"),
        (_set(4, "image_size", None), "frame 4: .*must be"),
        (_scale_rotation, "frame 2: .*rigid transform"),
        (_mirror, "frame 2: .*rigid transform"),
        (lambda entries: entries.pop(), "has 4 cameras, and none for frame 4"),
        (_set(1, "frame", 0), "two cameras for one frame"),
        (lambda entries: entries.clear(), 'must hold {"frames"'),
    ],
)
def test_wrong_cameras_are_named(tmp_path: Path, change: Callable, words: str) -> None:
    with pytest.raises(Animal4dError, match=words) as caught:
        _load(tmp_path, _write(tmp_path, change))
    assert "cameras.json" in str(caught.value) and "\n" not in str(caught.value)


def test_remedies_are_told(tmp_path: Path) -> None:
    nan = [[float("nan"), 0, 1], [0, 1, 1], [0, 0, 1]]
    with pytest.raises(Animal4dError, match="export the cameras again"):
        _load(tmp_path, _write(tmp_path, _set(3, "K", nan)))
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 128 96 100 100 64 48")
    with pytest.raises(Animal4dError, match="folder of a COLMAP model, or an npz"):
        _load(tmp_path, tmp_path / "cameras.txt")


def test_cameras_without_numbers_of_another_length(tmp_path: Path) -> None:
    entries = [{k: v for k, v in entry.items() if k != "frame"} for entry in footage.camera_entries(3)]
    with pytest.raises(Animal4dError, match="3 cameras but 5 frames"):
        _load(tmp_path, footage.write_cameras(tmp_path / "cameras.json", entries))


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", json.dumps({"frames": 3}), json.dumps({"frames": [1]}), "[" * 100_000]
)
def test_files_that_are_no_cameras(tmp_path: Path, text: str) -> None:
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(Animal4dError, match=r"cameras\.json"):
        _load(tmp_path, tmp_path / "cameras.json")
    with pytest.raises(Animal4dError, match="no such cameras file"):
        _load(tmp_path, tmp_path / "nowhere.json")


@pytest.mark.parametrize("fov", [0.0, 180.0, float("nan")])
def test_impossible_fields_of_view(tmp_path: Path, fov: float) -> None:
    footage.write_folder(tmp_path / "frames", footage.frames(1))
    with pytest.raises(Animal4dError, match="--fov"):
        load_clip(tmp_path / "frames", masks=footage.write_masks(tmp_path / "masks", 1), fov=fov)
