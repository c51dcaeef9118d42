"""Synthetic clips in the layout of the external data tree: what a user of the published method has, with truth.

root
├── cop3d_data           index, frames, masks, part masks, tracks
├── refined_masks        exact
├── preprocessing        CSE predictions and PnP cameras
├── smal                 the built-in template as a SMAL file
├── lbos, cse, textures  of the template and of a stand-in for CSE's dog mesh
├── sparse_keypoints, init_pose
└── truth.npz            of the sequence, see `synth.truth`
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import PART_NAMES, BodyModel
from animal4d.body.smal import write_smal_pickle
from animal4d.body.template import load_builtin_template
from animal4d.cues.surface import DETECTED_CLASSES, MAP_SIZE, Detection
from animal4d.data import layout
from animal4d.data.layout import IndexRow, SequencePlace, frame_stem, mask_measures
from animal4d.data.surface_maps import padded_box, render_detection, rest_pose_cameras
from animal4d.errors import Animal4dError
from animal4d.files.atomic import atomic_path
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.geometry.rotations import matrix_from_axis_angle
from animal4d.readers.source import Progress
from animal4d.synth.clip import SyntheticClip
from animal4d.synth.cse_mesh import CseMesh, make_cse_mesh
from animal4d.synth.cue_noise import chosen_frames, noisy_mask, noisy_parts, noisy_tracks, smooth_noise
from animal4d.synth.external_config import TRUTH_FILE, CueNoise, ExternalDataConfig
from animal4d.synth.truth import BodyParameters, save_truth

_SMAL_FILE = "my_smpl_39dogsnorm_newv3_dog.pkl"
_LEGS = {"front": ("front_left_leg", "front_right_leg"), "back": ("back_left_leg", "back_right_leg")}
_OTHER_CATEGORIES = ("cat", "sheep", "horse")


@dataclass(frozen=True)
class ExternalCues:
    """All that is written about a sequence beside its pictures, in memory: in pixels of the original frames."""

    cameras: Cameras
    """Of the index."""
    masks: Float[ndarray, "frames height width"]
    """COP3D's."""
    parts: UInt8[ndarray, "frames height width"]
    """Values of `cues.parts.PART_LABELS`."""
    tracks: Float[Tensor, "frames tracks 2"]
    track_visible: Bool[Tensor, "frames tracks"]
    detections: tuple[tuple[tuple[str, Detection], ...], ...]
    """Categories and detections of every frame."""
    pnp_world_to_camera: Float[Tensor, "frames 4 4"]
    pnp_valid: Bool[Tensor, "frames"]
    keypoints: Float[Tensor, "frames 24 2"]
    keypoint_score: Float[Tensor, "frames 24"]
    betas: Float[Tensor, "betas"]
    limb_scales: Float[Tensor, "7"]


def make_external_cues(clip: SyntheticClip, config: ExternalDataConfig) -> ExternalCues:
    """The cues of a clip, with errors. The same clip and configuration give the same cues.

    Raises Animal4dError where the animal is not the built-in body, which alone has a known surface.
    """
    body = clip.truth.body
    if body is None:
        raise Animal4dError(
            f"{clip.config.source}: only the built-in body has a template that surface cues can refer to; leave "
            "--source away, or write the clip without --layout external-data"
        )
    model, noise = load_builtin_template(), config.noise
    size = clip.config.image_size

    def random(what: int) -> np.random.Generator:
        return np.random.default_rng([noise.seed, clip.config.seed, what])

    labels = np.array([0, *layout.LABELS_OF_PARTS], np.uint8)
    mask_rng, part_rng = random(1), random(2)
    masks = [noisy_mask(mask, noise, mask_rng) for mask in clip.masks]
    parts = [noisy_parts(labels[frame], noise, part_rng) for frame in clip.parts]
    true_tracks = (clip.truth.tracks.double().numpy(), clip.truth.track_visible.numpy())
    tracks, track_visible = noisy_tracks(*true_tracks, size, noise, random(3))
    pnp, pnp_valid = _pnp_cameras(_exact_pnp(clip, model, body), noise, random(5))
    keypoints, score = _keypoints(clip, model, body, noise, random(6))
    betas = body.betas + noise.betas * torch.from_numpy(random(7).standard_normal(len(body.betas))).float()
    return ExternalCues(
        cameras=_free_world(clip.cameras, random(8)) if noise.free_world else clip.cameras,
        masks=np.stack(masks),
        parts=np.stack(parts),
        tracks=torch.from_numpy(tracks).float(),
        track_visible=torch.from_numpy(track_visible),
        detections=_detections(clip, model, config, random(4)),
        pnp_world_to_camera=pnp,
        pnp_valid=pnp_valid,
        keypoints=keypoints,
        keypoint_score=score,
        betas=betas,
        limb_scales=body.limb_scales,
    )


def write_external_data(
    clip: SyntheticClip,
    root: str | Path,
    config: ExternalDataConfig | None = None,
    progress: Progress | None = None,
) -> ExternalCues:
    """Write the tree; returns what was written. `progress` is called as `progress(what, done, of)`.

    Raises Animal4dError where the folder is not empty, the disk is full, or the animal is not the built-in body.
    """
    config = config or ExternalDataConfig()
    root = Path(root)
    place = SequencePlace(root, config.category, config.sequence)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Animal4dError(f"{root} is not an empty folder: give another one")
    cues = make_external_cues(clip, config)
    rows = []
    for index in range(len(clip.frames)):
        stem = frame_stem(index)
        layout.write_image(place.images / f"{stem}.jpg", clip.frames[index])
        layout.write_mask(place.masks / f"{stem}.png", cues.masks[index])
        layout.write_refined_mask(place.refined_masks / f"{stem}.png", clip.masks[index])
        layout.write_part_mask(place.part_masks / f"{stem}.pt", cues.parts[index])
        time, camera = index / clip.config.fps, cues.cameras[[index]]
        rows.append(IndexRow(index, time, clip.config.image_size, *mask_measures(cues.masks[index]), camera))
        if progress is not None:
            progress("writing frames", index + 1, len(clip.frames))
    size = clip.config.image_size
    layout.write_index(place, rows, quality=1.0)
    layout.write_tracking_points(place.tracking_points, cues.tracks, cues.track_visible, size)
    layout.write_cse_predictions(place.cse_predictions, cues.detections)
    layout.write_pnp_cameras(place.pnp_cameras, cues.pnp_world_to_camera, cues.pnp_valid)
    layout.write_sparse_keypoints(place.sparse_keypoints, cues.keypoints, cues.keypoint_score, size)
    layout.write_initial_shape(place.init_pose, cues.betas, cues.limb_scales)
    _write_shared(root, stand_in(config))
    with atomic_path(root / TRUTH_FILE) as temporary:
        save_truth(clip.truth, temporary)
    return cues


def stand_in(config: ExternalDataConfig) -> CseMesh:
    """The stand-in for CSE's mesh; made once per process. Raises Animal4dError where the sizes cannot be."""
    return _stand_in(config.cse_vertices, config.functions)


@lru_cache(maxsize=4)
def _stand_in(n_vertices: int, n_functions: int) -> CseMesh:
    try:
        return make_cse_mesh(load_builtin_template(), n_vertices, n_functions)
    except ValueError as error:
        raise Animal4dError(f"external data: {error}") from error


def _write_shared(root: Path, mesh: CseMesh) -> None:
    model = load_builtin_template()
    write_smal_pickle(model, root / "smal" / _SMAL_FILE)
    layout.write_basis(root / "lbos" / "lbo_smal.pk", mesh.template_basis.functions, mesh.template_basis.areas)
    layout.write_basis(root / "lbos" / "lbo_cse.pk", mesh.basis.functions, mesh.basis.areas)
    layout.write_functional_map(root / "lbos" / "lbo_cse_to_smal.pk", mesh.to_template)
    layout.write_embedding(root / "cse" / "cse_embedding.pk", mesh.embedding)
    colors = layout.surface_colors(model.v_template.double().numpy())
    layout.write_texture(root / "textures" / "texture_smal.pk", layout.color_bytes(colors))
    layout.write_texture(root / "textures" / "texture_cse.pk", layout.color_bytes(mesh.on_template @ colors))


def _free_world(cameras: Cameras, rng: np.random.Generator) -> Cameras:
    """The same cameras in a world of another scale, turned and moved."""
    turn = matrix_from_axis_angle(torch.from_numpy(rng.uniform(-2, 2, 3)).float())
    scale, shift = float(rng.uniform(2, 6)), torch.from_numpy(rng.uniform(-3, 3, 3)).float()
    # X_new = scale * turn @ X + shift, and the cameras' own axes grow by the same scale.
    world_to_camera = cameras.world_to_camera.clone()
    world_to_camera[:, :3, :3] = cameras.R_cam_from_world @ turn.T
    world_to_camera[:, :3, 3] = scale * cameras.t_cam_from_world - world_to_camera[:, :3, :3] @ shift
    return Cameras(cameras.intrinsics, world_to_camera, cameras.image_size)


def _exact_pnp(clip: SyntheticClip, model: BodyModel, body: BodyParameters) -> Cameras:
    root = model.with_shape(body.betas).joints[0]
    return rest_pose_cameras(clip.cameras, root, body.joint_rotations[:, 0], body.translation)


def _pnp_cameras(
    exact: Cameras, noise: CueNoise, rng: np.random.Generator
) -> tuple[Float[Tensor, "frames 4 4"], Bool[Tensor, "frames"]]:
    n = len(exact)
    turns = matrix_from_axis_angle(torch.from_numpy(rng.normal(0, np.radians(noise.pnp_degrees), (n, 3))).float())
    shifts = torch.from_numpy(noise.pnp_shift * rng.standard_normal((n, 3)) * [1, 1, 2]).float()
    world_to_camera = exact.world_to_camera.clone()
    world_to_camera[:, :3, :3] = turns @ exact.R_cam_from_world
    world_to_camera[:, :3, 3] += shifts * exact.t_cam_from_world[:, 2:]
    return world_to_camera, torch.from_numpy(~chosen_frames(noise.pnp_failed, n, rng))


def _keypoints(
    clip: SyntheticClip, model: BodyModel, body: BodyParameters, noise: CueNoise, rng: np.random.Generator
) -> tuple[Float[Tensor, "frames 24 2"], Float[Tensor, "frames 24"]]:
    posed = model.with_shape(body.betas, body.limb_scales).with_pose(body.joint_rotations, body.translation)
    exact = clip.cameras.project(posed.keypoints).double().numpy()
    height, width = clip.config.image_size
    points = exact + noise.keypoint * max(height, width) * rng.standard_normal(exact.shape)
    lost = rng.random(exact.shape[:2]) < noise.keypoint_lost
    low, high = exact.min(1, keepdims=True), exact.max(1, keepdims=True)
    points = np.where(lost[..., None], rng.uniform(low, high, exact.shape), points)
    score = np.where(lost, rng.uniform(0.05, 0.35, lost.shape), rng.uniform(0.6, 0.98, lost.shape))
    inside = (points >= 0).all(-1) & (points <= [width, height]).all(-1)
    return torch.from_numpy(points.clip(0, [width, height])).float(), torch.from_numpy(score * inside).float()


def _detections(
    clip: SyntheticClip, model: BodyModel, config: ExternalDataConfig, rng: np.random.Generator
) -> tuple[tuple[tuple[str, Detection], ...], ...]:
    noise, n = config.noise, len(clip.frames)
    mesh = stand_in(config)
    embeddings = torch.from_numpy(mesh.embedding[mesh.of_template_vertex]).float()
    undetected = chosen_frames(noise.undetected, n, rng)
    with_other = np.zeros(n, bool)
    detected = np.flatnonzero(~undetected)
    with_other[detected[chosen_frames(noise.wrong_category, len(detected), rng)]] = True
    frames: list[tuple[tuple[str, Detection], ...]] = []
    for index, mask in enumerate(clip.masks):
        box = padded_box(torch.from_numpy(mask), torch.from_numpy(noise.box * rng.standard_normal(4)).float())
        if box is None or undetected[index]:
            frames.append(())
            continue
        swapped = _with_mirrored_legs(embeddings, model, noise.mirrored_legs, rng)
        exact = render_detection(clip.truth.vertices[index], clip.truth.faces, swapped, clip.cameras[[index]], box)
        found = [(config.category, _spoilt(exact, noise, float(rng.uniform(0.85, 0.99)), rng))]
        if with_other[index]:
            found.append(_other_animal(box, config.category, clip.config.image_size, rng))
            if rng.random() < 0.5:
                found.reverse()
        frames.append(tuple(found))
    return tuple(frames)


def _with_mirrored_legs(
    embeddings: Float[Tensor, "vertices 16"], model: BodyModel, probability: float, rng: np.random.Generator
) -> Float[Tensor, "vertices 16"]:
    """Front legs, hind legs or both as if they were those of the other side."""
    mirror = torch.arange(model.n_vertices)
    mirror[model.left_indices], mirror[model.right_indices] = model.right_indices, model.left_indices
    result = embeddings
    for pair in _LEGS.values():
        if rng.random() < probability:
            numbers = torch.tensor([PART_NAMES.index(name) for name in pair])
            on_legs = torch.isin(model.part_labels, numbers)
            result = torch.where(on_legs[:, None], embeddings[mirror], result)
    return result


def _spoilt(exact: Detection, noise: CueNoise, score: float, rng: np.random.Generator) -> Detection:
    """A detection with errors; off the animal embeddings are arbitrary, as a network's are."""
    shape = (MAP_SIZE, MAP_SIZE)
    animal = (exact.segmentation[1] > 0).numpy()
    channels = len(exact.embedding)
    arbitrary = smooth_noise(shape, 8, rng, channels) / channels**0.5
    maps = np.where(animal[..., None], exact.embedding.permute(1, 2, 0).numpy(), arbitrary)
    maps = maps + noise.embedding_smooth * smooth_noise(shape, 8, rng, channels)
    maps = maps + noise.embedding * rng.standard_normal(maps.shape)
    logit = exact.segmentation[1].numpy() + noise.outline * smooth_noise(shape, 5, rng)[..., 0]
    if rng.random() < noise.hole and animal.any():
        middle = rng.permutation(np.argwhere(animal))[0]
        rows, columns = np.indices(shape)
        hole = np.hypot(rows - middle[0], columns - middle[1]) < rng.uniform(4, 10)
        logit = np.where(hole, -np.abs(logit) - 1, logit)
    segmentation = torch.from_numpy(np.stack((-logit, logit))).float()
    return Detection(torch.from_numpy(maps).permute(2, 0, 1).float(), segmentation, exact.box, score)


def _other_animal(
    box: Float[Tensor, "4"], category: str, image_size: tuple[int, int], rng: np.random.Generator
) -> tuple[str, Detection]:
    """Something beside the animal, or the animal again, taken for another one."""
    height, width = image_size
    frame = torch.tensor([width, height, width, height]) * (PADDED_SIZE / max(image_size))
    size = (box[2:] - box[:2]).repeat(2)
    moved = torch.minimum((box + 0.2 * size * torch.from_numpy(rng.uniform(-1, 1, 4)).float()).clamp_min(0), frame)
    moved = moved if (moved[2:] - moved[:2]).min() > 1 else box
    shape = (MAP_SIZE, MAP_SIZE)
    maps = torch.from_numpy(smooth_noise(shape, 10, rng, 16).copy()).permute(2, 0, 1) / 4
    logit = torch.from_numpy(3 * smooth_noise(shape, 20, rng)[..., 0])
    others = [name for name in _OTHER_CATEGORIES if name != category and name in DETECTED_CLASSES]
    detection = Detection(maps.float(), torch.stack((-logit, logit)).float(), moved, float(rng.uniform(0.5, 0.99)))
    return others[int(rng.integers(len(others)))], detection
