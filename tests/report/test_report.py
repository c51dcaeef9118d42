"""The report as a file: what it holds, what it says, that it stays small, and what bad runs get to hear."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.fit.reconstruction import Reconstruction
from animal4d.report.doubts import assumptions, doubts, frames_in_words
from animal4d.report.motion import motion_of, seen_shares
from animal4d.report.pictures import PANES, read_strips
from animal4d.report.plots import Axes, Line, line_plot
from animal4d.report.report import write_report
from animal4d.report.run import read_run
from animal4d.run_folder import RunFolder
from cli.commands import animal4d
from report.runs import FPS, SIZE, SPEED, change_metrics, copy_of, filmed, walking, write_run

LARGEST = 12_000_000


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def sentences(folder: RunFolder) -> str:
    run = read_run(folder)
    return " ".join(doubts(run, motion_of(run.reconstruction, run.model)))


def test_the_page_needs_nothing_but_itself(finished_run: RunFolder):
    path = write_report(finished_run)
    page = path.read_text()
    assert path == finished_run.path / "report" / "index.html" and len(page) < LARGEST
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!data:)', page)
    assert "default-src 'none'" in page
    data = data_of(page)
    assert data["numbers"] == list(range(5, 13)) and data["parts"].count("test") == 2
    assert len(data["runs"][0]["strips"]) == len(data["runs"][0]["stripOfFrame"]) == 8
    for words in ("heads right", "lucas-kanade", "1 min 15 s", "95.0 %", "no truth was given", "steps: 600"):
        assert words in page


def test_what_it_is_written_from_stays_as_it_is_and_twice_is_once(run: RunFolder):
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before
    assert [path.name for path in (run.path / "report").iterdir()] == ["index.html"]


def test_texture_and_its_mask_are_shown_where_they_are(run: RunFolder):
    assert 'id="texture"' not in write_report(run).read_text()
    Image.new("RGB", (2048, 2048), (200, 120, 60)).save(run.path / "texture.png")
    assert write_report(run).read_text().count("<figcaption>Baked") == 1
    Image.new("1", (2048, 2048), 1).save(run.path / "texture_seen.png")
    assert write_report(run).read_text().count("data:image/webp") == 2
    (run.path / "texture.png").write_bytes(b"not a picture")
    with pytest.raises(Animal4dError, match=r"texture\.png"):
        write_report(run)


def test_names_cannot_become_markup(finished_run: RunFolder, tmp_path: Path):
    folder = copy_of(finished_run, tmp_path / "<img src=x onerror=alert(1)>")
    page = write_report(folder).read_text()
    assert "<img src=x" not in page and "&lt;img src=x" in page


def test_one_frame_is_enough(tmp_path: Path):
    eight = walking(8)
    one = replace(
        eight,
        **{name: getattr(eight, name)[:1] for name in ("joint_rotations", "translation", "intrinsics")},
        world_to_camera=eight.world_to_camera[:1],
        crop=eight.crop[slice(0, 1)],
        frame_numbers=eight.frame_numbers[:1],
        times=eight.times[:1],
    )
    assert "no curves" in write_report(write_run(tmp_path / "one", one)).read_text()


def test_the_side_that_no_camera_saw_is_named(finished_run: RunFolder):
    reconstruction = Reconstruction.load(finished_run.reconstruction)
    shares = seen_shares(reconstruction, load_builtin_template())
    assert shares["left"] > 0.7 and shares["right"] < 0.1
    assert "The right side was never seen" in sentences(finished_run)
    assert "left side" not in sentences(finished_run)


def test_lost_and_badly_fitted_frames_are_named(run: RunFolder):
    assert "frames (" not in sentences(run).replace("8 frames", "")
    overlaps = [0.9, 0.5, 0.6, 0.9, None, 0.9, 0.9, 0.9]
    change_metrics(
        run,
        iou={"mean": 0.8, "train": 0.9, "validation": 0.9, "test": 0.7, "per_frame": overlaps},
        diverged="a loss became NaN",
        warnings=["masks of 2 frames were mended"],
    )
    said = sentences(run)
    for words in (
        "2 frames (6-7) with an overlap",
        "1 frame (9) without a usable mask",
        "70% only",
        "fit worse",
        "NaN",
        "Masks of 2 frames were mended.",
    ):
        assert words in said, words


def test_paws_below_the_ground_are_named(finished_run: RunFolder):
    run = read_run(finished_run)
    moving = run.reconstruction
    standing = replace(moving, joint_rotations=torch.eye(3).expand_as(moving.joint_rotations).clone())
    sunk = replace(standing, translation=standing.translation - torch.tensor([0, 0, 0.1]))
    said = [
        " ".join(doubts(replace(run, reconstruction=pose), motion_of(pose, run.model))) for pose in (standing, sunk)
    ]
    assert "sink" not in said[0] and "paws sink into the ground" in said[1]


def test_assumptions_say_what_was_not_given(finished_run: RunFolder):
    said = " ".join(assumptions(read_run(finished_run)))
    assert "focal length is assumed" in said and "No camera track" in said and "No truth" in said
    assert "0.75 m long" in said


def test_motion_is_that_of_the_body():
    model, moving = load_builtin_template(), walking(12)
    motion = motion_of(moving, model)
    assert motion.speed is not None
    # Uniform motion; smoothing holds at the ends, so the middle is judged.
    np.testing.assert_allclose(motion.speed[4:-4], SPEED / model.body_length, rtol=1e-2)
    shoulder = next(angle for angle in motion.angles if angle.joint == "front_left_shoulder")
    wanted = np.degrees(0.4 * np.sin(9 * np.arange(12) / FPS))
    np.testing.assert_allclose(shoulder.values, wanted, atol=1e-3)
    assert all(float(motion.paw_heights[f"back_{side}"].abs().max()) < 0.05 for side in ("left", "right"))


def test_panes_are_cut_where_the_overlay_has_them(finished_run: RunFolder):
    import io

    strips = read_strips(finished_run.overlay, 8, 1 << 30)
    clip = filmed(Reconstruction.load(finished_run.reconstruction))
    for frame in (0, 7):
        with Image.open(io.BytesIO(strips.images[frame])) as image:
            strip = np.asarray(image.convert("RGB")).astype(float)
        assert strip.shape == (strips.side, strips.side * len(PANES), 3)
        pane = Image.fromarray(strip[:, : strips.side].astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BOX)
        # The video's chroma has half the resolution, and both codecs lose a little.
        difference = np.abs(np.asarray(pane).astype(float) - clip.frames[frame].numpy())
        assert np.median(difference) < 6 and difference[2:-2, 2:-2].mean() < 8
        # The other panes start at their edges too: no margin of paper is left beside them.
        assert strip[:, strips.side : strips.side + 2].mean() < 235


@pytest.mark.parametrize("budget", [200_000, 20_000, 6_000])
def test_pictures_keep_to_their_budget(finished_run: RunFolder, budget: int):
    strips = read_strips(finished_run.overlay, 8, budget)
    assert sum(map(len, strips.images)) <= budget
    assert len(strips.frames) == 8 and strips.frames == sorted(strips.frames)
    assert set(strips.frames) == set(range(len(strips.images)))


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=2, max_size=30))
def test_plots_stay_inside_of_their_frame(values: list[float | None]):
    x = [float(index) for index in range(len(values))]
    plot = line_plot(Axes("a < b", "x", "y"), x, [Line("", values, "c1")], ["test"] * len(values))
    assert "a &lt; b" in plot and "nan" not in plot and "inf" not in plot
    places = [float(y) for path in re.findall(r' d="([^"]*)"', plot) for y in re.findall(r"[ML][\d.]+ ([\d.-]+)", path)]
    assert all(0 <= y <= 216 for y in places)
    assert len(places) == sum(value is not None for value in values)


@given(st.sets(st.integers(0, 40), min_size=1))
def test_ranges_name_exactly_the_frames(chosen: set[int]):
    words = frames_in_words(sorted(chosen), list(range(41)))
    if "…" in words:
        return
    named: set[int] = set()
    for piece in re.search(r"\((.*)\)", words)[1].split(", "):  # pyright: ignore[reportOptionalSubscript]
        first, _, last = piece.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == chosen


def _other_template(run: RunFolder) -> None:
    loaded = Reconstruction.load(run.reconstruction)
    replace(loaded, vertex_offsets=loaded.vertex_offsets[:100], vertex_colors=None).save(run.reconstruction)


def _missing_template(run: RunFolder) -> None:
    record = run.read_record()
    record["config"]["template"] = "/nowhere/smal.pkl"
    run.write_record(record)


BROKEN = {
    "not there": (lambda run: run.path.rename(run.path.with_name("elsewhere")), "no such run"),
    "not a run": (lambda run: run.record.unlink(), "not the folder of a run"),
    "not finished": (lambda run: run.metrics.unlink(), "--resume"),
    "no asset": (lambda run: run.asset.unlink(), "asset.glb"),
    "half an asset": (lambda run: run.asset.write_bytes(run.asset.read_bytes()[:5000]), "asset.glb is damaged"),
    "no overlay": (lambda run: run.overlay.unlink(), "overlay.mp4"),
    "half an overlay": (lambda run: run.overlay.write_bytes(run.overlay.read_bytes()[:3000]), "overlay.mp4"),
    "no reconstruction": (lambda run: run.reconstruction.unlink(), "reconstruction.npz"),
    "half a reconstruction": (lambda run: run.reconstruction.write_bytes(b"PK\x03\x04"), "reconstruction.npz"),
    "broken metrics": (lambda run: run.metrics.write_text('{"iou"'), "metrics.json"),
    "other metrics": (lambda run: run.metrics.write_text("[]"), "metrics.json"),
    "broken cameras": (lambda run: run.cameras.write_text("{}"), "cameras.json"),
    "another template": (_other_template, "does not belong to the template"),
    "template gone": (_missing_template, "/nowhere/smal.pkl"),
}


@pytest.mark.parametrize("breaking", BROKEN)
def test_bad_runs_get_one_line(run: RunFolder, breaking: str):
    break_it, words = BROKEN[breaking]
    break_it(run)
    outcome = animal4d("report", run.path)
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1 and outcome.err.startswith("animal4d: error: ")
    assert re.search(words, outcome.err), outcome.err
    assert not (run.path / "report").exists()


def test_the_command_says_where(run: RunFolder):
    outcome = animal4d("report", run.path)
    assert outcome.status == 0 and "index.html" in outcome.out.replace("\n", "")
