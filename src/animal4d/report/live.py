"""A live viewer in the browser, served by viser: runs side by side, on their video planes and through their cameras.

The world is that of the reconstruction: z up, the ground at z = 0.
"""

from __future__ import annotations

import contextlib
import io
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.geometry.rotations import quaternion_from_matrix
from animal4d.report.live_mesh import mesh_of_frame
from animal4d.report.pictures import PANES, read_panes
from animal4d.report.run import ShownRun, read_run
from animal4d.run_folder import RunFolder

_BEHIND = 1.6
"""Distance of the video plane from the camera, in that of the animal's root."""
_BESIDE = 0.6
"""Radians about the vertical between the camera of the video and the first view."""
_CAMERA_COLOR = (120, 120, 128)
_BONE_COLORS = {"left": (24, 140, 216), "right": (236, 108, 46), "": (130, 124, 150)}
_SPEEDS = (0.25, 0.5, 1.0, 2.0)
_TICK_SECONDS = 1 / 60
_GAP = 0.1
"""Between neighbouring runs, in widths of the former."""


@dataclass(frozen=True)
class VideoPlane:
    """Where the picture of one frame hangs in the world: seen from the camera it lies exactly behind the animal."""

    position: Float[ndarray, "3"]
    """Of its centre."""
    wxyz: Float[ndarray, "4"]
    """OpenCV's axes: x right, y down, z away from the camera."""
    width: float
    height: float
    camera: Float[ndarray, "3"]
    corners: Float[ndarray, "4 3"]


def video_plane(run: ShownRun, frame: int) -> VideoPlane:
    """The picture of the working image, behind the animal."""
    cameras = run.reconstruction.cameras[[frame]]
    K = cameras.intrinsics[0].double()
    rotation = cameras.R_cam_from_world[0].double().T
    center = cameras.centers[0].double()
    depth = _BEHIND * float(cameras.transform(run.reconstruction.translation[[frame]][None])[0, 0, 2])
    height, width = cameras.image_size

    def on_plane(x: float, y: float) -> Tensor:
        ray = torch.stack(((x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones((), dtype=torch.float64)))
        return center + rotation @ (depth * ray)

    corners = torch.stack([on_plane(x, y) for x, y in ((0, 0), (width, 0), (width, height), (0, height))])
    return VideoPlane(
        position=on_plane(width / 2, height / 2).numpy(),
        wxyz=quaternion_from_matrix(rotation).numpy(),
        width=depth * width / float(K[0, 0]),
        height=depth * height / float(K[1, 1]),
        camera=center.numpy(),
        corners=corners.numpy(),
    )


class LiveViewer:
    """Serves runs. `show` steps to a frame, `tick` lets time go by, `stop` ends it."""

    def __init__(self, folders: Sequence[RunFolder], port: int, host: str = "127.0.0.1") -> None:
        """Raises Animal4dError where viser is not installed, the port is taken, or a run cannot be read."""
        viser = _viser()
        self.runs = [read_run(folder) for folder in folders]
        _check_port(host, port)
        with contextlib.redirect_stdout(io.StringIO()):  # it greets even when told not to
            self.server: Any = viser.ViserServer(host=host, port=port, verbose=False, label="animal4d")
        self.server.scene.set_up_direction("+z")
        self._longest = max(self.runs, key=lambda run: run.times[-1] - run.times[0])
        self._rate = max(self._longest.reconstruction.fps, 1e-3)
        self.scenes = [
            _RunScene(self.server, run, index, offset)
            for index, (run, offset) in enumerate(zip(self.runs, _offsets(self.runs), strict=True))
        ]
        self.frame = -1
        self._elapsed = 0.0
        self._build_controls()
        self.server.on_client_connect(self._welcome)
        self.show(0)

    @property
    def port(self) -> int:
        return int(self.server.get_port())

    @property
    def playing(self) -> bool:
        return bool(self._play.value)

    def __len__(self) -> int:
        return len(self._longest.reconstruction)

    def show(self, frame: int) -> None:
        """Step to a frame of the longest run; the others follow at the same time after their start."""
        frame = frame % len(self)
        if frame == self.frame:
            return
        self.frame = frame
        seconds = self._longest.times[frame] - self._longest.times[0]
        with self.server.atomic():
            for scene in self.scenes:
                scene.show(seconds)
        if self._slider is not None and self._slider.value != frame:
            self._slider.value = frame
        if self._through.value:
            self._look_through(self.server.get_clients().values())

    def tick(self, seconds: float) -> None:
        """Let time go by."""
        if not self.playing or len(self) < 2:
            return
        self._elapsed += seconds * float(self._speed.value) * self._rate
        steps = int(self._elapsed)
        if steps:
            self._elapsed -= steps
            self.show(self.frame + steps)

    def stop(self) -> None:
        self.server.stop()

    def _build_controls(self) -> None:
        gui = self.server.gui
        last = len(self) - 1
        self._slider = gui.add_slider("Frame", min=0, max=last, step=1, initial_value=0) if last else None
        self._play = gui.add_checkbox("Play", initial_value=last > 0)
        self._speed = gui.add_dropdown("Speed", [str(speed) for speed in _SPEEDS], initial_value="1.0")
        shown = {"Animal": "mesh", "Skeleton": "skeleton", "Video plane": "video", "Camera": "camera"}
        for label, part in shown.items():
            box = gui.add_checkbox(label, initial_value=part != "skeleton")
            for scene in self.scenes:
                scene.set_visible(part, box.value)
            box.on_update(self._toggler(part, box))
        names = [f"{index + 1}: {run.name}" for index, run in enumerate(self.runs)]
        self._through = gui.add_checkbox("Look through the camera", initial_value=False)
        self._whose = gui.add_dropdown("of", names, initial_value=names[0])
        if self._slider is not None:
            self._slider.on_update(self._on_slider)
        for control in (self._through, self._whose):
            control.on_update(lambda _: self._look_through(self.server.get_clients().values()))
        self._names = names

    def _on_slider(self, event: Any) -> None:
        # Only what a person moves: the viewer moves the slider itself while it plays.
        if event.client is not None and self._slider is not None:
            self._play.value = False
            self.show(int(self._slider.value))

    def _toggler(self, part: str, box: Any) -> Callable[[Any], None]:
        def toggle(_event: Any) -> None:
            for scene in self.scenes:
                scene.set_visible(part, bool(box.value))

        return toggle

    def _welcome(self, client: Any) -> None:
        """From beside the camera, all runs in sight: from elsewhere the video plane may hide the animal."""
        middle = np.mean([scene.middle for scene in self.scenes], axis=0)
        apart = self.scenes[-1].offset[1] / 2
        reach = max(scene.reach for scene in self.scenes) + 0.5 * apart
        first = self.scenes[0]
        x, y = (first.plane().camera + first.offset - first.middle)[:2]
        angle = np.arctan2(y, x) + _BESIDE
        client.camera.position = tuple(middle + 2.4 * reach * np.array([np.cos(angle), np.sin(angle), 0.3]))
        client.camera.look_at = tuple(middle)
        if self._through.value:
            self._look_through([client])

    def _look_through(self, clients: Any) -> None:
        if not self._through.value:
            return
        scene = self.scenes[self._names.index(self._whose.value)]
        plane = scene.plane()
        direction = plane.position - plane.camera
        fov = 2 * np.arctan2(plane.height / 2, np.linalg.norm(direction))
        for client in clients:
            with client.atomic():
                client.camera.position = tuple(plane.camera + scene.offset)
                client.camera.look_at = tuple(plane.position + scene.offset)
                client.camera.up_direction = tuple(plane.corners[0] - plane.corners[3])
                client.camera.fov = float(fov)


class _RunScene:
    """The nodes of one run in the scene: every frame is a group of its own, made beforehand, so that a step shows one
    group instead of another and never a mesh before the picture of another frame."""

    def __init__(self, server: Any, run: ShownRun, index: int, offset: NDArray[np.float64]) -> None:
        self.run = run
        self.offset = offset
        self._server = server
        self._frame = -1
        posed = run.reconstruction.posed(run.model)
        vertices, joints = posed.vertices.numpy(), posed.joints.numpy()
        low, high = vertices.min((0, 1)), vertices.max((0, 1))
        self.middle = (low + high) / 2 + offset
        self.reach = float(np.linalg.norm(high - low) / 2)
        self._planes = [video_plane(run, frame) for frame in range(len(vertices))]
        root = f"/{index + 1}_{run.name}"
        server.scene.add_frame(root, show_axes=False, position=tuple(offset))
        if index == 0:
            side = 8 * self.reach
            server.scene.add_grid("/ground", width=side, height=side, plane="xy", position=(*self.middle[:2], 0.0))
        mesh = mesh_of_frame(run)
        bones = [(parent, joint) for joint, parent in enumerate(run.model.parents) if parent >= 0]
        bone_colors = _bone_colors(run, bones)
        pictures = read_panes(run.folder.overlay, len(vertices))
        self._groups: list[Any] = []
        self._parts: list[dict[str, Any]] = []
        for frame, plane in enumerate(self._planes):
            group = f"{root}/frame_{frame}"
            self._groups.append(server.scene.add_frame(group, show_axes=False, visible=False))
            self._parts.append(
                {
                    "mesh": server.scene.add_mesh_trimesh(f"{group}/mesh", mesh(frame)),
                    "skeleton": _lines(server, f"{group}/skeleton", joints[frame][np.array(bones)], bone_colors, 4.0),
                    "video": server.scene.add_image(
                        f"{group}/video",
                        _input_pane(pictures[frame]),
                        plane.width,
                        plane.height,
                        format="jpeg",
                        wxyz=tuple(plane.wxyz),
                        position=tuple(plane.position),
                    ),
                    "camera": _lines(server, f"{group}/camera", _frustum(plane), np.array(_CAMERA_COLOR), 1.5),
                }
            )

    @property
    def shown(self) -> list[int]:
        """Frames whose group is visible: one, as soon as there was a step."""
        return [frame for frame, group in enumerate(self._groups) if group.visible]

    def plane(self) -> VideoPlane:
        return self._planes[self._frame]

    def set_visible(self, part: str, visible: bool) -> None:
        with self._server.atomic():
            for parts in self._parts:
                parts[part].visible = visible

    def show(self, seconds: float) -> None:
        """The frame nearest to a time after the first."""
        times = np.asarray(self.run.times) - self.run.times[0]
        frame = int(np.abs(times - seconds).argmin())
        if frame == self._frame:
            return
        if self._frame >= 0:
            self._groups[self._frame].visible = False
        self._groups[frame].visible = True
        self._frame = frame


def _lines(server: Any, name: str, points: NDArray[np.floating], colors: NDArray[np.integer], width: float) -> Any:
    each = np.broadcast_to(colors, points.shape).astype(np.uint8)
    return server.scene.add_line_segments(name, points.astype(np.float32), each, line_width=width)


def _frustum(plane: VideoPlane) -> Float[ndarray, "edges 2 3"]:
    rays = [np.stack((plane.camera, corner)) for corner in plane.corners]
    edges = [np.stack(pair) for pair in zip(plane.corners, np.roll(plane.corners, -1, 0), strict=True)]
    return np.stack((*rays, *edges))


def serve(folders: Sequence[Path], port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. `ready` hears the address. Raises Animal4dError as `LiveViewer`."""
    viewer = LiveViewer([RunFolder(folder) for folder in folders], port)
    try:
        ready(f"http://127.0.0.1:{viewer.port}")
        before = time.monotonic()
        while True:
            time.sleep(_TICK_SECONDS)
            now = time.monotonic()
            viewer.tick(now - before)
            before = now
    except KeyboardInterrupt:
        pass
    finally:
        viewer.stop()


def _viser() -> Any:
    try:
        import viser
    except ImportError as error:
        raise Animal4dError("the live viewer needs viser, which is not here: pip install 'animal4d[view]'") from error
    return viser


def _check_port(host: str, port: int) -> None:
    """viser would silently take another."""
    if not 0 < port < 65536:
        raise Animal4dError(f"--port {port}: give a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Animal4dError(f"port {port} cannot be used ({error.strerror}); give another with --port") from error


def _offsets(runs: Sequence[ShownRun]) -> list[NDArray[np.float64]]:
    """Side by side along the world's y, so far apart that animals and video planes keep clear of each other."""
    offsets: list[NDArray[np.float64]] = []
    left = 0.0
    for run in runs:
        place = run.reconstruction.translation[:, 1].double().numpy()
        around = [place - run.model.body_length, place + run.model.body_length]
        around += [video_plane(run, frame).corners[:, 1] for frame in range(len(run.reconstruction))]
        low, high = float(min(map(np.min, around))), float(max(map(np.max, around)))
        offsets.append(np.array([0.0, left - low if offsets else 0.0, 0.0]))
        left = float(offsets[-1][1]) + high + _GAP * (high - low)
    return offsets


def _bone_colors(run: ShownRun, bones: Sequence[tuple[int, int]]) -> UInt8[ndarray, "bones 2 3"]:
    names = run.model.joint_names
    sides = [next((side for side in ("left", "right") if side in names[joint]), "") for _, joint in bones]
    return np.array([[_BONE_COLORS[side]] * 2 for side in sides], np.uint8)


def _input_pane(strip: UInt8[ndarray, "side total 3"]) -> UInt8[ndarray, "side side 3"]:
    side = strip.shape[0]
    left = PANES.index("input") * side
    return strip[:, left : left + side]
