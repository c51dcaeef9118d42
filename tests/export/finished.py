"""What a finished run leaves of its results, written without a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from animal4d.config import Config, to_dict
from animal4d.export.cameras import write_cameras
from animal4d.export.glb import write_glb
from animal4d.export.poses import write_poses
from animal4d.export.scale import in_metres
from animal4d.files.atomic import write_json
from animal4d.finished_run import template_checksum
from animal4d.fit.reconstruct import load_template
from animal4d.fit.reconstruction import Reconstruction
from animal4d.run_folder import RunFolder, RunRequest


def write_results(
    path: Path,
    reconstruction: Reconstruction,
    config: Config | None = None,
    body_length: float = 0.75,
    metrics: dict[str, Any] | None = None,
    **record: Any,
) -> RunFolder:
    """Asset and cameras in metres, as runs write them; `record` completes or replaces parts of config.yaml."""
    config = config or Config()
    model = load_template(config.template)
    folder = RunFolder(path)
    path.mkdir(parents=True)
    metric, metric_model = in_metres(reconstruction, model, body_length)
    write_glb(metric, metric_model, folder.asset)
    write_cameras(metric, folder.cameras)
    write_poses(reconstruction, model, folder.poses, body_length)
    reconstruction.save(folder.reconstruction)
    request = RunRequest(source=Path("clip") / "frames", out=path, body_length=body_length).to_record()
    begun = {"request": request, "config": to_dict(config), "template_checksum": template_checksum(model)}
    folder.write_record({**begun, "clip": {"name": "clip"}, **record})
    write_json(folder.metrics, metrics or {})
    return folder
