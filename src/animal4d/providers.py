"""The cues of a clip that files bring which came with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.cues.cues import CueProviders
from animal4d.cues.parts import PartMaskFiles
from animal4d.cues.pnp_cameras import PnpCameraFile
from animal4d.cues.sparse_keypoints import SparseKeypointFile
from animal4d.cues.surface import DETECTED_CLASSES, CsePredictions
from animal4d.cues.surface_embeddings import EmbeddingFiles, template_embeddings
from animal4d.cues.surface_parts import SurfaceParts
from animal4d.cues.track_files import TrackFile
from animal4d.readers.address import parse_address
from animal4d.readers.external import ExternalFiles, find_external_files
from animal4d.readers.initial_shape import read_initial_shape

Notify = Callable[[str], None]


def providers_for(clip: Clip, model: BodyModel, notify: Notify) -> CueProviders:
    """Providers for the clip, by the address that it was read from.

    `notify` hears of everything that came with the clip and cannot be used. Raises Animal4dError where a file that is
    there is damaged.
    """
    address = parse_address(clip.source)
    if address is None or address.layout != "external":
        return CueProviders()
    files = find_external_files(address.root, address.sequence)
    providers = CueProviders()
    if files.part_masks is not None:
        stems = dict(zip(files.frame_numbers, files.stems, strict=True))
        off_surface = _maker(address.root, address.sequence, "part_masks") == SurfaceParts.name
        parts = PartMaskFiles(files.part_masks, stems, off_surface)
        for notice in parts.notices(clip):
            notify(notice)
        providers = replace(providers, parts=parts)
    if files.tracking_points is not None:
        providers = replace(providers, tracks=TrackFile(files.tracking_points, files.frame_numbers))
    if files.sparse_keypoints is not None:
        providers = replace(providers, keypoints=SparseKeypointFile(files.sparse_keypoints, files.frame_numbers))
    if files.pnp_cameras is not None:
        limit = files.pnp_cameras.frame_limit
        providers = replace(providers, pnp_cameras=PnpCameraFile(files.pnp_cameras.path, files.frame_numbers, limit))
    providers = replace(providers, surface=_surface(files, model, notify))
    if files.init_pose is not None:
        if model.name == "builtin":
            notify(f"{files.init_pose} speaks of SMAL's shape space: it is used with --template <SMAL file> only")
        else:
            providers = replace(providers, initial_betas=read_initial_shape(files.init_pose).betas)
    return providers


def _maker(root: Path, sequence: str, entry: str) -> str | None:
    """Who made an entry of a tree, as its notes say (`data/provenance.py`); None where they do not."""
    try:
        made = json.loads((root / "provenance" / f"{sequence}.json").read_text())["entries"][entry]
        return str(made["note"]["maker"]) if made["complete"] is True else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # damaged notes count as none


def _surface(files: ExternalFiles, model: BodyModel, notify: Notify) -> CsePredictions | None:
    if files.cse_predictions is None:
        return None
    needed = {
        "lbos/lbo_cse.pk": files.lbo_cse,
        "lbos/lbo_smal.pk": files.lbo_smal,
        "lbos/lbo_cse_to_smal.pk": files.lbo_cse_to_smal,
        "cse/cse_embedding.pk": files.cse_embedding or files.cse_weights,
    }
    missing = [name for name, path in needed.items() if path is None]
    if missing:
        notify(f"CSE predictions are left out: {', '.join(missing)} is missing beside them")
        return None
    assert files.lbo_cse and files.lbo_smal and files.lbo_cse_to_smal
    embedding = files.cse_embedding or files.cse_weights
    assert embedding is not None
    tree = EmbeddingFiles(files.lbo_cse, files.lbo_smal, files.lbo_cse_to_smal, embedding)
    wanted = files.category if files.category in DETECTED_CLASSES else "dog"
    return CsePredictions(
        files.cse_predictions.path, template_embeddings(tree, model), files.frame_numbers, wanted_class=wanted
    )
