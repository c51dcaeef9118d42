"""The nine animals of DensePose CSE and their meshes, as its configuration lists them."""

from __future__ import annotations

EMBEDDING_SIZE = 16
"""Of the space that pixels and the vertices of all meshes share."""
MAP_SIZE = 112
"""Side of the maps of an animal."""
CATEGORIES = ("bear", "cow", "cat", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
"""What the numbers of the classes mean."""
MESH_VERTICES = {
    "cat_7466": 7466,
    "dog_7466": 7466,
    "sheep_5004": 5004,
    "horse_5004": 5004,
    "zebra_5002": 5002,
    "giraffe_5002": 5002,
    "elephant_5002": 5002,
    "cow_5002": 5002,
    "bear_4936": 4936,
}
"""Vertices of every mesh that the network has embeddings of."""
MESH_OF = {mesh.rsplit("_", 1)[0]: mesh for mesh in MESH_VERTICES}
"""By category, the mesh that its pixels are compared with."""
