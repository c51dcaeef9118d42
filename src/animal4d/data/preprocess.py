"""`preprocess`: the external data tree of any clip, with the providers that are there.

Each entry is written when its note (`data/provenance.py`) has changed or its files are gone; a run that was stopped
goes on with the frame it stopped at. What no provider can make is left out, and said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image as PillowImage

from animal4d.body.template import load_builtin_template
from animal4d.candidates import SURFACE, Choice
from animal4d.clip import Clip
from animal4d.cues.cache import Provider
from animal4d.cues.chain import failure
from animal4d.cues.densepose_surface import detections_in_frame
from animal4d.cues.parts import NONE
from animal4d.cues.surface import DETECTED_CLASSES, CsePredictions
from animal4d.cues.surface_embeddings import EmbeddingFiles, spectral_embedding, template_embeddings
from animal4d.cues.tracks import Tracks
from animal4d.data import layout
from animal4d.data.dog_bases import write_dog_bases
from animal4d.data.fitted_cues import (
    FittedClip,
    fitted_cameras,
    fitted_detection,
    fitted_keypoints,
    fitted_parts,
    fitted_pnp,
    load_fitted,
)
from animal4d.data.layout import FRAME_LIMIT, IndexRow, SequencePlace, frame_stem, mask_measures
from animal4d.data.preprocess_source import ClipRequest, MaskMaker, SourceClip, camera_numbers, open_clip
from animal4d.data.provenance import SHARED, Note, Provenance, entry_note
from animal4d.data.seen_parts import in_original_frame, seen_parts
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_bytes
from animal4d.files.checksums import file_checksum, tensor_checksum
from animal4d.fit.reconstruct import BUILTIN
from animal4d.geometry.spectral import laplace_beltrami
from animal4d.makers import MakerSettings, tracks_chain
from animal4d.pretrained.densepose.load import load_densepose
from animal4d.pretrained.densepose.meshes import MESH_OF
from animal4d.pretrained.densepose.network import DensePoseCse
from animal4d.pretrained.densepose.picture import ChannelOrder
from animal4d.readers.address import parse_address
from animal4d.readers.load import load_clip
from animal4d.readers.masks import read_mask_values
from animal4d.readers.source import Progress

FUNCTIONS = 100
"""Eigenfunctions of a template."""
_SEEN_EMBEDDING = "cse_embedding"
_SEEN_PARTS = "surface-parts"
_MOST_ANIMALS = 3
"""Of a frame, whose surface maps are written."""
_VERSION = 1
_WORKING_SIZE = 256
_NO_SMAL = "speaks of SMAL's shape space: give a run with --template <SMAL file>"
_NO_RUN = "needs the animal's surface: give a finished run by --run"


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
class EntryReport:
    """What became of an entry."""

    entry: str
    state: Literal["written", "current", "left out", "kept"]
    """`kept` entries were there already, and made by others."""
    note: str


@dataclass(frozen=True)
class Preprocessed:
    """A tree that was brought up to date."""

    place: SequencePlace
    entries: tuple[EntryReport, ...]
    warnings: tuple[str, ...] = ()
    """What the user should know about the frames, and about masks that were written now."""


@dataclass
class _Work:
    """One call: what is known, and what was done."""

    place: SequencePlace
    source: SourceClip
    run: FittedClip | None
    progress: Progress | None
    own: Provenance
    reports: list[EntryReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """About masks."""

    def stems(self) -> list[str]:
        return [frame_stem(number) for number in self.source.numbers]

    def tell(self, what: str, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress(what, done, of)


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
    work = _Work(place, source, fitted, progress, Provenance.of(place.root, place.name))
    indexed = _check_place(work)

    images = _images(work)
    masks = _masks(work, "masks", source.masks, place.masks, layout.write_mask)
    refined = masks
    if source.refined_masks is None:
        words = "nobody refined the sequence's own: give better ones by --masks"
        _left_out(work, "refined_masks", words, place.refined_masks.glob("*.png"))
    else:
        refined = _masks(
            work,
            "refined_masks",
            source.refined_masks,
            place.refined_masks,
            lambda path, mask: layout.write_refined_mask(path, mask > 0.5),
        )
    _index(work, images, masks, indexed)
    settings = MakerSettings(request.clip.providers, request.clip.device, work.tell)
    _tracking_points(work, images, refined, settings)
    if request.densepose is not None:
        try:
            _seen_surface(work, request.densepose, request.channel_order, request.clip.device)
        except Animal4dError as error:
            if settings.choice.must("surface"):
                raise
            work.warnings.append(f"densepose-cse could not make surface maps ({error}): they are left out")
    _shared(work, request.dog_mesh)
    _from_surface(work, refined, settings.choice)
    return Preprocessed(place, tuple(work.reports), (*source.frames.warnings, *work.warnings))


def _check_place(work: _Work) -> bool:
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


def _entry(
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


def _left_out(work: _Work, entry: str, words: str, files: Iterable[Path]) -> None:
    """Say why an entry is not made. What an earlier call made of other frames or masks is removed."""
    if work.own.is_ours(entry):
        for path in list(files):
            path.unlink(missing_ok=True)
        work.own.forget(entry)
    work.reports.append(EntryReport(entry, "left out", words))


def _count(files: Sequence[Path]) -> str:
    return files[0].name if len(files) == 1 else f"{len(files)} files"


def _images(work: _Work) -> Note:
    source = work.source
    paths = [work.place.images / f"{stem}.jpg" for stem in work.stems()]
    note = entry_note("frames of the source", _VERSION, frames=source.inputs)

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

    _entry(work.reports, work.own, "images", note, paths, make, lambda: work.place.images.glob("*.jpg"))
    return note


def _is_plain_jpeg(file: Path) -> bool:
    """A colour JPEG that needs no turning."""
    with PillowImage.open(file) as picture:
        return picture.format == "JPEG" and picture.mode == "RGB" and picture.getexif().get(0x0112, 1) == 1


def _masks(work: _Work, entry: str, maker: MaskMaker, folder: Path, write: Callable[[Path, Any], None]) -> Note:
    paths = [folder / f"{stem}.png" for stem in work.stems()]
    note = entry_note("masks of the source", _VERSION, frames=work.source.inputs, masks=maker.inputs)
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

    _entry(work.reports, work.own, entry, note, paths, make, lambda: folder.glob("*.png"))
    return note


def _index(work: _Work, images: Note, masks: Note, indexed: bool) -> None:
    """Not by `_entry`: the file holds other sequences as well, and is never removed."""
    source, record = work.source, work.own
    cameras, origin = list(source.cameras), "the source"
    if all(camera is None for camera in cameras) and work.run is not None:
        cameras, origin = fitted_cameras(work.run), "the run"
    there = sum(camera is not None for camera in cameras)
    note = entry_note("index", _VERSION, images=images, masks=masks, cameras=camera_numbers(cameras))
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
        values, peak = read_mask_values(work.place.masks / f"{stem}.png")
        measures = mask_measures(np.divide(values, peak, dtype=np.float32))
        rows.append(IndexRow(number, time, source.frames.size, *measures, camera))
    layout.write_index(work.place, rows, source.quality)
    record.finish("index", note)
    words = f"cameras of {origin} for {there} of {len(rows)} frames" if there else "no cameras: none were given"
    work.reports.append(EntryReport("index", "written", words))


def _tracking_points(work: _Work, images: Note, masks: Note, settings: MakerSettings) -> None:
    """By the first provider that can make them."""
    chain = tracks_chain(settings)
    for place, link in enumerate(chain.links):
        after = chain.links[place + 1 :]
        try:
            _tracked(work, images, masks, link.provider)
            return
        except Exception as error:  # code of many versions and authors: the next provider takes over, and it is told
            if link.provider.kind != "pretrained" or not after or chain.must:
                raise
            work.warnings.append(f"{failure(link, error)}: {after[0].name} makes them instead")


def _tracked(work: _Work, images: Note, masks: Note, provider: Provider[Tracks]) -> None:
    note = entry_note(provider.name, provider.version, config=provider.config(), images=images, masks=masks)

    def make(_: list[Path]) -> str:
        clip = _written_clip(work)
        work.tell("following points", 0, 1)
        tracks = provider(clip)
        layout.write_tracking_points(work.place.tracking_points, tracks.points, tracks.visible, clip.crop.original_size)
        return f"{len(tracks)} points, {provider.name}"

    _entry(work.reports, work.own, "tracking_points", note, [work.place.tracking_points], make)


def _mask_folder(work: _Work) -> Path:
    """The best masks of the tree."""
    return work.place.masks if work.source.refined_masks is None else work.place.refined_masks


def _written_clip(work: _Work, max_frames: int | None = None) -> Clip:
    """The frames as they were written, in windows that follow the animal: legs have more pixels there."""
    return load_clip(
        work.place.images,
        masks=_mask_folder(work),
        fps=max(work.source.selection.fps, 1e-3),
        max_frames=max_frames,
        working_size=_WORKING_SIZE,
        progress=work.progress,
    )


def _seen_surface(work: _Work, weights: Path, channel_order: ChannelOrder, device: str) -> None:
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
    note = entry_note("densepose-cse", _VERSION, weights=checksum)
    if shared.state(_SEEN_EMBEDDING, note) != "complete":
        network()  # where it cannot be read, everything stays as it is
    if not shared.is_ours(_SEEN_EMBEDDING) and shared.is_ours("lbos"):
        for path in _spectral_files(work.place.root):
            path.unlink(missing_ok=True)
        shared.forget("lbos")
    _entry(work.reports, shared, _SEEN_EMBEDDING, note, _spectral_files(work.place.root)[3:], embedding)
    note = entry_note("densepose-cse", _VERSION, weights=checksum, frames=work.source.inputs, channels=channel_order)
    _entry(work.reports, work.own, "cse_predictions", note, [work.place.cse_predictions], maps)


def _shared(work: _Work, dog_mesh: Path | None) -> None:
    """Eigenfunctions and colours of the template, which stands for CSE's mesh as well: the map between is the
    identity, and the embeddings are the template's own. Where DensePose has seen the animal that would be wrong: there
    the mesh of its dog is needed."""
    root = work.place.root
    record = Provenance.of(root, SHARED)
    model = load_builtin_template() if work.run is None else work.run.model
    files, spectral = EmbeddingFiles.in_tree(root), _spectral_files(root)
    mesh = tensor_checksum((model.v_template, model.faces))

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
    if not record.is_ours(_SEEN_EMBEDDING):
        if files.embedding in spectral:
            note = entry_note("laplace-beltrami", _VERSION, mesh=mesh, functions=FUNCTIONS)
            _entry(work.reports, record, "lbos", note, spectral, make_spectral)
        else:
            words = "the weights of DensePose are there: its own are needed"
            work.reports.append(EntryReport("lbos", "kept", words))
        _entry(work.reports, record, "textures", entry_note("ranks", _VERSION, mesh=mesh), textures, make_textures)
        return

    ours = textures[1:] if record.is_ours("textures") and not record.is_ours("lbos") else []
    note = entry_note("ranks", _VERSION, mesh=mesh, of="the template alone")
    _entry(work.reports, record, "textures", note, textures[:1], make_textures, lambda: ours)
    if dog_mesh is not None and dog_mesh.is_file():
        note = entry_note("dog-mesh", _VERSION, mesh=mesh, functions=FUNCTIONS, dog=file_checksum(dog_mesh))
        _entry(work.reports, record, "lbos", note, [*spectral[:3], textures[1]], make_dog)
    elif record.is_ours("lbos"):
        work.reports.append(EntryReport("lbos", "current", "of an earlier call"))
    elif all(path.is_file() for path in spectral[:3]):
        work.reports.append(EntryReport("lbos", "kept", "there already, and not made here"))
    else:
        words = "DensePose's maps need those of its own mesh: bring lbos/ of the published data, or dog_7466.pkl"
        work.reports.append(EntryReport("lbos", "left out", words))


def _spectral_files(root: Path) -> list[Path]:
    """Eigenfunctions of the template and of CSE's mesh, the map between them, and the embeddings."""
    files = EmbeddingFiles.in_tree(root)
    return [files.lbo_smal, files.lbo_cse, files.lbo_cse_to_smal, root / "cse" / "cse_embedding.pk"]


def _from_surface(work: _Work, masks: Note, choice: Choice) -> None:
    """What can be read off the surface that a run fitted; its maps, unless the tree's are DensePose's. Without a run,
    parts are read off those."""
    run, place = work.run, work.place
    single = {
        "cse_predictions": place.cse_predictions,
        "pnp_cameras": place.pnp_cameras,
        "sparse_keypoints": place.sparse_keypoints,
        "init_pose": place.init_pose,
    }
    seen = Provenance.of(place.root, SHARED).is_ours(_SEEN_EMBEDDING)
    if seen:
        del single["cse_predictions"]
    if run is None:
        # What an earlier call made of a run on these frames stays.
        frames = entry_note("", 0, frames=work.source.inputs)["inputs"]["frames"]
        for entry, files in (("part_masks", place.part_masks.glob("*.pt")), *((e, [f]) for e, f in single.items())):
            note = work.own.note(entry)
            of_run = note is not None and note["maker"] != _SEEN_PARTS
            if note is not None and of_run and note["inputs"].get("frames") == frames:
                work.reports.append(EntryReport(entry, "current", "of an earlier --run"))
            elif entry == "part_masks" and seen and place.cse_predictions.is_file():
                _seen_part_masks(work, masks, choice)
            else:
                _left_out(work, entry, _NO_RUN, files)
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
        _left_out(work, "init_pose", _NO_SMAL, [single["init_pose"]])
    else:
        makers.append(("init_pose", shape, []))
    for entry, make, also in makers:
        note = entry_note("run", _VERSION, run=run.inputs, frames=work.source.inputs, also=also)
        _entry(work.reports, work.own, entry, note, [single[entry]], make)


def _seen_part_masks(work: _Work, masks: Note, choice: Choice) -> None:
    """Parts read off DensePose's surface maps, where the tree has a way from its mesh to the template."""
    place, folder = work.place, work.place.part_masks
    paths = [folder / f"{stem}.pt" for stem in work.stems()]

    def left_out(why: str) -> None:
        _left_out(work, "part_masks", why, folder.glob("*.pt"))

    if all(candidate.name != SURFACE for candidate in choice.candidates("parts")):
        left_out("they are not wanted from the surface")
        return
    if any(not path.is_file() for path in _spectral_files(place.root)):
        left_out("no way leads from DensePose's maps to the template: see lbos")
        return
    model = load_builtin_template()
    wanted = place.category if place.category in DETECTED_CLASSES else "dog"
    surface = [file_checksum(path) for path in (place.cse_predictions, *_spectral_files(place.root))]
    mesh = tensor_checksum((model.v_template, model.faces))
    inputs = {"surface": surface, "mesh": mesh, "wanted": wanted, "frames": work.source.inputs, "masks": masks}

    def make(missing: list[Path]) -> str:
        clip = _written_clip(work, FRAME_LIMIT)
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
                    values, peak = read_mask_values(_mask_folder(work) / f"{path.stem}.png")
                    animal = np.divide(values, peak, dtype=np.float32) > 0.5
                    parts = in_original_frame(labels, clip, frame, animal)
                layout.write_part_mask(path, parts)
            work.tell("reading parts off the surface", frame + 1, len(paths))
        return f"{int(shown.sum())} of {len(paths)} frames, read off DensePose's surface"

    note = entry_note(_SEEN_PARTS, _VERSION, **inputs)
    try:
        _entry(work.reports, work.own, "part_masks", note, paths, make, lambda: folder.glob("*.pt"))
    except Animal4dError as error:
        if choice.must("parts"):
            raise
        left_out(str(error))


def _part_masks(work: _Work, run: FittedClip, masks: Note) -> None:
    folder = work.place.part_masks
    paths = [folder / f"{stem}.pt" for stem in work.stems()]
    note = entry_note("run", _VERSION, run=run.inputs, frames=work.source.inputs, masks=masks)

    def make(missing: list[Path]) -> str:
        wanted = set(missing)
        for done, (path, row) in enumerate(zip(paths, run.rows, strict=True), start=1):
            if path in wanted:
                values, peak = read_mask_values(_mask_folder(work) / f"{path.stem}.png")
                # A frame that the run does not have shows nothing that is known.
                nothing = np.zeros(work.source.frames.size, np.uint8)
                labels = (
                    nothing if row is None else fitted_parts(run, row, np.divide(values, peak, dtype=np.float32) > 0.5)
                )
                layout.write_part_mask(path, labels)
            work.tell("drawing the parts", done, len(paths))
        return f"{sum(row is not None for row in run.rows)} of {len(paths)} frames, the fitted surface"

    _entry(work.reports, work.own, "part_masks", note, paths, make, lambda: folder.glob("*.pt"))
