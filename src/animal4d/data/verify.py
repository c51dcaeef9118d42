"""Whether an external data tree can be trusted: every entry of every sequence is read as a fit would read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animal4d.data.check_cues import check_cues
from animal4d.data.check_frames import check_frames
from animal4d.data.check_shared import check_shared
from animal4d.data.finding import Finding
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_json
from animal4d.readers.cop3d_index import Cop3dIndex
from animal4d.readers.external import external_files, open_external

FORMAT = 1
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Verification:
    """All that was found."""

    root: Path
    findings: tuple[Finding, ...]
    """Shared entries first, then sequence by sequence."""

    @property
    def broken(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.state == "broken")

    @property
    def sequences(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.sequence for finding in self.findings if finding.sequence))

    def of(self, sequence: str) -> tuple[Finding, ...]:
        """Findings of one sequence; of what is shared for an empty name."""
        return tuple(finding for finding in self.findings if finding.sequence == sequence)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "root": str(self.root),
            "broken": len(self.broken),
            "findings": [vars(finding) for finding in self.findings],
        }

    def save(self, path: Path) -> None:
        write_json(path, self.to_json())


def verify(root: Path, progress: Progress | None = None) -> Verification:
    """Read every file of the tree and say of each entry whether it is there and consistent. Nothing is written.

    `progress` is called with the name of what is looked at. Raises Animal4dError where `root` is not such a tree;
    anything else that is wrong is a finding.
    """
    index = open_external(root)
    report = progress or (lambda _: None)
    report("shared files")
    findings = check_shared(root)
    try:
        names = [sequence.name for sequence in index.sequences()]
        if not names:
            raise Animal4dError(f"{index.database} lists no sequence: download the index again")
    except Animal4dError as error:
        return Verification(root, (Finding("", "index", "broken", str(error)), *findings))
    findings.insert(0, Finding("", "index", "ok", f"{len(names)} sequences"))
    for name in names:
        report(name)
        findings += _check_sequence(root, index, name)
    return Verification(root, tuple(findings))


def _check_sequence(root: Path, index: Cop3dIndex, name: str) -> list[Finding]:
    try:
        sequence, frames = index.sequence(name), index.frames(name)
        files = external_files(root, sequence, frames)
    except Animal4dError as error:
        return [Finding(name, "index", "broken", " ".join(str(error).split()))]
    refined = next(state.path for state in files.states if state.name == "refined_masks")
    return [*check_frames(name, frames, refined), *check_cues(files, frames)]
