"""Isotropic remeshing (after Botsch and Kobbelt, 2004), to exact counts, of a disc whose boundary lies on y = 0.

Splitting long edges, collapsing short ones, flipping towards regular valence, sliding vertices in their tangent plane
and pulling them back to the implicit surface; the boundary only moves within its plane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from animal4d.body.builder.implicit import Solid

Array = np.ndarray
Edge = tuple[int, int]
SizeField = Callable[[Array], Array]
"""Wanted edge length (N,) at points (N, 3)."""


@dataclass(frozen=True)
class Sizing:
    """Wanted edge lengths inside and along the boundary."""

    inside: SizeField
    rim: SizeField

    def scaled(self, inside: float, rim: float) -> Sizing:
        """The same in other units."""
        return Sizing(lambda at: inside * self.inside(at), lambda at: rim * self.rim(at))


class EditableDisc:
    """A triangle mesh with a boundary that can be edited edge by edge."""

    def __init__(self, vertices: Array, faces: Array) -> None:
        self.position: list[Array] = list(vertices.astype(float))
        self.faces: dict[int, tuple[int, int, int]] = {i: (int(a), int(b), int(c)) for i, (a, b, c) in enumerate(faces)}
        self.star: list[set[int]] = [set() for _ in self.position]
        for index, face in self.faces.items():
            for vertex in face:
                self.star[vertex].add(index)
        self._next_face = len(self.faces)

    @property
    def used(self) -> list[int]:
        """Vertices that belong to a face."""
        return [vertex for vertex, star in enumerate(self.star) if star]

    def on_plane(self, vertex: int) -> bool:
        return self.position[vertex][1] == 0.0

    def neighbours(self, vertex: int) -> set[int]:
        return {other for face in self.star[vertex] for other in self.faces[face]} - {vertex}

    def edges(self) -> list[Edge]:
        found = {(min(a, b), max(a, b)) for f in self.faces.values() for a, b in zip(f, (*f[1:], f[0]), strict=True)}
        return sorted(found)

    def opposite(self, a: int, b: int) -> list[tuple[int, int]]:
        """Faces at the edge, each with its third vertex."""
        shared = sorted(self.star[a] & self.star[b])
        return [(face, next(v for v in self.faces[face] if v not in (a, b))) for face in shared]

    def normal(self, a: int, b: int, c: int) -> Array:
        """Area vector of a triangle."""
        p, q, r = self.position[a], self.position[b], self.position[c]
        return _cross(q - p, r - p)

    def _replace(self, index: int, face: tuple[int, int, int]) -> None:
        for vertex in self.faces[index]:
            self.star[vertex].discard(index)
        self.faces[index] = face
        for vertex in face:
            self.star[vertex].add(index)

    def _remove(self, index: int) -> None:
        for vertex in self.faces.pop(index):
            self.star[vertex].discard(index)

    def split(self, a: int, b: int) -> int:
        """Put a vertex on the middle of an edge."""
        middle = len(self.position)
        wings = self.opposite(a, b)
        self.position.append((self.position[a] + self.position[b]) / 2)
        if len(wings) == 2:
            self.position[middle][1] = max(self.position[middle][1], 1e-4)  # Only the boundary lies on the plane.
        self.star.append(set())
        for index, _ in wings:
            face = self.faces[index]
            first = tuple(middle if v == b else v for v in face)
            second = tuple(middle if v == a else v for v in face)
            self._replace(index, (first[0], first[1], first[2]))
            self.faces[self._next_face] = (second[0], second[1], second[2])
            for vertex in second:
                self.star[vertex].add(self._next_face)
            self._next_face += 1
        return middle

    def collapse(self, a: int, b: int, longest: Callable[[Array], float]) -> bool:
        """Merge an edge into a vertex where that keeps a disc, turns no triangle over, no edge exceeds ``longest``."""
        wings = self.opposite(a, b)
        plane_a, plane_b = self.on_plane(a), self.on_plane(b)
        if plane_a and plane_b and len(wings) != 1:
            return False
        if len(self.neighbours(a) & self.neighbours(b)) != len(wings):
            return False
        if any(len(self.neighbours(v)) <= (3 if not self.on_plane(v) else 2) for _, v in wings):
            return False
        if plane_b and not plane_a:
            a, b, plane_a, plane_b = b, a, plane_b, plane_a
        if plane_a and not plane_b:
            beyond = self.neighbours(b) - self.neighbours(a) - {a}
            if any(map(self.on_plane, beyond)):  # It would tie two boundary vertices across the surface.
                return False
        target = self.position[a] if plane_a and not plane_b else (self.position[a] + self.position[b]) / 2
        gone = {index for index, _ in wings}
        limit = longest(target)
        for vertex in (self.neighbours(a) | self.neighbours(b)) - {a, b}:
            if np.linalg.norm(self.position[vertex] - target) > limit:
                return False
        for vertex in (a, b):
            for index in self.star[vertex] - gone:
                face = self.faces[index]
                corners = [target if v in (a, b) else self.position[v] for v in face]
                new = _cross(corners[1] - corners[0], corners[2] - corners[0])
                old = self.normal(*face)
                if new @ old < 0.3 * np.sqrt((new @ new) * (old @ old)):
                    return False
        for index in gone:
            self._remove(index)
        for index in list(self.star[b]):
            face = tuple(a if v == b else v for v in self.faces[index])
            self._replace(index, (face[0], face[1], face[2]))
        self.position[a] = target
        return True

    def flip(self, a: int, b: int, wanted: Callable[[int, int, int, int], bool]) -> bool:
        """Turn an interior edge within its two triangles where ``wanted(a, b, c, d)`` and nothing turns over."""
        wings = self.opposite(a, b)
        if len(wings) != 2:
            return False
        (first, c), (second, d) = wings
        if d in self.neighbours(c) or (self.on_plane(c) and self.on_plane(d)) or not wanted(a, b, c, d):
            return False
        order = self.faces[first]
        if order[(order.index(a) + 1) % 3] != b:
            a, b = b, a
        old = self.normal(a, b, c) + self.normal(b, a, d)
        new_first, new_second = self.normal(a, d, c), self.normal(d, b, c)
        for new in (new_first, new_second):
            if new @ old < 0.6 * np.sqrt((new @ new) * (old @ old)):
                return False
        self._replace(first, (a, d, c))
        self._replace(second, (d, b, c))
        return True

    def arrays(self) -> tuple[Array, Array]:
        """Compact vertices and faces."""
        used = self.used
        number = {vertex: index for index, vertex in enumerate(used)}
        faces = np.array([[number[v] for v in self.faces[index]] for index in sorted(self.faces)])
        return np.array([self.position[v] for v in used]), faces


def _cross(a: Array, b: Array) -> Array:
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def project(points: Array, solid: Solid, steps: int = 4) -> Array:
    """Pull points to the implicit surface; those on the plane of symmetry stay in it."""
    points = points.copy()
    flat = points[:, 1] == 0.0
    for _ in range(steps):
        gradient = solid.gradient(points)
        gradient[flat, 1] = 0.0
        step = solid.distance(points)[:, None] * gradient / np.maximum((gradient**2).sum(1, keepdims=True), 0.05)
        points -= np.clip(step, -0.02, 0.02)
        points[~flat, 1] = np.maximum(points[~flat, 1], 1e-4)
    return points


def smooth(disc: EditableDisc, solid: Solid, sizing: Sizing, amount: float = 0.7) -> None:
    """One round of tangential smoothing towards size-weighted centroids, and back to the surface."""
    used = disc.used
    vertices, faces = disc.arrays()
    flat = vertices[:, 1] == 0.0
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    middle = corners.mean(1)
    weight = area / sizing.inside(middle) ** 2
    total, centroid, normal = np.zeros(len(vertices)), np.zeros_like(vertices), np.zeros_like(vertices)
    face_normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for corner in range(3):
        np.add.at(total, faces[:, corner], weight)
        np.add.at(centroid, faces[:, corner], weight[:, None] * middle)
        np.add.at(normal, faces[:, corner], face_normal)
    move = centroid / total[:, None] - vertices
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    move -= (move * normal).sum(1, keepdims=True) * normal
    move[flat] = 0.0
    boundary = [(a, b) for a, b in disc.edges() if disc.on_plane(a) and disc.on_plane(b)]
    number = {vertex: index for index, vertex in enumerate(used)}
    pull, count = np.zeros_like(vertices), np.zeros(len(vertices))
    local = sizing.rim(vertices)
    for a, b in boundary:
        i, j = number[a], number[b]
        weight_ij = 1.0 / (local[i] + local[j])
        pull[i] += weight_ij * (vertices[j] - vertices[i])
        pull[j] += weight_ij * (vertices[i] - vertices[j])
        count[[i, j]] += weight_ij
    move[flat] = pull[flat] / count[flat, None]
    moved = vertices + amount * move
    moved[flat, 1] = 0.0
    for vertex, place in zip(used, project(moved, solid), strict=True):
        disc.position[vertex] = place


def _length(disc: EditableDisc, edge: Edge) -> float:
    step = disc.position[edge[0]] - disc.position[edge[1]]
    return float(np.sqrt(step @ step))


def _wanted(disc: EditableDisc, edges: list[Edge], sizing: Sizing) -> Array:
    """Wanted lengths of edges."""
    middle = np.array([(disc.position[a] + disc.position[b]) / 2 for a, b in edges])
    on_rim = np.array([disc.on_plane(a) and disc.on_plane(b) for a, b in edges])
    return np.where(on_rim, sizing.rim(middle), sizing.inside(middle))


def _by_relative_length(disc: EditableDisc, sizing: Sizing) -> list[tuple[float, Edge]]:
    edges = disc.edges()
    wanted = _wanted(disc, edges, sizing)
    return sorted((_length(disc, edge) / float(w), edge) for edge, w in zip(edges, wanted, strict=True))


def equalise_valence(disc: EditableDisc) -> None:
    """Flip edges where that brings valences nearer to six (four on the boundary)."""

    def better(a: int, b: int, c: int, d: int) -> bool:
        excess = [len(disc.neighbours(v)) - (4 if disc.on_plane(v) else 6) for v in (a, b, c, d)]
        after = [excess[0] - 1, excess[1] - 1, excess[2] + 1, excess[3] + 1]
        return sum(e * e for e in after) < sum(e * e for e in excess)

    for a, b in disc.edges():
        disc.flip(a, b, better)


def make_delaunay(disc: EditableDisc) -> None:
    """Flip edges whose opposite angles sum to more than a half turn."""

    def angle(at: int, a: int, b: int) -> float:
        u, v = disc.position[a] - disc.position[at], disc.position[b] - disc.position[at]
        return float(np.arccos(np.clip(u @ v / np.sqrt((u @ u) * (v @ v)), -1, 1)))

    for a, b in disc.edges():
        disc.flip(a, b, lambda a, b, c, d: angle(c, a, b) + angle(d, a, b) > np.pi + 0.02)


def remesh_round(disc: EditableDisc, solid: Solid, sizing: Sizing) -> None:
    """One round of splits, collapses, flips and smoothing."""
    for ratio, (a, b) in reversed(_by_relative_length(disc, sizing)):
        if ratio <= 4 / 3:
            break
        disc.split(a, b)
    for ratio, (a, b) in _by_relative_length(disc, sizing):
        if ratio >= 4 / 5:
            break
        if disc.star[a] & disc.star[b] and _length(disc, (a, b)) < 0.8 * _wanted(disc, [(a, b)], sizing)[0]:
            disc.collapse(a, b, lambda at: 1.5 * float(max(sizing.inside(at[None])[0], sizing.rim(at[None])[0])))
    equalise_valence(disc)
    smooth(disc, solid, sizing)


def _counts(disc: EditableDisc) -> tuple[int, int]:
    used = disc.used
    boundary = sum(disc.on_plane(vertex) for vertex in used)
    return boundary, len(used) - boundary


def _settle_counts(disc: EditableDisc, sizing: Sizing, boundary: int, interior: int) -> None:
    """Single splits and collapses, of the most deserving edges, until the counts are exact."""
    for on_rim, goal in ((True, boundary), (False, interior)):
        while (now := _counts(disc)[0 if on_rim else 1]) != goal:
            ranked = [
                edge
                for _, edge in _by_relative_length(disc, sizing)
                if all(map(disc.on_plane, edge)) == on_rim and (on_rim or not any(map(disc.on_plane, edge)))
            ]
            # Far apart, so that one edit does not spoil the next: the touched vertices rest until the next round.
            touched: set[int] = set()
            for a, b in reversed(ranked) if now < goal else ranked:
                if now == goal or len(touched) > len(disc.used):
                    break
                if {a, b} & touched or not disc.star[a] & disc.star[b]:
                    continue
                around = disc.neighbours(a) | disc.neighbours(b)
                if now < goal:
                    touched |= around | {disc.split(a, b)}
                    now += 1
                elif disc.collapse(a, b, lambda at: np.inf):
                    touched |= around
                    now -= 1


def remesh_to_counts(
    vertices: Array, faces: Array, solid: Solid, sizing: Sizing, boundary: int, interior: int
) -> tuple[Array, Array]:
    """Remesh a disc to ``boundary`` vertices on the plane and ``interior`` others, in proportion to ``sizing``."""
    disc = EditableDisc(vertices, faces)
    inside_scale, rim_scale = 1.0, 1.0
    for round_number in range(24):
        remesh_round(disc, solid, sizing.scaled(inside_scale, rim_scale))
        if round_number >= 3:
            on_rim, inside = _counts(disc)
            inside_scale *= float(np.clip((inside / interior) ** 0.4, 0.9, 1.1))
            rim_scale *= float(np.clip((on_rim / boundary) ** 0.6, 0.9, 1.1))
    final = sizing.scaled(inside_scale, rim_scale)
    for _ in range(3):
        _settle_counts(disc, final, boundary, interior)
        for _ in range(6):
            equalise_valence(disc)
            smooth(disc, solid, final)
    for _ in range(8):
        make_delaunay(disc)
        smooth(disc, solid, final, amount=0.5)
    make_delaunay(disc)
    return disc.arrays()
