"""What all sequences of a tree share, beside the network's embeddings: eigenfunctions and colours of the meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from animal4d.body.template import load_builtin_template
from animal4d.cues.surface_embeddings import EmbeddingFiles, spectral_embedding
from animal4d.data import layout
from animal4d.data.dog_bases import write_dog_bases
from animal4d.data.preprocess_work import VERSION, EntryReport, Work, mesh_checksum, run_entry
from animal4d.data.provenance import SHARED, Provenance, entry_note
from animal4d.files.checksums import file_checksum
from animal4d.geometry.spectral import laplace_beltrami

FUNCTIONS = 100
"""Eigenfunctions of a template."""
SEEN_EMBEDDING = "cse_embedding"
"""The entry, of all sequences, that only DensePose makes: where it is ours, the surface maps are DensePose's."""


def write_shared(work: Work, dog_mesh: Path | None) -> None:
    """Eigenfunctions and colours of the template, which stands for CSE's mesh as well: the map between is the
    identity, and the embeddings are the template's own. Where DensePose has seen the animal that would be wrong: there
    the mesh of its dog is needed."""
    root = work.place.root
    record = Provenance.of(root, SHARED)
    model = load_builtin_template() if work.run is None else work.run.model
    files, spectral = EmbeddingFiles.in_tree(root), spectral_files(root)
    mesh = mesh_checksum(model)

    def make_spectral(_: list[Path]) -> str:
        work.tell("eigenfunctions of the template", 0, 1)
        basis = laplace_beltrami(model.v_template.double().numpy(), model.faces.numpy(), FUNCTIONS)
        for path in spectral[:2]:
            layout.write_basis(path, basis.functions, basis.areas)
        layout.write_functional_map(spectral[2], np.eye(FUNCTIONS))
        layout.write_embedding(spectral[3], spectral_embedding(basis))
        return f"{FUNCTIONS} functions of {model.name}, embeddings from them"

    def make_dog(_: list[Path]) -> str:
        work.tell("laying DensePose's dog on the template", 0, 1)
        assert dog_mesh is not None
        write_dog_bases(spectral[:3], textures[1], dog_mesh, model, FUNCTIONS)
        return f"{FUNCTIONS} functions of {model.name} and of {dog_mesh.name}"

    def make_textures(paths: list[Path]) -> str:
        colors = layout.color_bytes(layout.surface_colors(model.v_template.double().numpy()))
        for path in paths:
            layout.write_texture(path, colors)
        return f"colours of {model.name}"

    textures = [root / "textures" / f"texture_{name}.pk" for name in ("smal", "cse")]
    if not record.is_ours(SEEN_EMBEDDING):
        if files.embedding in spectral:
            note = entry_note("laplace-beltrami", VERSION, mesh=mesh, functions=FUNCTIONS)
            run_entry(work.reports, record, "lbos", note, spectral, make_spectral)
        else:
            words = "the weights of DensePose are there: its own are needed"
            work.reports.append(EntryReport("lbos", "kept", words))
        run_entry(work.reports, record, "textures", entry_note("ranks", VERSION, mesh=mesh), textures, make_textures)
        return

    ours = textures[1:] if record.is_ours("textures") and not record.is_ours("lbos") else []
    note = entry_note("ranks", VERSION, mesh=mesh, of="the template alone")
    run_entry(work.reports, record, "textures", note, textures[:1], make_textures, lambda: ours)
    if dog_mesh is not None and dog_mesh.is_file():
        note = entry_note("dog-mesh", VERSION, mesh=mesh, functions=FUNCTIONS, dog=file_checksum(dog_mesh))
        run_entry(work.reports, record, "lbos", note, [*spectral[:3], textures[1]], make_dog)
    elif record.is_ours("lbos"):
        work.reports.append(EntryReport("lbos", "current", "of an earlier call"))
    elif all(path.is_file() for path in spectral[:3]):
        work.reports.append(EntryReport("lbos", "kept", "there already, and not made here"))
    else:
        words = "DensePose's maps need those of its own mesh: bring lbos/ of the published data, or dog_7466.pkl"
        work.reports.append(EntryReport("lbos", "left out", words))


def spectral_files(root: Path) -> list[Path]:
    """Eigenfunctions of the template and of CSE's mesh, the map between them, and the embeddings."""
    files = EmbeddingFiles.in_tree(root)
    return [files.lbo_smal, files.lbo_cse, files.lbo_cse_to_smal, root / "cse" / "cse_embedding.pk"]
