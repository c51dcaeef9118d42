"""More animations for an asset.glb: those in it, its mesh, skin and texture stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from animal4d.body.model import ShapedBody
from animal4d.errors import Animal4dError
from animal4d.export.axes import vectors_to_asset
from animal4d.export.gltf import GlbBuilder, gltf_quaternions, reopened
from animal4d.export.rig import asset_quaternions
from animal4d.motion.motion import Motion


def with_animations(glb: bytes, body: ShapedBody, motions: Mapping[str, Motion], source: Path) -> bytes:
    """The asset of this individual with one more animation per motion, under its name.

    The asset may be in other units than the template: lengths of bones tell. `source` is named in errors. Raises
    Animal4dError where the file is no asset of such a body, or has an animation of that name.
    """
    try:
        document, builder = reopened(glb)
        nodes = {node.get("name"): index for index, node in enumerate(document["nodes"])}
    except (ValueError, KeyError) as error:
        raise Animal4dError(
            f"{source} is damaged, or no asset of a run ({error}); write it anew with `reconstruct --resume`"
        ) from error
    missing = [name for name in body.model.joint_names if name not in nodes]
    if missing:
        raise Animal4dError(f"{source}: has no node {missing[0]}; write it anew with `reconstruct --resume`")
    scale = _units(document, nodes, body)
    animations = document.setdefault("animations", [])
    for name, motion in motions.items():
        if name in (animation.get("name") for animation in animations):
            raise Animal4dError(f'--clip: {source} has an animation "{name}" already; give another name')
        animations.append(_animation(builder, name, motion, body, nodes, scale))
    return builder.to_bytes(document)


def _units(document: dict[str, Any], nodes: Mapping[str, int], body: ShapedBody) -> float:
    """Units of the asset per unit of the template."""
    written = [document["nodes"][nodes[name]].get("translation", (0, 0, 0)) for name in body.model.joint_names[1:]]
    lengths = torch.tensor(written, dtype=torch.float64).norm(dim=-1)
    return float(lengths.sum() / body.bones.norm(dim=-1).sum())


def _animation(
    builder: GlbBuilder, name: str, motion: Motion, body: ShapedBody, nodes: Mapping[str, int], scale: float
) -> dict[str, Any]:
    rotations, times = gltf_quaternions(asset_quaternions(motion.joint_rotations)), motion.times.numpy()
    joints = [nodes[joint] for joint in body.model.joint_names]
    tracks = [("translation", joints[0], times, scale * vectors_to_asset(motion.root.numpy()))]
    tracks += [("rotation", node, times, rotations[:, joint]) for joint, node in enumerate(joints)]
    animation = {"name": name, "channels": [], "samplers": []}
    builder.add_tracks(animation, tracks)
    return animation
