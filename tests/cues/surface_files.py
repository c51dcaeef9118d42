"""CSE files in the external data tree's layout, for the built-in body: written from a truth that is known."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import diags
from torch import Tensor

from animal4d.body.keypoints import KEYPOINT_VERTICES, VERTEX_GROUPS
from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.clip import Clip, Crop
from animal4d.cues.surface_embeddings import EmbeddingFiles
from animal4d.geometry.cameras import intrinsics_from_fov
from animal4d.geometry.rasterize import interpolate, rasterize
from animal4d.geometry.spectral import SpectralBasis, laplace_beltrami
from fit.scenes import turning_views

MODEL = load_builtin_template()
VERTICES, FACES = MODEL.v_template.double().numpy(), MODEL.faces.numpy()
K = 60
FRAMES, NUMBERS = 4, (0, 2, 3, 7, 8)
"""Of `landscape_clip`, and the numbers of all frames of its video."""


def write_pickle(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))


def true_embeddings(basis: SpectralBasis) -> NDArray[np.float64]:
    """Smooth unit vectors that differ everywhere: mixtures of the first eigenfunctions, the smoother the larger."""
    unit = basis.unit_area
    smooth = unit.functions[:, 1:31] / np.sqrt(unit.eigenvalues[1:31])
    mixed = smooth @ np.random.default_rng(0).normal(size=(30, 16))
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def other_body(keep: list[int], seed: int) -> tuple[SpectralBasis, NDArray[np.int64]]:
    """Basis of a cat's body whose vertices are numbered at random, but for those in `keep`; and the template's vertex
    that each of its vertices is."""
    shape = MODEL.with_shape(load_species_betas()["cat"]).vertices.double().numpy()
    template_vertex = np.arange(len(VERTICES))
    free = np.setdiff1d(template_vertex, keep)
    template_vertex[free] = np.random.default_rng(seed).permutation(free)
    return laplace_beltrami(shape[template_vertex], np.argsort(template_vertex)[FACES], K), template_vertex


def write_embedding_files(root: Path, smal_is_template: bool, dense: bool = False) -> tuple[EmbeddingFiles, NDArray]:
    """All four files, and the embeddings that the template should get. CSE's mesh is another body in another order; so
    is SMAL's where it is not the template, but for the vertices with a name."""
    own = laplace_beltrami(VERTICES, FACES, K)
    truth = true_embeddings(own)
    named = sorted({*KEYPOINT_VERTICES.values(), *(vertex for group in VERTEX_GROUPS.values() for vertex in group)})
    smal, smal_vertex = (own, np.arange(len(VERTICES))) if smal_is_template else other_body(named, 3)
    cse, cse_vertex = other_body([], 4)
    on_smal = cse.unit_area.functions[np.argsort(cse_vertex)[smal_vertex]]
    matrix = smal.unit_area.functions.T @ (smal.unit_area.areas[:, None] * on_smal)
    for name, basis in (("cse", cse), ("smal", smal)):
        areas = np.diag(basis.areas) if dense else diags(basis.areas).tocsc()
        write_pickle(root / "lbos" / f"lbo_{name}.pk", {"lbo_basis": basis.functions, "lbo_areas": areas})
    write_pickle(root / "lbos" / "lbo_cse_to_smal.pk", {"C": matrix})
    write_pickle(root / "cse" / "cse_embedding.pk", {"cse_dog": truth[cse_vertex].astype(np.float32)})
    return EmbeddingFiles.in_tree(root), truth


@dataclass(frozen=True)
class Predictions:
    """What a perfect network says about a clip; `entries` is the content of the file."""

    entries: dict[str, list[Any]]

    def write(self, path: Path) -> Path:
        write_pickle(path, self.entries)
        return path


def rendered_predictions(
    clip: Clip, vertices_in_camera: Tensor, embeddings: Tensor, noise: float = 0.0, seed: int = 0
) -> Predictions:
    """Embeddings rendered into the box of the animal, at 112 x 112, as file entries of one dog per frame."""
    height, width = clip.crop.original_size
    to_padded = 800 / max(height, width)
    original = clip.crop.original_intrinsics(clip.intrinsics)
    padded = original * torch.tensor([to_padded, to_padded, 1.0])[:, None]
    entries: dict[str, list[Any]] = {key: [] for key in ("E", "S", "bboxes_x1y1x2y2", "scores", "pred_classes")}
    entries["image_size"] = []
    generator = torch.Generator().manual_seed(seed)
    for frame in range(len(clip)):
        projected = vertices_in_camera[frame] @ padded[frame].T
        pixels = projected[:, :2] / projected[:, 2:]
        low, high = pixels.amin(0) - 3, pixels.amax(0) + 3
        zoom = 112 / (high - low)
        camera = padded[frame].clone()
        camera[:2, 2] -= low
        camera = camera * torch.tensor([float(zoom[0]), float(zoom[1]), 1.0])[:, None]
        fragments = rasterize(vertices_in_camera[frame : frame + 1], MODEL.faces, camera[None], (112, 112))
        image = interpolate(fragments, MODEL.faces, embeddings[None])[0]
        image = image + noise * torch.randn(image.shape, generator=generator)
        covered = fragments.covered[0].float()
        entries["E"].append(image.permute(2, 0, 1)[None].numpy())
        entries["S"].append(torch.stack((-5 * (2 * covered - 1), 5 * (2 * covered - 1)))[None].numpy())
        entries["bboxes_x1y1x2y2"].append(torch.cat((low, high))[None].numpy())
        entries["scores"].append(np.array([0.9], np.float32))
        entries["pred_classes"].append(np.array([3]))
        entries["image_size"].append((800, 800))
    return Predictions(entries)


def landscape_clip() -> tuple[Clip, torch.Tensor]:
    """The rest pose in the working windows of a 480 x 640 video with gaps in its frame numbers, without frame 0; and
    its vertices in the camera."""
    vertices = MODEL.v_template @ turning_views(FRAMES, turn=25.0).transpose(1, 2)
    vertices = vertices + torch.tensor([0.3, 0.1, 3.5])
    crop = Crop(torch.tensor([[200.0, 60.0]]).repeat(FRAMES, 1), torch.full((FRAMES,), 2.5), (480, 640))
    original = intrinsics_from_fov(50.0, (480, 640)).repeat(FRAMES, 1, 1)
    intrinsics = crop.working_intrinsics(original)
    masks = rasterize(vertices, MODEL.faces, intrinsics, (160, 160)).covered.float()
    clip = Clip(
        name="landscape",
        frames=torch.zeros(FRAMES, 160, 160, 3, dtype=torch.uint8),
        masks=masks,
        mask_valid=torch.ones(FRAMES, dtype=torch.bool),
        frame_numbers=torch.tensor(NUMBERS[1:]),
        times=torch.arange(FRAMES) / 24,
        fps=24.0,
        intrinsics=intrinsics,
        crop=crop,
    )
    return clip, vertices
