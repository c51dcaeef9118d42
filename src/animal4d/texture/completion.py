"""Colours for the texels that no frame saw: from the animal's other side, and from what lies around on the surface."""

from __future__ import annotations

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.ndimage import distance_transform_edt

from animal4d.body.model import BodyModel
from animal4d.geometry.mesh import unique_edges
from animal4d.texture.atlas import Atlas, Texels
from animal4d.texture.observations import look_up

ENOUGH = 0.3
"""Weight of a texel's views from which they outweigh what is known of it otherwise."""
_NEUTRAL = 0.6
_SPREAD = 0.02
"""Pull of a vertex towards its neighbours' mean, against the weight of what is known of it."""
_STEP_PULL = 0.02
"""Of the difference between the sides towards none: it fades within a few edges from where it was seen, for the light
that falls on a flank says nothing of the legs below."""


def complete(
    color: Float[ndarray, "texels 3"],
    weight: Float[ndarray, "texels"],
    texels: Texels,
    atlas: Atlas,
    model: BodyModel,
) -> Float[ndarray, "texels 3"]:
    """Every texel's colour, going over from the seen to the guessed without a step.

    A texel that was not seen takes the colour of the mirrored place. Light differs between the sides: by how much is
    measured where both were seen, and spread over the surface from there. Where the mirrored place was not seen
    either, colours spread over the surface.
    """
    faces, face_index = model.faces.numpy(), texels.face_index.numpy()
    corners, barycentrics = faces[face_index], texels.barycentrics.numpy()

    def spread(values: ndarray, trust: ndarray, otherwise: ndarray, pull: float) -> ndarray:
        at_vertices = _spread(values, trust, corners, barycentrics, model, otherwise, pull)
        return (barycentrics[..., None] * at_vertices[corners]).sum(1).astype(np.float32)

    if not (weight > 0).any():
        return np.full_like(color, _NEUTRAL)
    trust = weight / (weight + ENOUGH)
    mirrored, mirrored_trust = _mirrored(color, trust, texels, atlas, model)
    step = spread(color - mirrored, trust * mirrored_trust, np.zeros(3), _STEP_PULL)
    mirrored = np.clip(mirrored + step, 0, 1)
    known = trust[:, None] * color + ((1 - trust) * mirrored_trust)[:, None] * mirrored
    known_trust = trust + (1 - trust) * mirrored_trust
    mean = (trust[:, None] * color).sum(0) / trust.sum()
    around = spread(known / np.maximum(known_trust, 1e-9)[:, None], known_trust, mean, 1e-6)
    return np.clip(known + (1 - known_trust)[:, None] * around, 0, 1).astype(np.float32)


def padded(image: UInt8[ndarray, "size size 3"], texels: Texels) -> UInt8[ndarray, "size size 3"]:
    """The texels between the charts in the colour of the nearest in one, so that no filter finds a border."""
    nearest = distance_transform_edt(~texels.covered.numpy(), return_distances=False, return_indices=True)
    row, column = np.asarray(nearest)
    return image[row, column]


def _mirrored(
    color: ndarray, trust: ndarray, texels: Texels, atlas: Atlas, model: BodyModel
) -> tuple[ndarray, ndarray]:
    """What the texels' mirrored places on the surface show, and how far to trust it: 0 where a face has no image."""
    face, order = _mirrored_faces(model)
    at = face[texels.face_index.numpy()]
    shuffled = np.take_along_axis(texels.barycentrics.numpy(), order[texels.face_index.numpy()], axis=1)
    uv = atlas.uv.numpy()[atlas.faces.numpy()[np.maximum(at, 0)]]
    places = (shuffled[..., None] * uv).sum(1).astype(np.float32) * texels.size
    covered = texels.covered.numpy()
    image = np.zeros((*covered.shape, 4), np.float32)
    image[covered] = np.concatenate((color * trust[:, None], trust[:, None]), axis=1)
    found = look_up(image, places, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    found_trust = np.where(at >= 0, found[:, 3], 0)
    return found[:, :3] / np.maximum(found[:, 3:], 1e-6), found_trust


def _mirrored_faces(model: BodyModel) -> tuple[ndarray, ndarray]:
    """For every face its mirror image, -1 for none; and for each corner of the image the corner that it mirrors."""
    faces = model.faces.numpy()
    across = np.arange(model.n_vertices)
    left, right = model.left_indices.numpy(), model.right_indices.numpy()
    across[left], across[right] = right, left
    number = {tuple(sorted(face)): index for index, face in enumerate(faces.tolist())}
    images = across[faces]
    mirrored = np.array([number.get(tuple(sorted(image)), -1) for image in images.tolist()])
    order = (faces[mirrored][:, :, None] == images[:, None]).argmax(2)
    return mirrored, order


def _spread(
    values: ndarray,
    trust: ndarray,
    corners: ndarray,
    barycentrics: ndarray,
    model: BodyModel,
    otherwise: ndarray,
    pull: float,
) -> Float[ndarray, "vertices channels"]:
    """Values of texels carried to the vertices and over the edges of the mesh to those without any."""
    n = model.n_vertices
    share = (barycentrics * trust[:, None]).ravel()
    texels_of_vertex = np.bincount(corners.ravel(), barycentrics.ravel(), n)
    size = np.maximum(texels_of_vertex, 1e-6)
    weight = np.bincount(corners.ravel(), share, n) / size
    sums = np.stack(
        [
            np.bincount(corners.ravel(), share * np.repeat(values[:, channel], 3), n) / size
            for channel in range(values.shape[1])
        ],
        axis=1,
    )
    first, second = unique_edges(model.faces).numpy().T
    rows, columns = np.concatenate((first, second)), np.concatenate((second, first))
    adjacency = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    laplacian = scipy.sparse.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency
    system = scipy.sparse.diags(weight + pull) + _SPREAD * laplacian
    return scipy.sparse.linalg.splu(system.tocsc()).solve(sums + pull * otherwise)


def as_image(color: Float[ndarray, "texels channels"], texels: Texels) -> UInt8[ndarray, "size size channels"]:
    """Texels in the square, 0 between the charts."""
    image = np.zeros((texels.size, texels.size, color.shape[1]), np.uint8)
    image[texels.covered.numpy()] = np.round(color * 255)
    return image


def seen_image(seen: ndarray, texels: Texels) -> torch.Tensor:
    """(size, size) bool; texels between the charts as the nearest in one."""
    image = np.zeros((texels.size, texels.size), bool)
    image[texels.covered.numpy()] = seen
    return torch.from_numpy(padded(image, texels))
