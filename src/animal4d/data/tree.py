"""Which files of an external data tree belong to a sequence, and which serve all of them.

Names of files are relative to the tree's root, with forward slashes, as archives and their manifests hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from animal4d.data import provenance
from animal4d.data.index import indexed_paths
from animal4d.errors import Animal4dError
from animal4d.files.paths import join_inside
from animal4d.readers.cop3d_index import INDEX_NAME, Cop3dIndex
from animal4d.readers.external import external_files

INDEX_FILE = f"cop3d_data/{INDEX_NAME}"
SHARED_FILES = (
    "lbos/lbo_cse.pk",
    "lbos/lbo_smal.pk",
    "lbos/lbo_cse_to_smal.pk",
    "cse/cse_embedding.pk",
    "textures/texture_cse.pk",
    "textures/texture_smal.pk",
)
LICENSED_FOLDERS = ("smal", "cse")
"""Folders of files that others gave out under terms of their own: the body model, weights and their configuration."""


@dataclass(frozen=True)
class TreeFile:
    """A file of the tree."""

    name: str
    """Relative to the root, with forward slashes."""
    path: Path


def check_name(name: str, where: str) -> None:
    """A name that means the same file inside of the root on every machine; Animal4dError on any other."""
    path = PurePosixPath(name)
    plain = name == str(path) and all(letter.isprintable() and letter not in '\\:*?"<>|' for letter in name)
    if not plain or path.is_absolute() or ".." in path.parts or name in ("", "."):
        raise Animal4dError(
            f"{where}: {name!r} is not a plain path inside of the tree; names must be relative, without .. \\ or :"
        )


def sequence_files(root: Path, index: Cop3dIndex, name: str) -> list[TreeFile]:
    """All files of one sequence by name, with the notes on how they were made, without the index.

    Raises Animal4dError where the sequence is not there, one of its pictures is missing, or a path leads out.
    """
    sequence, frames = index.sequence(name), index.frames(name)
    missing = [frame.image_path for frame in frames if not frame.image_path.is_file()]
    if missing:
        raise Animal4dError(
            f"{missing[0]} does not exist ({len(missing)} of {len(frames)} pictures of {name}): download the sequence "
            "again, or leave it out"
        )
    present = external_files(root, sequence, frames).present()
    stems = [frame.image_path.stem for frame in frames]
    beside_frames = f"cop3d_data/{sequence.category}/{name}"
    names = [f"cop3d_data/{path}" for path in indexed_paths(index.database, name)]
    names += [f"{beside_frames}/part_masks/{stem}.pt" for stem in stems]
    names += [f"refined_masks/{name}/{stem}.png" for stem in stems]
    names += [
        f"{beside_frames}/tracking_points.pt",
        f"sparse_keypoints/{name}_keypoints.pk",
        f"init_pose/{name}_init_pose.pk",
        f"{provenance.FOLDER}/{name}.json",
    ]
    for entry, folder in (("cse_predictions", "cse_embeddings"), ("pnp_cameras", "pnp_ransac")):
        if entry in present:
            names.append(f"preprocessing/{folder}/{present[entry].name}")
    return list(_existing(root, names))


def shared_files(root: Path, with_licensed: bool) -> list[TreeFile]:
    """Files that serve all sequences, those under terms of their own only where wanted."""
    notes = f"{provenance.FOLDER}/{provenance.SHARED}.json"
    names = [*SHARED_FILES, notes, *(file.name for file in licensed_files(root) if with_licensed)]
    return list(_existing(root, names))


def licensed_files(root: Path) -> list[TreeFile]:
    """The body model, the weights of DensePose and their configuration, where they are."""
    names = [
        f"{folder}/{path.name}"
        for folder in LICENSED_FOLDERS
        if (root / folder).is_dir()
        for path in sorted((root / folder).iterdir())
        if path.suffix in (".pkl", ".json", ".yaml") and not path.name.startswith(".")
    ]
    return list(_existing(root, names))


def _existing(root: Path, names: Sequence[str]) -> Iterator[TreeFile]:
    for name in sorted(set(names)):
        check_name(name, str(root))
        # The folders directly below the root may be links to where the data set lies; within they must stay there.
        top, _, below = name.partition("/")
        path = join_inside(root / top, below)
        if path.is_file():
            yield TreeFile(name, path)
