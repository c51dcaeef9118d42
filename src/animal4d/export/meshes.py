"""A folder with one mesh file per frame, OBJ or PLY, for programs without skeletons.

    frame_0000.obj ...   vertices as the model poses them, numbered from 0 in the order of the frames
    coat.mtl             the material of all of them (OBJ with a texture)
    texture.png
    cameras.json         the camera of every frame, in the world and the unit of these files

Vertices and faces are the template's, in its order. y is up, as in asset.glb.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from animal4d.body.model import BodyModel
from animal4d.errors import Animal4dError
from animal4d.export.axes import vectors_to_asset
from animal4d.export.cameras import write_cameras
from animal4d.export.texture import TEXTURE_NAME
from animal4d.files.atomic import writing_errors
from animal4d.fit.reconstruction import Reconstruction
from animal4d.geometry.mesh import vertex_normals
from animal4d.texture.bake import BakedTexture

_DIGITS = 4
_OURS = ("frame_*.obj", "frame_*.ply", "coat.mtl", TEXTURE_NAME, "cameras.json")


def write_obj_sequence(
    reconstruction: Reconstruction, model: BodyModel, folder: Path, texture: BakedTexture | None = None
) -> tuple[Path, ...]:
    """One `.obj` per frame with normals, and with the texture or the vertex colours (behind the coordinates, as
    MeshLab and Blender read them).

    Raises Animal4dError where the folder holds something else than such a sequence.
    """
    faces = model.faces.cpu().numpy() + 1
    tail = _obj_faces(faces, None if texture is None else texture.atlas.faces.numpy() + 1)
    colors = None if texture is not None else _colors(reconstruction)
    head = "" if texture is None else "mtllib coat.mtl\n"
    coordinates = "" if texture is None else _rows("vt", texture.atlas.uv.double().numpy() * [1, -1] + [0, 1])
    material = "" if texture is None else "usemtl coat\n"

    def write(path: Path, vertices: ndarray, normals: ndarray) -> None:
        points = vertices if colors is None else np.concatenate((vertices, colors), axis=1)
        path.write_text(f"{head}o animal\n{_rows('v', points)}{coordinates}{_rows('vn', normals)}{material}s 1\n{tail}")

    def finish(target: Path) -> None:
        if texture is not None:
            (target / TEXTURE_NAME).write_bytes(texture.png)
            (target / "coat.mtl").write_text(f"newmtl coat\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {TEXTURE_NAME}\n")

    return _write_sequence(reconstruction, model, folder, "obj", write, finish)


def write_ply_sequence(reconstruction: Reconstruction, model: BodyModel, folder: Path) -> tuple[Path, ...]:
    """One binary `.ply` per frame with normals, and with vertex colours where the run has them.

    Raises Animal4dError where the folder holds something else than such a sequence.
    """
    colors = _colors(reconstruction)
    fields = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    if colors is not None:
        fields += [(name, "u1") for name in ("red", "green", "blue")]
    faces = np.zeros(len(model.faces), dtype=[("count", "u1"), ("vertices", "<i4", 3)])
    faces["count"], faces["vertices"] = 3, model.faces.cpu().numpy()
    header = _ply_header(model.n_vertices, len(faces), fields).encode()

    def write(path: Path, vertices: ndarray, normals: ndarray) -> None:
        rows = np.zeros(len(vertices), dtype=fields)
        for name, values in zip(("x", "y", "z", "nx", "ny", "nz"), np.hstack((vertices, normals)).T, strict=True):
            rows[name] = values
        if colors is not None:
            for name, values in zip(("red", "green", "blue"), colors.T, strict=True):
                rows[name] = np.round(values * 255)
        path.write_bytes(header + rows.tobytes() + faces.tobytes())

    return _write_sequence(reconstruction, model, folder, "ply", write, lambda _: None)


def _write_sequence(
    reconstruction: Reconstruction,
    model: BodyModel,
    folder: Path,
    suffix: str,
    write: Callable[[Path, ndarray, ndarray], None],
    finish: Callable[[Path], None],
) -> tuple[Path, ...]:
    """All files are made beside the folder, which they then replace: no half sequence, none mixed with an older one."""
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    _check(folder)
    digits = max(_DIGITS, len(str(len(reconstruction) - 1)))
    with writing_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for frame, vertices, normals in _posed_frames(reconstruction, model):
                write(made / f"frame_{frame:0{digits}}.{suffix}", vertices, normals)
            finish(made)
            write_cameras(reconstruction, made / "cameras.json")
            made.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            made.replace(folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return tuple(sorted(folder.iterdir()))


def _check(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise Animal4dError(f"{folder} is a file, but a sequence of meshes needs a folder; give another --out")
    if folder.is_symlink():
        raise Animal4dError(f"{folder} is a link; give the folder that it leads to, or another --out")
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if path.is_dir() or not any(path.match(pattern) for pattern in _OURS):
            raise Animal4dError(f"{folder} holds {path.name}, which is no part of a mesh sequence; give another --out")


@torch.no_grad()
def _posed_frames(reconstruction: Reconstruction, model: BodyModel) -> Iterator[tuple[int, ndarray, ndarray]]:
    for frame in range(len(reconstruction)):
        vertices = reconstruction.posed(model, [frame]).vertices[0]
        normals = vertex_normals(vertices, model.faces)
        yield frame, vectors_to_asset(vertices.numpy()), vectors_to_asset(normals.numpy())


def _colors(reconstruction: Reconstruction) -> Float[ndarray, "vertices 3"] | None:
    colors = reconstruction.vertex_colors
    return None if colors is None else colors.cpu().double().clamp(0, 1).numpy()


def _rows(key: str, values: Float[ndarray, "rows columns"]) -> str:
    line = key + " %.7g" * values.shape[1] + "\n"
    return "".join(line % tuple(row) for row in values.tolist())


def _obj_faces(vertices: ndarray, corners: ndarray | None) -> str:
    if corners is None:
        return "".join(f"f {a}//{a} {b}//{b} {c}//{c}\n" for a, b, c in vertices.tolist())
    pairs = zip(vertices.tolist(), corners.tolist(), strict=True)
    return "".join(f"f {a}/{i}/{a} {b}/{j}/{b} {c}/{k}/{c}\n" for (a, b, c), (i, j, k) in pairs)


def _ply_header(n_vertices: int, n_faces: int, fields: list[tuple[str, str]]) -> str:
    kinds = {"<f4": "float", "u1": "uchar"}
    properties = "".join(f"property {kinds[kind]} {name}\n" for name, kind in fields)
    return (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {n_vertices}\n{properties}"
        f"element face {n_faces}\nproperty list uchar int vertex_indices\nend_header\n"
    )
