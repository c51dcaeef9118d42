"""CoTracker3 and BootsTAPIR as providers.

Neither their code nor their weights are here. What is tested is OUR side, with small stand-ins that have the published
call signatures and layouts (co-tracker's `CoTrackerPredictor` and hubconf.py, tapnet's `TAPIR`) and that check what
they are given; they move every point by a velocity which they take from their weights' file. Nothing here says that the
true networks track well.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from animal4d.clip import Clip, Crop
from animal4d.cues.cotracker_tracks import CoTrackerTracks, cotracker_available
from animal4d.cues.query_points import QuerySettings, windows
from animal4d.cues.tapir_tracks import TapirTracks, tapir_available
from animal4d.cues.tracks import Tracks
from animal4d.errors import Animal4dError
from animal4d.pretrained.packages import COTRACKER_HUB_FOLDER

FRAMES, SIZE = 40, (100, 168)
"""Height and width are no multiples of 8, as TAPIR wants them."""
VELOCITY = (1.5, 0.25)
SETTINGS = QuerySettings(points=60, window=16, points_at_once=20)

COTRACKER = """
    import torch

    class CoTrackerPredictor(torch.nn.Module):
        def __init__(self, checkpoint="./checkpoints/scaled_offline.pth", offline=True, v2=False, window_len=60):
            super().__init__()
            assert checkpoint is None and offline and not v2 and window_len == 60
            self.model = torch.nn.Module()
            self.model.velocity = torch.nn.Parameter(torch.zeros(2))

        def forward(
            self, video, queries=None, segm_mask=None, grid_size=0, grid_query_frame=0, backward_tracking=False
        ):
            assert video.dtype == torch.float32 and video.shape[:1] == (1,) and video.shape[2] == 3
            assert video.max() > 1 and backward_tracking and not torch.is_grad_enabled() and not self.training
            assert queries.shape[0] == 1 and queries.shape[2] == 3 and queries[0, :, 0].max() < video.shape[1]
            assert video.shape[1] <= 16 and queries.shape[1] <= 20
            time = torch.arange(video.shape[1])[None, :, None] - queries[:, None, :, 0]
            tracks = queries[:, None, :, 1:] + time[..., None] * self.model.velocity
            seen = torch.ones(tracks.shape[:3], dtype=torch.bool)
            return tracks, seen
"""
HUBCONF = """
    dependencies = ["torch"]

    def cotracker3_offline(*, pretrained=True, **kwargs):
        assert not pretrained
        from stand_in_predictor import CoTrackerPredictor
        return CoTrackerPredictor(checkpoint=None, window_len=60, v2=False)
"""
TAPIR = """
    import torch

    class TAPIR(torch.nn.Module):
        def __init__(self, bilinear_interp_with_depthwise_conv=False, num_pips_iter=4, pyramid_level=1):
            super().__init__()
            assert pyramid_level == 1
            self.velocity = torch.nn.Parameter(torch.zeros(2))

        def forward(self, video, query_points, is_training=False, query_chunk_size=64):
            frames, height, width = video.shape[1:4]
            assert video.shape[0] == 1 and video.shape[4] == 3 and height % 8 == 0 and width % 8 == 0
            assert video.min() >= -1 and video.max() <= 1 and video.min() < 0
            assert query_points.shape[0] == 1 and not torch.is_grad_enabled() and not self.training
            assert frames <= 16 and query_points.shape[1] <= 20
            time = torch.arange(frames)[None, None] - query_points[:, :, :1]
            start = query_points[:, :, None, [2, 1]]
            scale = torch.tensor([width / 168, height / 100])
            tracks = start + time[..., None] * self.velocity * scale
            # At time 3 of a window P(hidden) = P(far) = 0.27: seen; at time 5 both are 0.31: not seen (0.69^2 < 0.5).
            said = torch.full((1, query_points.shape[1], frames), -1.0)
            said[:, :, 5] = -0.8
            return dict(occlusion=said, tracks=tracks, expected_dist=said.clone())
"""


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A textured square that moves by VELOCITY; working images are the original frames."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(size=(*SIZE, 3)), (0, 0), 2)
    fur = (40 + 180 * (noise - noise.min()) / (noise.max() - noise.min())).astype(np.float32)
    square = np.zeros(SIZE, np.float32)
    square[30:75, 20:80] = 1
    frames, masks = [], []
    for number in range(FRAMES):
        shift = np.float32([[1, 0, VELOCITY[0] * number], [0, 1, VELOCITY[1] * number]])
        masks.append(cv2.warpAffine(square, shift, SIZE[::-1]) > 0.5)
        moved = cv2.warpAffine(fur, shift, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)
        frames.append(np.where(masks[-1][..., None], moved, 10).astype(np.uint8))
    number = torch.arange(FRAMES)
    return Clip(
        name="square",
        frames=torch.from_numpy(np.stack(frames)),
        masks=torch.from_numpy(np.stack(masks)).float(),
        mask_valid=torch.ones(FRAMES, dtype=torch.bool),
        frame_numbers=number,
        times=number / 24,
        fps=24.0,
        intrinsics=torch.eye(3).repeat(FRAMES, 1, 1),
        crop=Crop(torch.zeros(FRAMES, 2), torch.ones(FRAMES), SIZE),
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that modules are imported from and that torch.hub takes for its own; forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    before = set(sys.modules)
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("cotracker", "tapnet", "stand_in_predictor", "hubconf"):
            del sys.modules[name]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    importlib.invalidate_caches()


def weights(folder: Path, **state: torch.Tensor) -> Path:
    path = folder / "weights.pth"
    torch.save(state or {"velocity": torch.tensor(VELOCITY)}, path)
    return path


def package(place: Path) -> CoTrackerTracks:
    write(place / "cotracker" / "__init__.py", "")
    write(place / "cotracker" / "predictor.py", COTRACKER)
    return CoTrackerTracks(SETTINGS, weights(place))


def hub_folder(place: Path) -> CoTrackerTracks:
    write(place / "hub" / COTRACKER_HUB_FOLDER / "hubconf.py", HUBCONF)
    write(place / "hub" / COTRACKER_HUB_FOLDER / "stand_in_predictor.py", COTRACKER)
    return CoTrackerTracks(SETTINGS, weights(place))


def tapir(place: Path) -> TapirTracks:
    for folder in ("tapnet", "tapnet/torch"):
        write(place / folder / "__init__.py", "")
    write(place / "tapnet" / "torch" / "tapir_model.py", TAPIR)
    return TapirTracks(SETTINGS, weights(place))


def errors(tracks: Tracks) -> np.ndarray:
    """Distances to where the first sight of each track has moved, where it is seen."""
    first = tracks.visible.int().argmax(dim=0)
    start = tracks.points[first, torch.arange(len(tracks))]
    time = torch.arange(FRAMES)[:, None] - first
    expected = start + time[..., None] * torch.tensor(VELOCITY)
    return (tracks.points - expected).norm(dim=-1)[tracks.visible].numpy()


@pytest.mark.parametrize("make", [package, hub_folder, tapir])
def test_points_are_asked_in_windows(place: Path, clip: Clip, make: Callable[[Path], CoTrackerTracks]) -> None:
    provider = make(place)
    assert tapir_available() if make is tapir else cotracker_available()
    tracks = provider(clip)
    assert tracks.points.shape == (FRAMES, len(tracks), 2)
    assert tracks.visible.sum(1).min() > 40 or make is tapir  # whose stand-in hides all points in one frame
    assert errors(tracks).max() < 1e-2  # float32, and scaling to TAPIR's size and back
    # Windows have 16 frames, but tracks go on through all of them.
    assert tracks.visible.sum(0).max() > 30
    inside = clip.masks > 0.5
    for frame in range(FRAMES):
        seen = tracks.points[frame, tracks.visible[frame]].floor().long()
        assert inside[frame, seen[:, 1], seen[:, 0]].all()


def test_tapir_sees_above_the_published_threshold(place: Path, clip: Clip) -> None:
    tracks = tapir(place)(clip)
    assert tracks.visible[3].sum() > 40 and not tracks.visible[5].any()


@pytest.mark.parametrize("make", [package, hub_folder, tapir])
def test_other_weights_are_refused(place: Path, clip: Clip, make: Callable[[Path], CoTrackerTracks]) -> None:
    provider = make(place)
    weights(place, speed=torch.zeros(2))
    with pytest.raises(Animal4dError, match="another network") as error:
        provider(clip)
    assert "\n" not in str(error.value)
    (place / "weights.pth").write_bytes(b"no")
    with pytest.raises(Animal4dError, match="cannot be read"):
        provider(clip)


@pytest.mark.parametrize(("provider", "code"), [(CoTrackerTracks, "CoTracker's code"), (TapirTracks, "TAPIR's code")])
def test_what_is_missing_is_told(
    place: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch, provider: Callable[..., CoTrackerTracks], code: str
) -> None:
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(place / "none"))
    with pytest.raises(Animal4dError, match="is missing"):
        provider().config()
    for name in ("cotracker", "tapnet"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Animal4dError, match=code) as error:
        provider(SETTINGS, weights(place))(clip)
    assert "\n" not in str(error.value)


def test_the_weights_are_part_of_the_settings(place: Path) -> None:
    first = CoTrackerTracks(SETTINGS, weights(place)).config()
    assert first == CoTrackerTracks(SETTINGS, weights(place), device="cuda").config()
    assert first != CoTrackerTracks(SETTINGS, weights(place, velocity=torch.ones(2))).config()


@given(frames=st.integers(1, 300), length=st.integers(2, 60))
def test_windows_cover_the_clip_and_overlap(frames: int, length: int) -> None:
    pairs = windows(frames, length)
    assert pairs[0][0] == 0 and pairs[-1][1] == frames
    assert all(0 < stop - start <= length for start, stop in pairs)
    for (before, end), (start, stop) in pairwise(pairs):
        assert before < start < end < stop and start - before == length // 2
