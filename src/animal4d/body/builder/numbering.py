"""Numbers the vertices so that SMAL's well-known indices lie at the places they are known for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee

from animal4d.body.builder.anatomy import EAR_REACH, head_point
from animal4d.body.builder.skeleton import TAIL_TIP, joint_place, offset
from animal4d.body.builder.surface import N_CENTER, N_SIDE
from animal4d.body.keypoints import BACK, BELLY, KEYPOINT_VERTICES, VERTEX_GROUPS

Array = np.ndarray


@dataclass(frozen=True)
class Places:
    """Where a group goes: numbers for the plane of symmetry, and (left, right) pairs, None where any number does."""

    target: Array
    center: tuple[int, ...] = ()
    pairs: tuple[tuple[int | None, int | None], ...] = ()


def _between(first: str, second: str, share: float) -> Array:
    return (1 - share) * joint_place(first) + share * joint_place(second)


def _two_sides(left: str, skip: tuple[int, ...] = ()) -> tuple[tuple[int | None, int | None], ...]:
    """Pairs the numbers of a left and a right group in order; the longer one's rest gets partners of any number."""
    lefts = [number for number in VERTEX_GROUPS[left] if number not in skip]
    rights = [number for number in VERTEX_GROUPS[left.replace("left", "right")] if number not in skip]
    longest = max(len(lefts), len(rights))
    padded_left = [*lefts, *[None] * (longest - len(lefts))]
    padded_right = [*rights, *[None] * (longest - len(rights))]
    return tuple(zip(padded_left, padded_right, strict=True))


def landmark_places() -> list[Places]:
    """Single vertices first, then groups, each around its target in the rest pose."""
    k = KEYPOINT_VERTICES
    ear_tip = joint_place("left_ear") + EAR_REACH
    both_elbow_and_wrist = 384  # The end of the forearm: it counts to the middle of the leg and to its low part.

    def mid_body(height: float) -> Array:
        return np.array([0.0, 0.0, height])

    return [
        Places(mid_body(0.165), center=(BACK,)),
        Places(mid_body(-0.165), center=(BELLY,)),
        Places(head_point(0.345, 0.0, 0.006), center=(k["nose_end"],)),
        Places(head_point(0.292, 0.0, -0.105), center=(k["chin"],)),
        Places(offset(_between("neck", "head", 0.4), 0.06, 0.0, -0.09), center=(k["throat"],)),
        Places(offset(joint_place("spine_6"), 0.02, 0.0, 0.10), center=(k["withers"],)),
        Places(ear_tip, pairs=((k["left_ear_tip"], k["right_ear_tip"]),)),
        Places(head_point(0.172, 0.062, 0.034), pairs=((k["left_eye"], k["right_eye"]),)),
        Places(
            offset(joint_place("front_left_paw"), 0.070, 0.0, -0.025),
            pairs=((k["front_left_paw"], k["front_right_paw"]),),
        ),
        Places(
            offset(joint_place("back_left_paw"), 0.070, 0.0, -0.025), pairs=((k["back_left_paw"], k["back_right_paw"]),)
        ),
        Places(_between("front_left_elbow", "front_left_wrist", 0.85), pairs=((both_elbow_and_wrist, None),)),
        Places(
            head_point(0.170, 0.060, 0.034),
            pairs=((1068, 2660), (1080, 3038), (1029, 3030), (1226, 2675), (645, 2567)),
        ),
        Places(head_point(0.320, 0.0, -0.065), center=(11, 5), pairs=((910, None),)),
        Places(offset(ear_tip, 0.010, -0.018, -0.055), pairs=_two_sides("left_ear")),
        Places(
            head_point(0.340, 0.0, 0.006),
            center=(1870, 1879),
            pairs=((1039, 2997), (1845, 3761), (1846, 3762), (1919, None)),
        ),
        Places(
            _between("front_left_wrist", "front_left_paw", 0.5),
            pairs=_two_sides("front_left_leg_low", (both_elbow_and_wrist,)),
        ),
        Places(_between("back_left_hock", "back_left_paw", 0.5), pairs=_two_sides("back_left_leg_low")),
        Places(
            _between("front_left_elbow", "front_left_wrist", 0.5),
            pairs=_two_sides("front_left_leg_middle", (both_elbow_and_wrist,)),
        ),
        Places(_between("back_left_knee", "back_left_hock", 0.5), pairs=_two_sides("back_left_leg_middle")),
        Places(
            offset(_between("front_left_shoulder", "front_left_elbow", 0.4), 0, 0.05, 0),
            pairs=_two_sides("front_left_leg_top"),
        ),
        Places(
            offset(_between("back_left_hip", "back_left_knee", 0.4), 0, 0.05, 0), pairs=_two_sides("back_left_leg_top")
        ),
        Places(joint_place("tail_1"), center=(1811,), pairs=((63, 370), (194, 452), (52, 64))),
        Places(joint_place("tail_4"), center=(0, 1824), pairs=((464, 2429), (465, 2430), (726, 2690))),
        Places(TAIL_TIP, center=(28, 24), pairs=((474, None), (475, None), (731, None))),
        Places(
            offset(joint_place("neck"), 0.06, 0.0, -0.11),
            center=(45, 59, 60),
            pairs=((114, None), (130, None), (186, None), (189, None), (878, None)),
        ),
        Places(
            offset(joint_place("spine_6"), 0.02, 0.03, 0.06),
            pairs=((190, 2164), (None, 2091), (None, 2037), (None, 2036), (None, 2160)),
        ),
        Places(
            offset(_between("neck", "head", 0.5), 0, 0.06, 0.02),
            pairs=((1158, 3116), (191, 2165), (133, None), (154, None), (339, None), (653, None)),
        ),
    ]


def number_vertices(vertices: Array, faces: Array) -> Array:
    """The number of each vertex of a mesh in the order [centre | left | right]."""
    numbers = np.full(len(vertices), -1)
    half = vertices[: N_CENTER + N_SIDE]
    for places in landmark_places():
        by_distance = np.argsort(np.linalg.norm(half - places.target, axis=1), kind="stable")
        free = by_distance[numbers[by_distance] < 0]
        center, left = free[free < N_CENTER], free[free >= N_CENTER]
        numbers[center[: len(places.center)]] = places.center
        for vertex, (left_number, right_number) in zip(left, places.pairs, strict=False):
            # -2 keeps the place for this pair; the number follows with the others.
            numbers[vertex] = -2 if left_number is None else left_number
            numbers[vertex + N_SIDE] = -2 if right_number is None else right_number
    unused = np.setdiff1d(np.arange(len(vertices)), numbers[numbers >= 0])
    numbers[_open_places(numbers, half, faces)] = unused
    return numbers


def _open_places(numbers: Array, half: Array, faces: Array) -> Array:
    """Vertices without a number: centre, left, right, neighbours near each other."""
    inner = faces[(faces < len(half)).all(1)]
    rows, columns = inner.T.ravel(), np.roll(inner, 1, axis=1).T.ravel()
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(half), len(half))).tocsr()
    walk = reverse_cuthill_mckee(graph + graph.T, symmetric_mode=True)
    center, left = walk[walk < N_CENTER], walk[walk >= N_CENTER]
    order = np.concatenate([center, left, left + N_SIDE])
    return order[numbers[order] < 0]
