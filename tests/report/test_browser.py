"""The report in a real Chromium, and asset.glb in three.js and model-viewer: what people see, judged by what others
wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.export.axes import asset_from_world
from animal4d.export.glb import write_glb
from animal4d.export.scale import in_metres
from animal4d.fit.reconstruction import Reconstruction
from animal4d.report.report import write_report
from animal4d.run_folder import RunFolder
from animal4d.texture.atlas import atlas_of
from animal4d.texture.bake import BakedTexture
from export.javascript import run_tool


def in_chromium(*arguments: str | Path, packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `browser.mjs` found."""
    packages = ("playwright-core", "@sparticuz/chromium", *packages)
    return run_tool("browser.mjs", packages, *arguments, timeout=280)


@pytest.fixture(scope="module")
def seen(finished_run: RunFolder) -> dict[str, Any]:
    """The report of a run, opened from its file without a network, played, sought, turned."""
    return in_chromium("report", write_report(finished_run))


def test_it_opens_from_its_file_without_errors_or_requests(seen: dict[str, Any]):
    assert seen["loud"] == [] and seen["outside"] == []
    assert seen["first"]["glError"] == 0
    assert seen["first"]["covered"] > 0.02  # the animal is drawn


def test_it_plays(seen: dict[str, Any]):
    assert seen["first"]["playing"] and len(seen["played"]) >= 4
    assert seen["later"]["asset"] != seen["first"]["asset"]


def test_asset_pictures_and_cursors_follow_the_scrubber(seen: dict[str, Any]):
    start, sought, back = seen["start"], seen["sought"], seen["back"]
    assert not start["playing"] and (start["frame"], sought["frame"], back["frame"]) == (0, 4, 0)
    assert sought["asset"] != start["asset"] and sought["pictures"] != start["pictures"]
    assert sought["cursor"] and all(a > b for a, b in zip(sought["cursor"], start["cursor"], strict=True))
    assert (back["asset"], back["pictures"], back["cursor"]) == (start["asset"], start["pictures"], start["cursor"])


def test_curves_and_keys_seek(seen: dict[str, Any]):
    assert seen["plot"]["frame"] == 7 == seen["plot"]["scrub"]
    assert seen["key"]["frame"] == 6


def test_dragging_and_buttons_change_the_view(seen: dict[str, Any]):
    views = [seen[name]["asset"] for name in ("key", "turned", "clay", "skeleton", "throughCamera")]
    assert len(set(views)) == len(views)
    assert seen["dark"]["theme"] == "dark" != seen["first"]["theme"]


def test_it_fits_a_phone_and_everything_has_a_name(seen: dict[str, Any]):
    assert seen["phoneOverflow"] <= 0
    assert seen["unnamed"] == []


def test_three_js_moves_the_asset_as_the_model_does(finished_run: RunFolder):
    seen = in_chromium("three", finished_run.asset, packages=("three",))
    assert seen["loud"] == [] and seen["drawn"] > 0.02
    reconstruction, model = in_metres(Reconstruction.load(finished_run.reconstruction), load_builtin_template())
    wanted = reconstruction.posed(model).vertices.numpy() @ asset_from_world().T
    assert seen["joints"] == 2 * model.n_joints  # every joint has a skin joint
    # Ends of the clip: between keys the model says nothing.
    for place, frame in ((0, 0), (2, -1)):
        error = np.linalg.norm(np.array(seen["vertices"][place]) - wanted[frame], axis=1).max()
        assert error < 1e-4 * model.body_length


def test_model_viewer_loads_the_asset_and_plays_it(finished_run: RunFolder, tmp_path: Path):
    reconstruction, model = in_metres(Reconstruction.load(finished_run.reconstruction), load_builtin_template())
    coat = torch.randint(0, 255, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    texture = BakedTexture(coat, torch.ones(64, 64, dtype=torch.bool), atlas_of(model))
    asset = tmp_path / "asset.glb"
    write_glb(reconstruction, model, asset, texture)
    seen = in_chromium("model-viewer", asset, packages=("@google/model-viewer",))
    assert seen["loud"] == [] and seen["outside"] == []
    assert len(seen["animations"]) == 1 and seen["textures"] == [True]
    assert seen["duration"] == pytest.approx(float(reconstruction.times[-1]), abs=1e-4)
    assert seen["playing"] and len(set(seen["times"])) == 4
    assert seen["covered"] > 0.02 and seen["moved"] > 0.002
