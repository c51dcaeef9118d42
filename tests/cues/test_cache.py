"""Cues in the run folder: used again only where nothing has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from animal4d.clip import Clip
from animal4d.cues.cache import cached
from animal4d.cues.cues import CueProviders, make_cues
from animal4d.cues.tracks import LucasKanadeTracks

from .moving_picture import moving_picture


@dataclass(frozen=True)
class Brightness:
    value: float

    def to_arrays(self) -> dict[str, Any]:
        return {"value": np.array(self.value)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, Any]) -> Brightness:
        return Brightness(float(arrays["value"]))


@dataclass(frozen=True)
class Meter:
    """A provider that counts how often it works."""

    name: ClassVar[str] = "meter"
    kind: ClassVar[str] = "builtin"
    version: ClassVar[int] = 1
    gain: float = 1.0
    calls: list[int] = field(default_factory=list, compare=False)

    @property
    def cue(self) -> str:
        return "brightness"

    def config(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "calls"}

    def __call__(self, clip: Clip) -> Brightness:
        self.calls.append(1)
        return Brightness(self.gain * float(clip.frames.float().mean()))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return moving_picture(tmp_path_factory.mktemp("picture"), count=3).clip


def test_a_fresh_cache_is_used(clip: Clip, tmp_path: Path) -> None:
    meter = Meter()
    first, note = cached(meter, clip, tmp_path / "cues", Brightness.from_arrays)
    second, same_note = cached(meter, clip, tmp_path / "cues", Brightness.from_arrays)
    assert len(meter.calls) == 1 and first == second and note == same_note
    assert note["provider"] == "meter" and note["kind"] == "builtin" and note["cue"] == "brightness"


def test_without_a_folder_nothing_is_kept(clip: Clip) -> None:
    meter = Meter()
    for _ in range(2):
        cached(meter, clip, None, Brightness.from_arrays)
    assert len(meter.calls) == 2


@pytest.mark.parametrize("change", ["config", "input", "version"])
def test_a_stale_cache_is_made_again(clip: Clip, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(Meter(), clip, tmp_path, Brightness.from_arrays)
    meter = Meter()
    if change == "config":
        meter = Meter(gain=2.0)
    elif change == "input":
        clip = replace(clip, masks=clip.masks * 0.5)
    else:
        monkeypatch.setattr(Meter, "version", 2)
    said: list[str] = []
    value, _ = cached(meter, clip, tmp_path, Brightness.from_arrays, said.append)
    assert len(meter.calls) == 1 and value.value == meter.gain * float(clip.frames.float().mean())
    assert len(said) == 1 and "stale" in said[0] and change in said[0]
    cached(meter, clip, tmp_path, Brightness.from_arrays, said.append)
    assert len(meter.calls) == 1 and len(said) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped", "other arrays"])
def test_a_damaged_cache_is_made_again(clip: Clip, tmp_path: Path, damage: str) -> None:
    meter = Meter()
    _, note = cached(meter, clip, tmp_path, Brightness.from_arrays)
    path = tmp_path / "brightness.npz"
    data = path.read_bytes()
    if damage == "other arrays":
        import json

        np.savez(path, other=np.zeros(3), provenance=np.array(json.dumps(note)))
    else:
        middle = len(data) // 2
        flipped = data[:40] + bytes(255 - byte for byte in data[40:middle]) + data[middle:]
        path.write_bytes({"cut": data[:middle], "empty": b"", "text": b"hello", "flipped": flipped}[damage])
    said: list[str] = []
    cached(meter, clip, tmp_path, Brightness.from_arrays, said.append)
    assert len(meter.calls) == 2 and len(said) == 1
    cached(meter, clip, tmp_path, Brightness.from_arrays, said.append)
    assert len(meter.calls) == 2


def test_all_cues_are_cached_and_come_back_the_same(clip: Clip, tmp_path: Path) -> None:
    said: list[str] = []
    made = make_cues(clip, tmp_path, notify=said.append)
    again = make_cues(clip, tmp_path, notify=said.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "background_tracks.npz",
        "features.npz",
        "tracks.npz",
    ]
    assert not said and made.provenance == again.provenance
    assert torch.equal(made.tracks.points, again.tracks.points)
    assert torch.equal(made.background_tracks.visible, again.background_tracks.visible)
    assert torch.equal(made.features.pooled, again.features.pooled)
    assert torch.equal(made.ground_motion.relative, again.ground_motion.relative)

    providers = CueProviders(tracks=LucasKanadeTracks(points=50))
    fewer = make_cues(clip, tmp_path, providers, said.append)
    assert len(fewer.tracks) < len(made.tracks) and len(said) == 1 and "tracks" in said[0]
