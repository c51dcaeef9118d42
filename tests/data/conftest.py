"""A small external data tree, written once; tests that change one take a copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from data.tree import write_tree


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a tree that is not to be changed."""
    root = tmp_path_factory.mktemp("external") / "tree"
    write_tree(root)
    return root


@pytest.fixture
def tree(pristine: Path, tmp_path: Path) -> Path:
    """A copy whose files are links: replace them, do not write into them."""
    copy = tmp_path / "tree"
    shutil.copytree(pristine, copy, copy_function=os.link)
    return copy
