"""More animations for an asset.glb: those in it, its mesh, skin and texture stay as they are."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from animal4d.body.model import ShapedBody
from animal4d.errors import Animal4dError
from animal4d.export.axes import vectors_to_asset
from animal4d.geometry.rotations import quaternion_from_matrix
from animal4d.motion.motion import Motion

_HEADER, _CHUNK = 12, 8
_FLOAT = 5126


def with_animations(glb: bytes, body: ShapedBody, motions: Mapping[str, Motion], source: Path) -> bytes:
    """The asset of this individual with one more animation per motion, under its name.

    The asset may be in other units than the template: lengths of bones tell. `source` is named in errors. Raises
    Animal4dError where the file is no asset of such a body, or has an animation of that name.
    """
    document, binary = _parsed(glb, source)
    nodes = {node.get("name"): index for index, node in enumerate(document["nodes"])}
    missing = [name for name in body.model.joint_names if name not in nodes]
    if missing:
        raise Animal4dError(f"{source}: has no node {missing[0]}; write the run's asset again with --resume")
    scale = _units(document, nodes, body)
    taken = {animation.get("name") for animation in document.get("animations", [])}
    for name, motion in motions.items():
        if name in taken:
            raise Animal4dError(f'--clip: {source} has an animation "{name}" already; give another name')
        taken.add(name)
        _add_animation(document, binary, name, motion, body, nodes, scale)
    return _packed(document, binary)


def _parsed(glb: bytes, source: Path) -> tuple[dict[str, Any], bytearray]:
    try:
        magic, _, length = struct.unpack_from("<4sII", glb)
        size, kind = struct.unpack_from("<I4s", glb, _HEADER)
        start = _HEADER + _CHUNK
        document = json.loads(glb[start : start + size])
        binary_size, binary_kind = struct.unpack_from("<I4s", glb, start + size)
        binary = bytearray(glb[start + size + _CHUNK :][:binary_size])
        whole = (magic, kind, binary_kind) == (b"glTF", b"JSON", b"BIN\0") and length == len(glb)
        whole = whole and len(binary) == binary_size and isinstance(document["nodes"], list)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise Animal4dError(f"{source}: not a whole .glb file; write the run's asset again with --resume") from error
    if not whole:
        raise Animal4dError(f"{source}: not a whole .glb file; write the run's asset again with --resume")
    return document, binary


def _units(document: dict[str, Any], nodes: Mapping[str, int], body: ShapedBody) -> float:
    """Units of the asset per unit of the template."""
    joints = body.joints.double()
    parents = [max(parent, 0) for parent in body.model.parents]
    bones = ((joints - joints[parents]) * body.joint_scales.double()[parents])[1:].norm(dim=-1)
    written = [document["nodes"][nodes[name]].get("translation", (0, 0, 0)) for name in body.model.joint_names[1:]]
    lengths = torch.tensor(written, dtype=torch.float64).norm(dim=-1)
    return float(lengths.sum() / bones.sum())


def _add_animation(
    document: dict[str, Any],
    binary: bytearray,
    name: str,
    motion: Motion,
    body: ShapedBody,
    nodes: Mapping[str, int],
    scale: float,
) -> None:
    quaternions = quaternion_from_matrix(motion.joint_rotations.double()).numpy()
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0).cumprod(axis=0)
    quaternions[1:] *= flips[..., None]
    rotations = np.concatenate((vectors_to_asset(quaternions[..., 1:]), quaternions[..., :1]), axis=-1)
    times = _accessor(document, binary, motion.times.numpy(), "SCALAR", bounds=True)
    tracks = [("translation", 0, scale * vectors_to_asset(motion.root.numpy()), "VEC3")]
    tracks += [("rotation", joint, rotations[:, joint], "VEC4") for joint in range(body.model.n_joints)]
    samplers, channels = [], []
    for path, joint, values, kind in tracks:
        node = nodes[body.model.joint_names[joint]]
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
        output = _accessor(document, binary, values, kind)
        samplers.append({"input": times, "output": output, "interpolation": "LINEAR"})
    document.setdefault("animations", []).append({"name": name, "channels": channels, "samplers": samplers})


def _accessor(
    document: dict[str, Any], binary: bytearray, values: NDArray[np.floating], kind: str, bounds: bool = False
) -> int:
    values = np.ascontiguousarray(values, dtype="<f4")
    binary.extend(b"\0" * (-len(binary) % 4))
    data = values.tobytes()
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data)})
    binary.extend(data)
    accessor: dict[str, Any] = {
        "bufferView": len(document["bufferViews"]) - 1,
        "componentType": _FLOAT,
        "count": len(values),
        "type": kind,
    }
    if bounds:
        accessor |= {"min": [float(values.min())], "max": [float(values.max())]}
    document["accessors"].append(accessor)
    return len(document["accessors"]) - 1


def _packed(document: dict[str, Any], binary: bytearray) -> bytes:
    binary.extend(b"\0" * (-len(binary) % 4))
    document["buffers"][0]["byteLength"] = len(binary)
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    length = _HEADER + _CHUNK + len(text) + _CHUNK + len(binary)
    header = struct.pack("<4sII", b"glTF", 2, length)
    return b"".join(
        (
            header,
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            bytes(binary),
        )
    )
