"""The whole way from anatomy to the arrays of the shipped file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animal4d.body.builder.anatomy import dog
from animal4d.body.builder.implicit import Solid
from animal4d.body.builder.joint_limits import joint_limits
from animal4d.body.builder.numbering import number_vertices
from animal4d.body.builder.population import ShapeSpace, learn_shapes
from animal4d.body.builder.regressor import joint_regressor
from animal4d.body.builder.remesh import Sizing, remesh_to_counts
from animal4d.body.builder.skeleton import joint_places
from animal4d.body.builder.skinning import close_mouth, mirror_order, skinning_weights
from animal4d.body.builder.surface import N_CENTER, N_SIDE, edge_size, extract_half, mirror, rim_size
from animal4d.body.keypoints import BACK, BELLY

Array = np.ndarray
SEED = 7
"""Of the population; the surface needs none."""


@dataclass(frozen=True)
class Built:
    """Everything about the template, vertices in the order [centre | left | right]."""

    vertices: Array
    faces: Array
    numbers: Array
    """Each vertex's number in SMAL's layout."""
    weights: Array
    joints: Array
    shapes: ShapeSpace
    regressor: Array


def build_surface() -> tuple[Array, Array]:
    """Vertices and faces of the whole animal with its mouth open."""
    solid: Solid = dog()
    half_vertices, half_faces = extract_half(solid)
    corners = half_vertices[half_faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    # An equilateral triangle per two vertices; a vertex on the boundary counts half.
    unit = np.sqrt((area / edge_size(corners.mean(1)) ** 2).sum() * 2 / np.sqrt(3) / (N_SIDE + N_CENTER / 2))
    sizing = Sizing(edge_size, rim_size).scaled(unit, unit)
    vertices, faces = remesh_to_counts(half_vertices, half_faces, solid, sizing, N_CENTER, N_SIDE)
    whole, faces, _ = mirror(vertices, faces)
    n = 2 * N_SIDE + N_CENTER
    if (len(whole), len(faces)) != (n, 2 * n - 4):
        raise RuntimeError(
            f"remeshing left {len(whole)} vertices and {len(faces)} faces: not a closed surface of genus 0"
        )
    return whole, faces


def build(report: Callable[[str], None] = lambda line: None) -> Built:
    """The template with its skin, skeleton and shape space."""
    opened, faces = build_surface()
    report(f"surface: {len(opened)} vertices, {len(faces)} faces")
    weights = skinning_weights(opened, faces)
    vertices = close_mouth(opened, weights)
    numbers = number_vertices(vertices, faces)
    mid_body = (int(np.flatnonzero(numbers == BACK)[0]), int(np.flatnonzero(numbers == BELLY)[0]))
    centre = vertices[list(mid_body)].mean(0)
    vertices, joints = vertices - centre, joint_places() - centre
    shapes = learn_shapes(vertices, faces, joints, weights, mirror_order(), mid_body, SEED)
    report(f"shapes: {shapes.explained:.2%} of the population's variation in {shapes.directions.shape[2]} directions")
    bodies = np.concatenate([vertices[None], shapes.population])
    regressor = joint_regressor(bodies, np.concatenate([joints[None], shapes.joints]), weights)
    missed = np.linalg.norm(regressor @ vertices - joints, axis=1)
    report(f"joints: regressed within {missed.max():.4f} of their places")
    return Built(vertices, faces, numbers, weights, joints, shapes, regressor)


def pack(built: Built) -> dict[str, Array]:
    """The arrays of the shipped file: the left half only, numbers as small as their precision permits."""
    half = slice(0, N_CENTER + N_SIDE)
    directions = built.shapes.directions[half]
    scale = np.abs(directions).max((0, 1)) / 32767
    order = np.argsort(-built.weights[half], axis=1, kind="stable")[:, :4]
    influence = np.take_along_axis(built.weights[half], order, axis=1)
    joint, vertex = np.nonzero(built.regressor[:, half])
    inner = built.faces[(built.faces < N_CENTER + N_SIDE).all(1)][: len(built.faces) // 2]
    return {
        "numbers": built.numbers.astype(np.uint16),
        "vertices": built.vertices[half].astype(np.float32),
        "faces": inner.astype(np.uint16),
        "directions": np.round(directions / scale).astype(np.int16),
        "direction_scale": scale.astype(np.float32),
        "weight_joints": order.astype(np.uint8),
        "weight_values": np.round(influence * 65535).astype(np.uint16),
        "regressor_entries": np.stack([joint, vertex], 1).astype(np.uint16),
        "regressor_values": built.regressor[joint, vertex].astype(np.float32),
        "joint_limits": joint_limits().astype(np.float32),
        "species_names": np.array(list(built.shapes.species)),
        "species_betas": np.stack(list(built.shapes.species.values())).astype(np.float32),
    }


def write(built: Built, path: Path) -> None:
    """Write the shipped file."""
    np.savez_compressed(path, **pack(built))  # pyright: ignore[reportArgumentType]
