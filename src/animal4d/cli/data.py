"""`animal4d data`: data sets on disk, COP3D or the external data tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from animal4d.cli.options import OptionalPath


@dataclass(frozen=True)
class DataList:
    """List the sequences of COP3D, or of an external data tree, and which cues each has.

    Example: animal4d data list data/external
    """

    root: tyro.conf.Positional[Path]
    """The folder that holds metadata.sqlite (COP3D) or cop3d_data (the external data tree)."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        from animal4d.readers.data_list import list_sequences

        listed = list_sequences(self.root)
        table = Table(title=f"{escape(str(self.root))}: {len(listed.sequences)} sequences", title_justify="left")
        for name in ("sequence", "category"):
            table.add_column(name, no_wrap=True)
        for name in ("frames", "viewpoint quality"):
            table.add_column(name, justify="right")
        table.add_column("cues")
        for sequence, cues in listed.sequences:
            score = sequence.viewpoint_quality_score
            table.add_row(
                escape(sequence.name),
                escape(sequence.category),
                str(sequence.n_frames),
                "-" if score is None else f"{score:.2f}",
                escape(", ".join(cues) or "-"),
            )
        console = Console()
        console.print(table)
        if listed.shared:
            console.print(f"shared by all: {escape(', '.join(listed.shared))}", soft_wrap=True)
        console.print(
            f"read one with [bold]animal4d reconstruct {listed.layout}:{escape(str(self.root))}:SEQUENCE[/bold]",
            soft_wrap=True,
        )


@dataclass(frozen=True)
class DataVerify:
    """Read every file of an external data tree and say what is there, missing or broken. Nothing is written.

    The exit status is 1 when something is broken; what is missing is no fault.

    Example: animal4d data verify data/external --json verified.json
    """

    root: tyro.conf.Positional[Path]
    """The folder that holds cop3d_data."""
    json: OptionalPath = None
    """Write all findings to this file."""

    def run(self) -> None:
        import sys

        from rich.console import Console
        from rich.markup import escape

        from animal4d.cli.data_tables import print_verification
        from animal4d.data.verify import verify

        with Console(stderr=True).status("reading") as status:
            verification = verify(self.root, lambda what: status.update(f"reading {escape(what)}"))
        if self.json is not None:
            verification.save(self.json)
        print_verification(verification)
        if verification.broken:
            sys.exit(1)


@dataclass(frozen=True)
class DataPack:
    """Pack sequences of an external data tree, with all that they need, into one tar file.

    The same input gives the same bytes. A manifest with SHA-256 sums comes first; the index is cut down to the
    sequences. The notes of `animal4d preprocess` on how entries were made go with them; truth.npz of a synthetic
    clip does not. The body model and the weights of DensePose have licences of their own and are left out.

    Example: animal4d data pack data/external --sequences 1012_1234_5678 --out subset.tar
    """

    root: tyro.conf.Positional[Path]
    """The folder that holds cop3d_data."""
    out: Path
    """The tar file to write."""
    sequences: tuple[str, ...] = ()
    """Names of the sequences (default: all)."""
    with_licensed: bool = False
    """Pack also smal/ and the weights and configuration in cse/: see to it that you may pass them on."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape

        from animal4d.cli.console import ConsoleProgress
        from animal4d.data.pack import pack

        with ConsoleProgress() as progress:
            manifest = pack(self.root, self.sequences, self.out, self.with_licensed, progress.part)
        console = Console(highlight=False)
        console.print(
            f"{_counted(len(manifest.sequences), 'sequence')}, {len(manifest.files)} files, "
            f"{manifest.size / 1e6:.1f} MB in [bold]{escape(str(self.out))}[/bold]",
            soft_wrap=True,
        )
        if manifest.left_out:
            names = escape(", ".join(manifest.left_out))
            console.print(f"left out, since they have licences of their own: {names} (--with-licensed)", soft_wrap=True)


@dataclass(frozen=True)
class DataUnpack:
    """Unpack an archive of `animal4d data pack`: all of it after all sums are right, or nothing.

    Example: animal4d data unpack subset.tar --out data/subset
    """

    archive: tyro.conf.Positional[Path]
    """The tar file."""
    out: Path
    """The folder of the tree. Files that are there already must be the same."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape

        from animal4d.cli.console import ConsoleProgress
        from animal4d.data.unpack import unpack

        with ConsoleProgress() as progress:
            unpacked = unpack(self.archive, self.out, progress.part)
        console = Console(highlight=False)
        kept = f", {unpacked.kept} were there" if unpacked.kept else ""
        console.print(
            f"{unpacked.written} files{kept}: {_counted(len(unpacked.manifest.sequences), 'sequence')} in "
            f"[bold]{escape(str(self.out))}[/bold]",
            soft_wrap=True,
        )
        if unpacked.manifest.left_out:
            names = escape(", ".join(unpacked.manifest.left_out))
            console.print(f"not in the archive, to be had from their sources: {names}", soft_wrap=True)


@dataclass(frozen=True)
class DataCard:
    """Write the data card of an external data tree: README.md as Hugging Face reads it, and card_images/.

    Example: animal4d data card data/external --title "Fifty dogs of COP3D"
    """

    root: tyro.conf.Positional[Path]
    """The folder that holds cop3d_data."""
    title: str = "External data for 4D-Animal"
    """Name of the data set."""
    licence: str = "other"
    """Identifier of a licence, as Hugging Face has it; "other" refers to the terms of each part."""
    overwrite: bool = False
    """Replace a README.md that someone else wrote."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape

        from animal4d.data.card import write_card

        card = write_card(self.root, self.title, self.licence, self.overwrite)
        Console(highlight=False).print(f"[bold]{escape(str(card))}[/bold]", soft_wrap=True)


@dataclass(frozen=True)
class DataShow:
    """Draw contact sheets of a sequence: frame, mask, parts, surface, tracks, keypoints, template through PnP.

    Writes SEQUENCE.png, some frames one below the other, and SEQUENCE.mp4 with all of them.

    Example: animal4d data show data/external 1012_1234_5678 --out sheets
    """

    root: tyro.conf.Positional[Path]
    """The folder that holds cop3d_data."""
    sequence: tyro.conf.Positional[str]
    """Name of the sequence (`animal4d data list` shows all)."""
    out: Path
    """Folder to write to."""
    rows: int = 5
    """Number of frames in the PNG, spread over the sequence."""
    side: int = 320
    """Longer edge of a panel in pixels."""
    max_frames: int = 200
    """Only the first so many frames."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape

        from animal4d.cli.console import ConsoleProgress
        from animal4d.data.show import show

        with ConsoleProgress() as progress:
            shown = show(self.root, self.sequence, self.out, self.rows, self.side, self.max_frames, progress.part)
        console = Console(highlight=False)
        for path in (shown.picture, shown.video):
            console.print(f"[bold]{escape(str(path))}[/bold]", soft_wrap=True)
        for cue, reason in shown.absent.items():
            console.print(f"[yellow]not shown:[/yellow] {cue.replace('_', ' ')}: {escape(reason)}", soft_wrap=True)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_Command = (
    Annotated[DataList, tyro.conf.subcommand("list")]
    | Annotated[DataVerify, tyro.conf.subcommand("verify")]
    | Annotated[DataPack, tyro.conf.subcommand("pack")]
    | Annotated[DataUnpack, tyro.conf.subcommand("unpack")]
    | Annotated[DataCard, tyro.conf.subcommand("card")]
    | Annotated[DataShow, tyro.conf.subcommand("show")]
)


@dataclass(frozen=True)
class Data:
    """Look after data sets on disk."""

    command: _Command

    def run(self) -> None:
        self.command.run()
