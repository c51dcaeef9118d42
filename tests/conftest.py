"""Fixtures shared by all tests: where the golden numbers and the shared clips are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
torch.set_num_threads(2)


@pytest.fixture(scope="session", autouse=True)
def built_in_alone(tmp_path_factory: pytest.TempPathFactory):
    """Whatever networks of others are installed: tests go without them, but those that ask for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANIMAL4D_WEIGHTS", str(tmp_path_factory.mktemp("no_weights")))
        patch.setattr("animal4d.candidates.is_installed", lambda package: False)
        yield


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with footage and third-party animals; tests that need it skip without it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "README.md").is_file():
        pytest.skip(f"needs the shared test data in {folder}, which is not there")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Folder with the numbers of the published implementations (environment variable ANIMAL4D_GOLDEN)."""
    folder = Path(os.environ.get("ANIMAL4D_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
    if not (folder / "meta.json").is_file():
        pytest.skip(f"needs the golden numbers in {folder} (set ANIMAL4D_GOLDEN), which are not there")
    return folder


@pytest.fixture(scope="session")
def golden_seed(golden_dir: Path) -> int:
    return int(json.loads((golden_dir / "meta.json").read_text())["seed"])


@pytest.fixture(scope="session")
def golden_recipe(golden_dir: Path):
    """The module that makes the seeded inputs of the golden numbers."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("golden_recipe", golden_dir / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
