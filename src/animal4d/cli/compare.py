"""`animal4d compare`: finished runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Compare:
    """Compare finished runs: measures and differing settings as tables, and a page with all of them frame by frame.

    Example: animal4d compare runs/a runs/b --out compare
    """

    run_folders: tyro.conf.Positional[tuple[Path, ...]]
    """Two or more finished runs."""
    out: Path = Path("compare")
    """Folder of the page."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        from animal4d.report.compare import check_place, compare_runs, write_comparison
        from animal4d.report.tables import duration, written
        from animal4d.run_folder import RunFolder

        check_place(self.out)
        compared, runs = compare_runs([RunFolder(folder) for folder in self.run_folders])
        path = write_comparison(compared, runs, self.out)
        console = Console(highlight=False)
        where = "test frames" if compared.part == "test" else "all frames"
        table = Table(title=f"Measured on {where}", title_justify="left", title_style="bold")
        table.add_column("metric")
        for name in compared.names:
            table.add_column(escape(name), justify="right")
        for entry in compared.metrics:
            cells = [written(value, entry.metric.kind) for value in entry.values]
            marked = [
                f"[bold green]* {cell}[/bold green]" if best else cell
                for cell, best in zip(cells, entry.best, strict=True)
            ]
            table.add_row(escape(entry.metric.short), *marked)
        table.add_row("time in all", *("" if seconds is None else duration(seconds) for seconds in compared.seconds))
        console.print(table)
        if compared.settings:
            settings = Table(title="Settings that differ", title_justify="left", title_style="bold")
            settings.add_column("setting")
            for name in compared.names:
                settings.add_column(escape(name), overflow="fold")
            for name, values in compared.settings:
                settings.add_row(escape(name), *map(escape, values))
            console.print(settings)
        console.print(f"[bold]{escape(str(path))}[/bold]  open it in a browser", soft_wrap=True)
