"""What `animal4d weights` prints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn
from rich.table import Table

from animal4d.pretrained.networks import NETWORKS, Network
from animal4d.pretrained.places import VARIABLE, network_folder, weights_root
from animal4d.pretrained.weights import INSTALL, find_weights, weights_state

if TYPE_CHECKING:
    from animal4d.pretrained.verifying import Verdict

_STATES = {
    "present": "[green]present[/green]",
    "missing": "[dim]missing[/dim]",
    "partial": "[yellow]partial[/yellow]",
    "damaged": "[bold red]damaged[/bold red]",
}
_SIGNS = {"ok": "[green]ok[/green]", "missing": "[dim]-[/dim]", "bad": "[bold red]bad[/bold red]"}
_PLAIN_SECONDS = 10
"""Between two lines of progress where there is no terminal."""


class ByteProgress:
    """How much of a file has come: a live bar on a terminal, now and then a line elsewhere, both on stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None
        self._file = ""
        self._said = time.monotonic()

    def __enter__(self) -> ByteProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def part(self, file: str, done: int, of: int) -> None:
        """`done` of `of` bytes of a file; 0 where nobody says how many there are."""
        total = of or None
        if self._task is None or file != self._file:
            self._task, self._file = self._bar.add_task(escape(file), total=total), file
        self._bar.update(self._task, completed=done, total=total)
        if not self.console.is_terminal and time.monotonic() - self._said > _PLAIN_SECONDS:
            self._said = time.monotonic()
            share = f" of {of / 1e6:.0f}" if of else ""
            self.console.print(f"  {escape(file)}: {done / 1e6:.0f}{share} MB", soft_wrap=True)


def print_networks(console: Console | None = None) -> None:
    """A row for every network, then their terms, then where they are kept."""
    console = console or Console(highlight=False)
    table = Table(title="Pretrained networks", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("network", "state", "size", "licence", "gives"):
        table.add_column(column, no_wrap=column != "gives")
    for network in NETWORKS.values():
        mark = " *" if network.research_only else ""
        state = _STATES[weights_state(network.name).kind]
        table.add_row(network.name, state, network.about_size, escape(network.licence) + mark, escape(network.gives))
    console.print(table)
    console.print("* for research only: get asks once whether you accept the terms", soft_wrap=True)
    console.print(
        f"kept in [bold]{escape(str(weights_root()))}[/bold] ({VARIABLE} chooses another folder)", soft_wrap=True
    )
    console.print(
        "everything of one: [bold]animal4d weights list NAME[/bold]; fetch it: [bold]animal4d weights get NAME[/bold]",
        soft_wrap=True,
    )


def print_network(network: Network, console: Console | None = None) -> None:
    """All that is known of a network and its files."""
    console = console or Console(highlight=False)
    state = weights_state(network.name)
    where = find_weights(network.name) if network.package is not None else network_folder(network.name)
    table = Table(title=network.name, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("gives", escape(network.gives))
    table.add_row("state", _STATES[state.kind] + (f": {escape(state.note)}" if state.note else ""))
    table.add_row("size", network.about_size)
    table.add_row("licence", escape(network.licence))
    table.add_row("terms", escape(network.terms))
    table.add_row("page", network.page)
    table.add_row("how", _how(network))
    table.add_row("place", escape(str(where)) if where is not None else "not installed")
    for file in network.files:
        there = (network_folder(network.name) / file.name).is_file()
        needed = f" (optional, {'there' if there else 'not there'})" if file.optional else ""
        table.add_row("file", f"[bold]{file.name}[/bold]{needed}")
        table.add_row("  source", file.url)
        table.add_row("  bytes", "not known" if file.size is None else f"{file.size}")
        table.add_row("  SHA-256", "not known" if file.sha256 is None else file.sha256)
    console.print(table)


def _how(network: Network) -> str:
    if network.package is not None:
        return escape(INSTALL)
    if network.gated:
        return "sign in on its page, download the files, and: animal4d weights add FOLDER"
    return f"animal4d weights get {network.name}" + (", which asks for consent once" if network.research_only else "")


def print_verdicts(verdicts: Sequence[Verdict], console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    if not verdicts:
        console.print(f"no weights in {escape(str(weights_root()))}", soft_wrap=True)
        return
    for verdict in verdicts:
        sum_of_it = "" if verdict.sha256 is None else f" [dim]{verdict.sha256}[/dim]"
        console.print(
            f"{_SIGNS[verdict.kind]} {verdict.network}: {escape(str(verdict.path))} {escape(verdict.note)}{sum_of_it}",
            soft_wrap=True,
        )
