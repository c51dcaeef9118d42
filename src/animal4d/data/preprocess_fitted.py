"""What the surface of a finished run gives: parts, surface maps, cameras, keypoints and shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from animal4d.candidates import Choice
from animal4d.cues.surface_embeddings import EmbeddingFiles, template_embeddings
from animal4d.data import layout
from animal4d.data.fitted_cues import FittedClip, fitted_detection, fitted_keypoints, fitted_parts, fitted_pnp
from animal4d.data.layout import FRAME_LIMIT
from animal4d.data.preprocess_seen import SEEN_PARTS, see_part_masks
from animal4d.data.preprocess_shared import SEEN_EMBEDDING
from animal4d.data.preprocess_work import VERSION, EntryReport, Work, left_out, run_entry, written_mask
from animal4d.data.provenance import SHARED, Note, Provenance, entry_note
from animal4d.files.checksums import file_checksum
from animal4d.fit.reconstruct import BUILTIN

_NO_SMAL = "speaks of SMAL's shape space: give a run with --template <SMAL file>"
_NO_RUN = "needs the animal's surface: give a finished run by --run"


def write_fitted(work: Work, masks: Note, choice: Choice) -> None:
    """What can be read off the surface that a run fitted; its maps, unless the tree's are DensePose's. Without a run,
    parts are read off those."""
    run, place = work.run, work.place
    single = {
        "cse_predictions": place.cse_predictions,
        "pnp_cameras": place.pnp_cameras,
        "sparse_keypoints": place.sparse_keypoints,
        "init_pose": place.init_pose,
    }
    seen = Provenance.of(place.root, SHARED).is_ours(SEEN_EMBEDDING)
    if seen:
        del single["cse_predictions"]
    if run is None:
        # What an earlier call made of a run on these frames stays.
        frames = entry_note("", 0, frames=work.source.inputs)["inputs"]["frames"]
        for entry, files in (("part_masks", place.part_masks.glob("*.pt")), *((e, [f]) for e, f in single.items())):
            note = work.own.note(entry)
            of_run = note is not None and note["maker"] != SEEN_PARTS
            if note is not None and of_run and note["inputs"].get("frames") == frames:
                work.reports.append(EntryReport(entry, "current", "of an earlier --run"))
            elif entry == "part_masks" and seen and place.cse_predictions.is_file():
                see_part_masks(work, masks, choice)
            else:
                left_out(work, entry, _NO_RUN, files)
        return
    size, reconstruction = work.source.frames.size, run.reconstruction
    _part_masks(work, run, masks)

    def cse(_: list[Path]) -> str:
        embeddings = template_embeddings(EmbeddingFiles.in_tree(place.root), run.model)
        frames: list[Any] = []
        rows = run.rows[:FRAME_LIMIT]
        for done, row in enumerate(rows, start=1):
            frames.append(() if row is None else fitted_detection(run, row, embeddings, place.category))
            work.tell("drawing the surface", done, len(rows))
        layout.write_cse_predictions(place.cse_predictions, frames)
        return f"{sum(bool(found) for found in frames)} of {len(frames)} frames, the fitted surface"

    def pnp(_: list[Path]) -> str:
        poses, valid = fitted_pnp(run)
        layout.write_pnp_cameras(single["pnp_cameras"], poses, valid)
        return f"{int(valid.sum())} of {len(valid)} frames, the fitted pose"

    def keypoints(_: list[Path]) -> str:
        points, score = fitted_keypoints(run)
        layout.write_sparse_keypoints(single["sparse_keypoints"], points, score, size)
        return "the fitted body's"

    def shape(_: list[Path]) -> str:
        layout.write_initial_shape(single["init_pose"], reconstruction.betas, reconstruction.limb_scales)
        return "the fitted shape"

    embeddings = EmbeddingFiles.in_tree(place.root)
    surface = [
        file_checksum(path) if path.is_file() else ""
        for path in (embeddings.lbo_smal, embeddings.lbo_cse, embeddings.lbo_cse_to_smal, embeddings.embedding)
    ]
    makers = [("pnp_cameras", pnp, []), ("sparse_keypoints", keypoints, [])]
    if not seen:
        makers.insert(0, ("cse_predictions", cse, surface))
    if reconstruction.template == BUILTIN:
        # Its readers take it for numbers of SMAL's shape space.
        left_out(work, "init_pose", _NO_SMAL, [single["init_pose"]])
    else:
        makers.append(("init_pose", shape, []))
    for entry, make, also in makers:
        note = entry_note("run", VERSION, run=run.inputs, frames=work.source.inputs, also=also)
        run_entry(work.reports, work.own, entry, note, [single[entry]], make)


def _part_masks(work: Work, run: FittedClip, masks: Note) -> None:
    folder = work.place.part_masks
    paths = [folder / f"{stem}.pt" for stem in work.stems()]
    note = entry_note("run", VERSION, run=run.inputs, frames=work.source.inputs, masks=masks)

    def make(missing: list[Path]) -> str:
        wanted = set(missing)
        for done, (path, row) in enumerate(zip(paths, run.rows, strict=True), start=1):
            if path in wanted:
                animal = written_mask(work.mask_folder / f"{path.stem}.png") > 0.5
                # A frame that the run does not have shows nothing that is known.
                nothing = np.zeros(work.source.frames.size, np.uint8)
                labels = nothing if row is None else fitted_parts(run, row, animal)
                layout.write_part_mask(path, labels)
            work.tell("drawing the parts", done, len(paths))
        return f"{sum(row is not None for row in run.rows)} of {len(paths)} frames, the fitted surface"

    run_entry(work.reports, work.own, "part_masks", note, paths, make, lambda: folder.glob("*.pt"))
