"""Sizes and labels that the built-in network, its training samples and its users share."""

from __future__ import annotations

from animal4d.body.model import PART_NAMES

CROP = 192
"""Side of the square crop that the network sees, in pixels."""
MARGIN = 0.15
"""Space around the animal in its crop, as a fraction of its larger extent, on every side."""
MAP = 48
"""Side of its maps: a quarter."""
BACKGROUND = 0
"""Label of what is not the animal. Label k > 0 is `PART_NAMES[k - 1]`; left and right are the animal's own."""
LABELS = 1 + len(PART_NAMES)
EMBEDDING_SIZE = 16
FEATURES = 64
"""Channels of the pooled features."""
