"""The examples run as they are written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUICK: dict[str, tuple[str, ...]] = {
    "01_fit_a_clip.py": ("--steps", "6", "--frames", "6"),
    "02_body_model.py": (),
    "03_synthetic_clip.py": ("--frames", "3"),
    "04_rasterize_and_losses.py": (),
    "05_export.py": (),
}
"""Arguments that make each one short."""


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(QUICK)


@pytest.mark.parametrize("name", QUICK)
def test_example(name, tmp_path):
    writes = "--out" in (EXAMPLES / name).read_text()
    arguments = [*QUICK[name], *(("--out", str(tmp_path)) if writes else ())]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if name.startswith(("01", "05")):
        assert (tmp_path / "asset.glb").stat().st_size > 100_000
