"""Convolutions as Detectron2's files hold them: the parameters of a normalisation lie below those of its
convolution, and activations have no place in the names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

_EPSILON = 1e-5


class FrozenBatchNorm(nn.Module):
    """A batch normalisation whose statistics are constants: one factor and one shift per channel."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def factor_and_shift(self) -> tuple[Float[Tensor, "channels"], Float[Tensor, "channels"]]:
        factor = self.weight * (self.running_var + _EPSILON).rsqrt()
        return factor, self.bias - self.running_mean * factor


class NormedConv(nn.Conv2d):
    """A convolution with a frozen normalisation, and a ReLU where `relu` is set."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = FrozenBatchNorm(outputs)
        self.relu = relu

    def forward(self, input: Float[Tensor, "n in h w"]) -> Float[Tensor, "n out h2 w2"]:
        # Weights are much smaller than maps: the factor goes into them.
        factor, shift = self.norm.factor_and_shift()
        weight = self.weight * factor[:, None, None, None]
        result = nn.functional.conv2d(input, weight, shift, self.stride, self.padding)
        return result.relu_() if self.relu else result


class ReluConv(nn.Conv2d):
    """A 3 x 3 convolution that keeps the size, and a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Float[Tensor, "n in h w"]) -> Float[Tensor, "n out h w"]:
        return super().forward(input).relu_()
