"""What is done to a finished .glb: a camera is added, a record of its making, or it is taken apart into a .gltf."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from animal4d.export.cameras import asset_cameras
from animal4d.export.gltf import gltf_quaternions, read_glb, reopened
from animal4d.files.atomic import write_bytes
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.quaternions import without_jumps
from animal4d.geometry.rotations import quaternion_from_matrix

CAMERA_NAME = "camera"
_NEAR = 0.01
_FLIPPED = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
"""Cameras of glTF look along -z with y up, ours along z with y down."""
_SUFFIX = {"image/png": "png", "image/jpeg": "jpg"}
_SMALL_SHIFT = 0.01


def with_extras(glb: bytes, extras: dict[str, Any]) -> bytes:
    """The file with more in its `asset.extras`."""
    document, builder = reopened(glb)
    document["asset"]["extras"] = {**document["asset"].get("extras", {}), **extras}
    return builder.to_bytes(document)


def with_camera(glb: bytes, reconstruction: Reconstruction) -> tuple[bytes, tuple[str, ...]]:
    """The file with the camera of the original frames as a node that the first animation moves, and in plain words
    what a camera of glTF cannot hold of it.

    The reconstruction is the one that the file was made of.
    """
    document, builder = reopened(glb)
    cameras = asset_cameras(reconstruction)
    height, width = cameras.image_size
    focal = cameras.intrinsics[:, [0, 1], [0, 1]].mean(0)
    perspective = {
        "yfov": 2 * float(torch.atan(height / 2 / focal[1])),
        "aspectRatio": float(width / focal[0] / (height / focal[1])),
        "znear": _NEAR,
    }
    rotations, places = _camera_path(reconstruction)
    node = len(document["nodes"])
    document["nodes"].append(
        {"name": CAMERA_NAME, "camera": 0, "rotation": rotations[0].tolist(), "translation": places[0].tolist()}
    )
    document["scenes"][0]["nodes"].append(node)
    document["cameras"] = [{"name": CAMERA_NAME, "type": "perspective", "perspective": perspective}]
    if len(reconstruction) > 1:
        times = reconstruction.times.cpu().numpy()
        tracks = (("translation", node, times, places), ("rotation", node, times, rotations))
        builder.add_tracks(document["animations"][0], tracks)
    return builder.to_bytes(document), _lost(cameras.intrinsics, cameras.image_size)


def _camera_path(reconstruction: Reconstruction) -> tuple[Float[ndarray, "frames 4"], Float[ndarray, "frames 3"]]:
    cameras = asset_cameras(reconstruction)
    world_from_camera = torch.linalg.inv(cameras.world_to_camera)
    rotations = gltf_quaternions(without_jumps(quaternion_from_matrix(world_from_camera[:, :3, :3] @ _FLIPPED)).numpy())
    return rotations.astype(np.float32), world_from_camera[:, :3, 3].numpy().astype(np.float32)


def _lost(intrinsics: Float[torch.Tensor, "frames 3 3"], image_size: tuple[int, int]) -> tuple[str, ...]:
    height, width = image_size
    notes = []
    shift = float((intrinsics[:, :2, 2] - torch.tensor([width / 2, height / 2])).abs().max())
    if shift > _SMALL_SHIFT:
        notes.append(
            f"a camera of glTF looks through the middle of the picture; this one is up to {shift:.1f} pixels off"
        )
    focal = intrinsics[:, 1, 1]
    zoom = float(focal.max() / focal.min() - 1)
    if zoom > 1e-3:
        notes.append(f"a camera of glTF does not zoom; the mean angle of view stands for a change of {zoom:.1%}")
    return tuple(notes)


def write_gltf(glb: bytes, path: Path) -> tuple[Path, ...]:
    """Write a `.gltf` with its arrays in a `.bin` and its pictures beside it; returns all files."""
    document, binary = read_glb(glb)
    written = [path]
    kept: list[dict[str, Any]] = []
    pictures = {image["bufferView"]: image for image in document.get("images", [])}
    arrays = bytearray()
    places: dict[int, int] = {}
    for index, view in enumerate(document["bufferViews"]):
        data = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        if index in pictures:
            image = pictures[index]
            picture = path.with_name(f"{path.stem}_{image.get('name', 'image')}.{_SUFFIX[image.pop('mimeType')]}")
            del image["bufferView"]
            image["uri"] = picture.name
            write_bytes(picture, data)
            written.append(picture)
            continue
        arrays.extend(b"\0" * (-len(arrays) % 4))
        places[index] = len(kept)
        kept.append({**view, "byteOffset": len(arrays)})
        arrays.extend(data)
    for accessor in document["accessors"]:
        accessor["bufferView"] = places[accessor["bufferView"]]
    document["bufferViews"] = kept
    document["buffers"] = [{"uri": f"{path.stem}.bin", "byteLength": len(arrays)}]
    written.append(path.with_suffix(".bin"))
    write_bytes(written[-1], bytes(arrays))
    write_bytes(path, json.dumps(document, indent=1, allow_nan=False).encode())
    return tuple(written)
