"""The built-in template: a valid, symmetric, well-shaped dog that can stand in for SMAL."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from animal4d.body.joint_names import JOINT_NAMES
from animal4d.body.keypoints import BACK, BELLY, KEYPOINT_NAMES, KEYPOINT_VERTICES, VERTEX_GROUPS
from animal4d.body.model import PART_NAMES, BodyModel, limb_mask
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.geometry.rotations import matrix_from_axis_angle

MIRROR = torch.tensor([1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_builtin_template()


@cache
def mirror_of() -> torch.Tensor:
    """For every vertex its mirror image."""
    model = load_builtin_template()
    images = torch.arange(model.n_vertices)
    images[model.left_indices] = model.right_indices
    images[model.right_indices] = model.left_indices
    return images


@cache
def mirror_joint() -> list[int]:
    names = [n.replace("left", "right") if "left" in n else n.replace("right", "left") for n in JOINT_NAMES]
    return [JOINT_NAMES.index(name) for name in names]


def edges_of(faces: np.ndarray) -> np.ndarray:
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def volume(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    a, b, c = vertices[..., faces, :].unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum((-1, -2)) / 6


def angles(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Degrees (F, 3)."""
    corners = vertices[faces]
    u, v = np.roll(corners, -1, axis=1) - corners, np.roll(corners, -2, axis=1) - corners
    cosine = (u * v).sum(-1) / (np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def joint_of(model: BodyModel, name: str) -> torch.Tensor:
    return (model.joint_regressor @ model.v_template)[JOINT_NAMES.index(name)]


def random_rotations(model: BodyModel, count: int, seed: int) -> torch.Tensor:
    """Rotations within the joint limits; the root stays upright."""
    generator = torch.Generator().manual_seed(seed)
    low, high = model.joint_limits.unbind(-1)
    share = torch.rand(count, model.n_joints, 3, generator=generator)
    vectors = low + share * (high - low)
    vectors[:, 0] = 0.0
    return matrix_from_axis_angle(vectors)


class TestSurface:
    def test_smal_counts(self, model: BodyModel) -> None:
        assert model.v_template.shape == (3889, 3)
        assert model.faces.shape == (7774, 3)
        assert len(model.center_indices) == 135
        assert len(model.left_indices) == len(model.right_indices) == 1877
        everyone = torch.cat((model.center_indices, model.left_indices, model.right_indices))
        assert everyone.sort().values.equal(torch.arange(3889))
        assert model.n_offsets == 5901

    def test_closed_manifold_of_genus_0(self, model: BodyModel) -> None:
        faces = model.faces.numpy()
        directed = edges_of(faces)
        assert len(np.unique(directed, axis=0)) == len(directed)  # each direction once: orientable, no edge shared by 3
        edges = np.unique(np.sort(directed, axis=1), axis=0)
        assert len(directed) == 2 * len(edges)  # closed
        assert model.n_vertices - len(edges) + len(faces) == 2
        # Manifold at vertices: the faces around each form one ring, so as many as it has neighbours in one cycle.
        following: dict[int, dict[int, int]] = {v: {} for v in range(model.n_vertices)}
        for a, b, c in faces.tolist():
            following[a][b], following[b][c], following[c][a] = c, a, b
        for ring in following.values():
            start = here = next(iter(ring))
            steps = 0
            while steps == 0 or here != start:
                here, steps = ring[here], steps + 1
            assert steps == len(ring)

    def test_outward_orientation(self, model: BodyModel) -> None:
        assert volume(model.v_template, model.faces) > 0.02

    def test_even_triangles(self, model: BodyModel) -> None:
        vertices, faces = model.v_template.numpy().astype(float), model.faces.numpy()
        smallest = angles(vertices, faces).min(1)
        assert smallest.min() > 15
        assert np.percentile(smallest, 1) > 30
        lengths = np.linalg.norm(vertices[edges_of(faces)[:, 0]] - vertices[edges_of(faces)[:, 1]], axis=1)
        assert lengths.max() / lengths.min() < 14

    def test_mid_body_is_the_origin(self, model: BodyModel) -> None:
        torch.testing.assert_close(model.v_template[[BACK, BELLY]].mean(0), torch.zeros(3), atol=1e-6, rtol=0)
        assert model.recentre_vertices is None
        assert 1.2 < model.body_length < 1.4


class TestSymmetry:
    def test_vertices_and_directions(self, model: BodyModel) -> None:
        image = mirror_of()
        assert torch.equal(model.v_template[image] * MIRROR, model.v_template)
        assert torch.equal(model.shape_directions[image] * MIRROR[:, None], model.shape_directions)
        assert model.v_template[model.center_indices, 1].abs().max() == 0
        assert model.v_template[model.left_indices, 1].min() > 0

    def test_faces(self, model: BodyModel) -> None:
        def canonical(faces: torch.Tensor) -> set[tuple[int, ...]]:
            return {tuple(np.roll(face, -int(np.argmin(face))).tolist()) for face in faces.numpy()}

        mirrored = mirror_of()[model.faces].flip(1)
        assert canonical(mirrored) == canonical(model.faces)

    def test_weights_and_joints(self, model: BodyModel) -> None:
        image, swap = mirror_of(), mirror_joint()
        assert torch.equal(model.skinning_weights[image][:, swap], model.skinning_weights)
        assert torch.equal(model.joint_regressor[:, image][swap], model.joint_regressor)
        limits = model.joint_limits[swap]
        torch.testing.assert_close(limits[:, 1], model.joint_limits[:, 1])
        torch.testing.assert_close(-limits[:, [0, 2]].flip(-1), model.joint_limits[:, [0, 2]])

    def test_part_labels(self, model: BodyModel) -> None:
        names = [PART_NAMES[label] for label in model.part_labels.tolist()]
        for vertex, other in enumerate(mirror_of().tolist()):
            swapped = names[vertex].replace("left", "?").replace("right", "left").replace("?", "right")
            assert names[other] == swapped


class TestNumbering:
    """Places are told from the joints, whose own places are told from each other in TestSkeleton."""

    def test_table_is_the_published_one(self, shared_dir: Path) -> None:
        published = json.loads((shared_dir / "smal_indices.json").read_text())
        assert published["recentre_at_midpoint_of"]["back and belly at mid-body"] == [BACK, BELLY]
        assert list(published["keypoint_vertices"].values()) == list(KEYPOINT_VERTICES.values())
        assert [tuple(group) for group in published["groups"].values()] == list(VERTEX_GROUPS.values())

    def test_back_and_belly(self, model: BodyModel) -> None:
        back, belly = model.v_template[BACK], model.v_template[BELLY]
        assert back[1] == belly[1] == 0
        assert back[2] > 0.1 and belly[2] < -0.1 and abs(back[0] - belly[0]) < 0.05

    @pytest.mark.parametrize("name", ["nose_end", "chin", "throat", "withers"])
    def test_central_keypoints_on_the_plane(self, model: BodyModel, name: str) -> None:
        assert model.v_template[KEYPOINT_VERTICES[name], 1] == 0

    @pytest.mark.parametrize("name", ["left_ear_tip", "left_eye", "front_left_paw", "back_left_paw"])
    def test_paired_keypoints(self, model: BodyModel, name: str) -> None:
        left, right = KEYPOINT_VERTICES[name], KEYPOINT_VERTICES[name.replace("left", "right")]
        assert model.v_template[left, 1] > 0
        assert mirror_of()[left] == right

    def test_keypoints_at_their_places(self, model: BodyModel) -> None:
        points = {name: model.v_template[vertex] for name, vertex in KEYPOINT_VERTICES.items()}
        assert points["nose_end"][0] > model.v_template[:, 0].max() - 0.01
        assert points["left_ear_tip"][2] > model.v_template[:, 2].max() - 0.01
        assert points["chin"][2] < points["nose_end"][2] and points["chin"][0] > joint_of(model, "jaw")[0] + 0.1
        for end in ("front", "back"):
            assert points[f"{end}_left_paw"][2] < model.v_template[:, 2].min() + 0.06
            assert points[f"{end}_left_paw"][0] > joint_of(model, f"{end}_left_paw")[0] + 0.03
        between_head_and_paws = joint_of(model, "head")[0] > points["throat"][0] > joint_of(model, "spine_6")[0]
        assert between_head_and_paws and points["throat"][2] < joint_of(model, "head")[2]
        assert points["withers"][2] > joint_of(model, "spine_6")[2] and abs(points["withers"][0] - 0.26) < 0.08
        eye = points["left_eye"] - joint_of(model, "head")
        assert eye[0] > 0.1 and eye[1] > 0.04 and eye[2] > 0

    @pytest.mark.parametrize("name", [name for name in VERTEX_GROUPS if "left" in name or "right" in name])
    def test_sided_groups_lie_on_their_side(self, model: BodyModel, name: str) -> None:
        side = model.v_template[list(VERTEX_GROUPS[name]), 1]
        assert (side > 0).all() if "left" in name else (side < 0).all()

    @pytest.mark.parametrize(
        ("group", "joints", "reach"),
        [
            ("left_eye", ("head",), 0.20),
            ("left_ear", ("left_ear",), 0.16),
            ("right_ear", ("right_ear",), 0.16),
            ("lower_lip", ("jaw",), 0.26),
            ("front_left_leg_low", ("front_left_wrist", "front_left_paw"), 0.12),
            ("front_right_leg_low", ("front_right_wrist", "front_right_paw"), 0.12),
            ("back_left_leg_low", ("back_left_hock", "back_left_paw"), 0.12),
            ("back_right_leg_low", ("back_right_hock", "back_right_paw"), 0.12),
            ("front_left_leg_middle", ("front_left_elbow", "front_left_wrist"), 0.16),
            ("front_right_leg_middle", ("front_right_elbow", "front_right_wrist"), 0.16),
            ("back_left_leg_middle", ("back_left_knee", "back_left_hock"), 0.18),
            ("back_right_leg_middle", ("back_right_knee", "back_right_hock"), 0.18),
            ("front_left_leg_top", ("front_left_shoulder", "front_left_elbow"), 0.14),
            ("front_right_leg_top", ("front_right_shoulder", "front_right_elbow"), 0.14),
            ("back_left_leg_top", ("back_left_hip", "back_left_knee"), 0.17),
            ("back_right_leg_top", ("back_right_hip", "back_right_knee"), 0.17),
            ("tail_start", ("tail_1",), 0.08),
            ("tail_middle", ("tail_4",), 0.06),
            ("tail_tip", ("tail_7",), 0.08),
            ("throat_base", ("neck",), 0.23),
            ("below_withers", ("spine_6",), 0.15),
            ("neck", ("neck", "head"), 0.20),
        ],
    )
    def test_groups_lie_between_their_joints(
        self, model: BodyModel, group: str, joints: tuple[str, ...], reach: float
    ) -> None:
        centre = torch.stack([joint_of(model, joint) for joint in joints]).mean(0)
        distance = (model.v_template[list(VERTEX_GROUPS[group])] - centre).norm(dim=1)
        assert distance.max() < reach

    def test_nose_group(self, model: BodyModel) -> None:
        nose = model.v_template[KEYPOINT_VERTICES["nose_end"]]
        assert (model.v_template[list(VERTEX_GROUPS["nose_tip"])] - nose).norm(dim=1).max() < 0.06


class TestSkeleton:
    def test_smal_tree(self, model: BodyModel, golden_recipe) -> None:
        assert list(model.parents) == golden_recipe.PARENTS

    def test_names(self, model: BodyModel) -> None:
        assert len(set(model.joint_names)) == model.n_joints == 35
        assert {"head", "jaw", "front_left_paw", "tail_3"} <= set(model.joint_names)
        assert model.joint_names[16] == "head" and model.joint_names[25] == "tail_1"
        assert len(KEYPOINT_NAMES) == 24

    def test_joints_inside_the_body(self, model: BodyModel) -> None:
        """By the winding number of the surface about each joint."""
        joints = (model.joint_regressor @ model.v_template).double()
        corners = model.v_template.double()[model.faces][None] - joints[:, None, None]
        a, b, c = corners.unbind(2)
        la, lb, lc = a.norm(dim=-1), b.norm(dim=-1), c.norm(dim=-1)
        determinant = (a * torch.linalg.cross(b, c)).sum(-1)
        divisor = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        winding = torch.atan2(determinant, divisor).sum(1) / (2 * torch.pi)
        assert (winding > 0.99).all(), [n for n, w in zip(JOINT_NAMES, winding, strict=True) if w <= 0.99]

    def test_anatomy(self, model: BodyModel) -> None:
        spine = torch.stack([joint_of(model, name) for name in JOINT_NAMES[:7]])
        assert (spine.diff(dim=0)[:, 0] > 0).all()  # from the pelvis forward
        tail = torch.stack([joint_of(model, f"tail_{number}") for number in range(1, 8)])
        assert (tail.diff(dim=0)[:, 0] < 0).all()
        for leg in ("front_left", "front_right", "back_left", "back_right"):
            chain = torch.stack([joint_of(model, name) for name in JOINT_NAMES if name.startswith(leg)])
            assert (chain.diff(dim=0)[:, 2] < 0).all()
            assert (chain[:, 1] > 0).all() if "left" in leg else (chain[:, 1] < 0).all()
        hip, knee, hock, paw = (joint_of(model, f"back_left_{part}")[0] for part in ("hip", "knee", "hock", "paw"))
        assert knee > hip > hock and paw > hock  # the hind leg's zig-zag

    def test_regressor_follows_the_shape(self, model: BodyModel) -> None:
        regressor = model.joint_regressor
        assert regressor.min() >= 0
        torch.testing.assert_close(regressor.sum(1), torch.ones(35))
        assert int((regressor > 0).sum(1).max()) <= 120
        tall = model.with_shape(load_species_betas()["camel"])
        short = model.with_shape(load_species_betas()["dachshund"])
        elbow, paw = JOINT_NAMES.index("front_left_elbow"), JOINT_NAMES.index("front_left_paw")
        long_leg, short_leg = ((b.joints[elbow] - b.joints[paw]).norm() for b in (tall, short))
        assert long_leg > 2 * short_leg

    def test_limits_hold_the_rest_pose(self, model: BodyModel) -> None:
        low, high = model.joint_limits.unbind(-1)
        assert (low < 0).all() and (high > 0).all()


class TestSkin:
    def test_weights(self, model: BodyModel) -> None:
        weights = model.skinning_weights
        torch.testing.assert_close(weights.sum(1), torch.ones(model.n_vertices))
        assert weights.min() >= 0
        assert int((weights > 0).sum(1).max()) <= 4
        assert (weights.max(0).values > 0.5).all()  # every joint moves something

    def test_weights_are_smooth(self, model: BodyModel) -> None:
        edges = edges_of(model.faces.numpy())
        step = (model.skinning_weights[edges[:, 0]] - model.skinning_weights[edges[:, 1]]).abs().max(1).values
        assert step.max() < 0.75  # in the corner of the mouth
        assert step.quantile(0.999) < 0.5
        assert step.mean() < 0.08

    def test_legs_do_not_move_each_other(self, model: BodyModel) -> None:
        paws_of = {
            leg: PART_NAMES.index(f"{leg}_leg") for leg in ("front_left", "front_right", "back_left", "back_right")
        }
        for leg, part in paws_of.items():
            for other in paws_of:
                if other != leg:
                    joints = [JOINT_NAMES.index(name) for name in JOINT_NAMES if name.startswith(other)]
                    assert model.skinning_weights[model.part_labels == part][:, joints].sum(1).max() < 0.2

    def test_parts(self, model: BodyModel) -> None:
        counts = torch.bincount(model.part_labels, minlength=len(PART_NAMES))
        assert (counts > 100).all()
        assert PART_NAMES[model.part_labels[KEYPOINT_VERTICES["nose_end"]]] == "head"
        assert PART_NAMES[model.part_labels[KEYPOINT_VERTICES["back_right_paw"]]] == "back_right_leg"
        assert PART_NAMES[model.part_labels[BACK]] == "torso"

    def test_only_the_moved_limb_moves(self, model: BodyModel) -> None:
        rotations = torch.eye(3).repeat(35, 1, 1)
        rotations[JOINT_NAMES.index("front_left_elbow")] = matrix_from_axis_angle(torch.tensor([0.0, -1.2, 0.0]))
        moved = (model.with_shape().with_pose(rotations).vertices - model.v_template).norm(dim=1)
        assert moved[KEYPOINT_VERTICES["front_left_paw"]] > 0.3
        others = model.part_labels != PART_NAMES.index("front_left_leg")
        assert moved[others].max() < 0.05

    def test_random_animals_in_random_poses_stay_sound(self, model: BodyModel) -> None:
        generator = torch.Generator().manual_seed(3)
        betas = torch.randn(20, model.n_betas, generator=generator).clamp(-2, 2)
        shaped = model.with_shape(betas)
        assert (volume(shaped.vertices, model.faces) > 0).all()
        posed = shaped.with_pose(random_rotations(model, 20, seed=4))
        rest_volume = volume(shaped.vertices, model.faces)
        assert (volume(posed.vertices, model.faces) / rest_volume > 0.7).all()
        edges = torch.from_numpy(np.unique(np.sort(edges_of(model.faces.numpy()), axis=1), axis=0))

        def lengths(vertices: torch.Tensor) -> torch.Tensor:
            return (vertices[:, edges[:, 0]] - vertices[:, edges[:, 1]]).norm(dim=-1)

        by_shape = lengths(shaped.vertices) / lengths(model.v_template[None])
        by_pose = lengths(posed.vertices) / lengths(shaped.vertices)
        assert by_shape.flatten().quantile(0.999) < 3
        assert by_pose.flatten().quantile(0.999) < 2.5

    @pytest.mark.parametrize(("scale", "part", "axis"), [(0, "leg", 2), (2, "tail", 0)])
    def test_limb_scales(self, model: BodyModel, scale: int, part: str, axis: int) -> None:
        limbs = torch.zeros(7)
        limbs[scale] = 0.4
        longer = model.with_shape(limb_scales=limbs).with_pose(torch.eye(3).repeat(35, 1, 1)).vertices
        members = torch.tensor([part in PART_NAMES[label] for label in model.part_labels.tolist()])

        def extent(vertices: torch.Tensor) -> torch.Tensor:
            return vertices[members, axis].max() - vertices[members, axis].min()

        assert extent(longer) > 1.2 * extent(model.v_template)
        assert limb_mask(model.n_joints)[scale].sum() > 0


class TestShapeSpace:
    def test_zero_is_the_dog(self, model: BodyModel) -> None:
        assert model.shape_directions.shape == (3889, 3, 30)
        assert load_species_betas()["dog"].abs().max() < 1e-4

    def test_kinds_lie_within_reach(self) -> None:
        for name, betas in load_species_betas().items():
            assert betas.shape == (30,)
            assert betas.abs().max() < 3.5, name

    def test_kinds_have_their_proportions(self, model: BodyModel) -> None:
        def measure(kind: str) -> dict[str, float]:
            body = model.with_shape(load_species_betas()[kind])
            points = {name: body.vertices[vertex] for name, vertex in KEYPOINT_VERTICES.items()}
            joints = dict(zip(JOINT_NAMES, body.joints, strict=True))
            return {
                "legs": float(joints["front_left_shoulder"][2] - points["front_left_paw"][2]),
                "muzzle": float(
                    (points["nose_end"] - points["left_eye"]).norm() / (points["left_eye"] - joints["head"]).norm()
                ),
                "neck": float((joints["head"] - joints["neck"]).norm()),
                "width": float(body.vertices[:, 1].max()),
            }

        dog, greyhound, bulldog = measure("dog"), measure("greyhound"), measure("bulldog")
        assert measure("dachshund")["legs"] < 0.65 * dog["legs"] < 0.65 * greyhound["legs"]
        assert measure("cat")["muzzle"] < 0.8 * dog["muzzle"]
        assert bulldog["muzzle"] < 0.8 * dog["muzzle"] and bulldog["width"] > 1.2 * greyhound["width"]
        assert measure("camel")["neck"] > 1.5 * dog["neck"]
        assert measure("horse")["legs"] > 1.15 * dog["legs"]


def test_shipped_file_is_small() -> None:
    packed = files("animal4d.body").joinpath("data/builtin.npz").read_bytes()
    assert len(packed) < 1.5e6


class TestBuilder:
    def test_implicit_dog_is_inside_out_right(self) -> None:
        anatomy = pytest.importorskip("animal4d.body.builder.anatomy")
        distance = anatomy.dog().distance(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]))
        assert distance[0] < 0 < distance[1] == distance[2]

    def test_extracted_half_is_a_disc(self) -> None:
        pytest.importorskip("skimage")
        from animal4d.body.builder.anatomy import dog
        from animal4d.body.builder.surface import extract_half

        vertices, faces = extract_half(dog(), step=0.011)
        directed = edges_of(faces)
        edges, count = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
        assert len(vertices) - len(edges) + len(faces) == 1
        rim = edges[count == 1]
        assert (vertices[rim][..., 1] == 0).all()

    def test_remeshing_reaches_exact_counts(self) -> None:
        from animal4d.body.builder.implicit import Ellipsoid, Solid
        from animal4d.body.builder.remesh import Sizing, remesh_to_counts

        solid = Solid([Ellipsoid((0, 0, 0), (0.3, 0.2, 0.25))])
        rings, sectors = 12, 24
        polar = np.linspace(0, np.pi / 2, rings + 1)[1:]
        turn = np.arange(sectors) * 2 * np.pi / sectors
        grid = np.stack(np.meshgrid(polar, turn, indexing="ij"), -1).reshape(-1, 2)
        sphere = np.stack(
            [np.sin(grid[:, 0]) * np.cos(grid[:, 1]), np.cos(grid[:, 0]), np.sin(grid[:, 0]) * np.sin(grid[:, 1])], 1
        )
        points = np.concatenate([[[0, 0.2, 0]], sphere * [0.3, 0.2, 0.25]])
        points[-sectors:, 1] = 0.0
        faces = [[0, 1 + (s + 1) % sectors, 1 + s] for s in range(sectors)]
        for ring in range(rings - 1):
            for s in range(sectors):
                a, b = 1 + ring * sectors + s, 1 + ring * sectors + (s + 1) % sectors
                faces += [[a, b, b + sectors], [a, b + sectors, a + sectors]]

        def even(at: np.ndarray) -> np.ndarray:
            return np.full(len(at), 0.05)

        vertices, faces = remesh_to_counts(points, np.array(faces), solid, Sizing(even, even), 30, 150)
        assert (vertices[:, 1] == 0).sum() == 30 and len(vertices) == 180
        assert len(faces) == 2 * 180 - 2 - 30
        assert angles(vertices, faces).min() > 25
        assert np.abs(solid.distance(vertices)).max() < 1e-3
