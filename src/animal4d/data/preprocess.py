"""`preprocess`: the external data tree of any clip, with the providers that are there.

Here is the order of the entries; the modules beside this one make them, each what comes from one source. What no
provider can make is left out, and said.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from animal4d.data import layout
from animal4d.data.fitted_cues import load_fitted
from animal4d.data.layout import SequencePlace
from animal4d.data.preprocess_fitted import write_fitted
from animal4d.data.preprocess_images import write_images, write_index, write_masks
from animal4d.data.preprocess_seen import see_surface
from animal4d.data.preprocess_shared import write_shared
from animal4d.data.preprocess_source import ClipRequest, open_clip
from animal4d.data.preprocess_tracks import follow_points
from animal4d.data.preprocess_work import EntryReport, Work, left_out
from animal4d.data.provenance import Provenance
from animal4d.errors import Animal4dError
from animal4d.makers import MakerSettings
from animal4d.pretrained.densepose.picture import ChannelOrder
from animal4d.readers.address import parse_address
from animal4d.readers.source import Progress


@dataclass(frozen=True)
class PreprocessRequest:
    """What is to be made of which clip, and where."""

    clip: ClipRequest
    out: Path
    """Root of the tree; other sequences in it stay."""
    sequence: str | None = None
    """Name of the sequence; that of the source by default."""
    category: str | None = None
    """Folder of the sequence; that of the source by default, "dog" where it does not say."""
    run: Path | None = None
    """Folder of a finished run on the same clip."""
    densepose: Path | None = None
    """Weights of DensePose CSE, which then makes the surface maps."""
    channel_order: ChannelOrder = "bgr"
    """What DensePose is shown; "rgb" is the published preprocessing's mistake."""
    dog_mesh: Path | None = None
    """DensePose's `dog_7466.pkl`, over which its surface maps find a way to the template."""


@dataclass(frozen=True)
class Preprocessed:
    """A tree that was brought up to date."""

    place: SequencePlace
    entries: tuple[EntryReport, ...]
    warnings: tuple[str, ...] = ()
    """What the user should know about the frames, and about masks that were written now."""


def preprocess(request: PreprocessRequest, progress: Progress | None = None) -> Preprocessed:
    """Write or bring up to date the tree's entries for a clip. `progress` is called as `progress(what, done, of)`.

    Raises Animal4dError where the clip, its masks or the run cannot be used, where the sequence is in the tree already
    and was made by others, and where the disk is full.
    """
    address = parse_address(request.clip.source)
    if address is not None and request.out.resolve() in (address.root.resolve(), address.root.resolve().parent):
        raise Animal4dError(f"--out {request.out} is the folder that the clip is read from: give another one")
    source = open_clip(request.clip)
    place = SequencePlace(request.out, request.category or source.category or "dog", request.sequence or source.name)
    fitted = None if request.run is None else load_fitted(request.run, source.numbers, source.frames.size)
    work = Work(place, source, fitted, progress, Provenance.of(place.root, place.name))
    indexed = _check_place(work)

    images = write_images(work)
    masks = write_masks(work, "masks", source.masks, place.masks, layout.write_mask)
    refined = masks
    if source.refined_masks is None:
        words = "nobody refined the sequence's own: give better ones by --masks"
        left_out(work, "refined_masks", words, place.refined_masks.glob("*.png"))
    else:
        refined = write_masks(
            work,
            "refined_masks",
            source.refined_masks,
            place.refined_masks,
            lambda path, mask: layout.write_refined_mask(path, mask > 0.5),
        )
    write_index(work, images, masks, indexed)
    settings = MakerSettings(request.clip.providers, request.clip.device, work.tell)
    follow_points(work, images, refined, settings)
    if request.densepose is not None:
        try:
            see_surface(work, request.densepose, request.channel_order, request.clip.device)
        except Animal4dError as error:
            if settings.choice.must("surface"):
                raise
            work.warnings.append(f"densepose-cse could not make surface maps ({error}): they are left out")
    write_shared(work, request.dog_mesh)
    write_fitted(work, refined, settings.choice)
    return Preprocessed(place, tuple(work.reports), (*source.frames.warnings, *work.warnings))


def _check_place(work: Work) -> bool:
    """Whether the tree's index has the sequence.

    Raises Animal4dError where it has one of this name that was made by others, or under another category.
    """
    database = work.place.index
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            query = "SELECT category FROM sequence_annots WHERE sequence_name = ?"
            found = connection.execute(query, (work.place.name,)).fetchone()
    except sqlite3.Error as error:
        raise Animal4dError(
            f"{database}: not COP3D's index, or damaged ({error}): move it away, or choose another --out"
        ) from error
    if found is None:
        return False
    if not work.own.is_ours("index"):
        raise Animal4dError(
            f"{work.place.root} has a sequence {work.place.name} that was not made here: choose another --sequence"
        )
    if found[0] != work.place.category:
        raise Animal4dError(
            f"{work.place.root} has the sequence {work.place.name} as a {found[0]}: choose another --sequence, or "
            f"--category {found[0]}"
        )
    return True
