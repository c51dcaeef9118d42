"""The built-in network: from a crop to foreground, parts, surface, view and features.

An EfficientNet-Lite0 (Tan and Le 2019; the "Lite" variant has no squeeze-and-excitation and ReLU6 for swish) without
its head sees the colours; what is known of the mask joins in at stride 4, so that the first stages can stay those of
ImageNet, which have seen photographs. A feature pyramid (Lin et al. 2017) brings its strides 32 to 4 together on a map
of a quarter of the crop. One vector that is read from the whole coarsest map tells the view, and is added to every
place of that map: left and right of a leg follow from the view of the whole animal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from animal4d.eyes.labels import CROP, EMBEDDING_SIZE, FEATURES, LABELS

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_DEVIATION = (0.229, 0.224, 0.225)
VIEW_DIRECTIONS = 96
_VIEW_WINDOW = math.cos(math.radians(35.0))
_WIDTH = 96
_CONTEXT = 128
_COARSE = 32
_STAGES = (
    (1, 1, 16, 3, 1),
    (2, 6, 24, 3, 2),
    (2, 6, 40, 5, 2),
    (3, 6, 80, 3, 2),
    (3, 6, 112, 5, 1),
    (4, 6, 192, 5, 2),
    (1, 6, 320, 3, 1),
)
"""Blocks, expansion, channels, kernel and stride of every stage of EfficientNet-B0 and Lite0."""
_MASK_STAGE = 2
"""The mask is added to the map that enters this stage, of stride 4."""
_MASK_CHANNELS = 16
_TAPPED_STAGES = (1, 2, 4, 6)
"""Stages after which the pyramid takes the map: strides 4, 8, 16 and 32."""


@dataclass(frozen=True)
class EyesOutput:
    """What the network says of `n` crops, before it is made probabilities."""

    foreground: Float[Tensor, "n 48 48"]
    """Logit of the animal's coverage."""
    parts: Float[Tensor, "n labels 48 48"]
    """Logits of the labels of `animal4d.eyes.labels`."""
    embedding: Float[Tensor, "n 16 48 48"]
    """Unit vectors, to be compared with the vertex embeddings."""
    log_error: Float[Tensor, "n 48 48"]
    """Logarithm of the expected geodesic error of the surface, in body lengths."""
    view: Float[Tensor, "n 3"]
    """Unit vector from the animal to the camera in the frame of its trunk: x ahead, y to its left, z up."""
    view_logits: Float[Tensor, "n directions"]
    """Of the directions of `view_directions`."""
    features: Float[Tensor, "n 64"]
    """Last map, averaged over the animal."""


def network_input(
    images: UInt8[Tensor, "n 192 192 3"], masks: Float[Tensor, "n 192 192"]
) -> Float[Tensor, "n 4 192 192"]:
    """What the network sees of sRGB crops and of masks in [-1, 1], which are 0 where nothing is known."""
    mean, deviation = (torch.tensor(values, device=images.device) for values in (IMAGE_MEAN, IMAGE_DEVIATION))
    colors = ((images.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)
    return torch.cat((colors, masks[:, None]), dim=1).contiguous(memory_format=torch.channels_last)


def view_directions() -> Float[Tensor, "directions 3"]:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), symmetric in nothing."""
    index = torch.arange(VIEW_DIRECTIONS, dtype=torch.float64) + 0.5
    height = 1 - 2 * index / VIEW_DIRECTIONS
    angle = math.pi * (1 + 5**0.5) * index
    flat = (1 - height**2).sqrt()
    return torch.stack((flat * angle.cos(), flat * angle.sin(), height), dim=-1).float()


def view_from_logits(logits: Float[Tensor, "n directions"]) -> Float[Tensor, "n 3"]:
    """Mean direction around the most probable one: a mean over all would lie between front and back of an animal that
    could be either."""
    directions = view_directions().to(logits)
    probability = logits.softmax(dim=-1)
    # Of the neighbourhoods, not of the single directions, the heaviest.
    near = (directions @ directions.T > _VIEW_WINDOW).to(logits)
    best = (probability @ near).argmax(dim=-1)
    return F.normalize((probability * near[best]) @ directions, dim=-1)


class NormedConvolution(nn.Module):
    """Convolution, batch normalisation and, where asked for, ReLU6.

    A frozen normalisation is folded into the convolution on the fly: an affine map that still learns, whose statistics
    stay those it came with, so that small batches do no harm.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.active = active
        self.frozen = True

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h2 w2"]:
        conv, norm = self.convolution, self.norm
        if self.frozen or not self.training:
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
            bias = norm.bias - norm.running_mean * scale  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
            kernel = conv.weight * scale[:, None, None, None]
            x = _convolve(x, kernel, bias, conv.stride, conv.padding, conv.groups)  # pyright: ignore[reportArgumentType]
        else:
            x = norm(_convolve(x, conv.weight, None, conv.stride, conv.padding, conv.groups))  # pyright: ignore[reportArgumentType]
        return F.relu6(x) if self.active else x


def _convolve(
    x: Tensor, kernel: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...], groups: int
) -> Tensor:
    if groups == 1 or not x.requires_grad:
        return F.conv2d(x, kernel, bias, stride, padding, groups=groups)
    # On CPU the backward pass of one filter per channel takes four times as long at half precision.
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x.float(), kernel.float(), bias if bias is None else bias.float(), stride, padding, 1, groups)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = NormedConvolution(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.filter = NormedConvolution(hidden, hidden, kernel, stride, groups=hidden)
        self.project = NormedConvolution(hidden, outputs, 1, active=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h2 w2"]:
        y = self.project(self.filter(self.expand(x)))
        return x + y if self.residual else y


class Trunk(nn.Module):
    """EfficientNet-Lite0 without its head, with a second entrance for a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = NormedConvolution(3, 32, 3, stride=2)
        stages, channels = [], 32
        for blocks, expansion, outputs, kernel, stride in _STAGES:
            stage = []
            for block in range(blocks):
                stage.append(InvertedResidual(channels, outputs, expansion, kernel, stride if block == 0 else 1))
                channels = outputs
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)
        self.mask = nn.Sequential(
            nn.Conv2d(1, _MASK_CHANNELS, 7, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(_MASK_CHANNELS, _STAGES[_MASK_STAGE - 1][2], 1),
        )
        self.first_stages_learn = True

    def forward(self, x: Float[Tensor, "n 4 192 192"]) -> list[Tensor]:
        """Maps of strides 4, 8, 16 and 32."""
        colors, mask = x[:, :3], x[:, 3:]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.first_stages_learn):
            y = self.stem(colors)
            for stage in self.stages[:_MASK_STAGE]:
                y = stage(y)
        y = y + self.mask(mask)
        taps = [y]
        for number, stage in enumerate(self.stages[_MASK_STAGE:], start=_MASK_STAGE):
            y = stage(y)
            if number in _TAPPED_STAGES:
                taps.append(y)
        return taps

    def keep_first_stages(self) -> None:
        """Let the part before the mask stay what it is: without gradients, and quicker."""
        self.first_stages_learn = False
        for module in (self.stem, *self.stages[:_MASK_STAGE]):
            module.requires_grad_(False)


class EyesNetwork(nn.Module):
    """The whole network. Its input is made by `network_input`."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        channels = [_STAGES[stage][2] for stage in _TAPPED_STAGES]
        self.laterals = nn.ModuleList(nn.Conv2d(count, _WIDTH, 1) for count in channels)
        self.fuse = nn.ModuleList(_block(layers) for layers in (1, 1, 2, 2))
        self.squeeze = nn.Conv2d(channels[-1], _COARSE, 1)
        self.context = nn.Linear(_COARSE * (CROP // 32) ** 2, _CONTEXT)
        self.spread = nn.Linear(_CONTEXT, _WIDTH)
        self.view = nn.Linear(_CONTEXT, VIEW_DIRECTIONS)
        self.last = nn.Conv2d(_WIDTH, FEATURES, 3, padding=1)
        self.maps = nn.Conv2d(FEATURES, 1 + LABELS + EMBEDDING_SIZE + 1, 1)
        _initialise(self)

    def forward(self, x: Float[Tensor, "n 4 192 192"]) -> EyesOutput:
        taps = self.trunk(x)
        context = F.relu(self.context(F.relu(self.squeeze(taps[-1])).flatten(1)))
        fused = self.laterals[-1](taps[-1]) + self.spread(context)[..., None, None]
        fused = self.fuse[-1](fused)
        for level in (2, 1, 0):
            fused = F.interpolate(fused, scale_factor=2, mode="bilinear", align_corners=False)
            fused = self.fuse[level](fused + self.laterals[level](taps[level]))
        last = F.relu(self.last(fused))
        maps = self.maps(last).float()
        foreground, parts, embedding, log_error = maps.split((1, LABELS, EMBEDDING_SIZE, 1), dim=1)
        view_logits = self.view(context).float()
        weight = foreground.sigmoid()
        features = (last.float() * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1.0)
        return EyesOutput(
            foreground=foreground[:, 0],
            parts=parts,
            embedding=F.normalize(embedding, dim=1),
            log_error=log_error[:, 0].clamp(-5.0, 1.0),
            view=view_from_logits(view_logits),
            view_logits=view_logits,
            features=features,
        )

    def freeze_statistics(self, frozen: bool) -> None:
        """Whether the trunk's normalisation keeps its statistics while training."""
        for module in self.modules():
            if isinstance(module, NormedConvolution):
                module.frozen = frozen


def _block(layers: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


def _initialise(network: EyesNetwork) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.out_channels // module.groups * module.kernel_size[0] ** 2
            nn.init.normal_(module.weight, std=(2 / fan) ** 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for head in (network.maps, network.view):
        nn.init.normal_(head.weight, std=0.05)
    # The mask has no say at first, so that the trunk begins with what it came with.
    nn.init.zeros_(network.trunk.mask[-1].weight)  # pyright: ignore[reportArgumentType]


def load_imagenet(trunk: Trunk, weights: Mapping[str, Tensor]) -> None:
    """Fill the trunk from the state of a published EfficientNet-Lite0; the mask's entrance stays as it is.

    Raises KeyError or RuntimeError where a weight is missing or has another shape.
    """
    state: dict[str, Tensor] = {}

    def take(target: str, convolution: str, norm: str) -> None:
        state[f"{target}.convolution.weight"] = weights[f"{convolution}.weight"]
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{target}.norm.{name}"] = weights[f"{norm}.{name}"]

    take("stem", "_conv_stem", "_bn0")
    number = 0
    for stage, (blocks, expansion, *_) in enumerate(_STAGES):
        for block in range(blocks):
            ours, theirs = f"stages.{stage}.{block}", f"_blocks.{number}"
            names = (("expand", "expand"),) if expansion > 1 else ()
            names += (("filter", "depthwise"), ("project", "project"))
            for norm, (name, published) in enumerate(names, start=0 if expansion > 1 else 1):
                take(f"{ours}.{name}", f"{theirs}._{published}_conv", f"{theirs}._bn{norm}")
            number += 1
    for name, module in trunk.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            state[f"{name}.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    state |= {f"mask.{name}": value for name, value in trunk.mask.state_dict().items()}
    trunk.load_state_dict(state)
