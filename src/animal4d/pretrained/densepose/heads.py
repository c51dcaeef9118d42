"""What is in a box: its class and exact place, and for every pixel of it the surface (CSE, arXiv 2011.12438)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from animal4d.pretrained.densepose.backbone import CHANNELS, STRIDES, Pyramid
from animal4d.pretrained.densepose.boxes import best_of_overlapping, clipped, moved_boxes
from animal4d.pretrained.densepose.layers import ReluConv
from animal4d.pretrained.densepose.meshes import CATEGORIES, EMBEDDING_SIZE, MAP_SIZE, MESH_VERTICES
from animal4d.pretrained.densepose.proposals import Proposals
from animal4d.pretrained.densepose.roi_align import roi_align, roi_align_pyramid

_FEATURES = 256
"""Eigenfunctions of a mesh."""
_LEVELS = 4
"""p2 to p5: p6 only serves proposals."""
_BOX_SIDE = 7
_SURFACE_SIDE = 28
_HIDDEN = 512
_DELTA_WEIGHTS = (10.0, 5.0)
_MOST_OVERLAP = 0.5
_MOST_BOXES = 100


@dataclass(frozen=True)
class FoundBoxes:
    """Animals, best first, no two of one class on each other."""

    boxes: Float[Tensor, "n 4"]
    """In pixels of the network's picture."""
    scores: Float[Tensor, "n"]
    classes: Int[Tensor, "n"]
    """Places in `meshes.CATEGORIES`."""

    def __getitem__(self, chosen: Tensor | slice) -> FoundBoxes:
        return FoundBoxes(self.boxes[chosen], self.scores[chosen], self.classes[chosen])


@dataclass(frozen=True)
class SurfaceMaps:
    """What the boxes show, in maps that cover each."""

    embedding: Float[Tensor, "n 16 112 112"]
    """To be normalised and compared with `Embedder.vertex_embeddings`."""
    segmentation: Float[Tensor, "n 2 112 112"]
    """Logits of background and animal."""


class _BoxHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(CHANNELS * _BOX_SIDE**2, 1024)
        self.fc2 = nn.Linear(1024, 1024)

    def forward(self, features: Float[Tensor, "n 256 7 7"]) -> Float[Tensor, "n 1024"]:
        return self.fc2(self.fc1(features.flatten(1)).relu_()).relu_()


class _BoxPredictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_score = nn.Linear(1024, len(CATEGORIES) + 1)
        self.bbox_pred = nn.Linear(1024, 4 * len(CATEGORIES))

    def forward(self, features: Float[Tensor, "n 1024"]) -> tuple[Float[Tensor, "n 10"], Float[Tensor, "n 36"]]:
        """Logits of all classes and of nothing, and how the box moves for each class."""
        return self.cls_score(features), self.bbox_pred(features)


def _up(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2h 2w"]:
    return nn.functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


class _Decoder(nn.Module):
    """All levels in one map of p2's size (the semantic head of Kirillov et al. 2019, Panoptic FPN)."""

    def __init__(self) -> None:
        super().__init__()
        for number in range(2, 2 + _LEVELS):
            steps: list[nn.Module] = []
            for _ in range(max(number - 2, 1)):
                steps.append(ReluConv(CHANNELS, CHANNELS))
                if number > 2:
                    steps.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.add_module(f"p{number}", nn.Sequential(*steps))
        self.predictor = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, pyramid: Pyramid) -> Float[Tensor, "1 256 h w"]:
        total = self.get_submodule("p2")(pyramid[0])
        for number in range(3, 2 + _LEVELS):
            total += self.get_submodule(f"p{number}")(pyramid[number - 2])
        return self.predictor(total)


class _SurfaceHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for number in range(1, 9):
            self.add_module(f"body_conv_fcn{number}", ReluConv(CHANNELS if number == 1 else _HIDDEN, _HIDDEN))

    def forward(self, features: Float[Tensor, "n 256 28 28"]) -> Float[Tensor, "n 512 28 28"]:
        for number in range(1, 9):
            features = self.get_submodule(f"body_conv_fcn{number}")(features)
        return features


class _SurfacePredictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.coarse_segm_lowres = nn.ConvTranspose2d(_HIDDEN, 2, 4, stride=2, padding=1)
        self.embed_lowres = nn.ConvTranspose2d(_HIDDEN, EMBEDDING_SIZE, 4, stride=2, padding=1)

    def forward(self, features: Float[Tensor, "n 512 28 28"]) -> SurfaceMaps:
        return SurfaceMaps(_up(self.embed_lowres(features)), _up(self.coarse_segm_lowres(features)))


class _VertexEmbedder(nn.Module):
    features: Tensor
    """Eigenfunctions of the mesh."""

    def __init__(self, vertices: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(_FEATURES, EMBEDDING_SIZE))
        self.register_buffer("features", torch.zeros(vertices, _FEATURES))


class Embedder(nn.Module):
    """Where the vertices of every mesh lie in the space that all of them share with the pixels."""

    def __init__(self) -> None:
        super().__init__()
        for mesh, vertices in MESH_VERTICES.items():
            self.add_module(f"embedder_{mesh}", _VertexEmbedder(vertices))

    def vertex_embeddings(self, mesh: str) -> Float[Tensor, "vertices 16"]:
        """Unit vectors for the vertices of one of `meshes.MESH_VERTICES`."""
        embedder = self._of(mesh)
        return nn.functional.normalize(embedder.features @ embedder.embeddings, dim=1).detach()

    def functions(self, mesh: str) -> Float[Tensor, "vertices 256"]:
        """Eigenfunctions of a mesh's Laplacian by rising eigenvalue, of which its embeddings are mixtures."""
        return self._of(mesh).features

    def _of(self, mesh: str) -> _VertexEmbedder:
        embedder = self.get_submodule(f"embedder_{mesh}")
        assert isinstance(embedder, _VertexEmbedder)
        return embedder


class Heads(nn.Module):
    """Everything that looks into boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.box_head = _BoxHead()
        self.box_predictor = _BoxPredictor()
        self.decoder = _Decoder()
        self.densepose_head = _SurfaceHead()
        self.densepose_predictor = _SurfacePredictor()
        self.embedder = Embedder()

    def look(
        self, pyramid: Pyramid, boxes: Float[Tensor, "n 4"]
    ) -> tuple[Float[Tensor, "n 10"], Float[Tensor, "n 36"]]:
        """Logits of all classes and of nothing, and how each box moves for each class."""
        features = roi_align_pyramid(pyramid[:_LEVELS], boxes, STRIDES, _BOX_SIDE)
        return self.box_predictor(self.box_head(features))

    def find(self, pyramid: Pyramid, proposals: Proposals, size: tuple[int, int], least_score: float) -> FoundBoxes:
        """Animals with a score above `least_score` in a picture of `size` (height, width) without the padding."""
        logits, deltas = self.look(pyramid, proposals.boxes)
        scores = logits.softmax(1)
        good = scores.isfinite().all(1) & deltas.isfinite().all(1)
        box, category = ((scores[:, :-1] > least_score) & good[:, None]).nonzero(as_tuple=True)
        score = scores[box, category]
        own = deltas.reshape(len(deltas), len(CATEGORIES), 4)[box, category]
        moved = clipped(moved_boxes(proposals.boxes[box], own, _DELTA_WEIGHTS), size)
        kept = best_of_overlapping(moved, score, category, _MOST_OVERLAP)[:_MOST_BOXES]
        return FoundBoxes(moved[kept], score[kept], category[kept])

    def surface(self, pyramid: Pyramid, boxes: Float[Tensor, "n 4"]) -> SurfaceMaps:
        """Maps for boxes in pixels of the network's picture."""
        if len(boxes) == 0:
            shape = (MAP_SIZE, MAP_SIZE)
            return SurfaceMaps(boxes.new_zeros(0, EMBEDDING_SIZE, *shape), boxes.new_zeros(0, 2, *shape))
        features = roi_align(self.decoder(pyramid)[0], boxes, STRIDES[0], _SURFACE_SIDE)
        return self.densepose_predictor(self.densepose_head(features))
