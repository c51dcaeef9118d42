"""Every command that takes a finished run says in one line what is wrong with a broken one, and what to do."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from animal4d.run_folder import RunFolder
from cli.commands import animal4d, error_line

COMMANDS = ("export", "animate", "motion of", "report", "compare", "view")


def arguments_of(command: str, broken: Path, good: Path, out: Path) -> tuple[str | Path, ...]:
    return {
        "export": ("export", broken, "--format", "npz", "--out", out / "motion.npz"),
        "animate": ("animate", broken, "--motion", "stand", "--seconds", "0.1", "--no-preview", "--out", out),
        "motion of": ("animate", good, "--motion", broken, "--no-preview", "--out", out),
        "report": ("report", broken),
        "compare": ("compare", good, broken, "--out", out),
        "view": ("view", broken, "--port", "1"),
    }[command]


def without(name: str) -> Callable[[RunFolder], None]:
    return lambda run: (run.path / name).unlink()


def half(name: str) -> Callable[[RunFolder], None]:
    def cut(run: RunFolder) -> None:
        whole = (run.path / name).read_bytes()
        (run.path / name).write_bytes(whole[: len(whole) // 3])

    return cut


def of_another_format(run: RunFolder) -> None:
    arrays = dict(np.load(run.reconstruction))
    arrays["plain"] = np.array(json.dumps({**json.loads(str(arrays["plain"])), "format": 99}))
    changed = io.BytesIO()
    np.savez(changed, **arrays)
    run.reconstruction.write_bytes(changed.getvalue())


def without_its_template(run: RunFolder) -> None:
    record = yaml.safe_load(run.record.read_text())
    record["config"]["template"] = "/elsewhere/smal.pkl"
    run.record.write_text(yaml.safe_dump(record))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("spoil", "named", "remedy"),
    [
        (without("config.yaml"), "config.yaml", "not the folder of a run"),
        (without("metrics.json"), "metrics.json", "--resume"),
        (without("reconstruction.npz"), "reconstruction.npz", "--resume"),
        (half("reconstruction.npz"), "reconstruction.npz", "--resume"),
        (half("config.yaml"), "config.yaml", "--overwrite"),
        (of_another_format, "another version", "--overwrite"),
        (without_its_template, "/elsewhere/smal.pkl", "put it back"),
    ],
)
def test_a_broken_run_is_told_in_one_line(
    command: str, spoil, named: str, remedy: str, run: RunFolder, finished_run: RunFolder, tmp_path: Path
) -> None:
    if command == "view":
        pytest.importorskip("viser")
    spoil(run)
    out = tmp_path / "out"
    line = error_line(animal4d(*arguments_of(command, run.path, finished_run.path, out)))
    assert named in line and remedy in line
    assert not out.exists()


@pytest.mark.parametrize("command", ["animate", "report", "compare", "view"])
@pytest.mark.parametrize("spoil", [without("asset.glb"), half("asset.glb")])
def test_so_is_one_without_a_whole_asset(
    command: str, spoil, run: RunFolder, finished_run: RunFolder, tmp_path: Path
) -> None:
    if command == "view":
        pytest.importorskip("viser")
    spoil(run)
    out = tmp_path / "out"
    line = error_line(animal4d(*arguments_of(command, run.path, finished_run.path, out)))
    assert "asset.glb" in line and "--resume" in line
    assert not out.exists()


def test_what_needs_no_asset_goes_on_without(run: RunFolder, finished_run: RunFolder, tmp_path: Path) -> None:
    without("asset.glb")(run)
    for command in ("export", "motion of"):
        outcome = animal4d(*arguments_of(command, run.path, finished_run.path, tmp_path / command.replace(" ", "_")))
        assert outcome.status == 0, outcome.err
