"""Entries of metrics.json that need three dimensions: against the truth, and how much the motion trembles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.evaluate import shape
from animal4d.evaluate.entries import Metric, Splits, missing, per_frame_metric
from animal4d.evaluate.truth import Truth
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.cameras import Cameras

_HEAD = "head"
_TAIL_BASES = ("tail_1", "root")
"""Where the direction to the head starts, in order of preference."""
_FEWEST_JOINTS = 4
_METRICS = ("vertex_error", "pa_mpjpe", "joint_motion_error", "chamfer", "right_way_round", "acceleration_error")


@dataclass(frozen=True)
class _Compared:
    """Fit and truth in one frame of reference."""

    frame: str
    """"camera" or "world"."""
    vertices: Float[Tensor, "frames vertices 3"]
    true_vertices: Float[Tensor, "frames others 3"]
    joints: Float[Tensor, "frames common 3"]
    true_joints: Float[Tensor, "frames common 3"]
    joint_names: tuple[str, ...]
    """Joints that both have."""


def spatial_metrics(
    reconstruction: Reconstruction, model: BodyModel, clip: Clip, truth: Truth | None, splits: Splits
) -> dict[str, Metric]:
    """Errors against the truth: in the camera's frame, or in the world where the cameras were given."""
    if truth is None:
        return dict.fromkeys(_METRICS, missing("no truth was given"))
    compared = _compare(reconstruction, model, truth, in_world=clip.world_to_camera is not None)
    length, unit = _unit_length(truth, model)
    metrics = {
        "acceleration_error": _acceleration_error(compared, length, unit, splits),
        "vertex_error": missing("the truth has another topology"),
        **dict.fromkeys(
            ("pa_mpjpe", "joint_motion_error"),
            missing(f"fewer than {_FEWEST_JOINTS} joints have a counterpart in the truth"),
        ),
        "chamfer": _chamfer(compared, model, truth, splits),
        "right_way_round": _right_way_round(reconstruction, model, truth, splits),
    }
    if truth.has_topology_of(model):
        errors = shape.vertex_errors(compared.vertices, compared.true_vertices) / length
        metrics["vertex_error"] = {**per_frame_metric(errors, unit, splits), "frame_of_reference": compared.frame}
    if len(compared.joint_names) >= _FEWEST_JOINTS:
        for name, errors_of in (
            ("pa_mpjpe", shape.procrustes_joint_errors),
            ("joint_motion_error", shape.joint_motion_errors),
        ):
            errors = errors_of(compared.joints, compared.true_joints) / length
            metrics[name] = {**per_frame_metric(errors, unit, splits), "joints": list(compared.joint_names)}
    return metrics


def jitter_metric(reconstruction: Reconstruction, model: BodyModel, splits: Splits) -> Metric:
    """Mean acceleration of the joints in the world."""
    if len(reconstruction) < 3:
        return missing("an acceleration needs three frames")
    joints = reconstruction.posed(model).joints
    values = torch.full((len(reconstruction),), torch.nan)
    values[1:-1] = shape.mean_accelerations(joints) / model.body_length
    return per_frame_metric(values, "body lengths per squared frame", splits)


def _acceleration_error(compared: _Compared, length: float, unit: str, splits: Splits) -> Metric:
    """How much the joints tremble beside the truth: the mean length of the difference between their accelerations and
    the true ones, after one similarity over the clip. `jitter` and `true_jitter` are the mean accelerations themselves.
    """
    if len(compared.joints) < 3:
        return missing("an acceleration needs three frames")
    if len(compared.joint_names) < _FEWEST_JOINTS:
        return missing(f"fewer than {_FEWEST_JOINTS} joints have a counterpart in the truth")
    aligned = shape.apply_to_clip(shape.align_clip(compared.joints, compared.true_joints), compared.joints)
    measured = {
        "error": shape.mean_accelerations(aligned - compared.true_joints),
        "jitter": shape.mean_accelerations(aligned),
        "true_jitter": shape.mean_accelerations(compared.true_joints),
    }
    values = torch.full((len(aligned),), torch.nan)
    values[1:-1] = measured["error"] / length
    means = {name: round(float(measured[name].mean()) / length, 6) for name in ("jitter", "true_jitter")}
    entry = per_frame_metric(values, f"{unit} per squared frame", splits)
    return {**entry, **means, "frame_of_reference": compared.frame}


def _compare(reconstruction: Reconstruction, model: BodyModel, truth: Truth, in_world: bool) -> _Compared:
    posed = reconstruction.posed(model)
    names = tuple(name for name in model.joint_names if name in truth.joint_names)
    vertices, true_vertices = posed.vertices, truth.vertices
    joints = posed.joints[:, [model.joint_names.index(name) for name in names]]
    true_joints = truth.joints[:, [truth.joint_names.index(name) for name in names]]
    if not in_world:
        ours, theirs = reconstruction.cameras, _true_cameras(reconstruction, truth)
        vertices, true_vertices = ours.transform(vertices), theirs.transform(true_vertices)
        joints, true_joints = ours.transform(joints), theirs.transform(true_joints)
    return _Compared("world" if in_world else "camera", vertices, true_vertices, joints, true_joints, names)


def _true_cameras(reconstruction: Reconstruction, truth: Truth) -> Cameras:
    """Only their place and direction matter here."""
    return Cameras(reconstruction.intrinsics, truth.world_to_camera, reconstruction.image_size)


def _unit_length(truth: Truth, model: BodyModel) -> tuple[float, str]:
    """What lengths are divided by: the truth's body length, or the nearest thing to it that can be had."""
    if truth.body_length is not None:
        return truth.body_length, "body lengths"
    if truth.has_topology_of(model):
        nose = truth.vertices[:, model.keypoint_vertices[0]]
        tail_base = model.joint_regressor[model.joint_names.index("tail_1")] @ truth.vertices
        return float((nose - tail_base).norm(dim=-1).median()), "body lengths"
    return float(shape.bounding_diagonals(truth.vertices).mean()), "diagonals of the bounding box"


def _chamfer(compared: _Compared, model: BodyModel, truth: Truth, splits: Splits) -> Metric:
    if len(compared.joint_names) >= _FEWEST_JOINTS:
        start = shape.align_clip(compared.joints, compared.true_joints)
    else:
        start = shape.align_extents(compared.vertices, compared.true_vertices)
    surfaces = (compared.vertices, model.faces, compared.true_vertices, truth.faces)
    aligned = shape.apply_to_clip(shape.align_surfaces(*surfaces, start), compared.vertices)
    distances = shape.chamfer_distances(aligned, *surfaces[1:]) / shape.bounding_diagonals(compared.true_vertices)
    entry = per_frame_metric(distances, "diagonals of the bounding box", splits)
    return {**entry, "frame_of_reference": compared.frame}


def _right_way_round(reconstruction: Reconstruction, model: BodyModel, truth: Truth, splits: Splits) -> Metric:
    """Share of the frames where the fit looks the way the animal does."""
    tail = next((name for name in _TAIL_BASES if name in truth.joint_names), None)
    if tail is None or _HEAD not in truth.joint_names:
        return missing(f"the truth has no joints named {_HEAD} and {_TAIL_BASES[0]}")
    ours = reconstruction.cameras.transform(reconstruction.posed(model).joints)
    theirs = _true_cameras(reconstruction, truth).transform(truth.joints)
    right = shape.faces_right_way(
        *(ours[:, model.joint_names.index(name)] for name in (tail, _HEAD)),
        *(theirs[:, truth.joint_names.index(name)] for name in (tail, _HEAD)),
    )
    return per_frame_metric(right.float(), "share of frames", splits)
