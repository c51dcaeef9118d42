"""OpenUSD: the animal as SkelRoot, Skeleton and SkelAnimation, its coat, and the camera that filmed it.

    /asset                          Xform, the default prim
    /asset/animal                   SkelRoot
    /asset/animal/mesh              the skin at rest
    /asset/animal/skeleton          joints, and under each of them a skin joint
    /asset/animal/skeleton/motion   rotations of the joints and the path of the root
    /asset/camera                   the camera of the original frames
    /asset/materials/coat           UsdPreviewSurface

As in asset.glb every joint has a skin joint below it, which carries the limb scale and moves the skin, so that a scale
is not inherited. Skin joints stand in the skeleton's rest pose and not in the animation, whose scales have half
precision only: UsdSkel takes from the rest pose what an animation leaves out.

A time code is a frame of the video: `times * fps`. Of USD itself usd-core is needed (`pip install animal4d[usd]`).
"""

# The modules of usd-core come without types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from animal4d import __version__
from animal4d.body.model import BodyModel
from animal4d.errors import Animal4dError
from animal4d.export.axes import asset_from_world
from animal4d.export.cameras import asset_cameras
from animal4d.export.rig import ROUGHNESS, Rig, check_times, largest_weights, rig_of
from animal4d.files.atomic import write_bytes
from animal4d.fit.reconstruction import Reconstruction
from animal4d.texture.atlas import Atlas
from animal4d.texture.bake import BakedTexture

_APERTURE = 36.0
"""Width of the film in tenths of a unit, as cameras of USD measure it; the angle of view is what counts."""
_NEAR, _FAR = 0.01, 1000.0
_WHOLE = 1e-3
"""Times closer than this to a frame are that frame: they are stored in single precision."""
_ANY_TIME = 1_000_000_000
_FLIPPED = np.diag([1.0, -1.0, -1.0, 1.0])
"""Cameras of USD look along -z with y up, ours along z with y down."""


def write_usd(
    reconstruction: Reconstruction, model: BodyModel, path: Path, texture: BakedTexture | None = None, comment: str = ""
) -> tuple[Path, ...]:
    """Write `.usd`, `.usdc` (binary), `.usda` (text) or `.usdz` (one archive) and return all files written.

    One unit is one metre, so hand in what `scale.in_metres` made. Without a texture the animal wears its vertex
    colours. The picture goes beside a `.usd` and into a `.usdz`. Raises Animal4dError where usd-core is missing, or
    times cannot be those of an animation.
    """
    _require_usd()
    check_times(reconstruction, path)
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    packed = path.suffix == ".usdz"
    with tempfile.TemporaryDirectory() as folder:
        layer = Path(folder) / (f"{path.stem}.usdc" if packed else path.name)
        picture = f"{path.stem}_texture.png"
        if texture is not None:
            (Path(folder) / picture).write_bytes(texture.png)
        _author(reconstruction, model, layer, None if texture is None else (f"./{picture}", texture.atlas), comment)
        if packed:
            archive = Path(folder) / "packed.usdz"
            _pack(layer, archive)
            write_bytes(path, archive.read_bytes())
            return (path,)
        written = [path]
        write_bytes(path, layer.read_bytes())
        if texture is not None:
            written.append(path.with_name(picture))
            write_bytes(written[-1], (Path(folder) / picture).read_bytes())
        return tuple(written)


def _require_usd() -> None:
    try:
        import pxr  # noqa: F401
    except ImportError:
        raise Animal4dError("USD needs the package usd-core, which is not installed: pip install usd-core") from None


def _pack(layer: Path, archive: Path) -> None:
    from pxr import Sdf, UsdUtils

    for file in layer.parent.iterdir():
        os.utime(file, (_ANY_TIME, _ANY_TIME))  # the archive holds it, and is to be the same for the same input
    if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(archive)):
        raise Animal4dError(f"{archive}: usd-core could not make the archive; export to --format usd instead")


def _author(
    reconstruction: Reconstruction,
    model: BodyModel,
    layer: Path,
    picture: tuple[str, Atlas] | None,
    comment: str,
) -> None:
    from pxr import Kind, Usd, UsdGeom

    rig = rig_of(reconstruction, model)
    stage: Any = Usd.Stage.CreateNew(str(layer))
    codes = time_codes(reconstruction)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(float(reconstruction.fps))
    stage.SetFramesPerSecond(float(reconstruction.fps))
    stage.SetStartTimeCode(codes[0])
    stage.SetEndTimeCode(codes[-1])
    stage.GetRootLayer().documentation = f"animal4d {__version__}. {comment}".strip()
    asset = UsdGeom.Xform.Define(stage, "/asset")
    stage.SetDefaultPrim(asset.GetPrim())
    Usd.ModelAPI(asset).SetKind(Kind.Tokens.component)
    material = _material(stage, None if picture is None else picture[0])
    _skeleton(stage, rig, codes)
    _root(stage, reconstruction, model, codes)
    _mesh(stage, rig, None if picture is None else picture[1], material)
    _camera(stage, reconstruction, codes)
    stage.GetRootLayer().Save()


def time_codes(reconstruction: Reconstruction) -> list[float]:
    """Frames of the video, whole where the times allow it."""
    codes = reconstruction.times.double().numpy() * reconstruction.fps
    whole = np.round(codes)
    return np.where(np.abs(codes - whole) < _WHOLE, whole, codes).tolist()


def _root(stage: Any, reconstruction: Reconstruction, model: BodyModel, codes: list[float]) -> None:
    from pxr import Gf, UsdGeom, UsdSkel, Vt

    root = UsdSkel.Root.Define(stage, "/asset/animal")
    UsdSkel.BindingAPI.Apply(root.GetPrim())
    extent = UsdGeom.Boundable(root).CreateExtentAttr()
    turn = torch.from_numpy(asset_from_world()).float()
    for frame, code in enumerate(codes):
        vertices = reconstruction.posed(model, [frame]).vertices[0] @ turn.T
        bounds = (vertices.amin(0).tolist(), vertices.amax(0).tolist())
        extent.Set(Vt.Vec3fArray([Gf.Vec3f(*corner) for corner in bounds]), code)


def _skeleton(stage: Any, rig: Rig, codes: list[float]) -> None:
    from pxr import Gf, UsdSkel, Vt

    paths = _joint_paths(rig)
    names = [name for path in paths for name in (path, skin_joint(path))]
    skeleton = UsdSkel.Skeleton.Define(stage, "/asset/animal/skeleton")
    bind, rest = [], []
    for joint in range(len(paths)):
        bone = rig.root_at_rest if joint == 0 else rig.bones[joint]
        bind += [_matrix(np.eye(3), rig.joints[joint])] * 2
        rest += [_matrix(np.eye(3), bone), _matrix(np.diag(rig.scales[joint]), np.zeros(3))]
    skeleton.CreateJointsAttr(names)
    skeleton.CreateJointNamesAttr([name for joint in rig.joint_names for name in (joint, f"{joint}_skin")])
    skeleton.CreateBindTransformsAttr(Vt.Matrix4dArray([Gf.Matrix4d(matrix.tolist()) for matrix in bind]))
    skeleton.CreateRestTransformsAttr(Vt.Matrix4dArray([Gf.Matrix4d(matrix.tolist()) for matrix in rest]))
    motion = UsdSkel.Animation.Define(stage, "/asset/animal/skeleton/motion")
    motion.CreateJointsAttr(paths)
    motion.CreateScalesAttr([Gf.Vec3h(1, 1, 1)] * len(paths))
    rotations, translations = motion.CreateRotationsAttr(), motion.CreateTranslationsAttr()
    for frame, code in enumerate(codes):
        places = np.concatenate((rig.root[frame][None], rig.bones[1:]))
        turns = [Gf.Quatf(w, x, y, z) for w, x, y, z in rig.rotations[frame].tolist()]
        rotations.Set(Vt.QuatfArray(turns), code)
        translations.Set(Vt.Vec3fArray.FromNumpy(places.astype(np.float32)), code)
    binding = UsdSkel.BindingAPI.Apply(skeleton.GetPrim())
    binding.CreateAnimationSourceRel().SetTargets([motion.GetPath()])


def _joint_paths(rig: Rig) -> list[str]:
    paths: list[str] = []
    for name, parent in zip(rig.joint_names, rig.parents, strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def skin_joint(path: str) -> str:
    """Of the joint at `path`."""
    return f"{path}/{path.rsplit('/', 1)[-1]}_skin"


def _matrix(linear: Float[ndarray, "3 3"], place: Float[ndarray, "3"]) -> Float[ndarray, "4 4"]:
    """As USD multiplies: rows are images of the axes, the place is the last row."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[3, :3] = linear.T, place
    return matrix


def _mesh(stage: Any, rig: Rig, atlas: Atlas | None, material: Any) -> None:
    from pxr import Sdf, UsdGeom, UsdShade, UsdSkel, Vt

    mesh = UsdGeom.Mesh.Define(stage, "/asset/animal/mesh")
    points = rig.vertices.astype(np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(rig.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(rig.faces.astype(np.int32).ravel()))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack((points.min(0), points.max(0)))))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(rig.normals.astype(np.float32)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    primvars = UsdGeom.PrimvarsAPI(mesh)
    colors = primvars.CreatePrimvar("displayColor", Sdf.ValueTypeNames.Color3fArray, UsdGeom.Tokens.vertex)
    colors.Set(Vt.Vec3fArray.FromNumpy(rig.colors.astype(np.float32)))
    if atlas is not None:
        coordinates = atlas.uv.double().numpy() * [1.0, -1.0] + [0.0, 1.0]  # v of USD goes up
        st = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        st.Set(Vt.Vec2fArray.FromNumpy(coordinates.astype(np.float32)))
        st.SetIndices(Vt.IntArray.FromNumpy(atlas.faces.numpy().astype(np.int32).ravel()))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets(["/asset/animal/skeleton"])
    influences = max(1, int((rig.weights > 0).sum(1).max()))
    weights, order = largest_weights(rig.weights, influences)
    joints = np.where(weights > 0, 2 * order + 1, 0)
    binding.CreateJointIndicesPrimvar(False, influences).Set(Vt.IntArray.FromNumpy(joints.astype(np.int32).ravel()))
    binding.CreateJointWeightsPrimvar(False, influences).Set(
        Vt.FloatArray.FromNumpy(weights.astype(np.float32).ravel())
    )
    binding.CreateGeomBindTransformAttr(_identity())
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


def _identity() -> Any:
    from pxr import Gf

    return Gf.Matrix4d(1.0)


def _material(stage: Any, picture: str | None) -> Any:
    from pxr import Sdf, UsdShade

    types = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, "/asset/materials/coat")

    def shader(name: str, identifier: str) -> Any:
        prim = UsdShade.Shader.Define(stage, f"/asset/materials/coat/{name}")
        prim.CreateIdAttr(identifier)
        return prim

    surface = shader("surface", "UsdPreviewSurface")
    surface.CreateInput("roughness", types.Float).Set(ROUGHNESS)
    surface.CreateInput("metallic", types.Float).Set(0.0)
    color = surface.CreateInput("diffuseColor", types.Color3f)
    if picture is None:
        reader = shader("colors", "UsdPrimvarReader_float3")
        reader.CreateInput("varname", types.String).Set("displayColor")
        color.ConnectToSource(reader.CreateOutput("result", types.Float3))
    else:
        reader = shader("coordinates", "UsdPrimvarReader_float2")
        reader.CreateInput("varname", types.String).Set("st")
        texture = shader("texture", "UsdUVTexture")
        texture.CreateInput("file", types.Asset).Set(picture)
        texture.CreateInput("sourceColorSpace", types.Token).Set("sRGB")
        texture.CreateInput("wrapS", types.Token).Set("clamp")
        texture.CreateInput("wrapT", types.Token).Set("clamp")
        texture.CreateInput("st", types.Float2).ConnectToSource(reader.CreateOutput("result", types.Float2))
        color.ConnectToSource(texture.CreateOutput("rgb", types.Float3))
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))
    return material


def _camera(stage: Any, reconstruction: Reconstruction, codes: list[float]) -> None:
    from pxr import Gf, UsdGeom

    cameras = asset_cameras(reconstruction)
    height, width = cameras.image_size
    camera = UsdGeom.Camera.Define(stage, "/asset/camera")
    camera.CreateClippingRangeAttr(Gf.Vec2f(_NEAR, _FAR))
    camera.CreateHorizontalApertureAttr(_APERTURE)
    place = camera.AddTransformOp()
    world_from_camera = np.linalg.inv(cameras.world_to_camera.numpy()) @ _FLIPPED
    for frame, code in enumerate(codes):
        place.Set(Gf.Matrix4d(world_from_camera[frame].T.tolist()), code)
        (fx, _, cx), (_, fy, cy) = cameras.intrinsics[frame, :2].tolist()
        pixel = _APERTURE / width
        camera.CreateFocalLengthAttr().Set(fx * pixel, code)
        # Pixels need not be square: the height of the film makes up for it.
        camera.CreateVerticalApertureAttr().Set(height * pixel * fx / fy, code)
        camera.CreateHorizontalApertureOffsetAttr().Set((width / 2 - cx) * pixel, code)
        camera.CreateVerticalApertureOffsetAttr().Set((cy - height / 2) * pixel * fx / fy, code)
