"""Contact sheets and data cards: what they show of a tree whose truth is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from animal4d.cues.parts import HEAD, TAIL
from animal4d.data.card import write_card
from animal4d.data.evidence import gather_evidence
from animal4d.data.panels import PART_COLORS, dimmed, keypoints_panel, tracks_panel
from animal4d.data.show import ContactSheet, show
from animal4d.errors import Animal4dError
from cli.commands import animal4d

FIRST, SECOND = "1000_10_20", "1001_11_21"
SIDE = 128
CAPTIONS = ["frame", "mask", "parts", "surface (CSE)", "tracks", "keypoints", "template by PnP"]


@pytest.fixture(scope="module")
def sheet(pristine: Path) -> ContactSheet:
    return ContactSheet(gather_evidence(pristine, FIRST, SIDE, 200))


def colorful(image: np.ndarray) -> np.ndarray:
    """Where a panel shows colours rather than its grey background."""
    return np.ptp(image.astype(int), axis=-1) > 40


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_panels_show_the_animal_where_it_is(sheet: ContactSheet) -> None:
    assert not sheet.evidence.absent
    panels = dict(sheet.panels(0))
    assert list(panels) == CAPTIONS
    assert {image.shape for image in panels.values()} == {(96, 128, 3)}
    mask = sheet.evidence.clip.masks[0, :96].numpy() > 0.5
    assert overlap(colorful(panels["parts"]), mask) > 0.9
    # The maps of the box are resampled, and noisy.
    drawn = np.abs(panels["surface (CSE)"].astype(int) - dimmed(panels["frame"])).sum(-1) > 20
    assert overlap(drawn, mask) > 0.85
    # The template stands in rest pose where the animal walks.
    changed = np.abs(panels["template by PnP"].astype(int) - panels["frame"]).sum(-1) > 30
    assert overlap(changed, mask) > 0.5


def test_head_and_tail_have_their_colours(sheet: ContactSheet) -> None:
    labels = sheet.evidence.parts.labels[0, :96].numpy()  # pyright: ignore[reportOptionalMemberAccess]
    image = dict(sheet.panels(0))["parts"].astype(int)
    for label in (HEAD, TAIL):
        mean = image[labels == label].mean(0)
        distances = {other: np.abs(mean - color).sum() for other, (_, color) in PART_COLORS.items()}
        assert min(distances, key=distances.__getitem__) == label


def test_the_surface_is_that_of_the_template(sheet: ContactSheet, pristine: Path) -> None:
    # Colours are those of places on the body: the red channel rises from the tail to the head.
    drawn = sheet.evidence.surface.draw(0, sheet._places)  # pyright: ignore[reportOptionalMemberAccess]
    assert drawn is not None
    colors, animal = drawn
    labels = sheet.evidence.parts.labels[0, :96].numpy()  # pyright: ignore[reportOptionalMemberAccess]
    red = colors[..., 0].astype(float)
    assert red[animal & (labels == HEAD)].mean() > red[animal & (labels == TAIL)].mean() + 100


def test_a_frame_without_evidence_says_so(sheet: ContactSheet) -> None:
    # The second frame has no detection and no PnP solution.
    panels, other = dict(sheet.panels(1)), dict(sheet.panels(0))
    for caption in ("surface (CSE)", "template by PnP"):
        assert not colorful(panels[caption]).any()
        assert colorful(other[caption]).any()


def test_tracks_leave_trails_and_hidden_points_none() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    places = np.array([[[10.5, 50.5], [10.5, 20.5]], [[60.5, 50.5], [60.5, 20.5]]])
    visible = np.array([[True, True], [True, False]])
    image = colorful(tracks_panel(frame, places, visible))
    assert image[50, 15:55].all()
    assert not image[15:25].any()
    assert not image[50, 70:].any()


def test_keypoints_without_score_are_left_out() -> None:
    frame = np.full((100, 100, 3), 200, np.uint8)
    points = np.full((24, 2), 50.0)
    assert not colorful(keypoints_panel(frame, points, np.zeros(24))).any()
    score = np.zeros(24)
    score[0] = 1  # a left paw
    left = keypoints_panel(frame, points, score)[50, 50].astype(int)
    assert left[0] > left[2] + 100


def test_the_files_are_written(pristine: Path, tmp_path: Path) -> None:
    shown = show(pristine, SECOND, tmp_path / "sheets", rows=2, side=SIDE)
    with Image.open(shown.picture) as picture:
        width, height = picture.size
    assert width == 2 * 12 + 7 * 96 + 6 * 8  # portrait: panels of 96 x 128
    assert height > 2 * 128
    with av.open(str(shown.video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 3
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    assert not shown.absent
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == [f"{SECOND}.mp4", f"{SECOND}.png"]


def test_missing_and_broken_cues_have_a_panel_that_says_so(tree: Path, tmp_path: Path) -> None:
    for name in ("preprocessing", "textures", "smal"):
        shutil.rmtree(tree / name)
    shutil.rmtree(tree / f"cop3d_data/dog/{FIRST}/part_masks")
    (tree / f"cop3d_data/dog/{FIRST}/tracking_points.pt").unlink()
    (tree / f"sparse_keypoints/{FIRST}_keypoints.pk").unlink()
    (tree / f"sparse_keypoints/{FIRST}_keypoints.pk").write_bytes(b"nonsense")
    outcome = animal4d("data", "show", tree, FIRST, "--out", tmp_path / "s", "--rows", "1", "--side", "96")
    assert outcome.status == 0, outcome.err
    for line in ("parts: no cop3d_data", "surface: no preprocessing", "tracks: no cop3d_data", "rest pose: no prep"):
        assert f"not shown: {line}" in outcome.out
    assert "keypoints.pk: cannot be read" in outcome.out
    assert (tmp_path / "s" / f"{FIRST}.png").is_file()


def test_show_tells_users_errors_in_one_line(tree: Path, tmp_path: Path) -> None:
    (tree / f"cop3d_data/dog/{FIRST}/images/frame000002.jpg").unlink()
    for arguments, message in (
        (("nobody",), 'no sequence "nobody"'),
        ((FIRST,), "frame000002.jpg does not exist"),
        ((SECOND, "--side", "3"), "between 64 and 1600"),
    ):
        outcome = animal4d("data", "show", tree, *arguments, "--out", tmp_path / "s")
        assert outcome.status == 1
        assert message in outcome.err and outcome.err.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_the_card(tree: Path) -> None:
    outcome = animal4d("data", "card", tree, "--title", "Two dogs: synthetic")
    assert outcome.status == 0, outcome.err
    card = tree / "README.md"
    _, head, text = card.read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["license"] == "other" and values["license_name"]
    assert values["pretty_name"] == "Two dogs: synthetic"
    assert values["language"] == ["en"] and values["size_categories"] == ["n<1K"]
    assert {"animal", "dog"} <= set(values["tags"])
    assert "| sequences | 2 |" in text and "| frames | 7, 3.5 per sequence |" in text
    assert "| refined masks | 1 of 2 sequences |" in text
    for source in ("facebookresearch/cop3d", "runa91/bite_release", "detectron2", "PartGLEE", "bootstap"):
        assert source in text
    for name in (FIRST, SECOND):
        assert f"card_images/{name}.jpg" in text
        with Image.open(tree / "card_images" / f"{name}.jpg") as picture:
            assert max(picture.size) == 256
    before = card.read_bytes()
    write_card(tree, "Two dogs: synthetic")
    assert card.read_bytes() == before


def test_the_card_names_only_what_is_there(tree: Path) -> None:
    shutil.rmtree(tree / "smal")
    text = write_card(tree, "x").read_text(encoding="utf-8")
    sources = text[text.index("## Sources") :]
    assert "`smal`" not in sources and "PartGLEE" in sources


def test_a_readme_of_others_is_left_alone(tree: Path) -> None:
    (tree / "README.md").write_text("mine")
    with pytest.raises(Animal4dError, match="--overwrite"):
        write_card(tree, "x")
    assert (tree / "README.md").read_text() == "mine"
    with pytest.raises(Animal4dError, match="identifier of a licence"):
        write_card(tree, "x", licence="all mine\nx: y", overwrite=True)
    write_card(tree, "x", licence="cc-by-4.0", overwrite=True)
    assert "license: cc-by-4.0" in (tree / "README.md").read_text()
