"""Writing and naming files: all or nothing, and errors in one line."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from animal4d.errors import Animal4dError
from animal4d.files.atomic import atomic_path, write_bytes, write_json, write_npz, write_text, write_torch
from animal4d.files.checksums import config_hash, file_checksum, tensor_checksum
from animal4d.files.paths import join_inside, list_images, natural_key


def test_every_kind_reads_back(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "é\n")
    write_json(tmp_path / "b.json", {"x": [1, None]})
    write_npz(tmp_path / "c.npz", {"a": np.arange(3), "x": [1.5]})
    write_torch(tmp_path / "d.pt", {"weight": torch.ones(2), "step": 3})
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "é\n"
    assert json.loads((tmp_path / "b.json").read_text()) == {"x": [1, None]}
    assert np.load(tmp_path / "c.npz")["x"].tolist() == [1.5]
    assert torch.load(tmp_path / "d.pt", weights_only=True)["step"] == 3


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"iou": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [left.name for left in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "not allowed"), (errno.EROFS, "not allowed")]
)
def test_what_the_disk_says_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "asset.glb"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(Animal4dError, match=words) as caught:
        write_bytes(path, b"new")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == b"old" and [left.name for left in tmp_path.iterdir()] == ["asset.glb"]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(Animal4dError, match="folder is needed"):
        write_text(tmp_path / "run" / "a.txt", "")


def test_written_files_are_readable_by_others_as_usual(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_natural_order(tmp_path: Path) -> None:
    names = ["frame10.png", "frame9.png", "frame1.PNG", "Frame2.jpg", ".hidden.png", "notes.txt"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "frame3.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["frame1.PNG", "Frame2.jpg", "frame9.png", "frame10.png"]
    assert natural_key(Path("a2b10")) < natural_key(Path("a2b11")) < natural_key(Path("a10"))


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a/../../x", "link/x"])
def test_paths_cannot_leave_their_root(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    assert join_inside(root, "a/./b") == (root / "a" / "b").resolve()
    with pytest.raises(Animal4dError, match="leads out of"):
        join_inside(root, relative)


def test_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_checksum(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1}) != config_hash({"a": 2, "b": 1})
    zeros = torch.zeros(2, 3)
    assert tensor_checksum([zeros]) == tensor_checksum([zeros.numpy()])
    assert len({tensor_checksum([t]) for t in (zeros, zeros.T, zeros.int(), torch.ones(2, 3))}) == 4
