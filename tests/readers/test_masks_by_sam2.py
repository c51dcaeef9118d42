"""Masks by SAM 2: in which order frames are shown and prompted, and a seeded network from end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animal4d.errors import Animal4dError
from animal4d.pretrained.sam2 import Prompt
from animal4d.readers.folder import FolderSource
from animal4d.readers.mask_finders import MaskFinder, Place, found_masks
from animal4d.readers.masks_by_eyes import EyesMaskFinder
from animal4d.readers.masks_by_sam2 import Sam2MaskFinder
from cues.truth_eyes import TruthEyes
from pretrained.seeded_sam2 import seeded_sam2_folder

from .test_masks_by_eyes import COUNT, HEIGHT, WIDTH, frames_of, overlaps, write

pytest.importorskip("transformers")


@dataclass
class BrightTrack:
    """Follows everything bright, and notes what it was shown; blind in some frames unless it is prompted there."""

    shown: list[tuple[int, Prompt | None]] = field(default_factory=list)
    blind: Sequence[int] = ()
    number_of: Callable[[np.ndarray], int] = lambda image: int(image[0, 0, 0])

    def see(self, image: np.ndarray, prompt: Prompt | None = None) -> torch.Tensor | None:
        number = self.number_of(image)
        self.shown.append((number, prompt))
        if number in self.blind and prompt is None:
            return None
        logits = np.where(image.max(axis=2) > 70, 20.0, -20.0)
        return torch.from_numpy(logits.astype(np.float32)) if (logits > 0).any() else None

    def correct(self, image: np.ndarray, prompt: Prompt) -> torch.Tensor | None:
        return self.see(image, prompt)


@dataclass
class BrightSam2:
    blind: Sequence[int] = ()
    tracks: list[BrightTrack] = field(default_factory=list)

    def follow(self) -> BrightTrack:
        self.tracks.append(BrightTrack(blind=self.blind))
        return self.tracks[-1]


def numbered(frames: np.ndarray) -> np.ndarray:
    """Each frame says its number in its first pixel."""
    for index, frame in enumerate(frames):
        frame[0, 0] = index
    return frames


@pytest.fixture
def walk(tmp_path: Path) -> tuple[Path, np.ndarray]:
    frames, truth = frames_of(np.linspace(-1.2, 1.2, COUNT).tolist())
    return write(tmp_path / "frames", numbered(frames)), truth


def use(monkeypatch: pytest.MonkeyPatch, sam2: BrightSam2) -> BrightSam2:
    monkeypatch.setattr("animal4d.readers.masks_by_sam2.read_sam2", lambda folder, device: sam2)
    return sam2


def found_in(finder: MaskFinder, folder: Path, place: Place = Place()) -> tuple[Any, list[np.ndarray]]:  # noqa: B008
    source = FolderSource(folder, None)
    told: list[tuple[str, int, int]] = []
    made = finder(source, source.select(0, None, 1, None), place, lambda *said: told.append(said))
    followed = [said[1:] for said in told if "following" in said[0]]
    assert followed[-1] == (COUNT, COUNT)
    return made, [np.zeros(0) if mask is None else mask for mask in made.read()]


def test_the_users_box_prompts_the_first_frame(walk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, truth = walk
    sam2 = use(monkeypatch, BrightSam2())
    place = Place((10.0, 20.0, 90.0, 80.0), (50.0, 60.0))
    made, masks = found_in(Sam2MaskFinder(Path("somewhere")), folder, place)
    assert [track.shown for track in sam2.tracks] == [
        [(0, Prompt(place.box, ((50.0, 60.0),))), *((index, None) for index in range(1, COUNT))]
    ]
    assert min(overlaps(masks, truth)) > 0.98
    assert made.description == "found by SAM 2" and made.warnings == []


def test_the_eyes_say_where_and_it_goes_both_ways(walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the frame where the animal is seen best: the others look as if it were half hidden."""
    folder, truth = walk
    from animal4d.readers import masks_by_sam2

    search = masks_by_sam2.animal_in_samples

    def best_in_the_third(*arguments: Any, **options: Any) -> Any:
        from dataclasses import replace

        finds = search(*arguments, **options)
        return {index: replace(find, score=1.0 if index == 2 else 0.5) for index, find in finds.items()}

    monkeypatch.setattr(masks_by_sam2, "animal_in_samples", best_in_the_third)
    sam2 = use(monkeypatch, BrightSam2())
    _, masks = found_in(Sam2MaskFinder(Path("somewhere"), TruthEyes()), folder)
    forwards, backwards = (track.shown for track in sam2.tracks)
    assert [number for number, _ in forwards] == [2, 3, 4] and [number for number, _ in backwards] == [2, 1, 0]
    assert forwards[0][1] == backwards[0][1] is not None
    assert all(prompt is None for _, prompt in (*forwards[1:], *backwards[1:]))
    box = forwards[0][1].box
    rows, columns = np.nonzero(truth[2])
    truly = np.array([columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1])
    assert np.abs(np.array(box) - truly).max() < 8  # the eyes' map has pixels of about 3
    assert min(overlaps(masks, truth)) > 0.98


def test_long_clips_go_back_in_pieces(walk, monkeypatch: pytest.MonkeyPatch) -> None:
    from animal4d.readers import masks_by_sam2

    monkeypatch.setattr(masks_by_sam2, "_CHUNK", 2)
    source = FolderSource(walk[0], None)
    for order in (range(4, -1, -1), range(3, -1, -1), range(1, 4)):
        shown = list(masks_by_sam2._images(source, [0, 1, 2, 3, 4], order))
        assert [(index, int(image[0, 0, 0])) for index, image in shown] == [(index, index) for index in order]


def test_a_lost_animal_is_prompted_again(walk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, truth = walk
    sam2 = use(monkeypatch, BrightSam2(blind=range(COUNT)))
    made, masks = found_in(Sam2MaskFinder(Path("somewhere"), TruthEyes()), folder)
    assert min(overlaps(masks, truth)) > 0.98 and made.warnings == []
    prompted = {number for track in sam2.tracks for number, prompt in track.shown if prompt is not None}
    assert prompted == set(range(COUNT))  # all of so few frames are looked through

    use(monkeypatch, BrightSam2(blind=[3]))
    made, masks = found_in(Sam2MaskFinder(Path("somewhere")), folder, Place((10.0, 20.0, 90.0, 80.0)))
    assert not masks[3].any() and masks[4].any()
    assert made.warnings == ["SAM 2 lost the animal in frame 3: give masks, or leave these out"]


def test_nothing_to_follow_is_one_line(tmp_path: Path, walk, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, BrightSam2())
    dark = write(tmp_path / "dark", np.zeros((COUNT, HEIGHT, WIDTH, 3), np.uint8))
    for finder, folder, place, said in (
        (Sam2MaskFinder(Path("x")), walk[0], Place(), r"which animal: .*--box .*--point"),
        (Sam2MaskFinder(Path("x")), dark, Place((10.0, 20.0, 90.0, 80.0)), r"sees no object --box 10,20,90,80"),
        (Sam2MaskFinder(Path("x")), walk[0], Place(point=(-4.0, 3.0)), r"--point -4,3 is no point"),
        (Sam2MaskFinder(Path("x"), TruthEyes()), dark, Place(), "no animal is found"),
    ):
        with pytest.raises(Animal4dError, match=said) as raised:
            found_in(finder, folder, place)
        assert "\n" not in str(raised.value)


def test_a_seeded_network_from_end_to_end(walk, tmp_path: Path) -> None:
    """Its masks mean nothing; they have the frames' size, follow the prompt and are the same again."""
    folder, _ = walk
    finder = Sam2MaskFinder(seeded_sam2_folder(tmp_path / "sam2"), TruthEyes())
    _, masks = found_in(finder, folder)
    assert len(masks) == COUNT
    assert all(mask.shape == (HEIGHT, WIDTH) and mask.dtype == np.float32 for mask in masks)
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in masks)
    _, again = found_in(finder, folder)
    assert all(np.array_equal(a, b) for a, b in zip(masks, again, strict=True))
    _, elsewhere = found_in(finder, folder, Place((150.0, 90.0, 60.0, 40.0)))
    assert any(not np.array_equal(a, b) for a, b in zip(masks, elsewhere, strict=True))
    assert finder.config() != Sam2MaskFinder(seeded_sam2_folder(tmp_path / "other", seed=1), TruthEyes()).config()


def test_the_next_finder_takes_over_with_a_note(walk, tmp_path: Path) -> None:
    folder, truth = walk
    source = FolderSource(folder, None)
    selection = source.select(0, None, 1, None)
    finders = (Sam2MaskFinder(tmp_path / "missing", TruthEyes()), EyesMaskFinder(TruthEyes()))
    made, notes = found_masks(finders, source, selection, Place())
    masks = [mask for mask in made.read() if mask is not None]
    assert min(overlaps(masks, truth)) > 0.9 and made.description == "found by the built-in eyes"
    assert len(notes) == 1 and notes[0].startswith("no masks by sam2 (") and "no network is here" in notes[0]
    with pytest.raises(Animal4dError, match="no network is here"):
        found_masks(finders, source, selection, Place(), strict=True)
    with pytest.raises(Animal4dError, match=r"--box .* is no box"):
        found_masks(finders, source, selection, Place((400.0, 10.0, 50.0, 50.0)))


def test_the_built_in_eyes_take_a_point(tmp_path: Path) -> None:
    left, left_mask = frames_of([-1.4] * COUNT)
    right, right_mask = frames_of([1.2] * COUNT, yaw=2.4, depth=6.5)
    both = FolderSource(write(tmp_path / "frames", np.where(left_mask[..., None], left, right)), None)
    selection = both.select(0, None, 1, None)
    for truth in (left_mask, right_mask):
        rows, columns = np.nonzero(truth[0])
        place = Place(point=(float(columns.mean()), float(rows.mean())))
        made = EyesMaskFinder(TruthEyes())(both, selection, place)
        assert min(overlaps([mask for mask in made.read() if mask is not None], truth)) > 0.85
    with pytest.raises(Animal4dError, match=r"--point 1,1: the built-in eyes see no animal there"):
        EyesMaskFinder(TruthEyes())(both, selection, Place(point=(1.0, 1.0)))
