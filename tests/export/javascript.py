"""Programs of others in JavaScript that judge what the package writes; tests that need them skip without them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"


def run_tool(script: str, packages: tuple[str, ...], *arguments: str | Path, timeout: float = 120) -> Any:
    """What a script in tests/tools prints as JSON. Skips plainly where node or a package is not there."""
    modules = Path(os.environ.get("ANIMAL4D_NODE_MODULES", TOOLS / "node_modules"))
    if shutil.which("node") is None or not all((modules / name).is_dir() for name in packages):
        pytest.skip(f"needs node and {', '.join(packages)} (npm install --prefix tests/tools)")
    command = ["node", str(TOOLS / script), *map(str, arguments)]
    environment = {**os.environ, "NODE_PATH": str(modules)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
    if "error while loading shared libraries" in ended.stderr:
        pytest.skip(f"this machine cannot run it: {ended.stderr.splitlines()[0][:200]}")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def assert_valid_gltf(asset: Path) -> None:
    """Khronos' validator has neither errors nor warnings."""
    issues = run_tool("validate_gltf.js", ("gltf-validator",), asset)["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
