"""`animal4d weights`: list, fetch, add and verify the weights of pretrained networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from animal4d.pretrained.networks import Network

_OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]


@dataclass(frozen=True)
class WeightsList:
    """Show what pretrained networks there are, under which terms, and which are there.

    Example: animal4d weights list densepose-cse
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Networks to tell everything of (default: a table of all)."""

    def run(self) -> None:
        from animal4d.cli.weights_tables import print_network, print_networks
        from animal4d.pretrained.places import known_network

        networks = [known_network(name) for name in self.names]
        if not networks:
            print_networks()
        for network in networks:
            print_network(network)


@dataclass(frozen=True)
class WeightsGet:
    """Fetch the weights of networks from where their authors have put them.

    What is there already is left alone; what was cut off goes on where it stopped. Each file is checked before it takes
    its place.

    Example: animal4d weights get dino-vits8 densepose-cse
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Networks, as `animal4d weights list` shows them."""
    accept_terms: bool = False
    """Accept the terms of networks that are for research only, without being asked."""

    def run(self) -> None:
        import sys

        from rich.console import Console
        from rich.markup import escape

        from animal4d.cli.weights_tables import ByteProgress
        from animal4d.errors import Animal4dError
        from animal4d.pretrained.getting import accept_terms, files_to_fetch, get_weights, require_gettable
        from animal4d.pretrained.places import known_network
        from animal4d.pretrained.weights import weights_state

        if not self.names:
            raise Animal4dError("say which networks, as in animal4d weights get dino-vits8; animal4d weights list")
        ask = (lambda network: True) if self.accept_terms else _ask if sys.stdin.isatty() else None
        # All questions first, so that nobody has to wait for them.
        for network in map(known_network, self.names):
            if files_to_fetch(network.name) or weights_state(network.name).kind != "present":
                require_gettable(network)
                accept_terms(network, ask)
        console = Console(highlight=False)
        for name in self.names:
            there = weights_state(name).kind == "present" and not files_to_fetch(name)
            try:
                with ByteProgress() as progress:
                    path = get_weights(name, ask, progress.part)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("interrupted; the same command goes on where it stopped") from None
            note = " (it was there already)" if there else ""
            console.print(f"{name}: [bold]{escape(str(path))}[/bold]{note}", soft_wrap=True)


@dataclass(frozen=True)
class WeightsAdd:
    """Take over a file of weights that you have, or a folder with config.json and model.safetensors.

    It is recognised by its checksum, or else by the names and shapes in it (ONNX files by their checksum alone), and
    copied to its place. Nothing in it is executed.

    Example: animal4d weights add ~/Downloads/model_final_8c9d99.pkl
    """

    file: tyro.conf.Positional[Path]
    """The file, or the folder."""
    name: _OptionalName = None
    """The network that it is of (default: found out)."""
    replace: bool = False
    """Take it in place of another file that is there."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape

        from animal4d.cli.weights_tables import ByteProgress
        from animal4d.pretrained.adding import add_weights

        with ByteProgress() as progress:
            added = add_weights(self.file, self.name, progress.part, self.replace)
        console = Console(highlight=False)
        console.print(f"{added.network.name}: [bold]{escape(str(added.path))}[/bold]", soft_wrap=True)
        for replaced in added.replaced:
            console.print(f"[yellow]replaced:[/yellow] {escape(replaced)}", soft_wrap=True)
        if added.published is False:
            console.print("[yellow]note:[/yellow] of the right structure, but not the published file", soft_wrap=True)
        if added.network.research_only:
            console.print(f"[yellow]terms:[/yellow] {escape(added.network.terms)}", soft_wrap=True)


@dataclass(frozen=True)
class WeightsVerify:
    """Read every byte of the weights that are there again, and compare with what came and what was published.

    The exit status is 1 when something is damaged; what is missing is no fault, unless it was named.

    Example: animal4d weights verify
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Networks (default: all that are there)."""

    def run(self) -> None:
        import sys

        from rich.console import Console
        from rich.markup import escape

        from animal4d.cli.weights_tables import print_verdicts
        from animal4d.pretrained.networks import NETWORKS
        from animal4d.pretrained.places import known_network
        from animal4d.pretrained.verifying import verify_weights
        from animal4d.pretrained.weights import weights_state

        names = [known_network(name).name for name in self.names]
        if not names:
            names = [name for name in NETWORKS if weights_state(name).kind != "missing"]
        with Console(stderr=True).status("reading") as status:
            verdicts = [
                verdict
                for name in names
                for verdict in verify_weights(name, lambda what: status.update(f"reading {escape(what)}"))
            ]
        print_verdicts(verdicts)
        if any(verdict.kind == "bad" or (self.names and verdict.kind == "missing") for verdict in verdicts):
            sys.exit(1)


def _ask(network: Network) -> bool:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True, highlight=False).print(
        f"[bold]{network.name}[/bold]: licence {escape(network.licence)}; {escape(network.terms)}.\n"
        f"Read {network.page}",
        soft_wrap=True,
    )
    try:
        return input(f"Do you accept these terms for {network.name}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


_Command = (
    Annotated[WeightsList, tyro.conf.subcommand("list")]
    | Annotated[WeightsGet, tyro.conf.subcommand("get")]
    | Annotated[WeightsAdd, tyro.conf.subcommand("add")]
    | Annotated[WeightsVerify, tyro.conf.subcommand("verify")]
)


@dataclass(frozen=True)
class Weights:
    """Look after the weights of pretrained networks. Nothing is fetched unless `get` is called."""

    command: _Command

    def run(self) -> None:
        self.command.run()
