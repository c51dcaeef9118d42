"""Does Blender show the animal where the model has it? Needs `bpy` alone, in an environment of its own.

    animal4d export RUN --format ply  --out /tmp/check/ply
    animal4d export RUN --format glb  --out /tmp/check/dog.glb
    animal4d export RUN --format usd  --out /tmp/check/dog.usd
    python3.11 -m venv /tmp/blender && /tmp/blender/bin/pip install bpy==5.0.1
    /tmp/blender/bin/python benchmarks/blender.py /tmp/check/ply /tmp/check/dog.glb /tmp/check/dog.usd

Every asset is imported with the importer's defaults at the clip's rate; at several frames the evaluated mesh is
compared with the PLY file of that frame. Printed is the largest distance of a vertex, in body lengths of 0.75 m.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy
import numpy as np

BODY_LENGTH = 0.75


def main() -> None:
    truth, *assets = map(Path, sys.argv[1:])
    cameras = json.loads((truth / "cameras.json").read_text())
    times = [frame["time"] for frame in cameras["frames"]]
    chosen = np.unique(np.linspace(0, len(times) - 1, 7).round().astype(int))
    for asset in assets:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        scene.render.fps, scene.render.fps_base = round(cameras["fps"]), round(cameras["fps"]) / cameras["fps"]
        if asset.suffix in (".glb", ".gltf"):
            bpy.ops.import_scene.gltf(filepath=str(asset))
        else:
            bpy.ops.wm.usd_import(filepath=str(asset), set_frame_range=True)
        kinds = sorted((thing.type, thing.name) for thing in bpy.data.objects)
        mesh = max((thing for thing in bpy.data.objects if thing.type == "MESH"), key=lambda m: len(m.data.vertices))
        worst = 0.0
        for index in chosen:
            code = times[index] * cameras["fps"]
            scene.frame_set(int(code // 1), subframe=float(code % 1))
            evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
            shown = np.empty(3 * len(evaluated.data.vertices), np.float32)
            evaluated.data.vertices.foreach_get("co", shown)
            matrix = np.array(evaluated.matrix_world)
            shown = shown.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
            wanted = read_ply(truth / f"frame_{index:04}.ply") @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
            worst = max(worst, distance(shown, wanted))
        materials = [material.name for material in mesh.data.materials if material]
        images = [image.name for image in bpy.data.images if image.size[0]]
        colors = [attribute.name for attribute in mesh.data.color_attributes]
        print(
            f"{asset.name}: {len(mesh.data.vertices)} vertices, worst {worst / BODY_LENGTH:.1e} body lengths over "
            f"{len(chosen)} frames; materials {materials}, images {images}, colours {colors}, "
            f"objects {kinds}, frames {scene.frame_start}-{scene.frame_end}"
        )


def distance(shown: np.ndarray, wanted: np.ndarray) -> float:
    """Of the worst vertex; of the worst nearest vertex where seams of the texture have doubled some."""
    if len(shown) == len(wanted):
        return float(np.linalg.norm(shown - wanted, axis=1).max())
    blocks = [np.linalg.norm(block[:, None] - wanted, axis=2).min(1).max() for block in np.array_split(shown, 64)]
    return float(max(blocks))


def read_ply(path: Path) -> np.ndarray:
    data = path.read_bytes()
    header, body = data.split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    size = {"float": "<f4", "uchar": "u1"}
    kinds = [
        (line.split()[2], size[line.split()[1]]) for line in lines if line.startswith("property") and "list" not in line
    ]
    rows = np.frombuffer(body, kinds, count)
    return np.stack([rows[axis] for axis in "xyz"], axis=1).astype(float)


if __name__ == "__main__":
    main()
