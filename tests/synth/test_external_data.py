"""A synthetic external data tree is read back by the readers and providers that a fit uses."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.body.smal import load_smal
from animal4d.body.template import load_builtin_template
from animal4d.clip import Clip
from animal4d.cues.parts import LEG, PartMaskFiles
from animal4d.cues.pnp_cameras import PnpCameraFile
from animal4d.cues.sparse_keypoints import SparseKeypointFile
from animal4d.cues.surface import CsePredictions
from animal4d.cues.surface_embeddings import EmbeddingFiles, template_embeddings
from animal4d.cues.track_files import TrackFile
from animal4d.data.layout import write_cse_predictions
from animal4d.data.verify import verify
from animal4d.errors import Animal4dError
from animal4d.files.unpickle import load_pickle, load_torch
from animal4d.geometry.rotations import angle_between
from animal4d.readers.cop3d import FrameChoice
from animal4d.readers.external import ExternalFiles, find_external_files, read_external
from animal4d.readers.initial_shape import read_initial_shape
from animal4d.synth.clip import SyntheticClip, make_synthetic_clip
from animal4d.synth.config import SynthConfig
from animal4d.synth.cse_mesh import make_cse_mesh
from animal4d.synth.cue_noise import noisy_mask, noisy_parts, noisy_tracks, smooth_noise
from animal4d.synth.external_config import ExternalDataConfig, no_noise
from animal4d.synth.external_data import ExternalCues, make_external_cues, write_external_data
from animal4d.synth.truth import load_truth

CLIP = SynthConfig(frames=6, image_size=(120, 160), shape="shepherd", tracks=100, seed=3)
TREE = ExternalDataConfig(cse_vertices=4200, functions=40)
EXACT = replace(TREE, noise=no_noise())
WORKING_SIZE = 100
_SCALE = 160 / WORKING_SIZE


@dataclass(frozen=True)
class Tree:
    root: Path
    film: SyntheticClip
    cues: ExternalCues
    clip: Clip
    files: ExternalFiles


@pytest.fixture(scope="module")
def film() -> SyntheticClip:
    return make_synthetic_clip(CLIP)


@pytest.fixture(scope="module")
def tree(film: SyntheticClip, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    root = tmp_path_factory.mktemp("external") / "tree"
    cues = write_external_data(film, root, TREE)
    clip = read_external(root, TREE.sequence, working_size=WORKING_SIZE)
    return Tree(root, film, cues, clip, find_external_files(root, TREE.sequence))


def surface_errors(tree: Tree, path: Path) -> tuple[np.ndarray, list[int]]:
    """Distances in pixels between the pixels of surface points and where their vertices truly are; points per frame."""
    embeddings = template_embeddings(EmbeddingFiles.in_tree(tree.root), load_builtin_template())
    surface = CsePredictions(path, embeddings, tree.files.frame_numbers)(tree.clip)
    places = tree.film.cameras.project(tree.film.truth.vertices)
    filled = surface.confidence > 0
    true = places.gather(1, surface.vertices[..., None].expand(-1, -1, 2))
    return (true - surface.pixels).norm(dim=-1)[filled].numpy(), filled.sum(1).tolist()


def test_every_entry_is_there_and_right(tree: Tree):
    assert set(tree.files.missing()) == {"cse_weights"}
    assert [finding for finding in verify(tree.root).findings if finding.state == "broken"] == []


def test_cameras_and_times(tree: Tree):
    assert tree.clip.cameras is not None
    original = tree.clip.crop.original_intrinsics(tree.clip.intrinsics)
    # float32 in the index: 1e-5 of a focal length of about 170 pixels, and of places up to 30 from the origin.
    torch.testing.assert_close(original, tree.cues.cameras.intrinsics, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(tree.clip.world_to_camera, tree.cues.cameras.world_to_camera, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tree.clip.times, torch.arange(6) / CLIP.fps)


def test_the_world_of_the_index_is_the_true_one_up_to_a_similarity(tree: Tree):
    ours, true = tree.cues.cameras, tree.film.cameras
    relative = ours.R_cam_from_world @ ours.R_cam_from_world[:1].transpose(1, 2)
    expected = true.R_cam_from_world @ true.R_cam_from_world[:1].transpose(1, 2)
    torch.testing.assert_close(relative, expected, atol=1e-5, rtol=0)
    distances = torch.cdist(ours.centers, ours.centers), torch.cdist(true.centers, true.centers)
    ratio = distances[0][0, 1:] / distances[1][0, 1:]
    torch.testing.assert_close(ratio, ratio[:1].expand(5), rtol=1e-3, atol=0)
    assert abs(float(ratio[0]) - 1) > 0.1


def test_frames_and_masks(tree: Tree):
    stem = tree.root / f"cop3d_data/dog/{TREE.sequence}"
    image = np.asarray(Image.open(stem / "images/frame000002.jpg"))
    # JPEG of quality 95 on noisy grass: a few grey levels.
    assert np.abs(image.astype(int) - tree.film.frames[2]).mean() < 5
    soft = np.asarray(Image.open(stem / "masks/frame000002.png")) / 255
    np.testing.assert_allclose(soft, tree.cues.masks[2], atol=0.5 / 255 + 1e-6)
    refined = np.asarray(Image.open(tree.root / f"refined_masks/{TREE.sequence}/frame000002.png"))
    np.testing.assert_array_equal(refined, 255 * tree.film.masks[2].astype(np.uint8))
    # The noisy mask strays from the exact one, but not far.
    overlap = ((soft > 0.5) & tree.film.masks[2]).sum() / ((soft > 0.5) | tree.film.masks[2]).sum()
    assert 0.85 < overlap < 1


def test_part_labels(tree: Tree):
    numbers = np.array([0, 11, 12, 13, 14])
    folder = tree.files.part_masks
    assert folder is not None
    for index in range(6):
        stored = load_torch(folder / f"frame{index:06d}.pt").numpy()
        np.testing.assert_array_equal(stored, numbers[tree.cues.parts[index]])
    labels = PartMaskFiles(folder)(tree.clip).labels.numpy()
    at = np.floor((np.arange(WORKING_SIZE) + 0.5) * _SCALE).astype(int)
    height = int((at < 120).sum())
    np.testing.assert_array_equal(labels[:, :height], tree.cues.parts[:, at[:height]][:, :, at])
    assert (labels == LEG).any()


def test_tracks(tree: Tree):
    assert tree.files.tracking_points is not None
    tracks = TrackFile(tree.files.tracking_points, tree.files.frame_numbers)(tree.clip)
    torch.testing.assert_close(tracks.points, tree.cues.tracks, atol=1e-3, rtol=0)
    inside = (tree.cues.tracks >= 0).all(-1) & (tree.cues.tracks <= torch.tensor([160, 120])).all(-1)
    torch.testing.assert_close(tracks.visible, tree.cues.track_visible & inside)
    errors = (tracks.points - tree.film.truth.tracks).norm(dim=-1)
    assert 0.02 < errors.mean() < 0.5  # jitter and drift of half a padded pixel, a fifth of one here


def test_surface_points_are_near_the_truth(tree: Tree):
    assert tree.files.cse_predictions is not None
    errors, counts = surface_errors(tree, tree.files.cse_predictions.path)
    detected = [bool(found) for found in tree.cues.detections]
    assert [count > 30 for count in counts] == detected
    assert detected.count(False) == 1
    # The animal is some 90 pixels long; errors of embeddings of 0.06 move a place by some 2 % of its length, and one
    # pair of legs may be mirrored.
    assert np.median(errors) < 2.5
    assert np.percentile(errors, 75) < 5


def test_surface_points_without_noise(tree: Tree, tmp_path: Path):
    cues = make_external_cues(tree.film, EXACT)
    assert all(len(found) == 1 for found in cues.detections)
    path = tmp_path / "x_200_cse_predictions.pk"
    write_cse_predictions(path, cues.detections[:1])
    errors, _ = surface_errors(first_frames(tree, 1), path)
    # What is left are the pixels of the map, a vertex' distance, and the few functions of the map between the meshes.
    assert np.median(errors) < 1.0
    assert np.percentile(errors, 90) < 2.5


def first_frames(tree: Tree, count: int) -> Tree:
    clip = read_external(tree.root, TREE.sequence, FrameChoice(stop=count), working_size=WORKING_SIZE)
    truth = replace(tree.film.truth, vertices=tree.film.truth.vertices[:count], cameras=tree.film.cameras[:count])
    film = replace(tree.film, truth=truth)
    return replace(tree, clip=clip, film=film)


def test_a_second_animal_of_another_category_is_there(tree: Tree):
    several = [found for found in tree.cues.detections if len(found) > 1]
    assert several
    for found in several:
        assert sorted(category == "dog" for category, _ in found) == [False, True]


def test_pnp_cameras(tree: Tree):
    file = tree.files.pnp_cameras
    assert file is not None
    read = PnpCameraFile(file.path, tree.files.frame_numbers, file.frame_limit)(tree.clip)
    assert read.valid.tolist() == tree.cues.pnp_valid.tolist()
    assert 0 < int((~read.valid).sum()) < 6
    expected = tree.cues.pnp_world_to_camera[read.valid]
    torch.testing.assert_close(read.world_to_camera[read.valid], expected, atol=1e-5, rtol=1e-5)
    # Seen through them the template in rest pose lies on the animal: its nose near the true nose.
    body, model = tree.film.truth.body, load_builtin_template()
    assert body is not None
    angles = angle_between(
        read.world_to_camera[read.valid][:, :3, :3],
        (tree.film.cameras.R_cam_from_world @ body.joint_rotations[:, 0])[read.valid],
    )
    assert torch.rad2deg(angles).max() < 25  # six times the noise about each of three axes
    rest = read.world_to_camera[:, :3, :3] @ model.v_template[model.keypoint_vertices[0]]
    nose = rest + read.world_to_camera[:, :3, 3]
    pixels = (tree.film.cameras.intrinsics @ nose[..., None]).squeeze(-1)
    places = tree.film.cameras.project(tree.film.truth.vertices)[:, model.keypoint_vertices[0]]
    assert ((pixels[:, :2] / pixels[:, 2:]) - places)[read.valid].norm(dim=-1).mean() < 25


def test_keypoints_and_shape(tree: Tree):
    assert tree.files.sparse_keypoints is not None and tree.files.init_pose is not None
    read = SparseKeypointFile(tree.files.sparse_keypoints, tree.files.frame_numbers)(tree.clip)
    torch.testing.assert_close(read.points, tree.cues.keypoints, atol=1e-3, rtol=0)
    torch.testing.assert_close(read.score, tree.cues.keypoint_score)
    shape = read_initial_shape(tree.files.init_pose)
    torch.testing.assert_close(shape.betas, tree.cues.betas)


def test_the_template_as_a_smal_file(tree: Tree):
    assert tree.files.smal_model is not None
    model, builtin = load_smal(tree.files.smal_model), load_builtin_template()
    torch.testing.assert_close(model.v_template, builtin.v_template)
    assert (model.n_joints, model.n_betas) == (35, 30)
    assert torch.equal(model.left_indices, builtin.left_indices)


@pytest.mark.filterwarnings("ignore")  # scipy's, of the older name of its module
def test_the_published_way_of_reading_works(tree: Tree):
    """Plain `pickle.load` and torch, as the published code does it."""
    assert tree.files.cse_predictions is not None
    content = pickle.loads(tree.files.cse_predictions.path.read_bytes())
    assert len(content["E"]) == 6
    first = next(frame for frame in content["E"] if frame is not None)
    assert isinstance(first, torch.Tensor) and first.shape[1:] == (16, 112, 112)
    for entry in tree.files.present().values():
        if entry.suffix in (".pk", ".pkl"):
            assert type(load_pickle(entry)) is type(pickle.loads(entry.read_bytes()))


def test_textures_give_the_same_place_the_same_colour(tree: Tree):
    assert tree.files.texture_cse is not None and tree.files.texture_smal is not None
    on_cse, on_smal = load_pickle(tree.files.texture_cse), load_pickle(tree.files.texture_smal)
    mesh = make_cse_mesh(load_builtin_template(), TREE.cse_vertices, TREE.functions)
    np.testing.assert_array_equal(on_cse[mesh.of_template_vertex], on_smal)
    assert len(np.unique(on_smal, axis=0)) > 0.99 * len(on_smal)
    faces = load_builtin_template().faces.numpy()
    steps = np.abs(np.diff(on_smal[faces].astype(int), axis=1)).max(-1)
    assert np.percentile(steps, 99) < 40  # smooth: of 255 levels, from one end of an edge to the other


def test_the_stand_in_is_another_mesh_of_the_same_surface():
    model = load_builtin_template()
    mesh = make_cse_mesh(model, 4200, 40)
    rest = model.v_template.double().numpy()
    vertices = mesh.on_template @ rest
    np.testing.assert_allclose(vertices[mesh.of_template_vertex], rest)
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all()  # closed
    assert len(vertices) - len(uses) + len(mesh.faces) == 2  # a sphere
    np.testing.assert_allclose(mesh.basis.area, mesh.template_basis.area, rtol=1e-9)
    # Two triangulations of one surface have nearly the same spectrum, and the map between is nearly a rotation.
    np.testing.assert_allclose(mesh.basis.eigenvalues[1:20], mesh.template_basis.eigenvalues[1:20], rtol=0.02)
    np.testing.assert_allclose(mesh.to_template @ mesh.to_template.T, np.eye(40), atol=0.1)


def test_the_same_seed_gives_the_same_bytes(tree: Tree, tmp_path: Path):
    write_external_data(tree.film, tmp_path / "again", TREE)
    for path in sorted(tree.root.rglob("*")):
        if path.is_file() and path.suffix != ".npz":
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tree.root)).read_bytes(), path


def test_truth_is_beside(tree: Tree):
    truth = load_truth(tree.root)
    torch.testing.assert_close(truth.vertices, tree.film.truth.vertices)


def test_no_noise_changes_nothing(tree: Tree):
    film, noise, rng = tree.film, no_noise(), np.random.default_rng(0)
    np.testing.assert_array_equal(noisy_mask(film.masks[0], noise, rng), film.masks[0])
    np.testing.assert_array_equal(noisy_parts(film.parts[0], noise, rng), film.parts[0])
    points, visible = film.truth.tracks.numpy(), film.truth.track_visible.numpy()
    again = noisy_tracks(points, visible, CLIP.image_size, noise, rng)
    np.testing.assert_array_equal(again[0], points)
    np.testing.assert_array_equal(again[1], visible)


def test_smooth_noise_has_unit_spread_and_is_smooth():
    noise = smooth_noise((200, 300), 12, np.random.default_rng(0), 3)
    assert noise.shape == (200, 300, 3)
    assert 0.7 < noise.std() < 1.2
    assert np.abs(np.diff(noise, axis=0)).max() < 0.4


def test_what_cannot_be_written(tree: Tree, tmp_path: Path):
    with pytest.raises(Animal4dError, match="not an empty folder"):
        write_external_data(tree.film, tree.root, TREE)
    foreign = replace(tree.film, truth=replace(tree.film.truth, body=None))
    with pytest.raises(Animal4dError, match="only the built-in body"):
        write_external_data(foreign, tmp_path / "foreign", TREE)
    with pytest.raises(Animal4dError, match="at least the template's"):
        write_external_data(tree.film, tmp_path / "small", replace(TREE, cse_vertices=100))
    with pytest.raises(Animal4dError, match="cannot be the name"):
        write_external_data(tree.film, tmp_path / "name", replace(TREE, sequence="../x"))
