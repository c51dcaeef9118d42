"""Archives of data trees: the same bytes every time, and nothing but what their manifest says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from animal4d.data.manifest import Manifest
from animal4d.data.pack import pack
from animal4d.data.unpack import unpack
from animal4d.data.verify import verify
from animal4d.errors import Animal4dError
from cli.commands import animal4d

FIRST, SECOND = "1000_10_20", "1001_11_21"
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def archive(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second sequence, packed."""
    out = tmp_path_factory.mktemp("archives") / "subset.tar"
    pack(pristine, [SECOND], out)
    return out


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def members_of(archive: Path) -> Members:
    with tarfile.open(archive) as file:
        return [(member, file.extractfile(member).read()) for member in file]  # pyright: ignore[reportOptionalMemberAccess]


def write_archive(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as file:
        for member, data in members:
            file.addfile(member, io.BytesIO(data))
    return path


def manifest_of(*files: tuple[str, bytes]) -> bytes:
    entries = [{"name": n, "size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in files]
    head: dict[str, Any] = {"format": "animal4d data package", "version": 1}
    return json.dumps({**head, "sequences": ["a"], "files": entries, "left_out": []}).encode()


def plain(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_the_same_tree_gives_the_same_bytes(pristine: Path, tree: Path, archive: Path, tmp_path: Path) -> None:
    # Other times, permissions and order of rows; one tree lies elsewhere.
    for path in tree.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
            path.chmod(0o600)
            os.utime(path, (1, 1))
    with closing(sqlite3.connect(tree / "cop3d_data/metadata.sqlite")) as connection, connection:
        rows = connection.execute("SELECT * FROM frame_annots ORDER BY frame_number DESC").fetchall()
        connection.execute("DELETE FROM frame_annots")
        connection.executemany(f"INSERT INTO frame_annots VALUES ({', '.join('?' * len(rows[0]))})", rows)
    pack(tree, [SECOND, SECOND], tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    both = [tmp_path / "both.tar", tmp_path / "all.tar"]
    pack(pristine, [SECOND, FIRST], both[0])
    pack(pristine, [], both[1])
    assert both[0].read_bytes() == both[1].read_bytes() != archive.read_bytes()


def test_it_holds_what_the_sequence_needs_and_no_more(archive: Path) -> None:
    members = members_of(archive)
    names = [member.name for member, _ in members]
    assert names[0] == "manifest.json"
    assert names[1:] == sorted(names[1:])
    assert not any(FIRST in name for name in names)
    assert not any(name.startswith("smal/") or "model_final" in name or name.endswith(".yaml") for name in names)
    assert {"lbos/lbo_cse.pk", "cse/cse_embedding.pk", "textures/texture_smal.pk"} <= set(names)
    assert sum("/images/" in name for name in names) == sum("/part_masks/" in name for name in names) == 3
    assert all((member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
               for member, _ in members)  # fmt: skip
    manifest = Manifest.from_bytes(members[0][1], "test")
    for file, (member, data) in zip(manifest.files, members[1:], strict=True):
        assert (file.name, file.size, file.sha256) == (member.name, len(data), hashlib.sha256(data).hexdigest())
    assert manifest.sequences == (SECOND,)
    assert "smal/my_smpl_39dogsnorm_newv3_dog.pkl" in manifest.left_out


def test_what_is_unpacked_verifies(archive: Path, pristine: Path, tmp_path: Path) -> None:
    unpacked = unpack(archive, tmp_path / "out")
    result = verify(tmp_path / "out")
    assert not result.broken
    assert result.sequences == (SECOND,)
    there = content(tmp_path / "out")
    assert len(there) == unpacked.written == len(unpacked.manifest.files)
    original = content(pristine)
    assert all(data == original[name] for name, data in there.items() if "metadata" not in name)
    with closing(sqlite3.connect(tmp_path / "out/cop3d_data/metadata.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT DISTINCT sequence_name FROM frame_annots").fetchall() == [(SECOND,)]
        assert connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE sql IS NOT NULL").fetchone() == (4,)
    again = unpack(archive, tmp_path / "out")
    assert (again.written, again.kept) == (0, unpacked.written)


def test_packing_the_unpacked_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "out")
    pack(tmp_path / "out", [SECOND], tmp_path / "again.tar")
    first, second = members_of(archive), members_of(tmp_path / "again.tar")
    # Only the list of what was left out differs, since nothing was there to be left out.
    assert [(m.name, d) for m, d in first[1:]] == [(m.name, d) for m, d in second[1:]]


def test_licensed_files_come_only_when_wanted(pristine: Path, tmp_path: Path) -> None:
    outcome = animal4d("data", "pack", pristine, "--sequences", FIRST, "--out", tmp_path / "a.tar")
    assert outcome.status == 0
    assert "left out" in outcome.out and "my_smpl_39dogsnorm_newv3_dog.pkl" in outcome.out
    outcome = animal4d("data", "pack", pristine, "--sequences", FIRST, "--with-licensed", "--out", tmp_path / "b.tar")
    assert "left out" not in outcome.out
    names = [member.name for member, _ in members_of(tmp_path / "b.tar")]
    assert {"smal/symmetry_inds.json", "cse/model_final_8c9d99.pkl"} <= set(names)
    outcome = animal4d("data", "unpack", tmp_path / "b.tar", "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert animal4d("data", "verify", tmp_path / "out").status == 0


def test_a_full_disk_leaves_no_half_file(pristine: Path, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        packing = animal4d("data", "pack", pristine, "--sequences", FIRST, "--out", out / "a.tar")
        unpacking = animal4d("data", "unpack", archive, "--out", out / "tree")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    for outcome in (packing, unpacking):
        assert outcome.status == 1
        assert "no space left" in outcome.err and outcome.err.count("\n") == 1
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / f"cop3d_data/dog/{SECOND}/images/frame000001.jpg").unlink(), "frame000001.jpg does not"),
        (lambda root: (root / "cop3d_data/metadata.sqlite").unlink(), "no index"),
    ],
)
def test_a_tree_that_lacks_frames_is_not_packed(
    tree: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    change(tree)
    with pytest.raises(Animal4dError, match=message):
        pack(tree, [SECOND], tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


def test_unknown_sequences_and_paths_that_lead_out_are_not_packed(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(Animal4dError, match='no sequence "nobody"'):
        pack(tree, ["nobody"], tmp_path / "a.tar")
    database = tree / "cop3d_data/metadata.sqlite"
    data = database.read_bytes()
    database.unlink()
    database.write_bytes(data)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE frame_annots SET _depth_path = '../../secret' WHERE frame_number = 0")
    (tmp_path / "secret").write_text("x")
    with pytest.raises(Animal4dError, match="not a plain path"):
        pack(tree, [SECOND], tmp_path / "a.tar")


_SECRET = b"evil"
HOSTILE: dict[str, tuple[Members, str]] = {
    "absolute path": ([plain("/tmp/evil", _SECRET)], "not a plain path"),
    "parent folder": ([plain("a/../../evil", _SECRET)], "not a plain path"),
    "backslash": ([plain("..\\evil", _SECRET)], "not a plain path"),
    "drive": ([plain("C:evil", _SECRET)], "not a plain path"),
    "symbolic link": ([special("a", tarfile.SYMTYPE, "/etc/passwd")], "symbolic link"),
    "hard link": ([special("a", tarfile.LNKTYPE, "../b")], "a link"),
    "device": ([special("a", tarfile.CHRTYPE)], "device"),
    "pipe": ([special("a", tarfile.FIFOTYPE)], "pipe"),
    "sparse": ([special("a", tarfile.GNUTYPE_SPARSE)], "only plain files"),
    "twice": ([plain("a", _SECRET), plain("a", _SECRET)], "twice"),
    "not in the manifest": ([plain("a", _SECRET), plain("b", _SECRET)], "not in its manifest"),
    "too large": ([plain("a", _SECRET * 1000)], "its manifest says 4"),
    "another content": ([plain("a", b"good")], "does not have the sum"),
    "lacking": ([], "not in it"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, name: str) -> None:
    members, message = HOSTILE[name]
    manifest = plain("manifest.json", manifest_of(("a", _SECRET)))
    archive = write_archive(tmp_path / "evil.tar", [manifest, *members])
    outcome = animal4d("data", "unpack", archive, "--out", tmp_path / "out")
    assert outcome.status == 1
    assert message in outcome.err and "evil.tar" in outcome.err and outcome.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["evil.tar"]


@pytest.mark.parametrize("name", ["/tmp/evil", "../evil", "a/../../evil", "a\\b", "", ".", "a//b", "x:y", "a\nb"])
def test_hostile_names_in_the_manifest_are_refused(tmp_path: Path, name: str) -> None:
    members = [plain("manifest.json", manifest_of((name, _SECRET))), plain("a", _SECRET)]
    archive = write_archive(tmp_path / "evil.tar", members)
    with pytest.raises(Animal4dError, match="not a plain path"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_manifests_that_contradict_themselves_are_refused() -> None:
    for names, message in ((("a", "A"), "twice"), (("a", "a/b"), "file and a folder")):
        with pytest.raises(Animal4dError, match=message):
            Manifest.from_bytes(manifest_of(*((name, b"") for name in names)), "x.tar")
    for data in (
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        manifest_of(("a", b"")).replace(b'"size": 0', b'"size": -1'),
    ):
        with pytest.raises(Animal4dError, match="not that of"):
            Manifest.from_bytes(data, "x.tar")


def test_other_files_are_no_archives(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    for broken in (
        b"",
        b"PK\3\4" + bytes(600),
        data[: len(data) // 2],
        data[: len(data) // 2 // 512 * 512],
        data[512:],
    ):
        (tmp_path / "broken.tar").write_bytes(broken)
        with pytest.raises(Animal4dError, match=r"broken\.tar"):
            unpack(tmp_path / "broken.tar", tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(Animal4dError, match="cannot be read"):
        unpack(tmp_path / "nowhere.tar", tmp_path / "out")


def test_long_names_in_any_script_come_through(tmp_path: Path) -> None:
    names = [f"cop3d_data/{'dog' * 50}/{letter}.pt" for letter in "aé犬"]
    members = [plain("manifest.json", manifest_of(*((name, name.encode()) for name in names)))]
    archive = write_archive(tmp_path / "long.tar", [*members, *(plain(name, name.encode()) for name in names)])
    assert unpack(archive, tmp_path / "out").written == 3
    assert content(tmp_path / "out") == {name: name.encode() for name in names}


def test_files_that_are_there_are_not_touched(archive: Path, tmp_path: Path) -> None:
    own = tmp_path / "out" / "lbos" / "lbo_cse.pk"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(Animal4dError, match=r"lbo_cse\.pk is there already"):
        unpack(archive, tmp_path / "out")
    assert content(tmp_path / "out") == {"lbos/lbo_cse.pk": b"mine"}
    own.unlink()
    own.parent.rmdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out" / "lbos").symlink_to(outside)
    with pytest.raises(Animal4dError, match="leads out"):
        unpack(archive, tmp_path / "out")
    assert list(outside.iterdir()) == []


def test_an_interruption_while_moving_leaves_nothing(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, moves = Path.replace, []

    def interrupted(self: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 5:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
