"""Who makes which cue of a clip: files that came with it, then networks that others have trained, then the built-in
network, then what needs no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from animal4d.body.model import BodyModel
from animal4d.candidates import EYES, FILES, SURFACE, Candidate, Choice, MadeCue, known_names
from animal4d.clip import Clip
from animal4d.cues.cache import Notify, Provider
from animal4d.cues.category_embeddings import CategoryEmbeddings
from animal4d.cues.chain import Chain, Link, broken, once
from animal4d.cues.cotracker_tracks import CoTrackerTracks
from animal4d.cues.cues import CueProviders
from animal4d.cues.densepose_surface import DensePoseSurface
from animal4d.cues.dino_features import DinoFeatures
from animal4d.cues.eyes_embeddings import on_template
from animal4d.cues.eyes_features import EyesFeatures
from animal4d.cues.eyes_parts import EyesParts
from animal4d.cues.eyes_pass import EyesPass
from animal4d.cues.eyes_surface import EyesSurface
from animal4d.cues.eyes_views import EyesViews
from animal4d.cues.features import BuiltinFeatures
from animal4d.cues.parts import PartMaskFiles, Parts
from animal4d.cues.surface import DETECTED_CLASSES, SurfacePoints
from animal4d.cues.surface_embeddings import EmbeddingFiles
from animal4d.cues.surface_parts import SurfaceParts
from animal4d.cues.tapir_tracks import TapirTracks
from animal4d.cues.track_points import Tracks
from animal4d.cues.tracks import LucasKanadeTracks
from animal4d.cues.xfeat_tracks import XFeatTracks
from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Eyes
from animal4d.pretrained.networks import DOG_MESH
from animal4d.pretrained.weights import network_folder, require_weights
from animal4d.providers import providers_for
from animal4d.readers.address import parse_address
from animal4d.readers.external import find_external_files
from animal4d.readers.source import Progress

DENSEPOSE = "densepose-cse"


@dataclass(frozen=True)
class MakerSettings:
    """How cues are made that no file brings."""

    choice: Choice = field(default_factory=Choice)
    device: str = "cpu"
    """Where networks run."""
    progress: Progress | None = None


def wanted_providers(
    clip: Clip, model: BodyModel, settings: MakerSettings, eyes: Eyes | None, notify: Notify, warn: Notify
) -> CueProviders:
    """All providers for the clip, as the user's choice says; without `eyes` the built-in network makes nothing.

    `notify` hears who makes what, `warn` of what is there and cannot be used. Raises Animal4dError where a file that
    came with the clip is damaged, and where somebody whom the user asked for is not at hand.
    """
    return with_networks(providers_for(clip, model, warn), clip, model, settings, eyes, notify)


def with_networks(
    files: CueProviders,
    clip: Clip,
    model: BodyModel,
    settings: MakerSettings,
    eyes: Eyes | None,
    notify: Notify = lambda message: None,
) -> CueProviders:
    """The providers of files that came with a clip, with chains of all others where there are none."""
    makers = _Makers(clip, model, settings, None if eyes is None else EyesPass(eyes))
    surface = makers.chain("surface", files.surface)
    tracks = makers.chain("tracks", None if isinstance(files.tracks, LucasKanadeTracks) else files.tracks)
    chains: dict[str, Chain[Any] | None] = {
        "surface": surface,
        "parts": makers.parts_chain(files.parts, surface),
        "tracks": tracks,
        "features": makers.chain("features", None),
        "views": makers.chain("views", None),
    }
    for cue in ("tracks", "features"):
        if chains[cue] is None:
            raise Animal4dError(f"nobody is left who could make {cue}: --avoid less")
    _tell(chains, notify)
    return replace(files, **chains)


def tracks_chain(settings: MakerSettings) -> Chain[Tracks]:
    """Who follows points where no file does. Raises Animal4dError where nobody is left."""
    links = [
        Link(candidate.name, once(_tracks(candidate.name, settings)), candidate.reason())
        for candidate in settings.choice.at_hand("tracks")
    ]
    if not links:
        raise Animal4dError("nobody is left who could make tracks: --avoid less")
    return Chain(tuple(links), settings.choice.must("tracks"))


def _tracks(name: str, settings: MakerSettings) -> Any:
    match name:
        case "cotracker3":
            return CoTrackerTracks(device=settings.device)
        case "bootstapir":
            return TapirTracks(device=settings.device)
        case "xfeat":
            return XFeatTracks(device=settings.device)
        case _:
            return LucasKanadeTracks()


def as_begun(choice: Choice, record: Mapping[str, Any]) -> Choice:
    """The choice under which cues are made by those who made them when a run began, whatever has come since."""
    made = [(str(note.get("cue")), str(note.get("by"))) for note in record.get("cues") or () if isinstance(note, dict)]
    use = {cue: f"{cue}={by}" for cue, by in made if by in known_names(cue)}
    others = (text for text in choice.use if text.partition("=")[0] not in use)
    return replace(choice, use=(*others, *use.values()))


class _Makers:
    """Providers of one clip by the names of their candidates."""

    def __init__(self, clip: Clip, model: BodyModel, settings: MakerSettings, look: EyesPass | None) -> None:
        self.clip, self.model, self.look = clip, model, look
        self.settings = settings
        self.choice, self.device, self.progress = settings.choice, settings.device, settings.progress

    def chain(self, cue: MadeCue, given: Any) -> Chain[Any] | None:
        """Who makes a cue; files alone, where they are there: they are the user's own, and nobody replaces them."""
        wanted = self.choice.wanted(cue)
        if given is not None and wanted in (None, FILES):
            return Chain((Link(FILES, given, "came with the clip"),))
        if wanted == FILES:
            raise Animal4dError(f"--use {cue}={FILES}: no file came with {self.clip.name} that brings them")
        made = [(candidate, self._ready(candidate)) for candidate in self.choice.at_hand(cue)]
        links = [
            Link(candidate.name, once(maker), candidate.reason()) for candidate, maker in made if maker is not None
        ]
        return Chain(tuple(links), self.choice.must(cue)) if links else None

    def parts_chain(
        self, given: Provider[Parts] | Chain[Parts] | None, surface: Chain[SurfacePoints] | None
    ) -> Chain[Parts] | None:
        """As `chain`; where frames lack part masks, a surface that files or DensePose bring gives them theirs. It also
        goes before files that were read off that same surface: those do not tell the legs apart."""
        assert not isinstance(given, Chain)
        wanted = self.choice.wanted("parts")
        source = None if surface is None else surface.links[0]
        if source is not None and source.name == EYES and wanted != SURFACE:
            source = None  # the network that makes it sees parts better than its surface tells them
        if wanted == SURFACE and source is None:
            raise Animal4dError(f"--use parts={SURFACE}: nobody makes a surface to read them off")
        if source is None or wanted not in (None, FILES, SURFACE) or not self.choice.may_use(SURFACE):
            return self.chain("parts", given)
        read_off = SurfaceParts(source.provider, self.model.part_labels)
        link = Link(SURFACE, once(read_off), f"read off the surface of {source.name}")
        if given is not None and wanted != SURFACE:
            own = Link(FILES, given, "came with the clip")
            if wanted is None and source.name == FILES and isinstance(given, PartMaskFiles) and given.read_off_surface:
                return Chain((link, own), self.choice.must("parts"))
            if not isinstance(given, PartMaskFiles) or not given.notices(self.clip):
                return Chain((own,))
            filled = Link(
                f"{FILES} and {SURFACE}", replace(read_off, given=given), f"frames without files: {link.reason}"
            )
            return Chain((filled, own), self.choice.must("parts"))
        after = None if wanted == SURFACE else self.chain("parts", None)
        return Chain((link, *(after.links if after is not None else ())), self.choice.must("parts"))

    def _ready(self, candidate: Candidate) -> Provider[Any] | None:
        """A candidate's provider; one that says why, where it cannot be had."""
        try:
            return self.provider(candidate)
        except Animal4dError as error:
            if candidate.kind != "pretrained":
                raise
            return broken(candidate.name, candidate.cue, error)

    def provider(self, candidate: Candidate) -> Any:
        """The provider of a candidate; None where it is the built-in network and that is not wanted. Raises
        Animal4dError where its weights are damaged, or something else that it needs is missing."""
        if candidate.name == EYES:
            return None if self.look is None else self._by_eyes(candidate.cue, self.look)
        match candidate.cue, candidate.name:
            case "surface", _:
                return self._densepose()
            case "tracks", name:
                return _tracks(name, self.settings)
            case "features", "handmade":
                return BuiltinFeatures()
            case "features", name:
                others: Any = BuiltinFeatures() if self.look is None else EyesFeatures(self.look)
                return DinoFeatures(require_weights(name), self.device, others=others, progress=self.progress)
        return None  # parts of a surface are made by `parts_chain`

    def _by_eyes(self, cue: MadeCue, look: EyesPass) -> Any:
        match cue:
            case "surface":
                return EyesSurface(look, on_template(look.eyes.vertex_embeddings, self.model))
            case "parts":
                return EyesParts(look)
            case "features":
                return EyesFeatures(look)
            case _:
                return EyesViews(look)

    def _densepose(self) -> DensePoseSurface:
        root, category = _tree_of(self.clip)
        weights, folder = require_weights(DENSEPOSE), network_folder(DENSEPOSE)
        files = EmbeddingFiles.in_tree(root or folder)
        embeddings = CategoryEmbeddings(files, self.model, folder / DOG_MESH.name)
        embeddings.check()
        return DensePoseSurface(weights, embeddings, category, device=self.device, progress=self.progress)


def _tree_of(clip: Clip) -> tuple[Path | None, str | None]:
    """The external data tree that a clip comes from, where that has the maps between meshes; and, where the tree says
    what animal it is, what DensePose calls that."""
    address = parse_address(clip.source)
    if address is None or address.layout != "external":
        return None, None
    files = find_external_files(address.root, address.sequence)
    has_maps = files.lbo_cse and files.lbo_smal and files.lbo_cse_to_smal
    return address.root if has_maps else None, files.category if files.category in DETECTED_CLASSES else None


def _tell(chains: Mapping[str, Chain[Any] | None], notify: Notify) -> None:
    first = {cue: chain.links[0] for cue, chain in chains.items() if chain is not None}
    by_eyes = sorted(cue for cue, link in first.items() if link.name == EYES)
    by_others = [f"{cue} ({link.name})" for cue, link in sorted(first.items()) if link.provider.kind == "pretrained"]
    if by_others:
        notify(f"networks of others make these cues: {', '.join(by_others)}")
    if by_eyes:
        notify(f"the built-in eyes make these cues: {', '.join(by_eyes)}")
