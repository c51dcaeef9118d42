"""A small external data tree in the published layout, with truth: synthetic clips of the built-in body.

    root
    ├── cop3d_data      index, frames, masks, part masks, tracks
    ├── refined_masks   of the first sequence only
    ├── preprocessing   CSE predictions (one frame without detection, one with a zebra as well) and PnP cameras
    ├── smal, lbos, cse, textures
    ├── sparse_keypoints
    └── init_pose       of the first sequence only

CSE's mesh is the built-in template numbered at random, so that the functional map is the identity.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from PIL import Image

from animal4d.body.model import PART_NAMES, BodyModel
from animal4d.body.smal import write_smal_pickle
from animal4d.body.template import load_builtin_template
from animal4d.geometry.cameras import Cameras, cameras_to_pytorch3d
from animal4d.geometry.rasterize import interpolate, rasterize
from animal4d.geometry.spectral import laplace_beltrami
from animal4d.synth.clip import SyntheticClip, make_synthetic_clip
from animal4d.synth.config import SynthConfig

PADDED = 800
FRAME_LIMIT = 200
SEQUENCES = {
    "1000_10_20": SynthConfig(motion="walk", shape="mean", frames=4, image_size=(96, 128), tracks=60, seed=2),
    "1001_11_21": SynthConfig(motion="trot", shape="mean", frames=3, image_size=(128, 96), tracks=60, seed=5),
}
"""Landscape and portrait."""
_PART_LABELS = {"head": 11, "torso": 12, "tail": 14}
_LEG = 13
_DOG, _ZEBRA = 3, 8
_EMBEDDING = 16
_BASIS = 24
_SCHEMA = """
CREATE TABLE frame_annots (sequence_name VARCHAR NOT NULL, frame_number INTEGER NOT NULL,
 frame_timestamp DOUBLE NOT NULL, _image_path VARCHAR NOT NULL, _image_size BLOB NOT NULL, _depth_path VARCHAR,
 _depth_scale_adjustment DOUBLE, _depth_mask_path VARCHAR, _mask_path VARCHAR, _mask_mass DOUBLE,
 _mask_bounding_box_xywh BLOB, "_viewpoint_R" BLOB, "_viewpoint_T" BLOB, _viewpoint_focal_length BLOB,
 _viewpoint_principal_point BLOB, _viewpoint_intrinsics_format VARCHAR, PRIMARY KEY (sequence_name, frame_number));
CREATE INDEX ix_frame_annots_frame_timestamp ON frame_annots (frame_timestamp);
CREATE TABLE sequence_annots (sequence_name VARCHAR NOT NULL, category VARCHAR NOT NULL, _video_path VARCHAR,
 _video_length DOUBLE, _point_cloud_path VARCHAR, _point_cloud_quality_score DOUBLE, _point_cloud_n_points INTEGER,
 viewpoint_quality_score DOUBLE, PRIMARY KEY (sequence_name));
CREATE INDEX ix_sequence_annots_category ON sequence_annots (category);
"""


@dataclass(frozen=True)
class CseMesh:
    """The template under other numbers, with its embedding."""

    template_vertex: NDArray[np.int64]
    """For every vertex of CSE's mesh the same of the template."""
    embedding: NDArray[np.float32]
    """(vertices, 16), rows of length one."""


def write_tree(
    root: Path, sequences: Mapping[str, SynthConfig] = SEQUENCES, category: str = "dog"
) -> dict[str, SyntheticClip]:
    """Write the tree; returns the clips with their truth."""
    model = load_builtin_template()
    mesh = _write_shared(root, model)
    clips = {name: make_synthetic_clip(config) for name, config in sequences.items()}
    _write_index(root / "cop3d_data" / "metadata.sqlite", clips, category)
    for place, (name, clip) in enumerate(clips.items()):
        folder = root / "cop3d_data" / category / name
        _write_frames(folder, clip)
        torch.save(_tracks(clip), folder / "tracking_points.pt")
        _pickle(root / f"sparse_keypoints/{name}_keypoints.pk", _keypoints(clip, model))
        preprocessing = root / "preprocessing"
        predictions = _cse_predictions(clip, mesh)
        _pickle(preprocessing / f"cse_embeddings/{name}_{FRAME_LIMIT}_cse_predictions.pk", predictions)
        _pickle(preprocessing / f"pnp_ransac/{name}_{FRAME_LIMIT}_pnp_R_T.pk", _pnp(clip, model))
        if place == 0:
            for index, mask in enumerate(clip.masks):
                _save(mask.astype(np.uint8) * 255, root / f"refined_masks/{name}/frame{index:06d}.png")
            shape = {"betas": np.zeros((1, 30), np.float32), "betas_limbs": np.zeros((1, 7), np.float32)}
            _pickle(root / f"init_pose/{name}_init_pose.pk", shape)
    return clips


def _write_shared(root: Path, model: BodyModel) -> CseMesh:
    """Template, eigenfunctions, functional map, embedding, textures."""
    vertices, faces = model.v_template.double().numpy(), model.faces.numpy()
    basis = laplace_beltrami(vertices, faces, _BASIS)
    order = np.random.default_rng(7).permutation(model.n_vertices)
    waves = basis.functions[:, 1 : _EMBEDDING + 1]
    embedding = waves / np.linalg.norm(waves, axis=1, keepdims=True)
    lbo_smal = {"lbo_basis": basis.functions, "lbo_areas": scipy.sparse.diags(basis.areas).tocsc()}
    lbo_cse = {"lbo_basis": basis.functions[order], "lbo_areas": scipy.sparse.diags(basis.areas[order]).tocsr()}
    span = np.ptp(vertices, axis=0)
    colors = ((vertices - vertices.min(0)) / span * 255).round().astype(np.uint8)
    write_smal_pickle(model, root / "smal/my_smpl_39dogsnorm_newv3_dog.pkl")
    _pickle(root / "lbos/lbo_smal.pk", lbo_smal)
    _pickle(root / "lbos/lbo_cse.pk", lbo_cse)
    _pickle(root / "lbos/lbo_cse_to_smal.pk", {"C": np.eye(_BASIS)})
    _pickle(root / "cse/cse_embedding.pk", {"cse_dog": embedding[order].astype(np.float32)})
    prefix = "roi_heads.embedder.embedder_dog_7466"
    weights = {f"{prefix}.features": embedding[order], f"{prefix}.embeddings": np.eye(_EMBEDDING)}
    _pickle(root / "cse/model_final_8c9d99.pkl", {"model": weights, "__author__": "a test"})
    for name in ("Base-DensePose-RCNN-FPN", "densepose_rcnn_R_50_FPN_soft_animals_I0_finetune_i2m_16k"):
        (root / f"cse/{name}.yaml").write_text("VERSION: 2\n")
    _pickle(root / "textures/texture_smal.pk", colors)
    _pickle(root / "textures/texture_cse.pk", colors[order])
    return CseMesh(order, embedding[order].astype(np.float32))


def _write_index(path: Path, clips: Mapping[str, SyntheticClip], category: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_SCHEMA)
        for name, clip in clips.items():
            connection.execute(
                "INSERT INTO sequence_annots VALUES (?, ?, '', 1.0, '', 0.5, 0, 1.25)",
                (name, category),
            )
            ndc = cameras_to_pytorch3d(clip.cameras)
            for index, mask in enumerate(clip.masks):
                rows, columns = np.nonzero(mask)
                left, top = columns.min(), rows.min()
                box = (left, top, columns.max() + 1 - left, rows.max() + 1 - top)
                row = (
                    name,
                    index,
                    index / clip.config.fps,
                    f"{category}/{name}/images/frame{index:06d}.jpg",
                    np.array(mask.shape, "<i4").tobytes(),
                    None,
                    None,
                    None,
                    f"{category}/{name}/masks/frame{index:06d}.png",
                    float(mask.sum()),
                    np.array(box, "<f4").tobytes(),
                    *(
                        ndc[key][index].numpy().astype("<f4").tobytes()
                        for key in ("R", "T", "focal_length", "principal_point")
                    ),
                    "ndc_isotropic",
                )
                connection.execute(f"INSERT INTO frame_annots VALUES ({', '.join('?' * len(row))})", row)


def _write_frames(folder: Path, clip: SyntheticClip) -> None:
    labels = np.array([0, *(_PART_LABELS.get(part, _LEG) for part in PART_NAMES)], np.uint8)
    (folder / "part_masks").mkdir(parents=True)
    for index, (frame, mask, parts) in enumerate(zip(clip.frames, clip.masks, clip.parts, strict=True)):
        _save(frame, folder / f"images/frame{index:06d}.jpg")
        _save(mask.astype(np.uint8) * 255, folder / f"masks/frame{index:06d}.png")
        torch.save(torch.from_numpy(labels[parts]), folder / f"part_masks/frame{index:06d}.pt")


def _tracks(clip: SyntheticClip) -> tuple[torch.Tensor, torch.Tensor]:
    return clip.truth.tracks * (PADDED / max(clip.config.image_size)), clip.truth.track_visible


def _keypoints(clip: SyntheticClip, model: BodyModel) -> NDArray[np.float32]:
    body = clip.truth.body
    assert body is not None
    posed = model.with_shape(body.betas, body.limb_scales).with_pose(body.joint_rotations, body.translation)
    places = clip.cameras.project(posed.keypoints).numpy() / max(clip.config.image_size)
    return np.concatenate([places.clip(0, 1), np.full((*places.shape[:2], 1), 0.9)], axis=-1).astype(np.float32)


def _cse_predictions(clip: SyntheticClip, mesh: CseMesh) -> dict[str, list[Any]]:
    """The second frame has no detection, the third a zebra of a higher score as well."""
    on_template = np.empty_like(mesh.embedding)
    on_template[mesh.template_vertex] = mesh.embedding
    size = clip.config.image_size
    rng = np.random.default_rng(clip.config.seed)
    names = ("E", "S", "bboxes_x1y1x2y2", "scores", "pred_classes", "image_size")
    predictions: dict[str, list[Any]] = {name: [] for name in names}
    for index, mask in enumerate(clip.masks):
        if index == 1:
            for name in names:
                predictions[name].append(None)
            continue
        rows, columns = np.nonzero(mask)
        scale = PADDED / max(size)
        corners = np.array([columns.min() - 1, rows.min() - 1, columns.max() + 2, rows.max() + 2]) * scale
        box = corners.clip(0, np.array([size[1], size[0]] * 2) * scale)
        camera = _box_camera(clip.cameras[[index]], box, scale)
        fragments = rasterize(
            camera.transform(clip.truth.vertices[[index]]), clip.truth.faces, camera.intrinsics, (112, 112)
        )
        values = interpolate(fragments, clip.truth.faces, torch.from_numpy(on_template)[None])[0].numpy()
        covered = fragments.covered[0].numpy()
        E = values.transpose(2, 0, 1) + rng.normal(0, 0.02, (16, 112, 112))
        S = np.stack([np.where(covered, -4, 4), np.where(covered, 4, -4)])
        n = 2 if index == 2 else 1
        predictions["E"].append(np.stack([E] * n).astype(np.float32))
        predictions["S"].append(np.stack([S] * n).astype(np.float32))
        predictions["bboxes_x1y1x2y2"].append(np.stack([box] * n).astype(np.float32))
        predictions["scores"].append(np.array([0.95, 0.9][-n:], np.float32))
        predictions["pred_classes"].append(np.array([_ZEBRA, _DOG][-n:]))
        predictions["image_size"].append(np.array([PADDED, PADDED]))
    return predictions


def _box_camera(camera: Cameras, box: NDArray[np.float64], scale: float) -> Cameras:
    """The camera of 112 x 112 pictures of a box in padded pixels."""
    left, top, right, bottom = box
    intrinsics = camera.intrinsics * scale
    intrinsics[:, 2, 2] = 1
    intrinsics[:, 0, 2] -= left
    intrinsics[:, 1, 2] -= top
    intrinsics[:, 0] *= 112 / (right - left)
    intrinsics[:, 1] *= 112 / (bottom - top)
    return Cameras(intrinsics, camera.world_to_camera, (112, 112))


def _pnp(clip: SyntheticClip, model: BodyModel) -> dict[str, Any]:
    """Cameras of the template in rest pose; frame 1 has none."""
    body = clip.truth.body
    assert body is not None
    R_world_from_body = body.joint_rotations[:, 0]
    root = model.with_shape(body.betas).joints[0]
    origin = root - R_world_from_body @ root + body.translation
    transform = torch.eye(4).repeat(len(clip.frames), 1, 1)
    transform[:, :3, :3], transform[:, :3, 3] = R_world_from_body, origin
    cameras = Cameras(clip.cameras.intrinsics, clip.cameras.world_to_camera @ transform, clip.cameras.image_size)
    ndc = cameras_to_pytorch3d(cameras)
    valid = [index for index in range(len(clip.frames)) if index != 1]
    return {"valid_indices_pnp": valid, "R_PNP": ndc["R"].numpy(), "T_PNP": ndc["T"].numpy()}


def _pickle(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=4))


def _save(image: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
