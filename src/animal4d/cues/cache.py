"""Cues kept in the run folder, with a note of how they were made; made again when anything about that has changed."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from animal4d.clip import Clip
from animal4d.files.atomic import write_npz
from animal4d.files.checksums import config_hash

Notify = Callable[[str], None]
_PROVENANCE = "provenance"


class Cue(Protocol):
    """What can be cached: a value that turns into arrays."""

    def to_arrays(self) -> dict[str, NDArray[Any]]: ...


CueT = TypeVar("CueT", bound=Cue)
CueT_co = TypeVar("CueT_co", bound=Cue, covariant=True)


class Provider(Protocol[CueT_co]):
    """A way to one cue: `precomputed` (files), `pretrained` (a network whose weights the user has) or `builtin`."""

    name: ClassVar[str]
    kind: ClassVar[str]
    version: ClassVar[int]

    @property
    def cue(self) -> str:
        """Name of the cue, and of its file in the cache."""
        ...

    def config(self) -> dict[str, Any]:
        """Everything that changes the result, in plain values."""
        ...

    def __call__(self, clip: Clip) -> CueT_co: ...


def provenance(provider: Provider[Any], clip: Clip) -> dict[str, Any]:
    """How a cue is made: equal notes mean equal cues."""
    return {
        "cue": provider.cue,
        "provider": provider.name,
        "kind": provider.kind,
        "version": provider.version,
        "config": config_hash(provider.config()),
        "input": clip.checksum(),
    }


def cached(
    provider: Provider[CueT],
    clip: Clip,
    folder: Path | None,
    from_arrays: Callable[[Mapping[str, NDArray[Any]]], CueT],
    notify: Notify = lambda message: None,
) -> tuple[CueT, dict[str, Any]]:
    """The cue and its provenance: from `<folder>/<cue>.npz` where that was made in the same way, else made and kept.

    Without a folder nothing is kept. `notify` hears in words when a cache is thrown away.
    """
    note = provenance(provider, clip)
    if folder is None:
        return provider(clip), note
    path = folder / f"{provider.cue}.npz"
    arrays = _read(path, note, notify)
    if arrays is not None:
        try:
            return from_arrays(arrays), note
        except (KeyError, TypeError, ValueError) as error:
            notify(f"the cached {provider.cue} in {path} are damaged ({error!r}) and made again")
    cue = provider(clip)
    write_npz(path, {**cue.to_arrays(), _PROVENANCE: np.array(json.dumps(note))})
    return cue, note


def _read(path: Path, note: dict[str, Any], notify: Notify) -> dict[str, NDArray[Any]] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found = json.loads(str(file[_PROVENANCE]))
            if found != note:
                changed = [name for name in note if found.get(name) != note[name]]
                notify(f"the cached {note['cue']} are stale ({', '.join(changed)} changed) and made again")
                return None
            return {name: file[name] for name in file.files if name != _PROVENANCE}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        notify(f"the cached {note['cue']} in {path} cannot be read ({error}) and are made again")
        return None
