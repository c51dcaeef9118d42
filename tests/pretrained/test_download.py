"""Fetching from a server on this machine that cuts lines, refuses, and sends the wrong thing."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pretrained.file_server import FileServer, Served, serve
from tests.pretrained.toy_networks import (
    CONFIG,
    torch_bytes,
    toy_folder_network,
    toy_network,
    toy_tensors,
    write_toy_folder,
)

from animal4d.errors import Animal4dError
from animal4d.pretrained import download
from animal4d.pretrained.getting import get_weights
from animal4d.pretrained.networks import NETWORKS, Network
from animal4d.pretrained.places import network_folder, part_of
from animal4d.pretrained.weights import find_weights, require_weights, weights_state

DATA = torch_bytes(toy_tensors())
HALF = len(DATA) // 2


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_FIRST_WAIT_SECONDS", 0.0)
    with serve() as server:
        yield server


@pytest.fixture
def toy(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The network `toy`, with size and sum in the table, served well."""
    return register(monkeypatch, server, toy_network(server.address), DATA)


def register(monkeypatch: pytest.MonkeyPatch, server: FileServer, network: Network, data: bytes) -> Served:
    monkeypatch.setitem(NETWORKS, network.name, network)
    served = server.files["toy.pth"] = Served(data)
    return served


def leftovers() -> list[str]:
    """Files in the network's folder, notes aside."""
    folder = network_folder("toy")
    return sorted(path.name for path in folder.iterdir() if path.name != "received.json") if folder.exists() else []


def one_line_of(name: str = "toy") -> str:
    with pytest.raises(Animal4dError) as caught:
        get_weights(name)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_fetched_is_what_was_served(toy: Served) -> None:
    told: list[tuple[str, int, int]] = []
    assert find_weights("toy") is None
    path = get_weights("toy", show=lambda *what: told.append(what))
    assert path == find_weights("toy") == require_weights("toy")
    assert path.read_bytes() == DATA
    assert leftovers() == ["toy.pth"]
    assert told[0] == ("toy.pth", 0, len(DATA)) and told[-1] == ("toy.pth", len(DATA), len(DATA))
    assert weights_state("toy").kind == "present"


def test_what_is_there_is_not_fetched_again(toy: Served) -> None:
    get_weights("toy")
    get_weights("toy")
    assert len(toy.asked) == 1


def test_a_damaged_file_is_fetched_again(toy: Served) -> None:
    path = get_weights("toy")
    path.write_bytes(DATA[:HALF])
    assert weights_state("toy").kind == "damaged"
    with pytest.raises(Animal4dError, match=r"toy\.pth: is damaged .*; run animal4d weights get toy"):
        require_weights("toy")
    get_weights("toy")
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_line_is_taken_up_where_it_stopped(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    toy = register(monkeypatch, server, toy_network(server.address, known=known), DATA)
    toy.cut_after = [HALF, 7]
    assert get_weights("toy").read_bytes() == DATA
    assert toy.asked == [None, f"bytes={HALF}-", f"bytes={HALF + 7}-"]


def test_an_interrupted_download_goes_on(toy: Served) -> None:
    def interrupt(file: str, done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    toy.cut_after = [HALF]
    with pytest.raises(KeyboardInterrupt):
        get_weights("toy", show=interrupt)
    assert leftovers() == ["toy.pth.part", "toy.pth.part.tag"]
    assert weights_state("toy").kind == "partial"
    assert get_weights("toy").read_bytes() == DATA
    assert toy.asked == [None, f"bytes={HALF}-"]
    assert leftovers() == ["toy.pth"]


def test_parts_of_two_versions_are_not_joined(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no sum would tell, the server's word for its version must."""
    toy = register(monkeypatch, server, toy_network(server.address, known=False), DATA)
    part = part_of(network_folder("toy") / "toy.pth")
    part.parent.mkdir(parents=True)
    for tag in ('"another"', None):
        part.write_bytes(b"x" * HALF)
        if tag is not None:
            part.with_name(f"{part.name}.tag").write_text(tag)
        assert get_weights("toy").read_bytes() == DATA
        (network_folder("toy") / "toy.pth").unlink()
    assert toy.asked == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("left", [b"x" * HALF, b"x" * len(DATA), b"x" * (len(DATA) + 5), DATA])
def test_a_bad_part_does_not_spoil_a_known_file(toy: Served, left: bytes) -> None:
    part = part_of(network_folder("toy") / "toy.pth")
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    assert get_weights("toy").read_bytes() == DATA
    assert leftovers() == ["toy.pth"]


def test_a_whole_part_of_unknown_size_is_accepted(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, server, toy_network(server.address, known=False), DATA)
    part = part_of(network_folder("toy") / "toy.pth")
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    part.with_name(f"{part.name}.tag").write_text('"one"')
    assert get_weights("toy").read_bytes() == DATA


@pytest.mark.parametrize("served", [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}])
def test_servers_that_know_less_serve_as_well(toy: Served, served: dict[str, Any]) -> None:
    for key, value in served.items():
        setattr(toy, key, value)
    toy.cut_after = [HALF]
    assert get_weights("toy").read_bytes() == DATA


def test_a_line_that_always_breaks_at_the_same_place_is_given_up(toy: Served) -> None:
    toy.ranges = False
    toy.cut_after = [HALF] * 50
    assert f"the connection ended after {HALF} of {len(DATA)} bytes" in one_line_of()
    assert len(toy.asked) < 10
    assert leftovers() == ["toy.pth.part", "toy.pth.part.tag"]


def test_two_processes_do_not_write_one_part(toy: Served) -> None:
    fcntl = pytest.importorskip("fcntl", reason="needs a system with flock")
    part = part_of(network_folder("toy") / "toy.pth")
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:HALF])
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "is being fetched by another process" in one_line_of()
        assert part.read_bytes() == DATA[:HALF]
    assert get_weights("toy").read_bytes() == DATA


def test_a_server_that_fails_and_then_works(toy: Served) -> None:
    toy.statuses = [500, 503]
    assert get_weights("toy").read_bytes() == DATA


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "the server does not have it (HTTP 404)"),
        (403, "wants you to sign in (HTTP 403)"),
        (400, "the server refuses (HTTP 400)"),
        (500, "does not answer (HTTP 500)"),
    ],
)
def test_refusals_are_told_in_one_line(toy: Served, status: int, words: str) -> None:
    toy.statuses = [status] * 20
    message = one_line_of()
    assert words in message and "toy.pth" in message
    assert leftovers() == [] and not network_folder("toy").exists()


def test_offline_the_line_says_what_goes_where(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"  # bound, and nobody listens: refused
        monkeypatch.setitem(NETWORKS, "toy", toy_network(address))
        message = one_line_of()
    assert f"{address}/toy.pth: cannot be reached" in message
    assert "animal4d weights add FILE --name toy" in message
    assert f"put it there: {network_folder('toy') / 'toy.pth'}" in message
    assert leftovers() == []


def test_another_file_is_not_kept(toy: Served) -> None:
    toy.data = DATA[:-20] + bytes(20)
    assert "another file came than was published" in one_line_of()
    assert leftovers() == []


def test_a_file_of_another_size_is_not_begun(toy: Served) -> None:
    toy.data = DATA + b"more"
    assert f"the server has another file ({len(DATA) + 4} bytes instead of {len(DATA)})" in one_line_of()
    assert leftovers() == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>Please sign in to this network</html>", "is damaged"),
        (torch_bytes({"layer.weight": toy_tensors()["bias"]}), "has the shape [300] instead of [2, 3]"),
        (b"", "the server sent nothing"),
    ],
)
def test_without_a_known_sum_the_structure_decides(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, data: bytes, words: str
) -> None:
    register(monkeypatch, server, toy_network(server.address, known=False), data)
    assert words in one_line_of()
    assert leftovers() == []


def test_a_full_disk_is_seen_before(toy: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    assert "are free on the disk" in one_line_of()
    assert leftovers() == []


def test_a_disk_that_fills_up_meanwhile(toy: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def open_full(path: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        file = opened(path, mode, *arguments, **more)
        return FullFile(file) if path.suffix == ".part" and "b" in mode and mode != "rb" else file

    with monkeypatch.context() as full:
        full.setattr(Path, "open", open_full)
        assert "toy.pth: no space left on the disk" in one_line_of()
    assert not network_folder("toy").exists()


class FullFile:
    """A file whose disk is full after the first bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *what: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        self.file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_comes_file_by_file(server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = toy_folder_network(server.address)
    monkeypatch.setitem(NETWORKS, network.name, network)
    source = write_toy_folder(tmp_path / "source")
    server.files["model.safetensors"] = Served((source / "model.safetensors").read_bytes())
    assert "config.json" in one_line_of(network.name)
    assert weights_state(network.name).kind == "partial"
    assert find_weights(network.name) is None
    server.files["config.json"] = Served((source / "config.json").read_bytes())
    folder = get_weights(network.name)
    assert folder == network_folder(network.name)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "model.safetensors", "received.json"]  # nobody has the optional one
    assert len(server.files["model.safetensors"].asked) == 1


def test_settings_of_another_network_are_refused(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = toy_folder_network(server.address)
    monkeypatch.setitem(NETWORKS, network.name, network)
    source = write_toy_folder(tmp_path / "source")
    server.files["model.safetensors"] = Served((source / "model.safetensors").read_bytes())
    server.files["config.json"] = Served(str(CONFIG).replace("'", '"').replace("toy", "whale").encode())
    assert "model_type is 'whale' instead of 'toy'" in one_line_of(network.name)
    assert not (network_folder(network.name) / "config.json").exists()


def test_narrow_terms_are_accepted_once(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    network = toy_network(server.address, research_only=True)
    toy = register(monkeypatch, server, network, DATA)
    assert "--accept-terms" in one_line_of()
    with pytest.raises(Animal4dError, match="not accepted"):
        get_weights("toy", ask=lambda network: False)
    assert toy.asked == []
    asked: list[str] = []
    path = get_weights("toy", ask=lambda network: asked.append(network.name) or True)
    path.unlink()
    get_weights("toy")
    assert asked == ["toy"] and path.exists()
    # Other terms are other terms.
    monkeypatch.setitem(NETWORKS, "toy", toy_network(server.address, research_only=True, terms="only on Sundays"))
    path.unlink()
    assert "only on Sundays" in one_line_of()


def test_what_is_given_only_to_members_is_never_fetched(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = register(monkeypatch, server, toy_network(server.address, gated=True), DATA)
    assert "animal4d weights add FOLDER" in one_line_of()
    assert toy.asked == []


def test_nothing_else_fetches(toy: Served) -> None:
    assert find_weights("toy") is None
    assert weights_state("toy").kind == "missing"
    with pytest.raises(Animal4dError) as caught:
        require_weights("toy")
    message = str(caught.value)
    assert str(network_folder("toy") / "toy.pth") in message
    assert "animal4d weights get toy" in message and NETWORKS["toy"].weights.url in message
    assert toy.asked == []
