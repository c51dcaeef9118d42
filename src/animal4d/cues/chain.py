"""Several providers of one cue: the next one makes it where the one before cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, cast

from numpy.typing import NDArray

from animal4d.clip import Clip
from animal4d.cues.cache import CueT, Notify, Provider, cached
from animal4d.errors import Animal4dError


@dataclass(frozen=True)
class Link(Generic[CueT]):
    """A provider in a chain."""

    name: str
    """By which people know it."""
    provider: Provider[CueT]
    reason: str
    """Why it stands here, in words."""


@dataclass(frozen=True)
class Chain(Generic[CueT]):
    """Providers of one cue, the best first.

    Only networks that others have trained may fail: what came with a clip is the user's own, and the built-in ones have
    no reason to.
    """

    links: tuple[Link[CueT], ...]
    must: bool = False
    """Whether the failure of the first is an error."""


def single(provider: Provider[CueT]) -> Chain[CueT]:
    """A chain of one."""
    return Chain((Link(provider.name, provider, "given"),))


def once(provider: Provider[CueT]) -> Provider[CueT]:
    """The same for two who ask: it makes its cue of a clip once, and fails once."""
    return cast("Provider[CueT]", _Once(provider))


def broken(name: str, cue: str, error: Exception) -> Provider[Any]:
    """A provider that could not even be made ready: whoever asks it for the cue hears why."""
    return cast("Provider[Any]", _Broken(name, cue, error))


class _Broken:
    kind, version = "pretrained", 1

    def __init__(self, name: str, cue: str, error: Exception) -> None:
        self.name, self.cue, self.error = name, cue, error

    def config(self) -> dict[str, Any]:
        raise self.error

    def __call__(self, clip: Clip) -> Any:
        raise self.error


class _Once:
    def __init__(self, provider: Provider[Any]) -> None:
        self.provider = provider
        self.name, self.kind, self.version, self.cue = provider.name, provider.kind, provider.version, provider.cue
        self._last: tuple[str, Any] | None = None

    def config(self) -> dict[str, Any]:
        return self.provider.config()

    def __call__(self, clip: Clip) -> Any:
        checksum = clip.checksum()
        if self._last is None or self._last[0] != checksum:
            try:
                self._last = (checksum, self.provider(clip))
            except Exception as error:  # whatever it raises is raised again for whoever asks next
                self._last = (checksum, error)
        if isinstance(self._last[1], Exception):
            raise self._last[1]
        return self._last[1]


def first_made(
    chain: Chain[CueT],
    clip: Clip,
    folder: Path | None,
    from_arrays: Callable[[Mapping[str, NDArray[Any]]], CueT],
    notify: Notify,
    warn: Notify,
) -> tuple[CueT | None, dict[str, Any]]:
    """The cue by the first provider that makes it, from its cache where that is fresh, and its provenance: with `by`,
    who made it, and `why`, which tells what failed before. None where all failed.

    `warn` hears in one line of each that failed. Raises Animal4dError instead, where the chain says so.
    """
    failures: list[str] = []
    cue = ""
    for place, link in enumerate(chain.links):
        cue = link.provider.cue
        try:
            made, note = cached(link.provider, clip, folder, from_arrays, notify)
        # Their code is of many versions and authors: whatever it raises, the run goes on, and the user hears of it.
        except Exception as error:
            if link.provider.kind != "pretrained":
                raise
            told = failure(link, error)
            if chain.must:
                raise Animal4dError(f"{told}: --avoid {link.name} goes without it") from error
            after = chain.links[place + 1].name if place + 1 < len(chain.links) else "nobody"
            warn(f"{told}: {after} makes them instead")
            failures.append(told)
            continue
        return made, note | {"by": link.name, "why": "; ".join([link.reason, *failures])}
    return None, {"cue": cue, "provider": "none", "kind": "none", "by": "nobody", "why": "; ".join(failures)}


def failure(link: Link[Any], error: Exception) -> str:
    """In one line, that a provider failed."""
    return f"{link.name} could not make {link.provider.cue} ({_in_one_line(error)})"


def _in_one_line(error: BaseException) -> str:
    """What an error says, with its kind where it is none of ours; cut where it is long."""
    said = " ".join(str(error).split())
    said = said if len(said) <= 300 else f"{said[:297]}..."
    return said if isinstance(error, Animal4dError) else f"{type(error).__name__}: {said}"
