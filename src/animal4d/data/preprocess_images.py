"""What a tree holds of the footage itself: frames, masks, and the index that names them with their cameras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from animal4d.data import layout
from animal4d.data.fitted_cues import fitted_cameras
from animal4d.data.layout import IndexRow, mask_measures
from animal4d.data.preprocess_source import MaskMaker, camera_numbers
from animal4d.data.preprocess_work import VERSION, EntryReport, Work, run_entry, written_mask
from animal4d.data.provenance import Note, entry_note
from animal4d.files.atomic import write_bytes


def write_images(work: Work) -> Note:
    """The frames; a plain JPEG of the source as it is."""
    source = work.source
    paths = [work.place.images / f"{stem}.jpg" for stem in work.stems()]
    note = entry_note("frames of the source", VERSION, frames=source.inputs)

    def make(missing: list[Path]) -> str:
        wanted = set(missing)
        chosen = [index for index, path in enumerate(paths) if path in wanted]
        pictures = source.frames.read([source.selection.numbers[index] for index in chosen])
        for done, (index, picture) in enumerate(zip(chosen, pictures, strict=True), start=1):
            file = source.files[index]
            if file is not None and _is_plain_jpeg(file):
                write_bytes(paths[index], file.read_bytes())  # not compressed a second time
            else:
                layout.write_image(paths[index], picture)
            work.tell("writing frames", done, len(chosen))
        return f"{len(chosen)} frames"

    run_entry(work.reports, work.own, "images", note, paths, make, lambda: work.place.images.glob("*.jpg"))
    return note


def _is_plain_jpeg(file: Path) -> bool:
    """A colour JPEG that needs no turning."""
    with PillowImage.open(file) as picture:
        return picture.format == "JPEG" and picture.mode == "RGB" and picture.getexif().get(0x0112, 1) == 1


def write_masks(work: Work, entry: str, maker: MaskMaker, folder: Path, write: Callable[[Path, Any], None]) -> Note:
    """A mask for every frame, by `write`."""
    paths = [folder / f"{stem}.png" for stem in work.stems()]
    note = entry_note("masks of the source", VERSION, frames=work.source.inputs, masks=maker.inputs)
    # A frame may lack its mask for good: an empty one stands for it, so that all files are there.
    size = work.source.frames.size

    def make(missing: list[Path]) -> str:
        wanted, found = set(missing), 0
        masks = maker.make(work.progress)
        for done, (path, mask) in enumerate(zip(paths, masks.read(), strict=True), start=1):
            found += mask is not None and bool(mask.any())
            if path in wanted:
                write(path, np.zeros(size, np.float32) if mask is None else mask)
            work.tell(f"writing {entry.replace('_', ' ')}", done, len(paths))
        work.warnings += [warning for warning in masks.warnings if warning not in work.warnings]
        return f"{found} of {len(paths)} frames, {masks.description}"

    run_entry(work.reports, work.own, entry, note, paths, make, lambda: folder.glob("*.png"))
    return note


def write_index(work: Work, images: Note, masks: Note, indexed: bool) -> None:
    """Not by `run_entry`: the file holds other sequences as well, and is never removed."""
    source, record = work.source, work.own
    cameras, origin = list(source.cameras), "the source"
    if all(camera is None for camera in cameras) and work.run is not None:
        cameras, origin = fitted_cameras(work.run), "the run"
    there = sum(camera is not None for camera in cameras)
    note = entry_note("index", VERSION, images=images, masks=masks, cameras=camera_numbers(cameras))
    before = record.note("index")
    if before is not None and indexed:
        same = {name for name, value in note["inputs"].items() if before["inputs"].get(name) == value}
        # Cameras that an earlier call took from a run stay, as all that came from it.
        if before == note or (there == 0 and same >= {"images", "masks"}):
            work.reports.append(EntryReport("index", "current", work.place.index.name))
            return
    record.begin("index", note)
    rows = []
    for number, time, stem, camera in zip(source.numbers, source.selection.times, work.stems(), cameras, strict=True):
        measures = mask_measures(written_mask(work.place.masks / f"{stem}.png"))
        rows.append(IndexRow(number, time, source.frames.size, *measures, camera))
    layout.write_index(work.place, rows, source.quality)
    record.finish("index", note)
    words = f"cameras of {origin} for {there} of {len(rows)} frames" if there else "no cameras: none were given"
    work.reports.append(EntryReport("index", "written", words))
