"""A small synthetic clip and a finished run of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.commands import FRAMES, QUICK, Reconstruct, animal4d


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a synthetic clip."""
    folder = tmp_path_factory.mktemp("clips") / "walk"
    options = ("--image-size", "120", "160", "--frames", str(FRAMES), "--seed", "3", "--sweep", "20")
    outcome = animal4d("synth", "--motion", "walk", "--shape", "mean", *options, "--out", folder)
    assert outcome.status == 0, outcome.err
    return folder


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a coarse fit."""
    path = tmp_path_factory.mktemp("settings") / "quick.yaml"
    path.write_text(yaml.safe_dump(QUICK))
    return path


@pytest.fixture(scope="session")
def reconstruct(quick: Path) -> Reconstruct:
    """`animal4d reconstruct ARGUMENTS` with the settings of a coarse fit."""
    return lambda *arguments: animal4d("reconstruct", *arguments, "--config", quick)


@pytest.fixture(scope="session")
def finished(clip: Path, reconstruct: Reconstruct, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "walk"
    outcome = reconstruct(clip, "--fps", "24", "--truth", clip / "truth.npz", "--out", out)
    assert outcome.status == 0, outcome.err
    return out
