"""`preprocess` writes the tree of any clip, and only what is not current."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.commands import animal4d

from animal4d.body.smal import write_smal_pickle
from animal4d.body.template import load_builtin_template
from animal4d.candidates import Choice
from animal4d.clip import Crop
from animal4d.cues.parts import PART_LABELS, PartMaskFiles
from animal4d.cues.pnp_cameras import PnpCameraFile
from animal4d.cues.sparse_keypoints import SparseKeypointFile
from animal4d.cues.surface import CsePredictions
from animal4d.cues.surface_embeddings import EmbeddingFiles, template_embeddings
from animal4d.cues.track_files import TrackFile
from animal4d.data.pack import pack
from animal4d.data.preprocess import Preprocessed, PreprocessRequest, preprocess
from animal4d.data.preprocess_source import ClipRequest
from animal4d.data.unpack import unpack
from animal4d.data.verify import verify
from animal4d.errors import Animal4dError
from animal4d.fit.reconstruction import Reconstruction
from animal4d.readers.cop3d import FrameChoice
from animal4d.readers.external import ExternalFiles, find_external_files, read_external
from animal4d.readers.initial_shape import read_initial_shape
from animal4d.synth.clip import SyntheticClip, make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import SynthConfig

CLIP = SynthConfig(frames=6, image_size=(120, 160), tracks=40, seed=4)
_FITTED = ("part_masks", "cse_predictions", "pnp_cameras", "sparse_keypoints")


@dataclass(frozen=True)
class Footage:
    film: SyntheticClip
    folder: Path
    run: Path
    """A run that found the truth."""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    film = make_synthetic_clip(CLIP)
    base = tmp_path_factory.mktemp("footage")
    write_synthetic_clip(film, base / "walk")
    perfect(film).save(base / "run" / "reconstruction.npz")
    return Footage(film, base / "walk", base / "run")


@pytest.fixture(scope="module")
def finished(footage: Footage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Preprocessed]:
    """The tree with everything."""
    root = tmp_path_factory.mktemp("finished") / "tree"
    return root, preprocess(request(footage, root, run=footage.run))


def perfect(film: SyntheticClip) -> Reconstruction:
    body, cameras = film.truth.body, film.cameras
    assert body is not None
    n = len(film.frames)
    return Reconstruction(
        betas=body.betas,
        limb_scales=body.limb_scales,
        vertex_offsets=torch.zeros(load_builtin_template().n_vertices, 3),
        joint_rotations=body.joint_rotations,
        translation=body.translation,
        intrinsics=cameras.intrinsics * torch.tensor([[0.5], [0.5], [1.0]]),
        world_to_camera=cameras.world_to_camera,
        image_size=(80, 80),
        crop=Crop(torch.zeros(n, 2), torch.full((n,), 2.0), CLIP.image_size),
        frame_numbers=torch.arange(n),
        times=torch.arange(n) / CLIP.fps,
        fps=CLIP.fps,
    )


def request(footage: Footage, root: Path, **changes: object) -> PreprocessRequest:
    clip = ClipRequest(str(footage.folder), fps=CLIP.fps)
    return replace(PreprocessRequest(clip, root), **changes)  # pyright: ignore[reportArgumentType]


def states(made: Preprocessed) -> dict[str, str]:
    return {report.entry: report.state for report in made.entries}


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def read(root: Path, working_size: int = 80) -> tuple:
    return read_external(root, "walk", working_size=working_size), find_external_files(root, "walk")


def test_the_tree_of_a_folder_with_a_run(finished: tuple[Path, Preprocessed], footage: Footage):
    root, made = finished
    assert {entry for entry, state in states(made).items() if state != "written"} == {"init_pose"}
    assert [finding for finding in verify(root).findings if finding.state == "broken"] == []
    clip, files = read(root)
    assert set(files.missing()) == {"init_pose", "cse_weights", "smal_model", "smal_symmetry"}
    # Without cameras of its own the clip has those of the run.
    torch.testing.assert_close(clip.world_to_camera, footage.film.cameras.world_to_camera, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(clip.times, torch.arange(6) / CLIP.fps)
    folder = root / "cop3d_data/dog/walk"
    frames = sorted(path.name for path in (folder / "images").iterdir())
    assert frames == [f"frame{number:06d}.jpg" for number in range(6)]
    # JPEGs are taken over as they are.
    assert (folder / "images/frame000003.jpg").read_bytes() == (footage.folder / "frames/00003.jpg").read_bytes()
    refined = np.asarray(Image.open(root / "refined_masks/walk/frame000003.png"))
    np.testing.assert_array_equal(refined, 255 * footage.film.masks[3].astype(np.uint8))


def test_cues_of_a_perfect_run_are_true(finished: tuple[Path, Preprocessed], footage: Footage):
    root, _ = finished
    clip, files = read(root, 160)
    assert isinstance(files, ExternalFiles) and files.part_masks is not None
    labels = np.array([0, *(PART_LABELS[name] for name in ("head", "torso", "tail", *["leg"] * 4))])
    parts = PartMaskFiles(files.part_masks)(clip).labels.numpy()[:, :120]
    np.testing.assert_array_equal(parts, labels[footage.film.parts])

    assert files.cse_predictions is not None
    embeddings = template_embeddings(EmbeddingFiles.in_tree(root), load_builtin_template())
    provider = CsePredictions(files.cse_predictions.path, embeddings, files.frame_numbers)
    first = read_external(root, "walk", FrameChoice(stop=1), working_size=80)
    surface = provider(first)
    filled = surface.confidence[0] > 0
    places = footage.film.cameras.project(footage.film.truth.vertices)[0, surface.vertices[0, filled]]
    errors = (places - surface.pixels[0, filled]).norm(dim=-1)
    assert filled.sum() > 30
    assert errors.median() < 1.0  # a vertex' distance is about a pixel

    assert files.sparse_keypoints is not None
    keypoints = SparseKeypointFile(files.sparse_keypoints, files.frame_numbers)(clip)
    body, model = footage.film.truth.body, load_builtin_template()
    assert body is not None
    posed = model.with_shape(body.betas, body.limb_scales).with_pose(body.joint_rotations, body.translation)
    true = footage.film.cameras.project(posed.keypoints)
    seen = keypoints.score > 0
    torch.testing.assert_close(keypoints.points[seen], true[seen], atol=1e-2, rtol=0)

    assert files.pnp_cameras is not None
    pnp = PnpCameraFile(files.pnp_cameras.path, files.frame_numbers, files.pnp_cameras.frame_limit)(clip)
    assert pnp.valid.all()
    expected = footage.film.cameras.R_cam_from_world @ body.joint_rotations[:, 0]
    torch.testing.assert_close(pnp.world_to_camera[:, :3, :3], expected, atol=1e-5, rtol=0)


def test_tracks_stay_on_the_animal(finished: tuple[Path, Preprocessed], footage: Footage):
    root, _ = finished
    clip, files = read(root)
    assert files.tracking_points is not None
    tracks = TrackFile(files.tracking_points, files.frame_numbers)(clip)
    assert len(tracks) > 20
    points = tracks.points[tracks.visible].floor().long().numpy()
    frame = torch.arange(6)[:, None].expand_as(tracks.visible)[tracks.visible].numpy()
    assert footage.film.masks[frame, points[:, 1], points[:, 0]].mean() > 0.97


def test_a_second_call_writes_nothing(finished: tuple[Path, Preprocessed], footage: Footage):
    root, _ = finished
    before = contents(root)
    again = preprocess(request(footage, root, run=footage.run))
    assert {entry for entry, state in states(again).items() if state != "current"} == {"init_pose"}
    assert contents(root) == before
    # What a run gave stays when a later call does not name it.
    without = preprocess(request(footage, root))
    assert {states(without)[entry] for entry in _FITTED} == {"current"}
    assert contents(root) == before


def test_what_is_packed_and_unpacked_is_still_current(
    finished: tuple[Path, Preprocessed], footage: Footage, tmp_path: Path
):
    """The notes on how entries were made travel with them."""
    pack(finished[0], ["walk"], tmp_path / "walk.tar")
    unpack(tmp_path / "walk.tar", tmp_path / "there")
    again = preprocess(request(footage, tmp_path / "there", run=footage.run))
    assert {entry for entry, state in states(again).items() if state != "current"} == {"init_pose"}
    pack(tmp_path / "there", ["walk"], tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "walk.tar").read_bytes()


def test_only_a_run_with_a_smal_model_tells_a_first_shape(footage: Footage, tmp_path: Path):
    """The built-in template's numbers would be another animal in SMAL's shape space."""
    write_smal_pickle(load_builtin_template(), tmp_path / "smal.pkl")
    replace(perfect(footage.film), template=str(tmp_path / "smal.pkl")).save(tmp_path / "run" / "reconstruction.npz")
    root = tmp_path / "tree"
    assert states(preprocess(request(footage, root, run=tmp_path / "run")))["init_pose"] == "written"
    path = find_external_files(root, "walk").init_pose
    assert path is not None and footage.film.truth.body is not None
    torch.testing.assert_close(read_initial_shape(path).betas, footage.film.truth.body.betas)
    assert states(preprocess(request(footage, root, run=footage.run)))["init_pose"] == "left out"
    assert not path.exists()


def copied(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root, tmp_path / "tree"))


def test_only_what_is_gone_or_stale_is_made_again(
    finished: tuple[Path, Preprocessed], footage: Footage, tmp_path: Path
):
    root = copied(finished[0], tmp_path)
    kept = root / "cop3d_data/dog/walk/images/frame000000.jpg"
    time = kept.stat().st_mtime_ns
    (root / "cop3d_data/dog/walk/images/frame000001.jpg").unlink()
    (root / "preprocessing/pnp_ransac/walk_200_pnp_R_T.pk").unlink()
    made = preprocess(request(footage, root, run=footage.run))
    written = {entry for entry, state in states(made).items() if state == "written"}
    assert written == {"images", "pnp_cameras"}
    assert next(report.note for report in made.entries if report.entry == "images") == "1 frames"
    assert kept.stat().st_mtime_ns == time
    expected = {name: content for name, (content, _) in contents(finished[0]).items()}
    assert {name: content for name, (content, _) in contents(root).items()} == expected


def test_other_frames_replace_the_old_ones(finished: tuple[Path, Preprocessed], footage: Footage, tmp_path: Path):
    root = copied(finished[0], tmp_path)
    clip = ClipRequest(str(footage.folder), fps=CLIP.fps, choice=FrameChoice(start=1, stride=2))
    made = preprocess(request(footage, root, clip=clip))
    assert {states(made)[entry] for entry in _FITTED} == {"left out"}
    clip, files = read(root)
    assert clip.frame_numbers.tolist() == [1, 3, 5]
    assert files.part_masks is None and files.cse_predictions is None
    assert [finding for finding in verify(root).findings if finding.state == "broken"] == []


def test_an_interrupted_call_goes_on(footage: Footage, tmp_path: Path):
    class Stopped(Exception):
        pass

    def stop(what: str, done: int, of: int) -> None:
        del of
        if what == "writing frames" and done == 3:
            raise Stopped

    root = tmp_path / "tree"
    with pytest.raises(Stopped):
        preprocess(request(footage, root), stop)
    images = root / "cop3d_data/dog/walk/images"
    times = {path.name: path.stat().st_mtime_ns for path in images.iterdir()}
    assert len(times) == 3
    made = preprocess(request(footage, root))
    assert next(report.note for report in made.entries if report.entry == "images") == "3 frames"
    assert {name: (images / name).stat().st_mtime_ns for name in times} == times
    assert [finding for finding in verify(root).findings if finding.state == "broken"] == []


def test_two_sequences_share_a_tree(finished: tuple[Path, Preprocessed], footage: Footage, tmp_path: Path):
    """COP3D as the source: the tree's own first sequence, read as COP3D and as an external tree."""
    root = tmp_path / "second"
    for layout, folder in (("cop3d", finished[0] / "cop3d_data"), ("external", finished[0])):
        made = preprocess(PreprocessRequest(ClipRequest(f"{layout}:{folder}:walk"), root, sequence=layout))
        assert states(made)["images"] == "written"
        assert states(made)["refined_masks"] == ("written" if layout == "external" else "left out")
    ours, theirs = read_external(root, "external", working_size=80), read(finished[0])[0]
    assert torch.equal(ours.frames, theirs.frames)
    assert torch.equal(ours.masks, theirs.masks)
    assert ours.world_to_camera is not None and theirs.world_to_camera is not None
    torch.testing.assert_close(ours.world_to_camera, theirs.world_to_camera, atol=1e-6, rtol=1e-6)
    index = (root / "cop3d_data/metadata.sqlite").read_bytes()
    # The order in which sequences came does not matter.
    other = tmp_path / "other"
    for layout, folder in (("external", finished[0]), ("cop3d", finished[0] / "cop3d_data")):
        preprocess(PreprocessRequest(ClipRequest(f"{layout}:{folder}:walk"), other, sequence=layout))
    assert (other / "cop3d_data/metadata.sqlite").read_bytes() == index


def test_a_video_and_a_box(footage: Footage, tmp_path: Path):
    video = tmp_path / "my walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 24, (160, 120))
    for frame in footage.film.frames[:2]:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    rows, columns = np.nonzero(footage.film.masks[0])
    left, top = float(columns.min()), float(rows.min())
    box = (left, top, columns.max() + 1 - left, rows.max() + 1 - top)
    made = preprocess(
        PreprocessRequest(ClipRequest(str(video), box=box, providers=Choice(eyes=False)), tmp_path / "tree")
    )
    assert made.place.name == "my_walk"
    clip = read_external(tmp_path / "tree", "my_walk", working_size=160)
    found, true = clip.masks[0, :120].numpy() > 0.5, footage.film.masks[0]
    assert (found & true).sum() / (found | true).sum() > 0.5  # GrabCut on 160 pixels
    assert clip.world_to_camera is None


def _other_size(footage: Footage, tmp_path: Path) -> PreprocessRequest:
    recon = perfect(footage.film)
    recon = replace(recon, crop=replace(recon.crop, original_size=(10, 20)))
    recon.save(tmp_path / "run" / "reconstruction.npz")
    return request(footage, tmp_path / "tree", run=tmp_path / "run")


def _other_frames(footage: Footage, tmp_path: Path) -> PreprocessRequest:
    replace(perfect(footage.film), frame_numbers=torch.arange(6) + 50).save(tmp_path / "run" / "reconstruction.npz")
    return request(footage, tmp_path / "tree", run=tmp_path / "run")


def _damaged_index(footage: Footage, tmp_path: Path) -> PreprocessRequest:
    (tmp_path / "tree/cop3d_data").mkdir(parents=True)
    (tmp_path / "tree/cop3d_data/metadata.sqlite").write_text("no database, but long enough for a header of one" * 9)
    return request(footage, tmp_path / "tree")


def _without_masks(footage: Footage, tmp_path: Path) -> PreprocessRequest:
    return PreprocessRequest(
        ClipRequest(str(footage.folder / "frames"), providers=Choice(eyes=False)), tmp_path / "tree"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_without_masks, "--masks"),
        (lambda f, p: request(f, p, run=p / "none"), "no finished run"),
        (_other_size, "another clip"),
        (_other_frames, "none of the clip's frames"),
        (_damaged_index, "not COP3D's index"),
        (lambda f, p: request(f, p / "tree", sequence="a/b"), "cannot be the name"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    footage: Footage, tmp_path: Path, make: Callable[[Footage, Path], PreprocessRequest], message: str
):
    with pytest.raises(Animal4dError, match=message) as error:
        preprocess(make(footage, tmp_path))
    assert "\n" not in str(error.value)


def test_sequences_of_others_are_left_alone(finished: tuple[Path, Preprocessed], footage: Footage, tmp_path: Path):
    root = copied(finished[0], tmp_path)
    shutil.rmtree(root / "provenance")
    before = contents(root)
    with pytest.raises(Animal4dError, match="not made here"):
        preprocess(request(footage, root))
    with pytest.raises(Animal4dError, match="give another one"):
        preprocess(PreprocessRequest(ClipRequest(f"external:{root}:walk"), root))
    made = preprocess(request(footage, root, sequence="mine"))
    assert states(made)["lbos"] == "kept"
    after = contents(root)
    changed = {name for name, value in before.items() if after[name] != value}
    assert changed == {"cop3d_data/metadata.sqlite"}


def test_the_command(footage: Footage, tmp_path: Path):
    result = animal4d("preprocess", footage.folder, "--out", tmp_path / "tree", "--max-frames", "2")
    assert result.status == 0, result.err
    assert "part_masks: needs the animal's surface" in result.out
    assert "external:" in result.out
