"""One finished run for all tests, and copies of it to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from animal4d.run_folder import RunFolder
from report.runs import copy_of, write_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "walk")


@pytest.fixture
def run(finished_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy that a test may change."""
    return copy_of(finished_run, tmp_path / "walk")
