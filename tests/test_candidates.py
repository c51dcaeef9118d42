"""Who is at hand for a cue, and what the user may say about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from animal4d import candidates
from animal4d.candidates import CANDIDATES, CUES, Choice
from animal4d.cli import doctor
from animal4d.config import Config, from_dict, to_dict
from animal4d.errors import Animal4dError
from animal4d.pretrained.networks import NETWORKS
from animal4d.pretrained.places import network_folder
from animal4d.readers import ways_to_masks as ways_to_masks_module
from animal4d.readers.mask_finders import Place
from animal4d.readers.ways_to_masks import ways_to_masks


@pytest.fixture(autouse=True)
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(candidates, "is_installed", lambda package: False)


def put(monkeypatch: pytest.MonkeyPatch, *names: str, packages: bool = True) -> None:
    """As if the weights of these networks were there."""
    monkeypatch.setattr("animal4d.pretrained.weights.find_weights", lambda name: Path(name) if name in names else None)
    monkeypatch.setattr(candidates, "is_installed", lambda package: packages)


def names(choice: Choice, cue: candidates.MadeCue) -> list[str]:
    return [candidate.name for candidate in choice.at_hand(cue)]


def test_without_networks_of_others_the_built_in_ones_make_everything():
    choice = Choice()
    assert {cue: names(choice, cue) for cue in CUES} == {
        "masks": ["eyes", "grabcut"],
        "surface": ["eyes"],
        "parts": ["eyes"],
        "views": ["eyes"],
        "tracks": ["lucas-kanade"],
        "features": ["eyes", "handmade"],
    }
    blind = Choice(eyes=False)
    assert names(blind, "features") == ["handmade"] and names(blind, "surface") == []


def test_every_network_is_one_that_can_be_had():
    for candidate in CANDIDATES:
        assert candidate.network is None or candidate.network in NETWORKS
        assert (candidate.kind == "builtin") == (candidate.network is candidate.package is None)


def test_weights_and_package_must_both_be_there(monkeypatch: pytest.MonkeyPatch):
    sam2 = next(candidate for candidate in CANDIDATES if candidate.name == "sam2-tiny")
    assert sam2.missing() == "pip install 'animal4d[pretrained]' and animal4d weights get sam2-tiny"
    put(monkeypatch, "sam2-tiny", packages=False)
    assert sam2.missing() == "pip install 'animal4d[pretrained]'"
    put(monkeypatch, "sam2-tiny")
    assert sam2.missing() is None
    assert names(Choice(), "masks") == ["sam2-tiny", "eyes", "grabcut"]


def test_use_takes_one_and_no_other(monkeypatch: pytest.MonkeyPatch):
    put(monkeypatch, "sam2-tiny", "sam2-small", "dino-vits8")
    assert names(Choice(use=("masks=sam2",)), "masks") == ["sam2-tiny", "sam2-small"]
    assert names(Choice(use=("masks=sam2-tiny",)), "masks") == ["sam2-tiny"]
    assert names(Choice(use=("features=dino-vits8",)), "features") == ["dino-vits8"]
    choice = Choice(use=("features=handmade",))
    assert choice.must("features") and not choice.must("masks") and Choice(strict=True).must("masks")


def test_on_a_cpu_the_smallest_sam2_goes_first_and_on_cuda_the_largest(monkeypatch: pytest.MonkeyPatch):
    put(monkeypatch, "sam2-small", "sam2-large", "sam2-tiny", "u2net")

    def sizes(device: str, choice: Choice) -> list[str]:
        return [candidate.name for candidate in choice.at_hand("masks", device)]

    rest = ["u2net", "eyes", "grabcut"]
    assert sizes("cpu", Choice()) == ["sam2-tiny", "sam2-small", "sam2-large", *rest]
    for device in ("cuda", "cuda:1"):
        assert sizes(device, Choice()) == ["sam2-large", "sam2-small", "sam2-tiny", *rest]
        assert sizes(device, Choice(use=("masks=sam2",)))[0] == "sam2-large"
    for device in ("cpu", "cuda"):
        assert sizes(device, Choice(use=("masks=sam2-large",))) == ["sam2-large"]
        assert sizes(device, Choice(avoid=("sam2",))) == rest


def test_masks_are_found_by_the_size_that_fits_the_device(monkeypatch: pytest.MonkeyPatch):
    put(monkeypatch, "sam2-tiny", "sam2-large")
    monkeypatch.setattr(ways_to_masks_module, "require_weights", Path)
    for device, size in (("cpu", "sam2-tiny"), ("cuda", "sam2-large")):
        finders: Any = ways_to_masks(Choice(eyes=False), Place(), device, lambda: pytest.fail("nobody needs eyes"))
        assert finders[0].folder == Path(size)


def test_longer_tracks_that_are_less_exact_are_for_those_who_ask(monkeypatch: pytest.MonkeyPatch):
    put(monkeypatch, packages=True)
    assert names(Choice(avoid=("bootstapir", "cotracker3")), "tracks") == ["lucas-kanade", "xfeat"]
    assert names(Choice(use=("tracks=xfeat",)), "tracks") == ["xfeat"]
    put(monkeypatch, packages=False)
    tracks = Choice().candidates("tracks")
    best = Choice().at_hand("tracks")[0]
    assert best.name == "lucas-kanade" and "xfeat" not in doctor._better(tracks, best)
    (told,) = doctor._on_request(tracks)
    assert told.startswith("pip install 'animal4d[pretrained]' for --use tracks=xfeat: ")
    assert [doctor._on_request(Choice().candidates(cue)) for cue in CUES if cue != "tracks"] == [[]] * (len(CUES) - 1)


def test_what_is_asked_for_and_not_there_is_an_error_with_the_remedy():
    with pytest.raises(Animal4dError, match=r"--use masks=sam2: .*animal4d weights get sam2-tiny"):
        Choice(use=("masks=sam2",)).check()
    for use, files in (
        ("tracks=cotracker3", ["scaled_offline.pth"]),
        ("features=dino-vits8", ["config.json", "model.safetensors"]),
    ):
        with pytest.raises(Animal4dError) as caught:
            Choice(use=(use,)).check()
        folder = network_folder(use.split("=")[1])
        urls = [file.url for file in NETWORKS[folder.name].files if file.name in files]
        assert all(words in str(caught.value) for words in (*(str(folder / file) for file in files), *urls))
    with pytest.raises(Animal4dError, match=r"--use tracks=xfeat: .*pip install"):
        Choice(use=("tracks=xfeat",)).check()


def test_avoid_goes_without(monkeypatch: pytest.MonkeyPatch):
    put(monkeypatch, "densepose-cse")
    assert names(Choice(), "surface") == ["densepose-cse", "eyes"]
    for given in ("densepose", "densepose-cse"):
        assert names(Choice(avoid=(given,)), "surface") == ["eyes"]
        assert names(Choice(avoid=(given,)), "masks") == ["eyes", "grabcut"]
    assert Choice(avoid=("eyes",)).at_hand("views") == [] and not Choice(avoid=("eyes",)).opens_eyes
    assert Choice(eyes=False, use=("views=eyes",)).opens_eyes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"use": ("masks",)}, "masks are made by files, sam2-large"),
        ({"use": ("sam2",)}, "CUE=PROVIDER"),
        ({"use": ("mask=sam2",)}, "cue of masks, surface"),
        ({"use": ("tracks=sam2",)}, "tracks are made by files, cotracker3"),
        ({"avoid": ("sam3",)}, "--avoid sam3: .*known are sam2-large"),
    ],
)
def test_unknown_names_are_told(options: dict, words: str):
    with pytest.raises(Animal4dError, match=words):
        Choice(**options)
    with pytest.raises(Animal4dError, match=words):
        Config(**options)


@pytest.mark.parametrize(
    ("use", "avoid", "words"),
    [
        (("tracks=xfeat",), ("xfeat",), "--use tracks=xfeat and --avoid xfeat contradict"),
        (("masks=sam2-tiny",), ("u2net", "sam2"), "--use masks=sam2-tiny and --avoid sam2 contradict"),
        (("parts=surface",), ("surface",), "contradict"),
        (("tracks=xfeat", "tracks=lucas-kanade"), (), "--use tracks=xfeat and --use tracks=lucas-kanade contradict"),
    ],
)
def test_what_cannot_both_be_done_is_told(use: tuple[str, ...], avoid: tuple[str, ...], words: str):
    with pytest.raises(Animal4dError, match=words):
        Choice(use, avoid)


def test_of_a_family_some_may_be_avoided(monkeypatch: pytest.MonkeyPatch):
    put(monkeypatch, "sam2-tiny", "sam2-small")
    assert names(Choice(("masks=sam2",), ("sam2-tiny",)), "masks") == ["sam2-small"]


def test_masks_that_should_have_come_are_missed():
    with pytest.raises(Animal4dError, match="--use masks=files: no masks came"):
        ways_to_masks(Choice(use=("masks=files",)), Place(), "cpu", lambda: pytest.fail("nobody looks for them"))


def test_settings_keep_the_choice():
    config = Config(use=("masks=eyes",), avoid=("xfeat",), strict=True)
    assert from_dict(Config, to_dict(config)) == config
    assert config.choice == Choice(("masks=eyes",), ("xfeat",), True, True)
    with pytest.raises(Animal4dError, match="use must be a list of words"):
        from_dict(Config, {"use": "masks=eyes"})
    with pytest.raises(Animal4dError, match="strict must be true or false"):
        from_dict(Config, {"strict": "yes"})
