"""Names that exist nowhere. ruff's rule for them is off in pyproject.toml, since it takes the axes of tensor shapes, as
in Float[Tensor, "frames vertices 3"], for names; what it finds outside of strings is a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def undefined_names(*folders: Path) -> list[str]:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format", "json"]
    done = subprocess.run([*command, *map(str, folders)], stdout=subprocess.PIPE, text=True, check=False)
    found = []
    for report in json.loads(done.stdout):
        row, column = report["location"]["row"], report["location"]["column"]
        line = Path(report["filename"]).read_text().splitlines()[row - 1]
        if line[: column - 1].count('"') % 2 == 0:
            found.append(f"{report['filename']}:{row}: {report['message']}")
    return found


def test_every_name_is_defined():
    assert undefined_names(*(REPOSITORY / name for name in ("src", "tests", "benchmarks"))) == []


def test_an_undefined_name_is_seen(tmp_path):
    (tmp_path / "module.py").write_text('from x import F\n\n\ndef f(a: F["frames 3"]) -> None:\n    nowhere(a)\n')
    (found,) = undefined_names(tmp_path)
    assert "nowhere" in found and ":5:" in found
