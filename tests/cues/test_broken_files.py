"""Every file of an external data tree broken in turn, as a fit would read it: one line that names it, or the cue is
left out. (Textures are for people to look at and are not read.)"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from PIL import Image

from animal4d.cues.cues import CueProviders
from animal4d.errors import Animal4dError
from animal4d.files.unpickle import load_pickle, load_torch
from animal4d.fit.reconstruct import load_template
from animal4d.providers import providers_for
from animal4d.readers.load import load_clip
from animal4d.synth.clip import make_synthetic_clip
from animal4d.synth.config import SynthConfig
from animal4d.synth.external_config import ExternalDataConfig
from animal4d.synth.external_data import write_external_data

SEQUENCE = ExternalDataConfig().sequence
FOLDER = f"cop3d_data/dog/{SEQUENCE}"
INDEX = "cop3d_data/metadata.sqlite"
IMAGE, MASK = f"{FOLDER}/images/frame000001.jpg", f"{FOLDER}/masks/frame000001.png"
REFINED, PARTS = f"refined_masks/{SEQUENCE}/frame000001.png", f"{FOLDER}/part_masks/frame000001.pt"
TRACKS = f"{FOLDER}/tracking_points.pt"
CSE = f"preprocessing/cse_embeddings/{SEQUENCE}_200_cse_predictions.pk"
PNP = f"preprocessing/pnp_ransac/{SEQUENCE}_200_pnp_R_T.pk"
KEYPOINTS, SHAPE = f"sparse_keypoints/{SEQUENCE}_keypoints.pk", f"init_pose/{SEQUENCE}_init_pose.pk"
LBO = ("lbos/lbo_cse.pk", "lbos/lbo_smal.pk", "lbos/lbo_cse_to_smal.pk", "cse/cse_embedding.pk")
SMAL, SYMMETRY = "smal/my_smpl_39dogsnorm_newv3_dog.pkl", "smal/symmetry_inds.json"

PICTURES = (IMAGE, MASK, REFINED)
ARRAYS = (PARTS, TRACKS, CSE, PNP, KEYPOINTS, SHAPE, *LBO, SMAL)
FILES = (INDEX, *PICTURES, *ARRAYS, SYMMETRY)
CUE_OF = {TRACKS: "tracks", CSE: "surface", PNP: "pnp_cameras", KEYPOINTS: "keypoints", **dict.fromkeys(LBO, "surface")}
CUES = ("tracks", "parts", "surface", "keypoints", "pnp_cameras")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("external") / "tree"
    film = make_synthetic_clip(SynthConfig(frames=3, image_size=(90, 120), tracks=40, seed=3))
    write_external_data(film, root, ExternalDataConfig())
    return root


@pytest.fixture
def tree(pristine: Path, tmp_path: Path) -> Path:
    """A copy whose files are links: replace them, do not write into them."""
    return Path(shutil.copytree(pristine, tmp_path / "tree", copy_function=os.link))


def read(root: Path, file: str) -> tuple[CueProviders, list[str]]:
    """What a fit reads before it starts, and what the user is told. The files of SMAL are read only for a fit of it."""
    model = load_template(str(root / SMAL) if file in (SMAL, SYMMETRY, SHAPE) else "builtin")
    clip = load_clip(f"external:{root}:{SEQUENCE}", working_size=64)
    told = [*clip.warnings, clip.mask_source]
    providers = providers_for(clip, model, told.append)
    for cue in CUES:
        provider = getattr(providers, cue)
        if provider is not None:
            provider.config()
            provider(clip)
    return providers, told


def put(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    """A pickle or torch file with other content."""
    content = change(load_torch(path) if path.suffix == ".pt" else load_pickle(path))
    path.unlink()
    if path.suffix == ".pt":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))


def in_arrays(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same with all arrays in it changed; sparse ones stay, since they cannot be cut everywhere."""
    if isinstance(value, dict):
        return {key: in_arrays(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(in_arrays(item, change) for item in value)
    if scipy.sparse.issparse(value) or not isinstance(value, (np.ndarray, torch.Tensor)):
        return value
    return change(value)


def in_index(path: Path, statement: str, *values: Any) -> None:
    put(path, path.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE frame_annots SET {statement} WHERE frame_number = 1", values)


def truncated(path: Path) -> None:
    put(path, path.read_bytes()[: path.stat().st_size // 2])


def of_wrong_shape(path: Path) -> None:
    if path.suffix == ".sqlite":
        in_index(path, "_viewpoint_R = ?", np.zeros(8, "<f4").tobytes())
    elif path.suffix in (".jpg", ".png"):
        picture = Image.open(path).resize((60, 40))
        path.unlink()
        picture.save(path)
    elif path.suffix == ".json":
        put(path, json.dumps({key: value[:-1] for key, value in json.loads(path.read_text()).items()}).encode())
    else:
        rewritten(path, lambda content: in_arrays(content, lambda array: array[..., :-1]))


def of_wrong_type(path: Path) -> None:
    if path.suffix == ".sqlite":
        in_index(path, "_viewpoint_R = 'a dog'")
    elif path.suffix in (".jpg", ".png", ".json"):
        put(path, b'"a dog"')
    else:
        rewritten(path, lambda content: "a dog")


def not_a_number(path: Path) -> None:
    if path.suffix == ".sqlite":
        in_index(path, "_viewpoint_T = ?", np.full(3, np.nan, "<f4").tobytes())
        return

    def change(array: Any) -> Any:
        array = array.astype(np.float64) if isinstance(array, np.ndarray) else array.double()
        array[...] = np.nan
        return array

    rewritten(path, lambda content: in_arrays(content, change))


FAULTS = {
    "truncated": truncated,
    "wrong shape": of_wrong_shape,
    "wrong type": of_wrong_type,
    "NaN": not_a_number,
}


WHOLE_NUMBERS = (*PICTURES, SYMMETRY)


@pytest.mark.parametrize(
    ("file", "fault"),
    [(file, fault) for file in FILES for fault in FAULTS if fault != "NaN" or file not in WHOLE_NUMBERS],
)
def test_a_broken_file_is_named(tree, file, fault):
    if file == MASK:
        shutil.rmtree(tree / "refined_masks")  # which are read instead
    FAULTS[fault](tree / file)
    with pytest.raises(Animal4dError) as caught:
        read(tree, file)
    message = str(caught.value)
    assert Path(file).name in message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize("file", [INDEX, IMAGE, SMAL])
def test_what_must_be_there_is_named(tree, file):
    (tree / file).unlink()
    with pytest.raises(Animal4dError, match=Path(file).name):
        read(tree, file)


@pytest.mark.parametrize("file", [TRACKS, CSE, PNP, KEYPOINTS])
def test_a_cue_whose_file_is_missing_is_left_out(tree, file):
    (tree / file).unlink()
    provider = getattr(read(tree, file)[0], CUE_OF[file])
    assert provider is None or provider.kind == "builtin"


@pytest.mark.parametrize("file", LBO)
def test_a_cue_that_lacks_a_file_is_left_out_with_a_notice(tree, file):
    (tree / file).unlink()
    providers, told = read(tree, file)
    assert providers.surface is None
    assert any(file in notice for notice in told)


def test_frames_without_masks_or_parts_are_told(tree):
    (tree / PARTS).unlink()
    (tree / REFINED).unlink()
    _, told = read(tree, PARTS)
    assert any("no part mask for 1 of 3 frames (1)" in notice for notice in told)
    assert any("refined (2 frames)" in notice and "COP3D's (1 frames)" in notice for notice in told)
    (tree / MASK).unlink()
    assert any("no mask" in notice or "without" in notice for notice in read(tree, PARTS)[1])


@pytest.mark.parametrize("file", [SHAPE, SYMMETRY])
def test_a_smal_model_alone_suffices(tree, file):
    (tree / file).unlink()
    assert read(tree, SMAL)[0].initial_betas is not None or file == SHAPE
