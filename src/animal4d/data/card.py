"""The data card of a tree: README.md with the head that Hugging Face reads, and a picture of every sequence.

What is said of sources and terms is what the published card of 4D-Animal's external data says. No licence is given to
files whose sources do not name one there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image as PillowImage

from animal4d.data.panels import outlined
from animal4d.data.tree import check_name
from animal4d.errors import Animal4dError
from animal4d.files.atomic import atomic_path, write_text
from animal4d.readers.cop3d_index import IndexedFrame, IndexedSequence
from animal4d.readers.external import SEQUENCE_ENTRIES, ExternalFiles, external_files, open_external
from animal4d.readers.folder import read_image, size_in_words
from animal4d.readers.masks import read_mask_values

CARD_NAME = "README.md"
PICTURES = "card_images"
_MARK = "<!-- written by animal4d data card -->"
_PICTURE_SIDE = 256
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.\-]*")

_TREE = """\
.
├── cop3d_data           # subset of COP3D
│   ├── metadata.sqlite  # COP3D's index, with cameras
│   └── <category>/<sequence>
│       ├── images, masks
│       ├── part_masks   # 11 head, 12 body, 13 foot, 14 tail, else 0
│       └── tracking_points.pt
├── refined_masks        # refined segmentation masks
├── preprocessing
│   ├── cse_embeddings   # predictions of continuous surface embeddings (CSE)
│   └── pnp_ransac       # cameras by PnP and RANSAC
├── sparse_keypoints     # 24 keypoints per frame
├── init_pose            # shape to start from
├── smal                 # body model
├── lbos                 # Laplace-Beltrami operators, functional map
├── cse                  # DensePose weights, configuration, vertex embeddings
└── textures             # colours per vertex, for pictures
"""

_SOURCES = (
    (
        "cop3d_data",
        "`cop3d_data` (frames, masks, index)",
        "[COP3D](https://github.com/facebookresearch/cop3d)",
        "those of COP3D; the full data set by its [official download]"
        "(https://github.com/facebookresearch/cop3d#download)",
    ),
    (
        "part_masks",
        "`part_masks`",
        "predicted by [PartGLEE](https://github.com/ProvenceStar/PartGLEE) on COP3D's frames",
        "those of PartGLEE and COP3D",
    ),
    (
        "tracking_points",
        "`tracking_points.pt`",
        "predicted by [BootsTAP](https://bootstap.github.io/) on COP3D's frames",
        "those of BootsTAP and COP3D",
    ),
    ("refined_masks", "`refined_masks`", "refined from COP3D's masks", "those of COP3D"),
    (
        "cse_predictions",
        "`preprocessing/cse_embeddings`",
        "predicted by DensePose CSE of [Detectron2](https://github.com/facebookresearch/detectron2) on COP3D's frames",
        "those of Detectron2's DensePose and COP3D",
    ),
    ("pnp_cameras", "`preprocessing/pnp_ransac`", "computed from the CSE predictions", "those of what it is made from"),
    (
        "sparse_keypoints",
        "`sparse_keypoints`",
        "predicted by [BITE](https://github.com/runa91/bite_release) on COP3D's frames",
        "those of BITE and COP3D",
    ),
    ("init_pose", "`init_pose`", "not named by the published card", "not named by the published card"),
    (
        "smal_model",
        "`smal`",
        "SMAL model files of [BITE](https://github.com/runa91/bite_release)",
        "those of BITE and SMAL: read them before the files are passed on",
    ),
    (
        "lbo_smal",
        "`lbos`",
        "Laplace-Beltrami operators as in section 3.1 of [CSE](https://arxiv.org/pdf/2011.12438)",
        "those of the meshes that they are made from",
    ),
    (
        "cse_weights",
        "`cse`",
        "weights and configuration of [Detectron2](https://github.com/facebookresearch/detectron2)'s DensePose",
        "those of Detectron2's DensePose",
    ),
    ("texture_smal", "`textures`", "colours per vertex of CSE's mesh and SMAL", "those of the meshes"),
)
"""Entry by which a part is known to be there, its place, where it comes from, its terms."""


@dataclass(frozen=True)
class _Row:
    sequence: IndexedSequence
    frames: list[IndexedFrame]
    files: ExternalFiles


def write_card(root: Path, title: str, licence: str = "other", overwrite: bool = False) -> Path:
    """Write `README.md` and `card_images/` into the tree; the path of the card.

    `licence` is an identifier of Hugging Face; "other" refers to the terms of each part. Raises Animal4dError where the
    tree or a picture cannot be read, and where a README.md is there that this function did not write (`overwrite`
    replaces it).
    """
    if not _LICENCE.fullmatch(licence):
        raise Animal4dError(f'"{licence}" is not an identifier of a licence, as apache-2.0, cc-by-4.0 or other')
    index = open_external(root)
    card = root / CARD_NAME
    if card.exists() and not overwrite and _MARK not in card.read_text(encoding="utf-8", errors="replace"):
        raise Animal4dError(f"{card} is there already and not written by `animal4d data card`: --overwrite replaces it")
    rows = []
    for sequence in index.sequences():
        check_name(sequence.name, str(index.database))
        frames = index.frames(sequence.name)
        rows.append(_Row(sequence, frames, external_files(root, sequence, frames)))
    if not rows:
        raise Animal4dError(f"{index.database} lists no sequence: there is nothing to describe")
    for row in rows:
        picture = _sample_picture(row)
        with atomic_path(root / PICTURES / f"{row.sequence.name}.jpg") as temporary:
            PillowImage.fromarray(picture).save(temporary, quality=85)
    write_text(card, _card(rows, title, licence))
    return card


def _card(rows: Sequence[_Row], title: str, licence: str) -> str:
    head: dict[str, object] = {"license": licence}
    if licence == "other":
        head |= {"license_name": "terms-of-each-part", "license_link": "README.md"}
    categories = Counter(row.sequence.category for row in rows)
    head |= {
        "language": ["en"],
        "pretty_name": title,
        "tags": ["animal", *(category for category in sorted(categories) if category != "animal"), "4d-reconstruction"],
        "size_categories": [next((name for most, name in _SIZES if len(rows) < most), "n>1M")],
    }
    sections = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n{_MARK}\n# {title}",
        "Data for reconstructing animals in four dimensions, in the layout of the external data of **4D-Animal: Freely "
        "Reconstructing Animatable 3D Animals from Videos** ([arXiv 2507.10437](https://arxiv.org/abs/2507.10437)).",
        f"## Data tree\n\n```sh\n{_TREE}```",
        _statistics(rows, categories),
        _sequences(rows),
        _sources(rows, licence),
    ]
    return "\n\n".join(sections) + "\n"


def _statistics(rows: Sequence[_Row], categories: Counter[str]) -> str:
    n_frames = sum(len(row.frames) for row in rows)
    of_categories = ", ".join(f"{name} ({count})" for name, count in sorted(categories.items()))
    sizes = sorted({row.frames[0].image_size for row in rows})
    lines = [
        "## Statistics",
        "",
        "| | |",
        "| --- | --- |",
        f"| sequences | {len(rows)} |",
        f"| frames | {n_frames}, {n_frames / len(rows):.4g} per sequence |",
        f"| categories | {of_categories} |",
        f"| sizes of frames | {', '.join(size_in_words(size) for size in sizes)} |",
    ]
    for entry in SEQUENCE_ENTRIES:
        there = sum(entry in row.files.present() for row in rows)
        lines.append(f"| {entry.replace('_', ' ')} | {there} of {len(rows)} sequences |")
    return "\n".join(lines)


def _sequences(rows: Sequence[_Row]) -> str:
    lines = [
        "## Sequences",
        "",
        "The outline is that of the mask.",
        "",
        "| sequence | sample | category | frames | viewpoint quality | cues |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        sequence, score = row.sequence, row.sequence.viewpoint_quality_score
        cues = ", ".join(name.replace("_", " ") for name in SEQUENCE_ENTRIES if name in row.files.present())
        quality = "-" if score is None else f"{score:.2f}"
        picture = f"![{_cell(sequence.name)}]({PICTURES}/{sequence.name.replace(' ', '%20')}.jpg)"
        cells = (_cell(sequence.name), picture, _cell(sequence.category), len(row.frames), quality, cues or "-")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _sources(rows: Sequence[_Row], licence: str) -> str:
    present = {entry for row in rows for entry in row.files.present()} | {"cop3d_data"}
    own = (
        "No part is put under another licence here."
        if licence == "other"
        else f"`{licence}` was given by who packed the data, for what is theirs."
    )
    lines = [
        "## Sources and terms",
        "",
        "This is **not** a new data set: the parts come from public sources, and the terms of each source hold for "
        f"what is made from it. {own} As far as the published card of 4D-Animal's external data tells:",
        "",
        "| part | source | terms |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {part} | {source} | {terms} |" for entry, part, source, terms in _SOURCES if entry in present]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that cannot break out of a cell of a Markdown table."""
    return re.sub(r"([|<>\[\]`*\\])", r"\\\1", " ".join(text.split()))


def _sample_picture(row: _Row) -> np.ndarray:
    """The middle frame, small, with the outline of its mask where it has one."""
    frame = row.frames[len(row.frames) // 2]
    image = read_image(frame.image_path)
    scale = _PICTURE_SIDE / max(image.shape[:2])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    refined = None if row.files.refined_masks is None else row.files.refined_masks / f"{frame.image_path.stem}.png"
    path = refined if refined is not None and refined.is_file() else None if frame.mask is None else frame.mask.path
    if path is None or not path.is_file():
        return small
    values, peak = read_mask_values(path)
    covered = values.astype(np.float32) > (0.5 if values.max(initial=0) <= 1 else peak / 2)
    return outlined(small, np.asarray(cv2.resize(covered.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)) > 0)
