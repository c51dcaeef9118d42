"""The live viewer: it serves, steps, hangs the video where the camera saw it, and ends cleanly."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np
import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.export.texture import write_texture
from animal4d.geometry.cameras import project
from animal4d.report.run import read_run
from animal4d.run_folder import RunFolder
from animal4d.texture.atlas import atlas_of
from animal4d.texture.bake import BakedTexture
from cli.commands import animal4d
from report.runs import corners_of


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_video_plane_covers_the_picture_and_lies_behind_the_animal(finished_run: RunFolder):
    from animal4d.report.live import video_plane

    run = read_run(finished_run)
    for frame in (0, 7):
        plane = video_plane(run, frame)
        cameras = run.reconstruction.cameras[[frame]]
        seen = cameras.transform(torch.from_numpy(plane.corners).float()[None])
        pixels = project(seen, cameras.intrinsics)[0].numpy()
        np.testing.assert_allclose(pixels, corners_of(cameras.image_size), atol=1e-2)
        vertices = cameras.transform(run.reconstruction.posed(run.model, [frame]).vertices)
        assert float(vertices[..., 2].max()) < float(seen[..., 2].min())
        # Centre, size and axes say the same as the corners.
        np.testing.assert_allclose(plane.position, plane.corners.mean(0), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(plane.corners[1] - plane.corners[0]), plane.width, rtol=1e-6)


def test_the_animal_wears_its_coat_where_the_run_has_one(run: RunFolder):
    pytest.importorskip("viser")
    import trimesh

    from animal4d.report.live_mesh import mesh_of_frame

    def handed_over() -> tuple[bytes, Any]:
        """Frame 3 as the browser gets it, and as trimesh reads it again."""
        glb: Any = mesh_of_frame(read_run(run))(3).export(file_type="glb")
        return glb, trimesh.load(io.BytesIO(glb), file_type="glb", force="mesh", process=False)

    model = load_builtin_template()
    vertices = read_run(run).reconstruction.posed(model).vertices.numpy()
    glb, plain = handed_over()
    np.testing.assert_allclose(plain.vertices, vertices[3], atol=1e-6)
    assert plain.visual.kind == "vertex" and b"image/" not in glb
    atlas = atlas_of(model)
    coat = torch.full((1024, 1024, 3), 60, dtype=torch.uint8)
    coat[:512, :, 0] = 200  # red above, where v is small
    write_texture(BakedTexture(coat, torch.ones(1024, 1024, dtype=torch.bool), atlas), run.path)
    glb, coated = handed_over()
    np.testing.assert_allclose(coated.vertices, vertices[3][atlas.vertex_of_corner], atol=1e-6)
    np.testing.assert_array_equal(coated.faces, atlas.faces)
    np.testing.assert_allclose(coated.visual.uv, atlas.uv * torch.tensor([1, -1]) + torch.tensor([0, 1]), atol=1e-5)
    picture = coated.visual.material.baseColorTexture
    assert b"image/jpeg" in glb and picture.size == (512, 512)
    assert picture.getpixel((256, 50))[0] > 190 and picture.getpixel((256, 460))[0] < 70
    run.path.joinpath("texture.png").write_bytes(b"a dog")
    with pytest.raises(Animal4dError, match=r"texture\.png"):
        mesh_of_frame(read_run(run))


def test_it_serves_and_steps(finished_run: RunFolder):
    pytest.importorskip("viser")
    from animal4d.report.live import LiveViewer

    viewer = LiveViewer([finished_run, finished_run], free_port())
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{viewer.port}", timeout=10) as answer:
            assert answer.status == 200 and b"<html" in answer.read(2000).lower()
        assert viewer.playing and viewer.frame == 0 and len(viewer) == 8
        viewer.tick(0.26)  # three frames at 12 per second
        assert viewer.frame == 3
        assert [scene.shown for scene in viewer.scenes] == [[3], [3]]
        viewer.show(7)
        viewer.tick(1 / 12 + 1e-3)
        assert viewer.frame == 0
        assert [scene.shown for scene in viewer.scenes] == [[0], [0]]
    finally:
        viewer.stop()


def test_ctrl_c_ends_it_cleanly(finished_run: RunFolder):
    pytest.importorskip("viser")
    port = free_port()
    call = "from animal4d.cli.main import main; main()"
    command = [sys.executable, "-c", call, "view", str(finished_run.path), "--port", str(port)]
    # Tests that run in the background of a shell ignore Ctrl-C, and what they start inherits that.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in errors


def test_a_taken_port_and_no_run_get_one_line(finished_run: RunFolder):
    pytest.importorskip("viser")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = animal4d("view", finished_run.path, "--port", str(taken.getsockname()[1]))
    assert outcome.status == 1 and "--port" in outcome.err and outcome.err.count("\n") == 1
    assert "no run was given" in animal4d("view").err
    assert "no such run" in animal4d("view", "nowhere").err


def test_without_viser_it_says_what_to_install(finished_run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    for absent in ("viser", "trimesh"):
        monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.delitem(sys.modules, "animal4d.report.live", raising=False)
    outcome = animal4d("view", finished_run.path)
    assert outcome.status == 1 and "animal4d[view]" in outcome.err and outcome.err.count("\n") == 1
