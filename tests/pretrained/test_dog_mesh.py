"""The mesh of DensePose's dog beside the network's weights: of use, never needed, and told from other pickles."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.commands import animal4d, error_line
from tests.pretrained.file_server import FileServer, Served, serve
from tests.pretrained.toy_networks import write_marks

from animal4d.errors import Animal4dError
from animal4d.pretrained import download
from animal4d.pretrained.adding import add_weights
from animal4d.pretrained.checking import networks_of
from animal4d.pretrained.getting import files_to_fetch, get_weights
from animal4d.pretrained.networks import DOG_MESH, NETWORKS
from animal4d.pretrained.places import network_folder, weights_root
from animal4d.pretrained.verifying import verify_weights
from animal4d.pretrained.weights import find_weights, weights_state

NAME = "densepose-cse"
VERTICES = np.random.default_rng(0).normal(size=(7466, 3)).astype(np.float32)
FACES = np.random.default_rng(1).integers(7466, size=(14928, 3))


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(tmp_path / "weights"))


def mesh_bytes(**changes: Any) -> bytes:
    return pickle.dumps({"vertices": VERTICES, "faces": FACES} | changes)


def mesh_at(path: Path, **changes: Any) -> Path:
    path.write_bytes(mesh_bytes(**changes))
    return path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves the network's weights and the mesh."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_FIRST_WAIT_SECONDS", 0.0)
    network = NETWORKS[NAME]
    with serve() as server:
        files = tuple(replace(file, url=server.url(file.name)) for file in network.files)
        monkeypatch.setitem(NETWORKS, NAME, replace(network, files=files))
        server.files[network.weights.name] = Served(write_marks(NAME, tmp_path / "marks.pkl").read_bytes())
        server.files[DOG_MESH.name] = Served(mesh_bytes())
        yield server


def test_get_fetches_the_mesh_too_also_later(server: FileServer) -> None:
    weights, mesh = (server.files[file.name] for file in NETWORKS[NAME].files)
    path = get_weights(NAME, ask=lambda network: True)
    assert (path.parent / DOG_MESH.name).read_bytes() == mesh.data and files_to_fetch(NAME) == []
    (path.parent / DOG_MESH.name).unlink()
    assert weights_state(NAME).kind == "present" and find_weights(NAME) == path
    outcome = animal4d("weights", "get", NAME)
    assert outcome.status == 0 and "there already" not in outcome.out
    assert (path.parent / DOG_MESH.name).read_bytes() == mesh.data
    assert (len(weights.asked), len(mesh.asked)) == (1, 2)
    assert "there already" in animal4d("weights", "get", NAME).out


def test_nobody_needs_it(server: FileServer) -> None:
    del server.files[DOG_MESH.name]
    path = get_weights(NAME, ask=lambda network: True)
    assert get_weights(NAME) == path and weights_state(NAME).kind == "present"
    assert [verdict.kind for verdict in verify_weights(NAME)] == ["ok"]
    told = animal4d("weights", "list", NAME).out
    assert "dog_7466.pkl (optional, not there)" in told and "present" in told


def test_what_came_instead_of_it_is_not_kept(server: FileServer) -> None:
    server.files[DOG_MESH.name] = Served(mesh_bytes(vertices=VERTICES[:-1]))
    with pytest.raises(Animal4dError, match=r"dog_7466\.pkl: what came is of no use"):
        get_weights(NAME, ask=lambda network: True)
    assert weights_state(NAME).kind == "present"
    assert not list(network_folder(NAME).glob("dog_*"))


@pytest.mark.parametrize("name", [None, NAME])
def test_it_is_recognised_by_what_is_in_it(tmp_path: Path, name: str | None) -> None:
    path = mesh_at(tmp_path / "any.pkl", normals=VERTICES)
    assert [(network.name, file.name) for network, file in networks_of(path)] == [(NAME, DOG_MESH.name)]
    added = add_weights(path, name)
    assert added.path == network_folder(NAME) / DOG_MESH.name and added.published is None
    assert added.path.read_bytes() == path.read_bytes()
    assert find_weights(NAME) is None and weights_state(NAME).kind == "partial"
    assert [verdict.kind for verdict in verify_weights(NAME)] == ["missing", "ok"]
    assert animal4d("weights", "verify").status == 0
    added.path.write_bytes(mesh_bytes(faces=FACES + 1))
    assert animal4d("weights", "verify").status == 1


def test_a_folder_with_both_comes_whole(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    mesh_at(folder / DOG_MESH.name)
    assert add_weights(folder).path.name == DOG_MESH.name
    weights = write_marks(NAME, folder / "model_final_8c9d99.pkl")
    (network_folder(NAME) / DOG_MESH.name).unlink()
    assert add_weights(folder).path == network_folder(NAME) / weights.name
    assert (network_folder(NAME) / DOG_MESH.name).is_file() and weights_state(NAME).kind == "present"


@pytest.mark.parametrize(
    "changes",
    [
        {"vertices": VERTICES[:5002]},
        {"vertices": VERTICES[:, :2]},
        {"vertices": VERTICES * np.nan},
        {"vertices": None},
        {"faces": FACES[:, :2]},
        {"faces": FACES[:0]},
        {"faces": FACES + 7466},
        {"faces": FACES + 0.5},
        {"faces": "many"},
    ],
)
def test_other_pickles_are_not_taken_for_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = mesh_at(tmp_path / "dog_7466.pkl", **changes)
    assert networks_of(path) == []
    for options in ((), ("--name", NAME)):
        error_line(animal4d("weights", "add", path, *options))
    assert not weights_root().exists() or not list(weights_root().rglob("*.pkl"))


def test_neither_are_lists_nor_the_cat(tmp_path: Path) -> None:
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([VERTICES, FACES]))
    assert networks_of(tmp_path / "list.pkl") == []
    assert networks_of(mesh_at(tmp_path / "cat_7466.pkl")) == [], "it has as many vertices"
    assert [file.name for _, file in networks_of(write_marks(NAME, tmp_path / "w.pkl"))] == ["model_final_8c9d99.pkl"]
