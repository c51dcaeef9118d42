"""metrics.json of fits whose quality is known, and PCK on BADJA's files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from animal4d.errors import Animal4dError
from animal4d.evaluate.keypoints import BODY_POINTS, Keypoints2D, load_keypoints, predicted_points
from animal4d.evaluate.metrics import evaluate
from animal4d.evaluate.truth import Truth, load_truth
from animal4d.files.atomic import write_json
from animal4d.geometry.rasterize import interpolate, rasterize
from animal4d.geometry.rotations import rotation_about
from export.toy import IMAGE_SIZE, coloured_reconstruction, toy_animal, toy_clip

SPLITS = {"train": [0, 1, 3], "validation": [], "test": [2, 4]}
TRUTH_METRICS = ("vertex_error", "pa_mpjpe", "chamfer", "right_way_round", "acceleration_error")


@pytest.fixture(scope="module")
def model():
    return toy_animal()


@pytest.fixture(scope="module")
def reconstruction(model):
    return coloured_reconstruction(model)


@pytest.fixture(scope="module")
def clip(reconstruction, model):
    """What the reconstruction itself would film."""
    vertices = reconstruction.cameras.transform(reconstruction.posed(model).vertices)
    fragments = rasterize(vertices, model.faces, reconstruction.intrinsics, IMAGE_SIZE)
    images = interpolate(fragments, model.faces, reconstruction.vertex_colors[None])
    return toy_clip(reconstruction, (images * 255).round().to(torch.uint8), fragments.covered)


@pytest.fixture(scope="module")
def truth(reconstruction, model):
    posed = reconstruction.posed(model)
    return Truth(posed.vertices, model.faces, posed.joints, model.joint_names, reconstruction.world_to_camera, 1.5)


def test_a_perfect_fit(reconstruction, model, clip, truth, tmp_path):
    metrics = evaluate(reconstruction, model, clip, truth, splits=SPLITS)
    write_json(tmp_path / "metrics.json", metrics)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["frames"] == reconstruction.frame_numbers.tolist()
    assert metrics["splits"]["test"] == [7, 11]
    for part in ("mean", "train", "test"):
        assert metrics["iou"][part] == 1 and metrics["iou_w5"][part] == 1
        assert metrics["psnr"][part] > 50 and metrics["psnrm"][part] > 50 and metrics["ssim"][part] > 0.999
        assert metrics["vertex_error"][part] < 1e-5 and metrics["pa_mpjpe"][part] < 1e-5
        assert metrics["chamfer"][part] < 0.005
        assert metrics["right_way_round"][part] == 1
    assert metrics["iou"]["validation"] is None
    assert metrics["lpips"]["mean"] is None and "weights" in metrics["lpips"]["reason"]
    assert metrics["jitter"]["mean"] > 0 and metrics["jitter"]["per_frame"][0] is None


def test_cameras_that_were_not_given_may_differ(reconstruction, model, clip, truth):
    """The same animal before the camera in another world: no error without cameras, a large one with them."""
    turn = torch.eye(4).repeat(5, 1, 1)
    turn[:, :3, :3] = rotation_about("z", torch.linspace(0, 1, 5))
    elsewhere = replace(
        truth,
        vertices=truth.vertices @ turn[:, :3, :3].transpose(1, 2),
        joints=truth.joints @ turn[:, :3, :3].transpose(1, 2),
        world_to_camera=truth.world_to_camera @ turn.transpose(1, 2),
    )
    metrics = evaluate(reconstruction, model, clip, elsewhere)
    assert metrics["vertex_error"]["mean"] < 1e-5
    assert metrics["vertex_error"]["frame_of_reference"] == "camera"
    given = replace(clip, world_to_camera=reconstruction.world_to_camera)
    metrics = evaluate(reconstruction, model, given, elsewhere)
    assert metrics["vertex_error"]["mean"] > 0.05
    assert metrics["vertex_error"]["frame_of_reference"] == "world"


def test_a_turned_animal_is_the_wrong_way_round(reconstruction, model, clip, truth):
    rotations = reconstruction.joint_rotations.clone()
    rotations[:, 0] = rotations[:, 0] @ rotation_about("z", torch.tensor(torch.pi))
    metrics = evaluate(replace(reconstruction, joint_rotations=rotations), model, clip, truth)
    assert metrics["right_way_round"]["mean"] == 0


def test_another_topology_has_no_vertex_error(reconstruction, model, clip, truth):
    rig = replace(truth, faces=truth.faces[1:], joint_names=("hip", *truth.joint_names[1:]))
    metrics = evaluate(reconstruction, model, clip, rig)
    assert metrics["vertex_error"]["mean"] is None and "topology" in metrics["vertex_error"]["reason"]
    assert metrics["chamfer"]["mean"] < 0.01 and "root" not in metrics["pa_mpjpe"]["joints"]
    nameless = replace(rig, joint_names=tuple(f"bone_{index}" for index in range(35)))
    metrics = evaluate(reconstruction, model, clip, nameless)
    assert metrics["chamfer"]["mean"] < 0.01
    assert metrics["pa_mpjpe"]["mean"] is None and metrics["right_way_round"]["mean"] is None


def test_what_cannot_be_had_is_null_with_a_reason(reconstruction, model, clip):
    metrics = evaluate(replace(reconstruction, vertex_colors=None), model, clip)
    for name in ("psnr", "psnrm", "ssim", "lpips", *TRUTH_METRICS, "pck_0.2", "pck_0.1"):
        assert metrics[name]["mean"] is None and metrics[name]["reason"]
    assert metrics["iou"]["mean"] == 1


def test_frames_without_a_mask_are_not_judged(reconstruction, model, clip):
    valid = torch.tensor([True, True, False, True, True])
    metrics = evaluate(reconstruction, model, replace(clip, mask_valid=valid), splits=SPLITS)
    assert metrics["iou"]["per_frame"][2] is None and metrics["iou"]["test"] == 1
    metrics = evaluate(reconstruction, model, replace(clip, mask_valid=torch.zeros(5, dtype=torch.bool)))
    assert metrics["iou"]["mean"] is None and "mask" in metrics["iou_w5"]["reason"]


def test_keypoints_count_within_their_threshold(reconstruction, model, clip):
    names = tuple(BODY_POINTS)
    points = predicted_points(reconstruction, model, names)[[1, 3]]
    side = (clip.masks[[1, 3]].flatten(1).sum(1) * 1.5**2).sqrt()
    points[0, :5, 0] += 0.15 * side[0]
    points[1, :, 0] += 0.25 * side[1]
    visible = torch.ones(2, len(names), dtype=torch.bool)
    visible[0, 10:] = False
    keypoints = Keypoints2D(names, reconstruction.frame_numbers[[1, 3]], points, visible)
    metrics = evaluate(reconstruction, model, clip, keypoints=keypoints, splits={"test": [1]})
    assert metrics["pck_0.2"]["mean"] == pytest.approx(10 / (10 + len(names)), abs=1e-5)
    assert metrics["pck_0.1"]["per_frame"] == [None, 0.5, None, 0.0, None]
    assert metrics["pck_0.1"]["test"] == 0.5
    assert metrics["pck_0.1"]["per_keypoint"][names[9]] == 0.5


@pytest.mark.parametrize("sequence", ["dog", "camel"])
def test_badja_files_are_understood(shared_dir, sequence):
    folder = shared_dir / "clips" / "davis" / sequence
    keypoints = load_keypoints(folder / "keypoints.json", (960, 1708))
    assert set(keypoints.names) <= set(BODY_POINTS)
    raw = json.loads((folder / "keypoints.json").read_text())
    key, pixel = next(iter(raw["frames"][0]["keypoints_xy"].items()))
    column = list(raw["names"]).index(key)
    np.testing.assert_allclose(keypoints.pixels[0, column], 2 * (np.array(pixel) + 0.5), rtol=1e-5)
    assert keypoints.visible[0].sum() == len(raw["frames"][0]["keypoints_xy"])


@pytest.mark.parametrize("text", ["{", "[]", '{"names": {"1": "fin"}, "image_size_wh": [2, 2], "frames": []}'])
def test_other_keypoint_files_are_refused(tmp_path, text):
    (tmp_path / "keypoints.json").write_text(text)
    with pytest.raises(Animal4dError, match=r"keypoints\.json"):
        load_keypoints(tmp_path / "keypoints.json")


def test_truth_is_found_by_frame_number(reconstruction, truth, tmp_path):
    arrays = {name: getattr(truth, name).numpy() for name in ("vertices", "faces", "joints", "world_to_camera")}
    arrays["joint_names"] = np.array(truth.joint_names)
    arrays["frame_numbers"] = reconstruction.frame_numbers.numpy()
    np.savez(tmp_path / "truth.npz", **arrays)
    loaded = load_truth(tmp_path / "truth.npz", reconstruction.frame_numbers[[3, 1]])
    torch.testing.assert_close(loaded.vertices, truth.vertices[[3, 1]])
    assert loaded.joint_names == truth.joint_names and loaded.body_length is None
    with pytest.raises(Animal4dError, match="not frame 99"):
        load_truth(tmp_path / "truth.npz", torch.tensor([99]))
    np.savez(tmp_path / "half.npz", vertices=arrays["vertices"])
    with pytest.raises(Animal4dError, match="lacks faces"):
        load_truth(tmp_path / "half.npz", torch.tensor([0]))
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(Animal4dError, match="cannot be read"):
        load_truth(tmp_path / "text.npz", torch.tensor([0]))
