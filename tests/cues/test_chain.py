"""Who makes a cue where the best provider fails, and what the user hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from animal4d.clip import Clip
from animal4d.cues.chain import Chain, Link, first_made, once
from animal4d.cues.cues import CueProviders, make_cues
from animal4d.cues.tracks import LucasKanadeTracks, Tracks
from animal4d.errors import Animal4dError

from .moving_picture import moving_picture


@dataclass
class Tracker:
    """Tracks as Lucas-Kanade makes them, or what is raised instead."""

    name: str
    kind: str = "pretrained"
    error: BaseException | None = None
    version: int = 1
    cue: str = "tracks"
    calls: list[str] = field(default_factory=list)

    def config(self) -> dict[str, Any]:
        return {}

    def __call__(self, clip: Clip) -> Tracks:
        self.calls.append(self.name)
        if self.error is not None:
            raise self.error
        return LucasKanadeTracks(points=20)(clip)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return moving_picture(tmp_path_factory.mktemp("picture"), count=3).clip


def chain_of(*trackers: Any, must: bool = False) -> Chain[Any]:
    return Chain(tuple(Link(tracker.name, tracker, f"{tracker.name} is there") for tracker in trackers), must)


def made(chain: Chain[Any], clip: Clip, folder: Path | None = None) -> tuple[Any, dict[str, Any], list[str]]:
    told: list[str] = []
    cue, note = first_made(chain, clip, folder, Tracks.from_arrays, lambda message: None, told.append)
    return cue, note, told


BROKEN = (
    Animal4dError("weights.pt is damaged: get it again"),
    RuntimeError("CUDA out of memory.\nTried to allocate 20.00 GiB"),
    ImportError("no module named there"),
    MemoryError(),
    KeyError("model"),
)


@pytest.mark.parametrize("error", BROKEN)
def test_the_next_one_makes_what_the_first_could_not(clip: Clip, error: Exception):
    cue, note, told = made(chain_of(Tracker("best", error=error), Tracker("good", "builtin")), clip)
    assert len(cue) > 0
    assert note["provider"] == note["by"] == "good"
    assert note["why"].startswith("good is there; best could not make tracks (")
    assert len(told) == 1 and told[0].endswith("good makes them instead") and "\n" not in told[0]


def test_the_best_one_is_not_told_of(clip: Clip):
    second = Tracker("good", "builtin")
    _, note, told = made(chain_of(Tracker("best"), second), clip)
    assert (note["by"], note["why"], told, second.calls) == ("best", "best is there", [], [])


@pytest.mark.parametrize("error", BROKEN)
def test_strict_makes_a_failure_an_error(clip: Clip, error: Exception):
    chain = chain_of(Tracker("best", error=error), Tracker("good", "builtin"), must=True)
    with pytest.raises(Animal4dError, match=r"best could not make tracks .*--avoid best") as raised:
        made(chain, clip)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["precomputed", "builtin"])
def test_files_and_built_in_providers_never_fail_in_silence(clip: Clip, kind: str):
    with pytest.raises(Animal4dError, match=r"^tracks\.pth is damaged$"):
        made(chain_of(Tracker("files", kind, Animal4dError("tracks.pth is damaged")), Tracker("good")), clip)


def test_an_interrupt_is_no_failure(clip: Clip):
    with pytest.raises(KeyboardInterrupt):
        made(chain_of(Tracker("best", error=KeyboardInterrupt()), Tracker("good")), clip)


def test_a_cue_that_nobody_can_make_is_left_out(clip: Clip):
    cue, note, told = made(chain_of(Tracker("best", error=RuntimeError("no"))), clip)
    assert cue is None and note["by"] == "nobody" and "best could not" in note["why"]
    assert told == ["best could not make tracks (RuntimeError: no): nobody makes them instead"]
    cues = make_cues(clip, providers=CueProviders(surface=chain_of(Tracker("best", error=RuntimeError("no")))))
    assert cues.surface is None


def test_the_cache_is_that_of_whoever_made_it(clip: Clip, tmp_path: Path):
    failing, second = Tracker("best", error=RuntimeError("no")), Tracker("good", "builtin")
    made(chain_of(failing, second), clip, tmp_path)
    made(chain_of(failing, second), clip, tmp_path)
    assert second.calls == ["good"], "the second time it came from the cache"
    assert failing.calls == ["best", "best"], "whoever failed may try again"
    better = Tracker("best")
    _, note, _ = made(chain_of(better, second), clip, tmp_path)
    assert better.calls == ["best"] and note["provider"] == "best", "the cache of another provider is stale"


def test_two_who_ask_hear_the_same(clip: Clip):
    tracker = Tracker("best")
    shared = once(tracker)
    assert shared(clip) is shared(clip) and tracker.calls == ["best"]
    broken = Tracker("best", error=RuntimeError("no"))
    shared = once(broken)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no"):
            shared(clip)
    assert broken.calls == ["best"]
