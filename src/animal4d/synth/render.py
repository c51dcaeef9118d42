"""Pictures of an animal in its scenery: z-buffer, sun with shadows, sky light, anti-aliased edges.

The animal and the props are drawn at twice the resolution and averaged; ground and sky are computed once per pixel,
their noise filtered by the pixel's size. Colours are linear until the last step.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from animal4d.synth.camera_paths import look_at
from animal4d.synth.noise import fractal_noise, smoothstep
from animal4d.synth.scenery import Scenery, Sun

_SUPERSAMPLING = 2
_LIGHT_DISTANCE = 40.0
_SHADOW_SIZE = 512


@dataclass(frozen=True)
class Surface:
    """What the renderer needs to know of an animal besides its posed vertices."""

    faces: Int[Tensor, "faces 3"]
    color: Callable[[ndarray, ndarray], ndarray]
    """Linear RGB (n, 3) of surface points, from their faces (n,) and barycentrics (n, 3)."""
    smooth: bool = True
    """Normals interpolated over the faces (fur), or one per face (low-poly)."""


@dataclass(frozen=True)
class _Mesh:
    """Something drawn in one frame."""

    vertices: Float[ndarray, "vertices 3"]
    faces: Int[ndarray, "faces 3"]
    normals: Float[ndarray, "vertices 3"]


def render(
    vertices: Float[Tensor, "frames vertices 3"],
    surface: Surface,
    cameras: Cameras,
    scenery: Scenery,
    seed: int = 0,
    workers: int = 2,
) -> UInt8[ndarray, "frames height width 3"]:
    """sRGB frames of the animal (posed vertices in the world) in the scenery."""
    static = _Mesh(
        scenery.props.vertices, scenery.props.faces, vertex_normals(scenery.props.vertices, scenery.props.faces)
    )
    ground_shadow = _ShadowMap.of(static, scenery.sun, vertices.mean(dim=(0, 1)).numpy(), 16.0, 1024)

    def one(frame: int) -> UInt8[ndarray, "height width 3"]:
        posed = vertices[frame].double().numpy()
        faces = surface.faces.numpy()
        animal = _Mesh(posed, faces, vertex_normals(posed, faces))
        linear = _frame(animal, surface, static, cameras[[frame]], scenery, ground_shadow)
        rng = np.random.default_rng([seed, 13, frame])
        linear = tone(linear) + 0.006 * rng.standard_normal((*linear.shape[:2], 1)).astype(np.float32)
        return (np.clip(linear, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)

    with ThreadPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(one, range(len(vertices)))))


def vertex_normals(
    vertices: Float[ndarray, "vertices 3"], faces: Int[ndarray, "faces 3"]
) -> Float[ndarray, "vertices 3"]:
    """Unit normals, faces weighted by their area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(faces[:, corner], normal[:, axis], minlength=len(vertices))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class _ShadowMap:
    """Depth seen from the sun, as a camera far away; and its coverage, blurred, for soft shadows on the ground."""

    light: Cameras
    depth: Float[ndarray, "height width"]
    """Infinite where nothing is."""
    soft: Float[ndarray, "height width"]

    @staticmethod
    def of(mesh: _Mesh, sun: Sun, centre: ndarray, half_width: float, size: int) -> _ShadowMap:
        position = (centre + _LIGHT_DISTANCE * sun.direction)[None]
        world_to_light = look_at(position, centre[None].astype(np.float64), np.zeros(1))
        focal = 0.5 * size / half_width * _LIGHT_DISTANCE
        intrinsics = torch.tensor([[[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]]])
        light = Cameras(intrinsics, torch.tensor(world_to_light, dtype=torch.float32), (size, size))
        in_light = light.transform(torch.tensor(mesh.vertices[None], dtype=torch.float32))
        seen = rasterize(in_light, torch.as_tensor(mesh.faces), intrinsics, (size, size))
        covered = seen.covered[0].numpy()
        depth = np.where(covered, seen.depth[0].numpy(), np.inf).astype(np.float32)
        texels = size / (2 * half_width)
        soft = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), max(0.8, 0.018 * texels))
        return _ShadowMap(light, depth, soft)

    def _texels(self, points: Float[ndarray, "points 3"]) -> tuple[ndarray, ndarray]:
        world_to_light = self.light.world_to_camera[0].numpy()
        in_light = points.astype(np.float32) @ world_to_light[:3, :3].T + world_to_light[:3, 3]
        focal, centre = float(self.light.intrinsics[0, 0, 0]), float(self.light.intrinsics[0, 0, 2])
        depth = in_light[:, 2]
        # Places behind the sun are given no shadow by a texel that is far outside.
        return in_light[:, :2] * (focal / np.maximum(depth, 1.0))[:, None] + (centre - 0.5), depth

    def on_ground(self, points: Float[ndarray, "points 3"]) -> Float[ndarray, "points"]:
        """Share of the sun that is hidden from places on the ground."""
        texels, _ = self._texels(points)
        return _sample(self.soft, texels, 0.0)

    def on_surface(self, points: Float[ndarray, "points 3"], bias: float = 0.03) -> Float[ndarray, "points"]:
        """Share of the sun that the mesh hides from points on itself."""
        texels, depth = self._texels(points)
        shaded = np.zeros(len(points), np.float32)
        for shift in ((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)):
            column = np.clip(np.rint(texels[:, 0] + shift[0]).astype(np.int64), 0, self.depth.shape[1] - 1)
            row = np.clip(np.rint(texels[:, 1] + shift[1]).astype(np.int64), 0, self.depth.shape[0] - 1)
            shaded += smoothstep(bias, 2 * bias, depth - self.depth[row, column])
        return shaded / 4


def _sample(image: Float[ndarray, "height width"], texels: Float[ndarray, "points 2"], outside: float) -> ndarray:
    flat = cv2.remap(
        image,
        _columns(texels[:, 0]),
        _columns(texels[:, 1]),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=outside,
    )
    return flat.reshape(-1)[: len(texels)]


def _columns(values: Float[ndarray, "points"]) -> Float[ndarray, "rows 1024"]:
    """As an image, since cv2.remap takes no more than 32767 rows or columns."""
    padded = np.zeros(-(-max(len(values), 1) // 1024) * 1024, np.float32)
    padded[: len(values)] = values
    return padded.reshape(-1, 1024)


def _frame(
    animal: _Mesh, surface: Surface, static: _Mesh, camera: Cameras, scenery: Scenery, ground_shadow: _ShadowMap
) -> Float[ndarray, "height width 3"]:
    height, width = camera.image_size
    shadow = _ShadowMap.of(animal, scenery.sun, animal.vertices.mean(axis=0), 1.9, _SHADOW_SIZE)
    background = _background(camera, scenery, shadow, ground_shadow)

    fine = camera.resized((height * _SUPERSAMPLING, width * _SUPERSAMPLING))
    n_static = len(static.faces)
    vertices = np.concatenate((static.vertices, animal.vertices))
    faces = np.concatenate((static.faces, animal.faces + len(static.vertices)))
    normals = np.concatenate((static.normals, animal.normals))
    in_camera = fine.transform(torch.tensor(vertices[None], dtype=torch.float32))
    seen = rasterize(in_camera, torch.as_tensor(faces), fine.intrinsics, fine.image_size)
    face = seen.face_index[0].numpy()
    covered = face >= 0
    face = face[covered]
    weights = seen.barycentrics[0].numpy()[covered]
    points = np.einsum("nk,nkd->nd", weights, vertices[faces[face]])
    normal = np.einsum("nk,nkd->nd", weights, normals[faces[face]])
    is_animal = face >= n_static
    if not surface.smooth:
        flat = _face_normals(animal)
        normal[is_animal] = 0.5 * normal[is_animal] + 0.5 * flat[face[is_animal] - n_static]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)

    color = np.empty((len(face), 3), np.float32)
    eye = camera.centers[0].numpy()
    color[is_animal] = _light(
        surface.color(face[is_animal] - n_static, weights[is_animal]),
        normal[is_animal],
        eye - points[is_animal],
        scenery.sun,
        1 - shadow.on_surface(points[is_animal]),
    )
    prop = ~is_animal
    color[prop] = _prop_color(face[prop], points[prop], normal[prop], static, scenery, eye)

    picture = np.zeros((*fine.image_size, 3), np.float32)
    picture[covered] = color
    return _averaged(picture) + background * (1 - _averaged(covered.astype(np.float32))[..., None])


def _averaged(fine: Float[ndarray, "rows columns *channels"]) -> Float[ndarray, "height width *channels"]:
    """Mean over the fine pixels of every pixel."""
    k = _SUPERSAMPLING
    total = sum(fine[row::k, column::k] for row in range(k) for column in range(k))
    return np.asarray(total, np.float32) / (k * k)


def _prop_color(
    face: Int[ndarray, "points"],
    points: Float[ndarray, "points 3"],
    normal: Float[ndarray, "points 3"],
    static: _Mesh,
    scenery: Scenery,
    eye: Float[ndarray, "3"],
) -> Float[ndarray, "points 3"]:
    """Radiance of the things that stand about: leaves and grain are noise in the world."""
    grain = fractal_noise(points, 10.0, 3, scenery.seed + 60)
    bumps = [fractal_noise(points, 8.0, 2, scenery.seed + 61 + axis) for axis in range(3)]
    normal = normal + 0.9 * np.stack(bumps, axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    # Blades are seen from both sides; which one, the face itself tells, not the smoothed normal.
    outward = _face_normals(static)[face]
    normal = np.where(((eye - points) * outward).sum(1, keepdims=True) < 0, -normal, normal)
    albedo = scenery.props.colors[face] * np.exp(0.7 * grain)[:, None]
    # The foot of a thing gets less light from the sky.
    open_sky = 0.55 + 0.45 * smoothstep(0.0, 0.35, points[:, 2])
    return _light(albedo, normal, None, scenery.sun, np.ones(len(albedo))) * open_sky[:, None]


def _face_normals(mesh: _Mesh) -> Float[ndarray, "faces 3"]:
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _light(
    albedo: Float[ndarray, "points 3"],
    normal: Float[ndarray, "points 3"],
    to_eye: Float[ndarray, "points 3"] | None,
    sun: Sun,
    sunlit: Float[ndarray, "points"],
) -> Float[ndarray, "points 3"]:
    """Lambert under the sun, an ambient of sky above and ground below, and a faint rim where fur is seen sideways."""
    towards_sun = normal @ sun.direction
    direct = np.clip(towards_sun * 0.88 + 0.12, 0.0, None) * np.minimum(sunlit, smoothstep(-0.12, 0.1, towards_sun))
    up = (0.5 + 0.5 * normal[:, 2])[:, None]
    radiance = albedo * (direct[:, None] * sun.color + up * sun.ambient + (1 - up) * sun.bounce)
    if to_eye is not None:
        cosine = np.clip((normal * to_eye).sum(axis=1) / np.maximum(np.linalg.norm(to_eye, axis=1), 1e-9), 0, 1)
        radiance += (0.05 * (1 - cosine) ** 3)[:, None] * sun.ambient
    return radiance.astype(np.float32)


def _background(
    camera: Cameras, scenery: Scenery, shadow: _ShadowMap, ground_shadow: _ShadowMap
) -> Float[ndarray, "height width 3"]:
    """Ground and sky."""
    height, width = camera.image_size
    intrinsics = camera.intrinsics[0].double().numpy()
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack((columns, rows, np.ones_like(rows)), axis=-1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(intrinsics).T @ camera.R_cam_from_world[0].double().numpy()
    length = np.linalg.norm(rays, axis=1)
    directions = rays / length[:, None]
    eye = camera.centers[0].double().numpy()
    down = directions[:, 2] < -1e-3
    color = np.empty((len(rays), 3), np.float32)
    color[~down] = scenery.sky_color(directions[~down])
    distance = -eye[2] / directions[down, 2]
    places = eye + distance[:, None] * directions[down]
    footprint = distance / intrinsics[0, 0] / np.sqrt(-directions[down, 2])
    albedo = scenery.ground_color(places[:, :2], footprint)
    hidden = 1 - (1 - shadow.on_ground(places)) * (1 - ground_shadow.on_ground(places))
    sun = scenery.sun
    direct = (sun.direction[2] * (1 - hidden))[:, None] * sun.color
    ambient = sun.ambient * (1 - 0.25 * hidden[:, None])
    ground = albedo * (direct + ambient)
    haze = (1 - np.exp(-np.maximum(distance - 6.0, 0.0) / 60.0))[:, None]
    color[down] = ground * (1 - haze) + np.array(scenery.biome.horizon) * haze
    return color.reshape(height, width, 3)


def tone(linear: Float[ndarray, "*pixels 3"]) -> Float[ndarray, "*pixels 3"]:
    """Linear radiance to sRGB in [0, 1], highlights rolled off."""
    x = np.where(linear > 0.6, 0.6 + 0.4 * np.tanh((linear - 0.6) / 0.4), np.maximum(linear, 0.0))
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-6) ** (1 / 2.4) - 0.055).astype(np.float32)
