"""Who is at hand for a cue, and what the user may say about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from animal4d import candidates
from animal4d.candidates import CANDIDATES, CUES, Choice
from animal4d.config import Config, from_dict, to_dict
from animal4d.errors import Animal4dError
from animal4d.pretrained.networks import NETWORKS


@pytest.fixture(autouse=True)
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMAL4D_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(candidates, "_installed", lambda package: False)


def put(monkeypatch: pytest.MonkeyPatch, *names: str, packages: bool = True) -> None:
    """As if the weights of these networks were there."""
    monkeypatch.setattr("animal4d.pretrained.weights.find_weights", lambda name: Path(name) if name in names else None)
    monkeypatch.setattr(candidates, "_installed", lambda package: packages)


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
    assert names(Choice(use=("masks=sam2",)), "masks") == ["sam2-small", "sam2-tiny"]
    assert names(Choice(use=("masks=sam2-tiny",)), "masks") == ["sam2-tiny"]
    assert names(Choice(use=("features=dino-vits8",)), "features") == ["dino-vits8"]
    choice = Choice(use=("features=dino", "features=handmade"))
    assert names(choice, "features") == ["handmade"], "the last one counts"
    assert choice.must("features") and not choice.must("masks") and Choice(strict=True).must("masks")


def test_what_is_asked_for_and_not_there_is_an_error_with_the_remedy():
    with pytest.raises(Animal4dError, match=r"--use masks=sam2: .*animal4d weights get sam2-tiny"):
        Choice(use=("masks=sam2",)).check()
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
        ({"use": ("masks",)}, "masks are made by sam2-large"),
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


def test_settings_keep_the_choice():
    config = Config(use=("masks=eyes",), avoid=("xfeat",), strict=True)
    assert from_dict(Config, to_dict(config)) == config
    assert config.choice == Choice(("masks=eyes",), ("xfeat",), True, True)
    with pytest.raises(Animal4dError, match="use must be a list of words"):
        from_dict(Config, {"use": "masks=eyes"})
    with pytest.raises(Animal4dError, match="strict must be true or false"):
        from_dict(Config, {"strict": "yes"})
