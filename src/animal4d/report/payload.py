"""What a page's script needs of a run: the asset, pictures, cameras and times."""

from __future__ import annotations

from typing import Any

from animal4d.export.cameras import read_cameras
from animal4d.report.pictures import as_base64, read_strips
from animal4d.report.run import ShownRun

LARGEST_PAGE = 11_500_000
"""Bytes that a page should not exceed: it is sent around by mail."""
_OTHER_PARTS = 500_000
"""Bytes kept for text, plots and textures."""
_LEAST_FOR_PICTURES = 400_000


def picture_budget(*runs: ShownRun) -> int:
    """Bytes for the pictures of each run, before base64, beside assets that go whole."""
    assets = sum(len(run.asset) for run in runs)
    left = (LARGEST_PAGE - _OTHER_PARTS) * 3 // 4 - assets
    return max(left // len(runs), _LEAST_FOR_PICTURES)


def payload(run: ShownRun, budget: int) -> dict[str, Any]:
    """Ready for JSON. Raises Animal4dError where a file of the run is damaged."""
    strips = read_strips(run.folder.overlay, len(run.reconstruction), budget)
    return {
        "name": run.name,
        "times": [round(time, 6) for time in run.times],
        "asset": as_base64(run.asset),
        "side": strips.side,
        "strips": [as_base64(image) for image in strips.images],
        "stripOfFrame": strips.frames,
        "cameras": _cameras(run),
    }


def _cameras(run: ShownRun) -> list[dict[str, Any]] | None:
    """Of the panes: intrinsics (fx, fy, cx, cy) as shares of the pane's side, and world to camera, in the world of the
    asset. None where cameras.json is missing."""
    if not run.folder.cameras.is_file():
        return None
    track = read_cameras(run.folder.cameras)
    reconstruction = run.reconstruction
    if len(track.frame_numbers) != len(reconstruction):
        return None
    intrinsics = reconstruction.crop.working_intrinsics(track.cameras.intrinsics)
    height, width = reconstruction.image_size
    found = []
    for K, world_to_camera in zip(intrinsics, track.cameras.world_to_camera, strict=True):
        shares = [K[0, 0] / width, K[1, 1] / height, K[0, 2] / width, K[1, 2] / height]
        rows = [[round(value, 7) for value in row] for row in world_to_camera.tolist()]
        found.append({"intrinsics": [round(float(share), 7) for share in shares], "worldToCamera": rows})
    return found
