"""`animal4d report`: a finished run on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Report:
    """Write report/index.html into a finished run's folder: it opens by double click, without server or network.

    Example: animal4d report runs/demo
    """

    run_folder: tyro.conf.Positional[Path]
    """A finished run."""

    def run(self) -> None:
        from rich.console import Console
        from rich.markup import escape

        from animal4d.report.report import write_report
        from animal4d.run_folder import RunFolder

        path = write_report(RunFolder(self.run_folder))
        Console(highlight=False).print(f"[bold]{escape(str(path))}[/bold]  open it in a browser", soft_wrap=True)
