"""What all makers of a tree's entries share: the call that they work for, and the rule by which an entry is made.

Each entry is written when its note (`data/provenance.py`) has changed or its files are gone; a run that was stopped
goes on with the frame it stopped at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.data.fitted_cues import FittedClip
from animal4d.data.layout import SequencePlace, frame_stem
from animal4d.data.preprocess_source import SourceClip
from animal4d.data.provenance import Note, Provenance
from animal4d.files.checksums import tensor_checksum
from animal4d.readers.load import load_clip
from animal4d.readers.masks import read_mask_values
from animal4d.readers.source import Progress

VERSION = 1
"""Of all makers, in the notes of their entries."""
_WORKING_SIZE = 256


@dataclass(frozen=True)
class EntryReport:
    """What became of an entry."""

    entry: str
    state: Literal["written", "current", "left out", "kept"]
    """`kept` entries were there already, and made by others."""
    note: str


@dataclass
class Work:
    """One call: what is known, and what was done."""

    place: SequencePlace
    source: SourceClip
    run: FittedClip | None
    progress: Progress | None
    own: Provenance
    """Notes of the sequence's entries."""
    reports: list[EntryReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """About masks."""

    @property
    def mask_folder(self) -> Path:
        """The best masks of the tree."""
        return self.place.masks if self.source.refined_masks is None else self.place.refined_masks

    def stems(self) -> list[str]:
        return [frame_stem(number) for number in self.source.numbers]

    def tell(self, what: str, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress(what, done, of)


def run_entry(
    reports: list[EntryReport],
    record: Provenance,
    entry: str,
    note: Note,
    files: Sequence[Path],
    make: Callable[[list[Path]], str],
    stale: Callable[[], Iterable[Path]] = lambda: (),
) -> None:
    """Make an entry where it is not current: `make` gets the files that are not there yet, and says what it wrote.

    `stale` lists what an older version of the entry may have left.
    """
    state = record.state(entry, note)
    missing = [path for path in files if not path.is_file()]
    if state == "complete" and not missing:
        reports.append(EntryReport(entry, "current", _count(files)))
        return
    if not record.is_ours(entry) and len(missing) < len(files):
        reports.append(EntryReport(entry, "kept", "there already, and not made here"))
        return
    if state == "absent":
        for path in {*stale(), *files}:
            path.unlink(missing_ok=True)
        missing = list(files)
        record.begin(entry, note)
    words = make(missing)
    record.finish(entry, note)
    reports.append(EntryReport(entry, "written", words))


def left_out(work: Work, entry: str, words: str, files: Iterable[Path]) -> None:
    """Say why an entry is not made. What an earlier call made of other frames or masks is removed."""
    if work.own.is_ours(entry):
        for path in list(files):
            path.unlink(missing_ok=True)
        work.own.forget(entry)
    work.reports.append(EntryReport(entry, "left out", words))


def _count(files: Sequence[Path]) -> str:
    return files[0].name if len(files) == 1 else f"{len(files)} files"


def written_clip(work: Work, max_frames: int | None = None) -> Clip:
    """The frames as they were written, in windows that follow the animal: legs have more pixels there."""
    return load_clip(
        work.place.images,
        masks=work.mask_folder,
        fps=max(work.source.selection.fps, 1e-3),
        max_frames=max_frames,
        working_size=_WORKING_SIZE,
        progress=work.progress,
    )


def written_mask(path: Path) -> Float[ndarray, "rows columns"]:
    """A mask of the tree; 1 is certainty."""
    values, peak = read_mask_values(path)
    return np.divide(values, peak, dtype=np.float32)


def mesh_checksum(model: BodyModel) -> str:
    """Fingerprint of a template's vertices and faces."""
    return tensor_checksum((model.v_template, model.faces))
