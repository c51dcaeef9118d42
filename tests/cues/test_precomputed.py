"""Cues from the published files: read back in the clip's frames and pixels, and refused in one line when damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.readers import external_tree
from tests.readers.external_tree import PORTRAIT, dump, part_mask, write_external

import animal4d
from animal4d.clip import Clip, Crop
from animal4d.cues.cache import Provider, cached
from animal4d.cues.parts import HEAD, LEG, NONE, TAIL, TORSO, PartMaskFiles, Parts
from animal4d.cues.pnp_cameras import PnpCameraFile, PnpCameras
from animal4d.cues.sparse_keypoints import SparseKeypointFile, SparseKeypoints
from animal4d.cues.track_files import TrackFile
from animal4d.cues.tracks import Tracks
from animal4d.errors import Animal4dError
from animal4d.geometry.cameras import cameras_from_pytorch3d
from animal4d.readers.external import ExternalFiles, find_external_files, read_external


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("external") / "tree"
    write_external(root)
    return root


@pytest.fixture(scope="module")
def clip_and_files(tree) -> tuple[Clip, ExternalFiles]:
    return read_external(tree, PORTRAIT.name), find_external_files(tree, PORTRAIT.name)


@pytest.fixture(scope="module")
def clip(clip_and_files) -> Clip:
    return clip_and_files[0]


@pytest.fixture(scope="module")
def later_clip(tree) -> Clip:
    """Frames 3 and 20: places 1 and 4 of the sequence."""
    return animal4d.load_clip(f"external:{tree}:{PORTRAIT.name}", start=1, stride=3)


def error_of(provider: Provider[Any], clip: Clip) -> str:
    with pytest.raises(Animal4dError) as caught:
        provider(clip)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(params=["parts", "tracks", "sparse_keypoints", "pnp_cameras"])
def provider(request, clip_and_files) -> Provider[Any]:
    files = clip_and_files[1]
    return {
        "parts": lambda: PartMaskFiles(files.part_masks),
        "tracks": lambda: TrackFile(files.tracking_points, files.frame_numbers),
        "sparse_keypoints": lambda: SparseKeypointFile(files.sparse_keypoints, files.frame_numbers),
        "pnp_cameras": lambda: PnpCameraFile(
            files.pnp_cameras.path, files.frame_numbers, files.pnp_cameras.frame_limit
        ),
    }[request.param]()


def test_providers_are_precomputed_and_cached(provider, clip, tmp_path):
    types = {"parts": Parts, "tracks": Tracks, "sparse_keypoints": SparseKeypoints, "pnp_cameras": PnpCameras}
    from_arrays = types[provider.cue].from_arrays
    made, note = cached(provider, clip, tmp_path, from_arrays)
    read, again = cached(provider, clip, tmp_path, from_arrays)
    assert note == again and note["kind"] == "precomputed"
    for name, array in made.to_arrays().items():
        np.testing.assert_array_equal(array, read.to_arrays()[name])


def test_the_configuration_follows_the_files_content(clip, tmp_path):
    path = tmp_path / "keypoints.pk"
    dump(path, external_tree.keypoints())
    provider = SparseKeypointFile(path, PORTRAIT.numbers)
    before = provider.config()
    dump(path, external_tree.keypoints() * 0.5)
    assert provider.config() != before


def test_parts_lie_where_the_masks_have_them(clip, clip_and_files):
    labels = PartMaskFiles(clip_and_files[1].part_masks)(clip).labels
    assert labels.dtype == torch.uint8 and labels.shape == clip.masks.shape
    scale = 100 / 256
    for original, part in (((30, 20), HEAD), ((50, 20), TORSO), ((70, 20), LEG), ((70, 35), TAIL), ((90, 20), NONE)):
        row, column = (int((value + 0.5) / scale) for value in original)
        assert int(labels[0, row, column]) == part
    assert (labels[:, :, int(60 / scale) + 1 :] == NONE).all()


def test_parts_follow_the_crop_by_nearest_neighbour(clip, tmp_path):
    """A crop of whole pixels at their own size shows the file's labels exactly, also beyond the frame."""
    torch.save(part_mask(), tmp_path / "frame000003.pt")
    size = 64
    cut = Clip(
        name="cut",
        frames=torch.zeros(1, size, size, 3, dtype=torch.uint8),
        masks=torch.ones(1, size, size),
        mask_valid=torch.tensor([True]),
        frame_numbers=torch.tensor([3]),
        times=torch.zeros(1),
        fps=30.0,
        intrinsics=torch.eye(3)[None],
        crop=Crop(torch.tensor([[-6.0, 50.0]]), torch.ones(1), PORTRAIT.size),
    )
    labels = PartMaskFiles(tmp_path)(cut).labels[0].numpy()
    ours = np.array([0] * 11 + [HEAD, TORSO, LEG, TAIL])[part_mask().numpy()]
    expected = np.zeros((size, size), np.uint8)
    expected[:50, 6:] = ours[50:, : size - 6]
    np.testing.assert_array_equal(labels, expected)


def test_frames_without_part_mask_have_no_parts(clip, tmp_path):
    torch.save(part_mask().long(), tmp_path / "frame000006.pt")
    provider = PartMaskFiles(tmp_path)
    labels = provider(clip).labels
    assert [bool(frame.any()) for frame in labels] == [False, False, True, False, False]
    (notice,) = provider.notices(clip)
    assert "4 of 5" in notice and "0, 3, 9, 20" in notice
    named = PartMaskFiles(tmp_path, {0: "frame000006"})
    assert [bool(frame.any()) for frame in named(clip).labels] == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (part_mask()[:50], "100x60"),
        (part_mask()[None], "100x60"),
        (part_mask().float() * torch.nan, "NaN"),
        (part_mask() + 1, "label"),
        (part_mask() * 0.5, "label"),
        ([1, 2], "tensor"),
    ],
)
def test_damaged_part_masks_are_one_line(clip, tmp_path, value, word):
    torch.save(value, tmp_path / "frame000006.pt")
    message = error_of(PartMaskFiles(tmp_path), clip)
    assert "frame000006.pt" in message and word in message


def test_tracks_are_in_original_pixels_of_the_clips_frames(clip, later_clip, clip_and_files):
    files = clip_and_files[1]
    tracks = TrackFile(files.tracking_points, files.frame_numbers)(clip)
    # 8 pixels of the padded frame are one of the original, 100 pixels high
    np.testing.assert_allclose(tracks.points[:, 0], [[10 + place, 20] for place in range(5)])
    assert tracks.visible.tolist() == [[True, True], [True, False], [True, True], [True, True], [True, True]]
    later = TrackFile(files.tracking_points, files.frame_numbers)(later_clip)
    np.testing.assert_allclose(later.points[:, 0], [[11, 20], [14, 20]])
    assert later.visible.tolist() == [[True, False], [True, True]]


def test_points_that_leave_the_frame_are_not_visible(clip, tmp_path):
    points, visible = external_tree.tracking_points()
    points[2, 0, 0] = 500.0  # in the padding: the frame ends at 480
    torch.save((points, visible), tmp_path / "tracks.pt")
    assert TrackFile(tmp_path / "tracks.pt", PORTRAIT.numbers)(clip).visible[:, 0].tolist() == [1, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda points, visible: points, "pair"),
        (lambda points, visible: {"points": points}, "pair"),
        (lambda points, visible: (points[:4], visible[:4]), "5xanyx2"),
        (lambda points, visible: (points, visible[:, :1]), "5x2"),
        (lambda points, visible: (points[..., :1], visible), "5xanyx2"),
        (lambda points, visible: (points * torch.nan, visible), "NaN"),
        (lambda points, visible: (points, visible * 3), "0 and 1"),
        (lambda points, visible: (points * 100, visible), "800x800"),
        (lambda points, visible: ("points", visible), "numbers"),
    ],
)
def test_damaged_tracks_are_one_line(clip, tmp_path, change, word):
    torch.save(change(*external_tree.tracking_points()), tmp_path / "tracks.pt")
    message = error_of(TrackFile(tmp_path / "tracks.pt", PORTRAIT.numbers), clip)
    assert "tracks.pt" in message and word in message


def test_keypoints_are_in_original_pixels_of_the_clips_frames(later_clip, clip_and_files):
    files = clip_and_files[1]
    cue = SparseKeypointFile(files.sparse_keypoints, files.frame_numbers)(later_clip)
    expected = external_tree.keypoints()[[1, 4]]
    # 1 is the longer side of the frame, 100 pixels, on both axes
    np.testing.assert_allclose(cue.points, expected[..., :2] * 100, rtol=1e-5)
    np.testing.assert_allclose(cue.score, expected[..., 2])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda values: values[:4], "5x24x3"),
        (lambda values: values[:, :20], "5x24x3"),
        (lambda values: values[..., :2], "5x24x3"),
        (lambda values: values * np.nan, "NaN"),
        (lambda values: values * 256, "fractions"),
        (lambda values: {"keypoints": values}, "numbers"),
        (lambda values: None, "numbers"),
    ],
)
def test_damaged_keypoints_are_one_line(clip, tmp_path, change, word):
    dump(tmp_path / "keypoints.pk", change(external_tree.keypoints()))
    message = error_of(SparseKeypointFile(tmp_path / "keypoints.pk", PORTRAIT.numbers), clip)
    assert "keypoints.pk" in message and word in message


def test_pnp_cameras_are_those_of_pytorch3d(clip, later_clip, clip_and_files):
    files = clip_and_files[1]
    assert files.pnp_cameras is not None
    provider = PnpCameraFile(files.pnp_cameras.path, files.frame_numbers, files.pnp_cameras.frame_limit)
    cue = provider(clip)
    # The second has no solution and the file ends before the last.
    assert cue.valid.tolist() == [True, False, True, True, False]
    written = external_tree.pnp_cameras()
    places = [0, 2, 3]
    R, T = torch.from_numpy(written["R_PNP"][places]), torch.from_numpy(written["T_PNP"][places])
    expected = cameras_from_pytorch3d(R, T, torch.ones(3, 2), torch.zeros(3, 2), (800, 800))
    torch.testing.assert_close(cue.world_to_camera[places], expected.world_to_camera)
    torch.testing.assert_close(cue.world_to_camera[~cue.valid], torch.eye(4).repeat(2, 1, 1))
    assert provider(later_clip).valid.tolist() == [False, False]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"R_PNP": np.eye(3)}, "4x3x3"),
        ({"R_PNP": np.stack([np.eye(3)] * 5)}, "4x3x3"),
        ({"R_PNP": np.stack([2 * np.eye(3)] * 4)}, "not a rotation"),
        ({"R_PNP": np.stack([-np.eye(3)] * 4)}, "not a rotation"),
        ({"T_PNP": np.zeros((4, 2))}, "4x3"),
        ({"T_PNP": np.full((4, 3), np.nan)}, "NaN"),
        ({"T_PNP": None}, "numbers"),
        ({"valid_indices_pnp": [0, 4]}, "0 to 3"),
        ({"valid_indices_pnp": [-1]}, "0 to 3"),
        ({"valid_indices_pnp": [0.5]}, "0 to 3"),
        ({"valid_indices_pnp": [0, 1]}, "frame 3 is valid but"),
        ({"valid_indices_pnp": "all"}, "numbers"),
    ],
)
def test_damaged_pnp_cameras_are_one_line(clip, tmp_path, change, word):
    dump(tmp_path / "pnp_R_T.pk", external_tree.pnp_cameras() | change)
    message = error_of(PnpCameraFile(tmp_path / "pnp_R_T.pk", PORTRAIT.numbers, 4), clip)
    assert "pnp_R_T.pk" in message and word in message


def test_pnp_without_any_solution(clip, tmp_path):
    dump(tmp_path / "pnp_R_T.pk", external_tree.pnp_cameras() | {"valid_indices_pnp": []})
    assert not PnpCameraFile(tmp_path / "pnp_R_T.pk", PORTRAIT.numbers, 4)(clip).valid.any()
    dump(tmp_path / "pnp_R_T.pk", {"R_PNP": np.eye(3)})
    assert "valid_indices_pnp" in error_of(PnpCameraFile(tmp_path / "pnp_R_T.pk", PORTRAIT.numbers, 4), clip)


def test_missing_files_are_one_line(clip, tmp_path):
    gone = tmp_path / "gone"
    providers: list[Provider[Any]] = [
        PartMaskFiles(gone),
        TrackFile(gone, PORTRAIT.numbers),
        SparseKeypointFile(gone, PORTRAIT.numbers),
        PnpCameraFile(gone, PORTRAIT.numbers, 4),
    ]
    for provider in providers:
        assert "gone" in error_of(provider, clip)
        with pytest.raises(Animal4dError, match="gone"):
            provider.config()
    assert "frame000000.pt" in error_of(PartMaskFiles(tmp_path), clip)


@pytest.mark.parametrize("content", [b"", b"hello world", "half"])
def test_truncated_files_are_one_line(clip, clip_and_files, tmp_path, content):
    files = clip_and_files[1]
    damaged = tmp_path / "frame000006.pt"
    for path, provider in (
        (files.part_masks / "frame000006.pt", PartMaskFiles(tmp_path)),
        (files.tracking_points, TrackFile(damaged, PORTRAIT.numbers)),
        (files.sparse_keypoints, SparseKeypointFile(damaged, PORTRAIT.numbers)),
        (files.pnp_cameras.path, PnpCameraFile(damaged, PORTRAIT.numbers, 4)),
    ):
        whole = path.read_bytes()
        damaged.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
        assert "frame000006.pt" in error_of(provider, clip)


def test_clips_of_another_sequence_are_refused(clip, clip_and_files):
    files = clip_and_files[1]
    assert "frame 20" in error_of(TrackFile(files.tracking_points, PORTRAIT.numbers[:-1]), clip)
