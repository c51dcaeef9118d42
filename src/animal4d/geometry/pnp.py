"""Camera pose from points of known place, in spite of wrong pairs: PnP in a RANSAC loop.

Minimal and final poses are by SQPnP (Terzakis and Lourakis 2020), then refined on the inliers by Levenberg-Marquardt.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

_MINIMAL = 4
_LEAST_DEPTH = 1e-6


@dataclass(frozen=True)
class PnpPose:
    """`X_cam = R_cam_from_body @ X_body + t_cam_from_body`, OpenCV axes."""

    R_cam_from_body: Float[ndarray, "3 3"]
    t_cam_from_body: Float[ndarray, "3"]
    inliers: Bool[ndarray, "points"]
    """Pairs that lie in front of the camera and project within the threshold."""


@dataclass(frozen=True)
class PnpSettings:
    """The published numbers (method.md 5)."""

    points: int = 200
    """Pairs that are drawn to vote; all of them refine the winner."""
    rounds: int = 100
    threshold: float = 0.05
    """Largest distance of an inlier, in halves of the padded frame's side (NDC)."""
    least_inliers: float = 0.1
    """Share of the pairs that must agree with a pose."""
    seed: int = 0


PUBLISHED = PnpSettings()


def solve_pnp(
    points: Float[ndarray, "points 3"],
    pixels: Float[ndarray, "points 2"],
    intrinsics: Float[ndarray, "3 3"],
    threshold: float,
    settings: PnpSettings = PUBLISHED,
) -> PnpPose | None:
    """The pose under which most points project to within `threshold` pixels of their pixels.

    Pairs that are not finite are left out. The same input gives the same pose in every run. None where fewer than four
    pairs are left, where no pose has enough inliers, or where the inliers leave it undetermined.
    """
    usable = np.flatnonzero(np.isfinite(points).all(1) & np.isfinite(pixels).all(1))
    if len(usable) < _MINIMAL:
        return None
    camera = np.asarray(intrinsics, dtype=np.float64)
    all_points, all_pixels = (np.asarray(array, dtype=np.float64)[usable] for array in (points, pixels))
    random = np.random.default_rng(settings.seed)
    voters = random.permutation(len(usable))[: settings.points]
    pose = _ransac(all_points[voters], all_pixels[voters], camera, threshold, settings.rounds, random)
    if pose is None:
        return None
    inliers = _inliers(pose, all_points, all_pixels, camera, threshold)
    # Twice, since a better pose finds more of its inliers.
    for _ in range(2):
        refined = _refined(pose, all_points[inliers], all_pixels[inliers], camera)
        if refined is None:
            break
        found = _inliers(refined, all_points, all_pixels, camera, threshold)
        if found.sum() < 0.9 * inliers.sum():
            break
        pose, inliers = refined, found
    if inliers.sum() < max(_MINIMAL, settings.least_inliers * len(usable)):
        return None
    everywhere = np.zeros(len(points), dtype=bool)
    everywhere[usable[inliers]] = True
    rotation, translation = pose
    return PnpPose(rotation, translation, everywhere)


_Pose = tuple[Float[ndarray, "3 3"], Float[ndarray, "3"]]


def _ransac(
    points: ndarray, pixels: ndarray, camera: ndarray, threshold: float, rounds: int, random: np.random.Generator
) -> _Pose | None:
    best, most = None, _MINIMAL - 1
    for _ in range(rounds):
        chosen = random.choice(len(points), _MINIMAL, replace=False)
        if len(np.unique(points[chosen], axis=0)) < _MINIMAL:
            continue  # Many pixels share a vertex.
        pose = _sqpnp(points[chosen], pixels[chosen], camera)
        if pose is None:
            continue
        count = int(_inliers(pose, points, pixels, camera, threshold).sum())
        if count > most:
            best, most = pose, count
    return best


def _sqpnp(points: ndarray, pixels: ndarray, camera: ndarray) -> _Pose | None:
    try:
        solved, turn, shift = cv2.solvePnP(points, pixels, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:
        return None  # Points on a line.
    return _pose(turn, shift) if solved else None


def _refined(pose: _Pose, points: ndarray, pixels: ndarray, camera: ndarray) -> _Pose | None:
    if len(points) < _MINIMAL:
        return None
    start = _sqpnp(points, pixels, camera) or pose
    # Columns: of a flat translation OpenCV reads beyond the end, and the "refined" pose is worse (opencv issue 29747).
    turn, shift = cv2.Rodrigues(start[0])[0], start[1].reshape(3, 1).copy()
    try:
        turn, shift = cv2.solvePnPRefineLM(points, pixels, camera, None, turn, shift)
    except cv2.error:
        return start
    return _pose(turn, shift) or start


def _pose(turn: ndarray, shift: ndarray) -> _Pose | None:
    if not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        return None
    return np.asarray(cv2.Rodrigues(turn)[0]), np.asarray(shift).ravel()


def _inliers(
    pose: _Pose, points: ndarray, pixels: ndarray, camera: ndarray, threshold: float
) -> Bool[ndarray, "points"]:
    rotation, translation = pose
    homogeneous = (points @ rotation.T + translation) @ camera.T
    depth = homogeneous[:, 2]
    projected = homogeneous[:, :2] / depth.clip(_LEAST_DEPTH)[:, None]
    return (depth > _LEAST_DEPTH) & (np.linalg.norm(projected - pixels, axis=1) < threshold)
