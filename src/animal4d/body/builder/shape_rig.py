"""Turns the dog into another animal: smooth fields on its surface, then a scale and a turn for every bone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from animal4d.body.builder.anatomy import HEAD_END, HEAD_SIZE, HEAD_START
from animal4d.body.builder.proportions import Proportions
from animal4d.body.builder.skeleton import bone_ends, mirrored_joints
from animal4d.body.joint_names import JOINT_NAMES, PARENTS

Array = np.ndarray
_INDEX = {name: index for index, name in enumerate(JOINT_NAMES)}
_MUZZLE_START, _MUZZLE_FULL = 0.135, 0.230


def _bump(distance: Array) -> Array:
    return np.exp(-(distance**2))


def _ramp(values: Array, start: float, full: float) -> Array:
    share = np.clip((values - start) / (full - start), 0, 1)
    return share**2 * (3 - 2 * share)


def trunk_fields(points: Array, weights: Array, p: Proportions) -> Array:
    """Displacements (V, 3) of back, chest and belly."""
    trunk = weights[:, : _INDEX["spine_6"] + 1].sum(1) + 0.5 * weights[:, _INDEX["neck"]]
    x, y, z = points.T
    low, high = _ramp(-z, -0.02, 0.10), _ramp(z, 0.02, 0.12)
    middle = _bump(y / 0.16)
    move = np.zeros_like(points)
    move[:, 2] -= p.chest_depth * low * _bump((x - 0.22) / 0.20)
    move[:, 2] += p.tuck * low * _bump((x + 0.20) / 0.20)
    move[:, 2] -= p.belly * low * _bump((x + 0.02) / 0.26)
    move[:, 1] += 0.8 * p.belly * np.sign(y) * _ramp(np.abs(y), 0.0, 0.10) * _bump((x + 0.02) / 0.28) * _bump(z / 0.2)
    move[:, 2] += p.hump * high * middle * _bump((x + 0.03) / 0.17)
    move[:, 2] += p.withers * high * middle * _bump((x - 0.25) / 0.10)
    return move * np.clip(trunk, 0, 1)[:, None]


def head_fields(points: Array, weights: Array, joints: Array, p: Proportions) -> Array:
    """Displacements (V, 3) of muzzle, stop, jowls, skull, and of the crest of the neck."""
    forward = (HEAD_END - HEAD_START) / np.linalg.norm(HEAD_END - HEAD_START)
    up = np.array([-forward[2], 0.0, forward[0]])
    local = (points - HEAD_START) / HEAD_SIZE
    along, height, side = local @ forward, local @ up, local[:, 1]
    owner = np.clip(weights[:, [_INDEX["head"], _INDEX["jaw"]]].sum(1), 0, 1)
    muzzle = _ramp(along, _MUZZLE_START, _MUZZLE_FULL)
    # The integral of the ramp: the muzzle grows along its axis without a step at its root.
    width = _MUZZLE_FULL - _MUZZLE_START
    share = np.clip((along - _MUZZLE_START) / width, 0, 1)
    reach = width * (share**3 - share**4 / 2) + np.maximum(along - _MUZZLE_FULL, 0)
    slide = np.expm1(p.muzzle_length) * reach
    lips = -0.051  # Nothing moves where the lips meet: the mouth stays shut.
    rise = np.expm1(p.muzzle_depth) * muzzle * (height - lips)
    rise -= p.stop * _bump((along - 0.185) / 0.035) * _ramp(height, -0.01, 0.03)
    rise -= p.jowls * _bump((along - 0.24) / 0.06) * _ramp(-height, 0.005, 0.04)
    widen = (np.expm1(p.muzzle_width) * muzzle + np.expm1(p.skull_width) * (1 - muzzle)) * side
    widen += 0.5 * p.jowls * np.sign(side) * _ramp(np.abs(side), 0, 0.03) * _bump((along - 0.24) / 0.06)
    move = slide[:, None] * forward + rise[:, None] * up
    move[:, 1] += widen
    move *= HEAD_SIZE * owner[:, None]
    neck_axis = joints[_INDEX["head"]] - joints[_INDEX["neck"]]
    neck_axis /= np.linalg.norm(neck_axis)
    above = np.array([-neck_axis[2], 0.0, neck_axis[0]])
    from_base = points - joints[_INDEX["neck"]]
    length = np.linalg.norm(joints[_INDEX["head"]] - joints[_INDEX["neck"]])
    on_crest = weights[:, _INDEX["neck"]] * _ramp(from_base @ above, 0.0, 0.06)
    sagging = np.clip(weights[:, [_INDEX["neck"], _INDEX["spine_6"]]].sum(1), 0, 1)
    sagging *= _bump((from_base @ neck_axis / length - 0.45) / 0.38)
    return move + (p.neck_arch * on_crest - p.neck_sag * sagging)[:, None] * above


@dataclass(frozen=True)
class _Bones:
    """Per joint: log scale along the bone, laterally and across; turn about the lateral axis and about the x axis."""

    scale: Array
    pitch: Array
    roll: Array


def bone_changes(p: Proportions) -> _Bones:
    """Scales and turns of all bones, the left side's; the right side mirrors them."""
    scale, pitch, roll = np.zeros((35, 3)), np.zeros(35), np.zeros(35)

    def add(names: list[str], along: float = 0.0, lateral: float = 0.0, across: float = 0.0) -> None:
        for name in names:
            scale[_INDEX[name]] += along, lateral, across

    spine = ["root", *(f"spine_{number}" for number in range(1, 7))]
    add(spine, p.trunk_length, p.trunk_width, p.trunk_depth)
    add(["spine_5", "spine_6"], lateral=p.shoulder_width)
    add(["root"], lateral=p.hip_width)
    add(["neck"], p.neck_length, p.neck_thickness, p.neck_thickness)
    add(["head", "jaw"], p.head_size, p.head_size, p.head_size)
    add(["left_ear"], p.ear_length + p.head_size, p.ear_width + p.head_size, p.ear_width + p.head_size)
    for side, blade, *long_bones, cannon, paw in (
        ("front", 0.35, "shoulder", "elbow", "wrist", "paw"),
        ("back", 0.60, "hip", "knee", "hock", "paw"),
    ):
        upper, lower = (f"{side}_left_{bone}" for bone in long_bones)
        length = p.leg_length + (p.hind_length if side == "back" else 0.0)
        top_thickness = p.thigh_thickness + 0.35 * p.leg_thickness
        add([upper], blade * length, top_thickness, top_thickness)
        add([lower], length, p.leg_thickness, p.leg_thickness)
        add([f"{side}_left_{cannon}"], length + p.cannon_length, p.leg_thickness, p.leg_thickness)
        # A hoof is short, narrow and tall; a paw bone lies in the body's axes (x, y, z).
        paw_size = p.paw_size + 0.5 * p.leg_thickness
        add(
            [f"{side}_left_{paw}"],
            paw_size + p.paw_length - 0.45 * p.hoof,
            paw_size - 0.12 * p.hoof,
            paw_size + 0.30 * p.hoof,
        )
    add([f"tail_{number}" for number in range(1, 8)], p.tail_length, p.tail_thickness, p.tail_thickness)

    pitch[_INDEX["root"]] -= p.croup_drop
    pitch[_INDEX["spine_1"]] += p.croup_drop
    pitch[_INDEX["neck"]] -= p.neck_lift
    pitch[_INDEX["head"]] += p.neck_lift + p.head_drop
    pitch[_INDEX["left_ear"]] -= p.ear_back
    roll[_INDEX["left_ear"]] -= p.ear_droop
    pitch[_INDEX["tail_1"]] += p.tail_lift
    for number in range(2, 8):
        pitch[_INDEX[f"tail_{number}"]] += p.tail_curl
    # Croup and hip turn together, the leg below stays upright.
    pitch[_INDEX["back_left_hip"]] += p.croup_drop - p.hind_upright
    pitch[_INDEX["back_left_hock"]] += p.hind_upright
    return _Bones(scale, pitch, roll)


def bone_frames(joints: Array) -> Array:
    """Rotations (35, 3, 3) with rows along the bone, lateral, across; spine, head and paws keep the body's own axes."""
    ends = bone_ends(joints)
    frames = np.tile(np.eye(3), (len(joints), 1, 1))
    for joint, name in enumerate(JOINT_NAMES):
        if name == "root" or name.startswith("spine") or name.endswith("paw"):
            continue
        along = ends[joint] - joints[joint]
        along /= np.linalg.norm(along)
        lateral = np.array([0.0, 1.0, 0.0]) - along[1] * along
        lateral /= np.linalg.norm(lateral)
        frames[joint] = along, lateral, np.cross(along, lateral)
    return frames


def reshape(vertices: Array, joints: Array, weights: Array, p: Proportions) -> tuple[Array, Array]:
    """Vertices and joints of an animal of these proportions; ``weights`` (V, 35) say how bones share the surface."""
    points = vertices + trunk_fields(vertices, weights, p) + head_fields(vertices, weights, joints, p)
    bones, frames, swap = bone_changes(p), bone_frames(joints), mirrored_joints()
    places, turns = np.zeros_like(joints), np.zeros((len(joints), 3, 3))
    moved = np.zeros_like(points)
    stretches = np.zeros((len(joints), 3, 3))
    for joint, name in enumerate(JOINT_NAMES):
        source = swap[joint] if "right" in name else joint
        side = -1.0 if "right" in name else 1.0
        stretches[joint] = frames[joint].T @ np.diag(np.exp(bones.scale[source])) @ frames[joint]
        turn = Rotation.from_rotvec([side * bones.roll[source], 0, 0]).as_matrix()
        turn = turn @ Rotation.from_rotvec([0, bones.pitch[source], 0]).as_matrix()
        parent = PARENTS[joint]
        if parent < 0:
            places[joint], turns[joint] = joints[joint], turn
        else:
            stretch = stretches[parent]
            if name.endswith(("shoulder", "hip")):
                # Legs follow the width of the trunk, but less, so that those of slim animals do not cross.
                stretch = stretch * np.array([1.0, stretch[1, 1] ** -0.4, 1.0])
            step = turns[parent] @ stretch @ (joints[joint] - joints[parent])
            places[joint], turns[joint] = places[parent] + step, turns[parent] @ turn
        carried = places[joint] + (points - joints[joint]) @ (turns[joint] @ stretches[joint]).T
        moved += weights[:, [joint]] * carried
    return moved, places
