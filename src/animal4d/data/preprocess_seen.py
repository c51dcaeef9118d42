"""What DensePose sees of the animal: its surface maps with its embeddings, and the parts that are read off them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from animal4d.body.template import load_builtin_template
from animal4d.candidates import SURFACE, Choice
from animal4d.cues.densepose_surface import detections_in_frame
from animal4d.cues.parts import NONE
from animal4d.cues.surface import DETECTED_CLASSES, CsePredictions
from animal4d.cues.surface_embeddings import EmbeddingFiles, template_embeddings
from animal4d.data import layout
from animal4d.data.layout import FRAME_LIMIT
from animal4d.data.preprocess_shared import SEEN_EMBEDDING, spectral_files
from animal4d.data.preprocess_work import (
    VERSION,
    Work,
    left_out,
    mesh_checksum,
    run_entry,
    written_clip,
    written_mask,
)
from animal4d.data.provenance import SHARED, Note, Provenance, entry_note
from animal4d.data.seen_parts import in_original_frame, seen_parts
from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum
from animal4d.pretrained.densepose.load import load_densepose
from animal4d.pretrained.densepose.meshes import MESH_OF
from animal4d.pretrained.densepose.network import DensePoseCse
from animal4d.pretrained.densepose.picture import ChannelOrder

SEEN_PARTS = "surface-parts"
"""Maker of part masks that are read off DensePose's surface."""
_MOST_ANIMALS = 3
"""Of a frame, whose surface maps are written."""


def see_surface(work: Work, weights: Path, channel_order: ChannelOrder, device: str) -> None:
    """Surface maps by DensePose, and its embeddings of the dog's mesh."""
    numbers = work.source.selection.numbers[:FRAME_LIMIT]
    if not weights.is_file():
        raise Animal4dError(f"{weights}: no such file: give the weights of DensePose CSE (model_final_8c9d99.pkl)")
    checksum = file_checksum(weights)
    loaded: list[DensePoseCse] = []

    def network() -> DensePoseCse:
        if not loaded:
            loaded.append(load_densepose(weights, device))
        return loaded[0]

    def maps(paths: list[Path]) -> str:
        found = []
        for done, frame in enumerate(work.source.frames.read(numbers), start=1):
            found.append(detections_in_frame(network(), frame, _MOST_ANIMALS, channel_order=channel_order))
            work.tell("looking for surfaces", done, len(numbers))
        layout.write_cse_predictions(paths[0], found)
        return f"{sum(map(bool, found))} of {len(found)} frames, DensePose"

    def embedding(paths: list[Path]) -> str:
        rows = network().roi_heads.embedder.vertex_embeddings(MESH_OF["dog"])
        layout.write_embedding(paths[0], rows.double().numpy())
        return f"{len(rows)} vertices, DensePose"

    shared = Provenance.of(work.place.root, SHARED)
    note = entry_note("densepose-cse", VERSION, weights=checksum)
    if shared.state(SEEN_EMBEDDING, note) != "complete":
        network()  # where it cannot be read, everything stays as it is
    if not shared.is_ours(SEEN_EMBEDDING) and shared.is_ours("lbos"):
        for path in spectral_files(work.place.root):
            path.unlink(missing_ok=True)
        shared.forget("lbos")
    run_entry(work.reports, shared, SEEN_EMBEDDING, note, spectral_files(work.place.root)[3:], embedding)
    note = entry_note("densepose-cse", VERSION, weights=checksum, frames=work.source.inputs, channels=channel_order)
    run_entry(work.reports, work.own, "cse_predictions", note, [work.place.cse_predictions], maps)


def see_part_masks(work: Work, masks: Note, choice: Choice) -> None:
    """Parts read off DensePose's surface maps, where the tree has a way from its mesh to the template."""
    place, folder = work.place, work.place.part_masks
    paths = [folder / f"{stem}.pt" for stem in work.stems()]

    def leave_out(why: str) -> None:
        left_out(work, "part_masks", why, folder.glob("*.pt"))

    if all(candidate.name != SURFACE for candidate in choice.candidates("parts")):
        leave_out("they are not wanted from the surface")
        return
    if any(not path.is_file() for path in spectral_files(place.root)):
        leave_out("no way leads from DensePose's maps to the template: see lbos")
        return
    model = load_builtin_template()
    wanted = place.category if place.category in DETECTED_CLASSES else "dog"
    surface = [file_checksum(path) for path in (place.cse_predictions, *spectral_files(place.root))]
    mesh = mesh_checksum(model)
    inputs = {"surface": surface, "mesh": mesh, "wanted": wanted, "frames": work.source.inputs, "masks": masks}

    def make(missing: list[Path]) -> str:
        clip = written_clip(work, FRAME_LIMIT)
        work.tell("reading parts off the surface", 0, len(paths))
        embeddings = template_embeddings(EmbeddingFiles.in_tree(place.root), model)
        numbers = tuple(range(len(paths)))
        surface_points: Any = CsePredictions(place.cse_predictions, embeddings, numbers, wanted)
        labels = seen_parts(clip, surface_points, model)
        shown = (labels != NONE).flatten(1).any(1)
        if not bool(shown.any()):
            raise Animal4dError(f"DensePose sees no {wanted} under the masks of any frame")
        for frame, path in enumerate(paths):
            if path in missing:
                parts = np.zeros(work.source.frames.size, np.uint8)
                if frame < len(clip):
                    animal = written_mask(work.mask_folder / f"{path.stem}.png") > 0.5
                    parts = in_original_frame(labels, clip, frame, animal)
                layout.write_part_mask(path, parts)
            work.tell("reading parts off the surface", frame + 1, len(paths))
        return f"{int(shown.sum())} of {len(paths)} frames, read off DensePose's surface"

    note = entry_note(SEEN_PARTS, VERSION, **inputs)
    try:
        run_entry(work.reports, work.own, "part_masks", note, paths, make, lambda: folder.glob("*.pt"))
    except Animal4dError as error:
        if choice.must("parts"):
            raise
        leave_out(str(error))
