"""cameras.json and poses.npz: consistent with asset.glb and with the original frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from animal4d.errors import Animal4dError
from animal4d.export.cameras import read_cameras, write_cameras
from animal4d.export.glb import write_glb
from animal4d.export.poses import write_poses
from export.gltf_reader import GltfReader


def test_asset_projects_to_the_original_pixels(reconstruction, model, tmp_path):
    write_glb(reconstruction, model, tmp_path / "asset.glb")
    write_cameras(reconstruction, tmp_path / "cameras.json")
    reader = GltfReader(tmp_path / "asset.glb")
    working = reconstruction.cameras.project(reconstruction.posed(model).vertices)
    wanted = reconstruction.crop.to_original(working).numpy()
    data = json.loads((tmp_path / "cameras.json").read_text())
    assert data["fps"] == reconstruction.fps
    for index, frame in enumerate(data["frames"]):
        assert frame["frame"] == reconstruction.frame_numbers[index]
        assert frame["time"] == pytest.approx(reader.key_times[index], abs=1e-6)
        assert frame["image_size"] == [240, 320]
        camera = np.array(frame["world_to_camera"])
        points = reader.skinned_vertices(frame["time"]) @ camera[:3, :3].T + camera[:3, 3]
        pixels = points @ np.array(frame["K"]).T
        np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], wanted[index], atol=0.01)


def test_cameras_come_back(reconstruction, tmp_path):
    write_cameras(reconstruction, tmp_path / "cameras.json")
    track = read_cameras(tmp_path / "cameras.json")
    assert track.cameras.image_size == (240, 320)
    torch.testing.assert_close(track.times, reconstruction.times)
    torch.testing.assert_close(track.frame_numbers, reconstruction.frame_numbers)
    torch.testing.assert_close(
        reconstruction.crop.working_intrinsics(track.cameras.intrinsics), reconstruction.intrinsics
    )


@pytest.mark.parametrize("text", ["", "[]", '{"fps": 30}', '{"fps": 30, "frames": []}', '{"frames": [{"K": 1}]}'])
def test_other_files_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(Animal4dError, match=r"cameras\.json: not the cameras\.json of a run") as raised:
        read_cameras(tmp_path / "cameras.json")
    assert "\n" not in str(raised.value)
    with pytest.raises(Animal4dError, match="cannot be read"):
        read_cameras(tmp_path / "missing.json")


def test_poses_rebuild_the_motion(reconstruction, model, tmp_path):
    write_poses(reconstruction, model, tmp_path / "poses.npz")
    with np.load(tmp_path / "poses.npz") as poses:
        assert tuple(poses["joint_names"]) == model.joint_names
        assert str(poses["template"]) == "toy" and float(poses["fps"]) == 15.0
        tensor = {key: torch.from_numpy(poses[key]) for key in poses.files if poses[key].dtype.kind == "f"}
    posed = model.with_shape(tensor["betas"], tensor["limb_scales"], tensor["vertex_offsets"]).with_pose(
        tensor["joint_rotations"], tensor["translation"]
    )
    torch.testing.assert_close(posed.vertices, reconstruction.posed(model).vertices)
