"""Networks that see what stands out in a picture, as ONNX files: U2-Net (arXiv 2005.09007), IS-Net (2203.03041) and
their like.

All take one RGB picture (1, 3, height, width) and give maps of which the first is the foreground; they differ in size
and normalisation. The size is read from the file; the normalisation is that of the family which the size, or else the
file's name, speaks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from animal4d.errors import Animal4dError
from animal4d.pretrained.batches import IMAGENET_MEAN, IMAGENET_STD
from animal4d.pretrained.packages import INSTALL, is_installed

PACKAGE = "onnxruntime"


@dataclass(frozen=True)
class Family:
    """How a kind of network wants its pictures."""

    name: str
    size: int
    """Side in pixels, where the file leaves it open."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    brightest_is_one: bool = False
    """Whether a picture is divided by its largest value first, rather than by 255."""


FAMILIES = {
    family.name: family
    for family in (
        Family("u2net", 320, IMAGENET_MEAN, IMAGENET_STD, brightest_is_one=True),
        Family("isnet", 1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
        Family("birefnet", 1024, IMAGENET_MEAN, IMAGENET_STD),
    )
}
"""By name. U2-Net's also fits its smaller versions; IS-Net's the networks that were made of it (RMBG 1.4)."""


@dataclass(frozen=True, eq=False)
class OnnxSegmenter:
    """A network ready to look."""

    file: Path
    session: Any
    input_name: str
    family: Family
    size: tuple[int, int]
    """Height and width of its input."""
    half: bool
    """Whether its input is in half precision."""

    def foreground(self, image: UInt8[NDArray, "height width 3"]) -> Float[NDArray, "rows columns"]:
        """Probability of what stands out in an RGB picture, over the whole of it at the network's own resolution.

        Raises Animal4dError where the network gives no map.
        """
        height, width = self.size
        shrinks = image.shape[0] > height or image.shape[1] > width
        picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        one = max(int(picture.max()), 1) if self.family.brightest_is_one else 255
        normal = (picture.astype(np.float32) / one - self.family.mean) / self.family.std
        given = np.ascontiguousarray(normal.transpose(2, 0, 1)[None], dtype=np.float16 if self.half else np.float32)
        maps = np.asarray(self.session.run(None, {self.input_name: given})[0], dtype=np.float32)
        if maps.ndim not in (3, 4) or (maps.ndim == 4 and maps.shape[1] != 1) or maps.shape[0] != 1:
            raise Animal4dError(
                f"{self.file}: the first output of this network (taken for one like {self.family.name}) is "
                f"{'x'.join(map(str, maps.shape))}, no map of the foreground: give another ONNX file"
            )
        foreground = maps.reshape(maps.shape[-2:])
        if not np.isfinite(foreground).all():
            raise Animal4dError(
                f"{self.file}: the foreground of this network (taken for one like {self.family.name}) is not finite: "
                "give another ONNX file"
            )
        # Some files end before the sigmoid.
        return foreground if foreground.min() >= 0 and foreground.max() <= 1 else 1 / (1 + np.exp(-foreground))


def has_package() -> bool:
    """Whether `onnxruntime` is installed."""
    return is_installed(PACKAGE)


def read_onnx(
    file: Path,
    family: str | None = None,
    size: int | None = None,
    device: torch.device | str = "cpu",
) -> OnnxSegmenter:
    """The network in a file.

    Args:
        file: The ONNX file.
        family: Its normalisation, one of `FAMILIES`; by its input's size or its name where it is not said.
        size: Side of the input in pixels, where the file leaves it open; the family's where it is not said.
        device: Where it is to run. Without onnxruntime's CUDA build everything runs on the CPU.

    Raises:
        Animal4dError: `onnxruntime` is not installed, the file is missing or broken, or it is no such network.
    """
    if not file.is_file():
        raise Animal4dError(f"{file}: no such file; an ONNX file of a network like U2-Net or IS-Net is needed")
    if family is not None and family not in FAMILIES:
        raise Animal4dError(f"unknown family '{family}' of ONNX networks; known are {', '.join(FAMILIES)}")
    if not has_package():
        raise Animal4dError(f"masks by an ONNX file need the package {PACKAGE}: {INSTALL}")
    import onnxruntime

    # Its builds for Windows tell Microsoft what runs, unless they are asked not to.
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    wanted = ["CUDAExecutionProvider"] if torch.device(device).type == "cuda" else []
    there = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=[name for name in (*wanted, "CPUExecutionProvider") if name in there]
        )
    except Exception as error:  # the runtime raises its own kinds, one for each way a file can be broken
        raise Animal4dError(f"{file} cannot be read as an ONNX network: get it again") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, "3"):
        shapes = ", ".join("x".join(str(side) for side in given.shape) for given in inputs)
        raise Animal4dError(f"{file} is no network for masks: it reads {shapes}, not one picture 1x3xHEIGHTxWIDTH")
    if inputs[0].type not in ("tensor(float)", "tensor(float16)"):
        raise Animal4dError(f"{file} is no network for masks: it reads {inputs[0].type}, not colours as real numbers")
    sides = [side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape[2:]]
    chosen = FAMILIES[family] if family is not None else _family(file, sides)
    open_side = size or chosen.size
    if size is not None and any(side not in (None, size) for side in sides):
        fixed = "x".join(str(side) for side in sides)
        raise Animal4dError(f"{file} looks at {fixed} pixels, not at {size}: leave the size out")
    return OnnxSegmenter(
        file,
        session,
        inputs[0].name,
        chosen,
        (sides[0] or open_side, sides[1] or open_side),
        inputs[0].type == "tensor(float16)",
    )


def _family(file: Path, sides: list[int | None]) -> Family:
    """By the name where it says so, else by the size: U2-Net looks at 320 pixels, IS-Net at 1024."""
    name = file.name.lower()
    named = next((family for family in FAMILIES.values() if family.name in name.replace("-", "")), None)
    if named is not None:
        return named
    return FAMILIES["isnet" if max(side or 0 for side in sides) > 512 else "u2net"]
