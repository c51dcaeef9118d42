"""glTF animals: skinning against an independent reading, samplers against formulas, and what cannot be read."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh
from scipy.spatial.transform import Rotation, Slerp

from animal4d.body.model import PART_NAMES
from animal4d.errors import Animal4dError
from animal4d.synth.gltf import load_gltf, to_world
from animal4d.synth.rigs import RIGS, find_rig, part_of_node

ANIMALS = ("Husky", "ShibaInu", "Cow")


def write_glb(path: Path, interpolation: str = "LINEAR", skin: bool = True, animation: bool = True) -> Path:
    """A quad on one joint that moves along x and turns about z."""
    times = np.array([0.0, 1.0, 3.0], np.float32)
    half = np.sqrt(0.5)
    rotations = np.array([[0, 0, 0, 1], [0, 0, half, half], [0, 0, 1, 0]], np.float32)
    translations = np.array([[0, 0, 0], [2, 0, 0], [2, 4, 0]], np.float32)
    if interpolation == "CUBICSPLINE":
        zero = np.zeros_like(translations)
        translations = np.stack((zero, translations, zero), axis=1).reshape(-1, 3)
        rotations = np.stack((0 * rotations, rotations, 0 * rotations), axis=1).reshape(-1, 4)
    arrays = [
        (np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32), "VEC3"),
        (np.array([0, 1, 2, 0, 2, 3], np.uint16), "SCALAR"),
        (np.zeros((4, 4), np.uint8), "VEC4"),
        (np.tile(np.array([255, 0, 0, 0], np.uint8), (4, 1)), "VEC4"),
        (times, "SCALAR"),
        (translations, "VEC3"),
        (rotations, "VEC4"),
    ]
    kinds = {"float32": 5126, "uint16": 5123, "uint8": 5121}
    blob, views, accessors = b"", [], []
    for number, (array, kind) in enumerate(arrays):
        blob += b"\0" * (-len(blob) % 4)
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": array.nbytes})
        accessors.append(
            {"bufferView": number, "componentType": kinds[array.dtype.name], "count": len(array), "type": kind}
        )
        blob += array.tobytes()
    accessors[3]["normalized"] = True
    attributes = {"POSITION": 0, "JOINTS_0": 2, "WEIGHTS_0": 3}
    document: dict[str, object] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [{"name": "arm"}, {"name": "mesh", "mesh": 0, "translation": [9, 9, 9]}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 1}]}],
        "buffers": [{"byteLength": len(blob)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    if skin:
        document["skins"] = [{"joints": [0]}]
        document["nodes"][1]["skin"] = 0  # type: ignore[index]
    if animation:
        document["animations"] = [
            {
                "name": "Wave",
                "samplers": [
                    {"input": 4, "output": 5, "interpolation": interpolation},
                    {"input": 4, "output": 6, "interpolation": interpolation},
                ],
                "channels": [
                    {"sampler": 0, "target": {"node": 0, "path": "translation"}},
                    {"sampler": 1, "target": {"node": 0, "path": "rotation"}},
                ],
            }
        ]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    blob += b"\0" * (-len(blob) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    return path


@pytest.mark.parametrize(
    ("interpolation", "place", "angle"),
    [
        ("LINEAR", [2.0, 2.0, 0.0], 135.0),
        ("STEP", [2.0, 0.0, 0.0], 90.0),
        ("CUBICSPLINE", [2.0, 2.0, 0.0], 135.0),
    ],
)
def test_samplers_between_keys(tmp_path: Path, interpolation: str, place: list[float], angle: float) -> None:
    animal = load_gltf(write_glb(tmp_path / "arm.glb", interpolation))
    vertices, nodes = animal.pose("Wave", np.array([2.0]))
    turn = Rotation.from_euler("z", angle, degrees=True)
    np.testing.assert_allclose(nodes[0, 0, :3, 3], place, atol=1e-6)
    # Of a skinned mesh the node's own transform does not count.
    np.testing.assert_allclose(vertices[0], turn.apply(animal.vertices) + place, atol=1e-6)


def test_time_wraps_around_or_is_held(tmp_path: Path) -> None:
    animal = load_gltf(write_glb(tmp_path / "arm.glb"))
    assert animal.duration("wave") == 3.0
    wrapped, _ = animal.pose("Wave", np.array([0.5, 3.5]))
    np.testing.assert_allclose(wrapped[0], wrapped[1], atol=1e-9)
    held, _ = animal.pose("Wave", np.array([3.0, 7.0]), loop=False)
    np.testing.assert_allclose(held[0], held[1], atol=1e-9)


def test_a_file_with_its_buffer_beside_it(tmp_path: Path) -> None:
    glb = write_glb(tmp_path / "arm.glb")
    document = pygltflib.GLTF2().load_binary(str(glb))
    (tmp_path / "arm.bin").write_bytes(document.binary_blob())
    document.buffers[0].uri = "arm.bin"
    document.save_json(str(tmp_path / "arm.gltf"))
    beside, inside = load_gltf(tmp_path / "arm.gltf"), load_gltf(glb)
    np.testing.assert_array_equal(beside.pose("Wave", np.array([1.3]))[0], inside.pose("Wave", np.array([1.3]))[0])


def naive_pose(path: Path, animation: str, time: float) -> np.ndarray:
    """Raw vertices of all primitives, skinned one joint at a time with scipy's rotations."""
    gltf = pygltflib.GLTF2().load_binary(str(path))
    blob = gltf.binary_blob()

    def read(index: int) -> np.ndarray:
        accessor = gltf.accessors[index]
        view = gltf.bufferViews[accessor.bufferView]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
        dtype = {5121: "u1", 5123: "<u2", 5126: "<f4"}[accessor.componentType]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        return np.frombuffer(blob, dtype, accessor.count * width, start).reshape(-1, width).astype(float)

    local = {}
    for index, node in enumerate(gltf.nodes):
        local[index] = [
            np.array(node.translation or [0, 0, 0.0]),
            np.array(node.rotation or [0, 0, 0, 1.0]),
            np.array(node.scale or [1, 1, 1.0]),
        ]
    chosen = next(a for a in gltf.animations if a.name == animation)
    for channel in chosen.channels:
        sampler = chosen.samplers[channel.sampler]
        keys, values = read(sampler.input)[:, 0], read(sampler.output)
        slot = ("translation", "rotation", "scale").index(channel.target.path)
        if slot == 1 and len(keys) > 1:
            local[channel.target.node][1] = Slerp(keys, Rotation.from_quat(values))(time).as_quat()
        elif slot == 1:
            local[channel.target.node][1] = values[0]
        else:
            local[channel.target.node][slot] = np.array([np.interp(time, keys, column) for column in values.T])
    world: dict[int, np.ndarray] = {}

    def visit(index: int, above: np.ndarray) -> None:
        translation, rotation, scale = local[index]
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat(rotation).as_matrix() * scale
        matrix[:3, 3] = translation
        world[index] = above @ matrix
        for child in gltf.nodes[index].children or []:
            visit(child, world[index])

    for root in gltf.scenes[0].nodes:
        visit(root, np.eye(4))
    bind = read(gltf.skins[0].inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    result = []
    for primitive in gltf.meshes[0].primitives:
        positions = np.column_stack(
            (read(primitive.attributes.POSITION), np.ones(gltf.accessors[primitive.attributes.POSITION].count))
        )
        joints, weights = read(primitive.attributes.JOINTS_0).astype(int), read(primitive.attributes.WEIGHTS_0)
        skinned = np.zeros((len(positions), 3))
        for slot in range(4):
            for joint in np.unique(joints[:, slot]):
                chosen_rows = joints[:, slot] == joint
                moved = positions[chosen_rows] @ (world[gltf.skins[0].joints[joint]] @ bind[joint]).T
                skinned[chosen_rows] += weights[chosen_rows, slot, None] * moved[:, :3]
        result.append(skinned / weights.sum(axis=1, keepdims=True))
    return np.concatenate(result)


@pytest.mark.parametrize("name", ANIMALS)
def test_skinning_agrees_with_an_independent_reading(shared_dir: Path, name: str) -> None:
    path = shared_dir / "clips" / "animals" / f"{name}.glb"
    animal = load_gltf(path)
    ours = animal.pose("Walk", np.array([0.41]))[0][0]
    raw = naive_pose(path, "Walk", 0.41)
    size = np.ptp(raw, axis=0).max()
    distance = np.linalg.norm(raw[:, None] - ours[None], axis=-1)
    # Merging by position loses nothing and adds nothing.
    assert distance.min(axis=1).max() < 1e-5 * size
    assert distance.min(axis=0).max() < 1e-5 * size


@pytest.mark.parametrize("name", ANIMALS)
def test_rest_pose_agrees_with_the_scene_graph_of_trimesh(shared_dir: Path, name: str) -> None:
    path = shared_dir / "clips" / "animals" / f"{name}.glb"
    animal = load_gltf(path)
    graph = trimesh.load(path, force="scene").graph
    rest = animal.node_transforms((), np.zeros(1))[0]
    for joint in animal.joint_names:
        np.testing.assert_allclose(rest[animal.node_names.index(joint)], graph[joint][0], atol=1e-5)


@pytest.mark.parametrize("name", ANIMALS)
def test_walk_loops_exactly_and_the_mesh_is_closed(shared_dir: Path, name: str) -> None:
    animal = load_gltf(shared_dir / "clips" / "animals" / f"{name}.glb")
    ends, _ = animal.pose("walk", np.array([0.0, animal.duration("Walk")]), loop=False)
    assert np.abs(ends[0] - ends[1]).max() < 1e-5
    assert set(animal.animations) == {"Eating", "Gallop", "Idle", "Walk"}
    edges = np.sort(animal.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).mean() > 0.99
    assert len(animal.face_colors) == len(animal.faces)


@pytest.mark.parametrize("name", ANIMALS)
def test_rigs_name_the_joints_where_they_are(shared_dir: Path, name: str) -> None:
    animal = load_gltf(shared_dir / "clips" / "animals" / f"{name}.glb")
    rig = find_rig(animal.path, animal.node_names)
    assert rig is not None
    rest = to_world(animal.node_transforms((), np.zeros(1))[0, :, :3, 3])
    place = {ours: rest[animal.node_names.index(theirs)] for ours, theirs in rig.joints.items()}
    height = np.ptp(to_world(animal.vertices)[:, 2])
    for ours, where in place.items():
        if "left" in ours:
            assert where[1] > 0 > place[ours.replace("left", "right")][1]
        if ours.endswith("_paw"):
            assert where[2] < 0.05 * height
    assert place["head"][0] > place["neck"][0] > place["back_left_hip"][0]
    assert place["head"][0] > place["front_left_shoulder"][0] > place["back_left_hip"][0]
    assert place["tail_1"][0] < place["back_left_hip"][0] + 0.05 * height
    assert place["back_left_hip"][2] > place["back_left_knee"][2] > place["back_left_hock"][2]


@pytest.mark.parametrize(
    ("node", "part"),
    [
        ("FrontUpperLeg.L", "front_left_leg"),
        ("IKFrontLeg.R", "front_right_leg"),
        ("FF.L", "front_left_leg"),
        ("FFB.L", "back_left_leg"),
        ("BackShoulder.R", "back_right_leg"),
        ("Back", "torso"),
        ("Torso3", "torso"),
        ("Neck2", "torso"),
        ("Ear3.L", "head"),
        ("Head", "head"),
        ("Tail7", "tail"),
        ("LeftUpperArm", "front_left_leg"),
        ("thigh_r", "back_right_leg"),
        ("pelvis", "torso"),
    ],
)
def test_parts_follow_from_the_names_of_joints(node: str, part: str) -> None:
    assert PART_NAMES[part_of_node(node)] == part


def test_the_tables_know_both_sides() -> None:
    for rig in RIGS.values():
        left = {name for name in rig.joints if "left" in name}
        assert {name.replace("left", "right") for name in left} <= set(rig.joints)


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "picture.glb").write_bytes(b"\x89PNG not a model")
    (tmp_path / "broken.glb").write_bytes(b"glTF\x02\x00\x00\x00")
    whole = write_glb(tmp_path / "whole.glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(whole[: len(whole) - 120])
    cases = {
        tmp_path / "missing.glb": "no such file",
        tmp_path / "picture.glb": "not a glTF file",
        tmp_path / "broken.glb": "not a glTF file",
        tmp_path / "cut.glb": "truncated|not a glTF file|buffers",
        write_glb(tmp_path / "bare.glb", skin=False): "no skin",
        write_glb(tmp_path / "still.glb", animation=False): "no animation",
    }
    for path, message in cases.items():
        with pytest.raises(Animal4dError, match=message) as raised:
            load_gltf(path)
        assert path.name in str(raised.value)
        assert "\n" not in str(raised.value)


def test_an_unknown_animation_names_those_that_are_there(tmp_path: Path) -> None:
    animal = load_gltf(write_glb(tmp_path / "arm.glb"))
    with pytest.raises(Animal4dError, match=r'no animation "Fly".*Wave'):
        animal.pose("Fly", np.zeros(1))
