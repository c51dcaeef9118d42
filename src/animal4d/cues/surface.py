"""Pixel level: which vertex of the template a pixel shows, from dense embeddings (CSE, arXiv 2011.12438).

A 2D model gives every pixel of a detection an embedding; its vertex is the nearest in embedding space. A pixel is kept
where the way from it to the vertex and back leads home (cycle test).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.files.arrays import checked_array
from animal4d.files.checksums import file_checksum, tensor_checksum
from animal4d.files.unpickle import load_pickle
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.pretrained.densepose.meshes import CATEGORIES, MAP_SIZE

DETECTED_CLASSES = CATEGORIES
"""What the numbers in `pred_classes` mean."""
TEMPERATURE = 1e-5
"""Of the cycle test: so low that it is nearly a matter of nearest neighbours."""
_NEGLIGIBLE = 40.0
"""Terms of a softmax below exp(-40) times the largest are left out."""
_SIMILARITIES = 1 << 20
"""Pixel-vertex pairs that are compared at a time: 4 MB of cosines, and where all pairs are alike 30 times as much."""


@dataclass(frozen=True)
class SurfacePoints:
    """Pixels with the vertices of the template that they show, in a fixed number of slots per frame."""

    pixels: Float[Tensor, "frames points 2"]
    """x, y in pixels of the original frames; zero in empty slots."""
    vertices: Int[Tensor, "frames points"]
    """Zero in empty slots."""
    confidence: Float[Tensor, "frames points"]
    """In [0, 1]; zero marks an empty slot. Empty slots come last."""

    def __len__(self) -> int:
        return self.pixels.shape[1]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "pixels": self.pixels.numpy(),
            "vertices": self.vertices.numpy(),
            "confidence": self.confidence.numpy(),
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> SurfacePoints:
        return SurfacePoints(
            torch.from_numpy(arrays["pixels"]).float(),
            torch.from_numpy(arrays["vertices"]).long(),
            torch.from_numpy(arrays["confidence"]).float(),
        )


@dataclass(frozen=True)
class Detection:
    """One animal that a 2D model found in a frame."""

    embedding: Float[Tensor, "16 rows columns"]
    segmentation: Float[Tensor, "2 rows columns"]
    """Logits of background and animal."""
    box: Float[Tensor, "4"]
    """Left, top, right, bottom in pixels of the padded square; the maps cover it."""
    score: float

    def at(self, pixels: Float[Tensor, "points 2"]) -> tuple[Float[Tensor, "points 16"], Bool[Tensor, "points"]]:
        """Embedding, not normalised, at places in the padded square, and whether the animal is there.

        Bilinear without corner alignment, as DensePose pastes its maps; but it rounds the box to whole pixels first,
        and shifts the maps by up to half of one. False and zero outside of the box.
        """
        corner, size = self.box[:2], self.box[2:] - self.box[:2]
        places = 2 * (pixels - corner) / size - 1
        maps = torch.cat((self.embedding, self.segmentation))
        sampled = torch.nn.functional.grid_sample(
            maps[None], places[None, None].to(maps), mode="bilinear", padding_mode="border", align_corners=False
        )[0, :, 0].T
        inside = (places.abs() <= 1).all(-1)
        embedding, logits = sampled[:, :-2], sampled[:, -2:]
        return embedding * inside[:, None], inside & (logits[:, 1] > logits[:, 0])


def match_pixels(
    pixel_embeddings: Float[Tensor, "pixels channels"], vertex_embeddings: Float[Tensor, "vertices channels"]
) -> tuple[Int[Tensor, "pixels"], Float[Tensor, "pixels"]]:
    """The vertex that each pixel shows, and how surely the way back from the surface leads to the same pixel.

    Both are unit vectors. From a pixel to vertices and from a vertex to the pixels given here (those of one animal) the
    way is a softmax of the cosine over `TEMPERATURE`; the second result is the probability of coming home, in [0, 1].
    Computed in pieces: memory does not grow with the number of pixels times vertices.
    """
    pieces = pixel_embeddings.split(max(_SIMILARITIES // max(len(vertex_embeddings), 1), 1))
    best_of_vertex = pixel_embeddings.new_full((len(vertex_embeddings),), -torch.inf)
    for piece in pieces:
        best_of_vertex = best_of_vertex.maximum((piece @ vertex_embeddings.T).amax(0))

    nearest, sum_of_vertex = [], torch.zeros_like(best_of_vertex)
    for piece in pieces:
        cosines = piece @ vertex_embeddings.T
        nearest.append(cosines.argmax(1))
        _, vertex, share = _softmax_terms(cosines, best_of_vertex[None])
        sum_of_vertex.index_add_(0, vertex, share)

    home = []
    for piece, best in zip(pieces, nearest, strict=True):
        cosines = piece @ vertex_embeddings.T
        pixel, vertex, forth = _softmax_terms(cosines, cosines.gather(1, best[:, None]))
        back = ((cosines[pixel, vertex] - best_of_vertex[vertex]) / TEMPERATURE).exp() / sum_of_vertex[vertex]
        zeros = torch.zeros_like(cosines[:, 0])
        home.append(zeros.index_add(0, pixel, forth * back) / zeros.index_add(0, pixel, forth))
    return torch.cat(nearest), torch.cat(home)


def _softmax_terms(
    cosines: Float[Tensor, "pixels vertices"], best: Float[Tensor, "#pixels #vertices"]
) -> tuple[Int[Tensor, "terms"], Int[Tensor, "terms"], Float[Tensor, "terms"]]:
    """Pixel, vertex and numerator of the terms that count: those far below the best are zero to within rounding, and
    the exponential of nearly all pairs is what would take the time."""
    pixel, vertex = (cosines > best - _NEGLIGIBLE * TEMPERATURE).nonzero(as_tuple=True)
    difference = cosines[pixel, vertex] - best.expand_as(cosines)[pixel, vertex]
    return pixel, vertex, (difference / TEMPERATURE).exp()


def points_of_detections(
    clip: Clip,
    detections: Sequence[Detection | None],
    vertex_embeddings: Float[Tensor, "vertices channels"],
    points: int,
    least_cycle: float,
    seed: int,
) -> SurfacePoints:
    """Up to `points` pixels of every frame that lie on the mask and on its detection, and come home from their vertex
    with a probability above `least_cycle`; drawn at random where there are more."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.zeros(len(clip), points, 2)
    vertices = torch.zeros(len(clip), points, dtype=torch.long)
    confidence = torch.zeros(len(clip), points)
    inside = ((clip.masks > 0.5) & clip.inside_frame()).cpu()
    for frame, detection in enumerate(detections):
        row, column = inside[frame].nonzero(as_tuple=True)
        if len(row) > 4 * points:
            # Every second row and column: a quarter of the time, and still more pixels than are wanted.
            even = (row % 2 == 0) & (column % 2 == 0)
            row, column = row[even], column[even]
        if detection is None or len(row) == 0:
            continue
        working = torch.stack((column, row), dim=-1) + 0.5
        places = clip.crop[[frame]].to_original(working[None].to(clip.crop.origin))[0].cpu()
        height, width = clip.crop.original_size
        embedding, animal = detection.at(places * (PADDED_SIZE / max(height, width)))
        if not bool(animal.any()):
            continue
        unit = torch.nn.functional.normalize(embedding[animal], dim=-1)
        vertex, cycle = match_pixels(unit, vertex_embeddings.cpu())
        kept = (cycle > least_cycle).nonzero().squeeze(1)
        kept = kept[torch.randperm(len(kept), generator=generator)[:points]].sort().values
        pixels[frame, : len(kept)] = places[animal][kept]
        vertices[frame, : len(kept)] = vertex[kept]
        confidence[frame, : len(kept)] = cycle[kept].clamp(0, 1)
    return SurfacePoints(pixels, vertices, confidence)


@dataclass(frozen=True, eq=False)
class CsePredictions:
    """Surface points from a file of CSE predictions of the external data tree."""

    name: ClassVar[str] = "cse-predictions"
    kind: ClassVar[str] = "precomputed"
    version: ClassVar[int] = 2
    cue: ClassVar[str] = "surface"

    path: Path
    """`<sequence>_<limit>_cse_predictions.pk`."""
    vertex_embeddings: Float[Tensor, "vertices 16"]
    """Of the template (`surface_embeddings.template_embeddings`)."""
    sequence_frames: tuple[int, ...]
    """Numbers of all frames of the sequence, chosen or not: the file's entries are places in this list."""
    wanted_class: str = "dog"
    """One of `DETECTED_CLASSES`."""
    least_score: float = 0.5
    points: int = 1000
    """Largest number of pixels of a frame."""
    least_cycle: float = 0.5
    seed: int = 0

    def config(self) -> dict[str, Any]:
        return {
            "file": file_checksum(self.path) if self.path.is_file() else "",
            "vertex_embeddings": tensor_checksum((self.vertex_embeddings,)),
            "sequence_frames": list(self.sequence_frames),
            "wanted_class": self.wanted_class,
            "least_score": self.least_score,
            "points": self.points,
            "least_cycle": self.least_cycle,
            "seed": self.seed,
        }

    def __call__(self, clip: Clip) -> SurfacePoints:
        """Points in all frames with a detection and a mask; the slots of other frames are empty.

        Raises Animal4dError where the file is damaged or does not cover the clip.
        """
        return points_of_detections(
            clip, self.detections(clip), self.vertex_embeddings, self.points, self.least_cycle, self.seed
        )

    def detections(self, clip: Clip) -> list[Detection | None]:
        """The best detection of the wanted class in each frame of the clip, None where there is none good enough.

        Raises Animal4dError where the file is damaged or does not cover the clip.
        """
        if self.wanted_class not in DETECTED_CLASSES:
            raise Animal4dError(f'"{self.wanted_class}" cannot be detected: choose {", ".join(DETECTED_CLASSES)}')
        content = load_pickle(self.path)
        if not isinstance(content, Mapping):
            raise Animal4dError(f"{self.path} must hold a dict of lists: make the file again")
        lists = {}
        for key in ("E", "S", "bboxes_x1y1x2y2", "scores", "pred_classes"):
            if not isinstance(content.get(key), list | tuple):
                raise Animal4dError(f'{self.path}: entry "{key}" must be a list with one item per frame: make it again')
            lists[key] = content[key]
        counts = {len(items) for items in lists.values()}
        if len(counts) > 1 or counts.pop() > len(self.sequence_frames):
            found = ", ".join(f"{len(items)} of {key}" for key, items in lists.items())
            raise Animal4dError(
                f"{self.path} must hold as many items of each kind as frames, at most the sequence's "
                f"{len(self.sequence_frames)}, got {found}: make the file again"
            )
        place_of = {number: place for place, number in enumerate(self.sequence_frames)}
        result: list[Detection | None] = []
        for number in clip.frame_numbers.tolist():
            place = place_of.get(number, len(self.sequence_frames))
            if place >= len(lists["E"]):
                raise Animal4dError(
                    f"{self.path} covers the first {len(lists['E'])} frames of the sequence, not frame {number}: "
                    "take only frames before it (--stop), or make the file again"
                )
            result.append(self._best({key: items[place] for key, items in lists.items()}, number))
        return result

    def _best(self, items: dict[str, Any], number: int) -> Detection | None:
        if all(item is None for item in items.values()):
            return None
        where = f"{self.path}, frame {number}: "
        missing = [key for key, item in items.items() if item is None]
        if missing:
            raise Animal4dError(
                f"{where}{', '.join(missing)} without value beside others with one: make the file again"
            )
        scores = checked_array(items["scores"], (None,), where + "scores")
        count = len(scores)
        classes = checked_array(items["pred_classes"], (count,), where + "pred_classes")
        boxes = checked_array(items["bboxes_x1y1x2y2"], (count, 4), where + "bboxes_x1y1x2y2")
        wanted = (classes == DETECTED_CLASSES.index(self.wanted_class)) & (scores > self.least_score)
        maps = {key: items[key] for key in ("E", "S")}
        channels = self.vertex_embeddings.shape[1]
        for (key, value), size in zip(maps.items(), (channels, 2), strict=True):
            shape = getattr(value, "shape", None)
            if shape is None or tuple(shape) != (count, size, MAP_SIZE, MAP_SIZE):
                got = type(value).__name__ if shape is None else "x".join(map(str, shape))
                expected = f"{count}x{size}x{MAP_SIZE}x{MAP_SIZE}"
                raise Animal4dError(f"{where}{key} must be {expected}, got {got}: make the file again")
        if not wanted.any():
            return None
        best = int(np.where(wanted, scores, -np.inf).argmax())
        box = boxes[best]
        if not (box[2:] > box[:2]).all():
            raise Animal4dError(f"{where}the box {box.round(1).tolist()} is empty: make the file again")
        shape = (None, MAP_SIZE, MAP_SIZE)
        embedding, segmentation = (
            torch.from_numpy(checked_array(value[best], shape, where + key)).float() for key, value in maps.items()
        )
        return Detection(embedding, segmentation, torch.from_numpy(box).float(), float(scores[best]))
