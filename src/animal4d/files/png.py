"""Pictures as PNG files."""

from __future__ import annotations

from io import BytesIO

from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor


def png_bytes(image: UInt8[Tensor, "height width *channels"] | Bool[Tensor, "height width"]) -> bytes:
    """The same picture gives the same bytes."""
    stream = BytesIO()
    Image.fromarray(image.numpy()).save(stream, "PNG", optimize=True)
    return stream.getvalue()
