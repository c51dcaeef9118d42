"""ResNet-50 (He et al. 2016) and the feature pyramid on it (Lin et al. 2017), as Detectron2 builds them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from animal4d.pretrained.densepose.layers import NormedConv

CHANNELS = 256
"""Of every level of the pyramid."""
STRIDES = (4, 8, 16, 32, 64)
"""Of the levels p2 to p6, in pixels of the picture."""
DIVISIBILITY = 32
"""Sides of the network's pictures are multiples of it."""
_STAGES = ((3, 64, 256), (4, 128, 512), (6, 256, 1024), (3, 512, 2048))
"""Blocks, inner channels and outer channels of res2 to res5."""

Pyramid = tuple[Float[Tensor, "1 256 h w"], ...]
"""p2 to p6."""


class _Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = NormedConv(3, 64, 7, stride=2)

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 64 h4 w4"]:
        return nn.functional.max_pool2d(self.conv1(pixels), 3, stride=2, padding=1)


class _Bottleneck(nn.Module):
    """Strides lie in the first, 1 x 1 convolution, as in the weights that Detectron2 starts from."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut = None if inputs == outputs else NormedConv(inputs, outputs, 1, stride, relu=False)
        self.conv1 = NormedConv(inputs, inner, 1, stride)
        self.conv2 = NormedConv(inner, inner, 3)
        self.conv3 = NormedConv(inner, outputs, 1, relu=False)

    def forward(self, maps: Float[Tensor, "n in h w"]) -> Float[Tensor, "n out h2 w2"]:
        past = maps if self.shortcut is None else self.shortcut(maps)
        return self.conv3(self.conv2(self.conv1(maps))).add_(past).relu_()


class _ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = _Stem()
        inputs = 64
        for number, (blocks, inner, outputs) in enumerate(_STAGES, start=2):
            first = _Bottleneck(inputs, inner, outputs, stride=1 if number == 2 else 2)
            rest = [_Bottleneck(outputs, inner, outputs, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"res{number}", nn.Sequential(first, *rest))
            inputs = outputs

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """Maps of res2 to res5."""
        maps, result = self.stem(pixels), []
        for number in range(2, 6):
            maps = self.get_submodule(f"res{number}")(maps)
            result.append(maps)
        return result


class PyramidBackbone(nn.Module):
    """Five maps of one picture, each half as large as the one before."""

    def __init__(self) -> None:
        super().__init__()
        for number, (_, _, channels) in enumerate(_STAGES, start=2):
            self.add_module(f"fpn_lateral{number}", nn.Conv2d(channels, CHANNELS, 1))
            self.add_module(f"fpn_output{number}", nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
        self.bottom_up = _ResNet50()

    def forward(self, pixels: Float[Tensor, "1 3 h w"]) -> Pyramid:
        """`pixels` as `picture.network_picture` makes them; sides are multiples of `DIVISIBILITY`."""
        stages = self.bottom_up(pixels)
        merged: Tensor | None = None
        levels: list[Tensor] = []
        for number in range(5, 1, -1):
            lateral = self.get_submodule(f"fpn_lateral{number}")(stages.pop())
            if merged is not None:
                lateral += nn.functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = lateral
            levels.insert(0, self.get_submodule(f"fpn_output{number}")(merged))
        return (*levels, levels[-1][:, :, ::2, ::2])
