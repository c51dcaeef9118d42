"""`preprocess` with DensePose: its surface maps in the published layout, beside nothing that contradicts them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.pretrained.told_network import ToldNetwork

from animal4d.body.template import load_builtin_template
from animal4d.candidates import Choice
from animal4d.cues import category_embeddings
from animal4d.cues.parts import LABEL_OF_FILE, PART_LABELS
from animal4d.cues.surface import CsePredictions
from animal4d.cues.surface_embeddings import EmbeddingFiles, spectral_embedding, template_embeddings
from animal4d.data import dog_bases, preprocess_seen, preprocess_shared
from animal4d.data.layout import write_plain_pickle
from animal4d.data.preprocess import Preprocessed, PreprocessRequest, preprocess
from animal4d.data.preprocess_source import ClipRequest
from animal4d.data.provenance import Provenance
from animal4d.data.surface_maps import padded_box, render_detection
from animal4d.data.verify import verify
from animal4d.files.unpickle import load_pickle, load_torch
from animal4d.geometry.spectral import SpectralBasis, laplace_beltrami
from animal4d.geometry.surface_matching import SurfaceMatch
from animal4d.pretrained.densepose.load import load_densepose
from animal4d.pretrained.densepose.network import AnimalSurface
from animal4d.readers.external import find_external_files, read_external
from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import SynthConfig

CLIP = SynthConfig(frames=3, image_size=(120, 160), tracks=40, seed=4)


class DogEmbedder:
    def vertex_embeddings(self, mesh: str) -> torch.Tensor:
        assert mesh == "dog_7466"
        rows = torch.randn(7466, 16, generator=torch.Generator().manual_seed(0))
        return torch.nn.functional.normalize(rows, dim=1)


def animal(category: str, score: float, seed: int) -> AnimalSurface:
    generator = torch.Generator().manual_seed(seed)
    embedding, segmentation = (torch.randn(n, 112, 112, generator=generator) for n in (16, 2))
    return AnimalSurface(category, score, torch.tensor([100.0, 50.0, 600.0, 500.0]), embedding, segmentation)


SEEN = [
    [animal("dog", 0.9, 0), animal("cat", 0.95, 1), animal("cow", 0.6, 2), animal("bear", 0.55, 3)],
    [],
    [animal("dog", 0.7, 4)],
]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage") / "walk"
    write_synthetic_clip(make_synthetic_clip(CLIP), folder)
    return folder


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> ToldNetwork:
    told = ToldNetwork(SEEN, DogEmbedder())  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(preprocess_seen, "load_densepose", lambda path, device: told)
    monkeypatch.setattr(preprocess_shared, "FUNCTIONS", 30)  # a third of the time
    return told


def request(footage: Path, root: Path, weights: Path | None) -> PreprocessRequest:
    return PreprocessRequest(ClipRequest(str(footage), fps=CLIP.fps), root, densepose=weights)


def weights_in(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model_final_8c9d99.pkl").write_bytes(b"weights, which the told network does not need")
    return folder / "model_final_8c9d99.pkl"


def states(made: Preprocessed) -> dict[str, str]:
    return {report.entry: report.state for report in made.entries}


def test_surface_maps_are_written_in_the_published_layout(footage, network, tmp_path):
    root, weights = tmp_path / "tree", weights_in(tmp_path / "weights")
    made = preprocess(request(footage, root, weights))
    assert states(made)["cse_predictions"] == "written" and states(made)["cse_embedding"] == "written"
    files = find_external_files(root, "walk")
    assert files.cse_predictions is not None
    content = load_pickle(files.cse_predictions.path)
    assert set(content) == {"E", "S", "bboxes_x1y1x2y2", "scores", "pred_classes", "image_size"}
    assert all(len(items) == 3 and items[1] is None for items in content.values())
    # The best three, best first.
    assert content["pred_classes"][0].tolist() == [2, 3, 1]
    assert content["E"][0].shape == (3, 16, 112, 112) and content["S"][2].shape == (1, 2, 112, 112)
    assert [finding for finding in verify(root).findings if finding.state == "broken"] == []

    clip = read_external(root, "walk", working_size=80)
    rows = torch.from_numpy(np.asarray(load_pickle(root / "cse" / "cse_embedding.pk")["cse_dog"]))
    torch.testing.assert_close(rows, DogEmbedder().vertex_embeddings("dog_7466"))
    detections = CsePredictions(files.cse_predictions.path, rows, files.frame_numbers).detections(clip)
    assert [detection is not None for detection in detections] == [True, False, True]
    assert detections[0] is not None
    torch.testing.assert_close(detections[0].embedding, SEEN[0][0].embedding)
    torch.testing.assert_close(detections[0].box, SEEN[0][0].box)
    # Nothing is made a second time, nor without the weights.
    assert states(preprocess(request(footage, root, weights)))["cse_predictions"] == "current"
    assert len(network.shown) == 3
    assert "cse_predictions" not in states(preprocess(request(footage, root, None)))
    assert find_external_files(root, "walk").cse_predictions is not None


def test_embeddings_that_stand_in_for_the_networks_go_and_do_not_come_back(footage, network, tmp_path, monkeypatch):
    """Pixels of DensePose and vertices of the template's own embeddings would be matched, and mean nothing. But
    weights that cannot be read leave everything as it is."""
    root, weights = tmp_path / "tree", weights_in(tmp_path / "weights")
    spectral = [root / "lbos" / f"lbo_{name}.pk" for name in ("cse", "smal", "cse_to_smal")]
    assert states(preprocess(request(footage, root, None)))["lbos"] == "written"
    assert all(path.is_file() for path in spectral)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(preprocess_seen, "load_densepose", load_densepose)
        made = preprocess(request(footage, root, weights))
    assert any("model_final_8c9d99.pkl: cannot be read" in warning for warning in made.warnings)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    for weights_or_none in (weights, None):
        made = preprocess(request(footage, root, weights_or_none))
        assert states(made)["lbos"] == "left out"
        assert not any(path.exists() for path in spectral)
        assert load_pickle(root / "cse" / "cse_embedding.pk")["cse_dog"].shape == (7466, 16)
        assert find_external_files(root, "walk").cse_predictions is not None


def test_spectral_files_that_the_user_brought_stay(footage, network, tmp_path):
    root, weights = tmp_path / "tree", weights_in(tmp_path / "weights")
    for name in ("cse", "smal", "cse_to_smal"):
        path = root / "lbos" / f"lbo_{name}.pk"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"brought")
    made = preprocess(request(footage, root, weights))
    assert states(made)["lbos"] == "kept"
    assert (root / "lbos" / "lbo_cse.pk").read_bytes() == b"brought"


def test_the_published_channel_order_is_a_switch_and_makes_other_maps(footage, network, tmp_path):
    root, weights = tmp_path / "tree", weights_in(tmp_path / "weights")
    preprocess(replace(request(footage, root, weights), channel_order="rgb"))
    assert network.channel_orders == ["rgb"] * 3
    network.shown.clear()
    made = preprocess(request(footage, root, weights))
    assert states(made)["cse_predictions"] == "written" and network.channel_orders[3:] == ["bgr"] * 3


def test_part_masks_are_read_off_the_surface_maps(footage, network, tmp_path, monkeypatch):
    """Maps as the true surface gives them, of embeddings that the template has as well."""
    film, template = make_synthetic_clip(CLIP), load_builtin_template()
    rows = torch.from_numpy(spectral_embedding(laplace_beltrami(*_mesh(template), 40))).float()
    drawn = []
    for frame in range(3):
        camera = film.cameras[[frame]]
        box = padded_box(torch.from_numpy(film.masks[frame]))
        assert box is not None
        drawn.append(render_detection(film.truth.vertices[frame], template.faces, rows, camera, box))
    told = [[AnimalSurface("dog", 0.9, d.box, d.embedding, d.segmentation)] for d in (drawn[0], drawn[2])]
    network.animals = [told[0], [], told[1]]
    monkeypatch.setattr(preprocess_seen, "template_embeddings", lambda files, model: rows)
    root, weights = tmp_path / "tree", weights_in(tmp_path / "weights")
    made = preprocess(request(footage, root, weights))
    assert states(made)["part_masks"] == "left out", "nothing leads to the template"
    for path in preprocess_shared.spectral_files(root)[:3]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"brought")
    made = preprocess(request(footage, root, weights))
    assert {report.entry: report.note for report in made.entries}["part_masks"].startswith("2 of 3 frames, read off")
    assert Provenance.of(root, "walk").note("part_masks")["maker"] == "surface-parts"  # pyright: ignore[reportOptionalSubscript]
    names = np.array([0, *(PART_LABELS[name] for name in ("head", "torso", "tail", *["leg"] * 4))])
    folder = find_external_files(root, "walk").part_masks
    assert folder is not None
    for frame in (0, 2):
        labels = load_torch(folder / f"frame{frame:06d}.pt").numpy()
        found, truth = np.vectorize(LABEL_OF_FILE.get)(labels), names[film.parts[frame]]
        known = found > 0
        assert labels.shape == CLIP.image_size and not known[~film.masks[frame]].any()
        # Seams between parts move by a pixel or two, and edges of the mask by a part of one.
        assert known.sum() > 0.9 * (truth > 0).sum() and (found[known] == truth[known]).mean() > 0.9
    assert not load_torch(folder / "frame000001.pt").any(), "nothing was seen"
    for weights_or_none in (weights, None):
        assert states(preprocess(request(footage, root, weights_or_none)))["part_masks"] == "current"
    other = request(footage, root, weights)
    other = replace(other, clip=replace(other.clip, providers=Choice(avoid=("surface",))))
    assert states(preprocess(other))["part_masks"] == "left out" and not list(folder.glob("*.pt"))
    network.shown.clear()
    network.animals = [[], [], []]
    made = preprocess(replace(request(footage, root, weights), channel_order="rgb"))
    assert "sees no dog" in {report.entry: report.note for report in made.entries}["part_masks"]


def _mesh(model):
    return model.v_template.double().numpy(), model.faces.numpy()


def test_over_the_dogs_mesh_the_maps_find_their_way_to_the_template(footage, network, tmp_path, monkeypatch):
    """A dog's mesh of as many vertices as DensePose's, near the template's surface."""
    template = load_builtin_template()
    vertices = template.v_template.double().numpy()
    chosen = np.random.default_rng(0).permutation(7466) % len(vertices)
    faces = np.random.default_rng(1).permutation(7466)[:7464].reshape(-1, 3)
    write_plain_pickle(tmp_path / "dog_7466.pkl", {"vertices": vertices[chosen], "faces": faces})
    first_of = np.unique(chosen, return_index=True)[1]
    monkeypatch.setattr(category_embeddings, "match_surfaces", lambda *meshes: SurfaceMatch(first_of, 0.2))
    own = laplace_beltrami(vertices, template.faces.numpy(), 31)
    carried = SpectralBasis(own.functions[chosen], own.eigenvalues, own.areas[chosen] / 2).first(30)
    monkeypatch.setattr(dog_bases, "laplace_beltrami", lambda v, f, k: carried if len(v) == 7466 else own.first(k))
    root, weights = tmp_path / "tree", weights_in(tmp_path / "weights")
    with_mesh = replace(request(footage, root, weights), dog_mesh=tmp_path / "dog_7466.pkl")
    assert states(preprocess(with_mesh))["lbos"] == "written"
    files = EmbeddingFiles.in_tree(root)
    found = template_embeddings(files, template, own.functions[chosen][:, 1:17])
    expected = torch.nn.functional.normalize(torch.from_numpy(own.functions[:, 1:17]).float(), dim=1)
    assert (found - expected).abs().mean() < 0.01
    colors = np.asarray(load_pickle(root / "textures" / "texture_cse.pk"))
    of_template = np.asarray(load_pickle(root / "textures" / "texture_smal.pk"))
    assert np.abs(colors.astype(int) - of_template[chosen]).mean() < 8  # of 255; 30 functions are smooth
    assert states(preprocess(with_mesh))["lbos"] == "current"
    assert states(preprocess(request(footage, root, None)))["lbos"] == "current"
    assert [finding for finding in verify(root).findings if finding.state == "broken"] == []
