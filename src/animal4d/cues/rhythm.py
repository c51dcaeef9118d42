"""The rhythm of a gait: does the animal's outline repeat itself, and how often?

A walking animal goes through the same poses again and again. Where the patch features of a clip are well predicted by
a few harmonics of one frequency, that frequency is the pace, and a pose can be read from frames a stride apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

HARMONICS = 4
LOWEST_EXPLAINED = 0.15
"""Below this share of predicted variance there is no rhythm worth the name."""
_FEWEST_STRIDES = 1.6
_COMPONENTS = 6
_HIGHEST_STRIDES_PER_SECOND = 4.0
_BLOCKS = 8


@dataclass(frozen=True)
class Rhythm:
    """A repeating motion."""

    stride_frequency: float
    """Whole strides (all four legs once) per second."""
    explained: float
    """Share of the features' variance that the harmonics predict in stretches of the clip that they did not see."""

    def phase(self, times: Float[Tensor, "frames"]) -> Float[Tensor, "frames"]:
        """Of the stride, in radians; zero in the middle of the clip."""
        return 2 * math.pi * self.stride_frequency * (times - times.mean())


def phase_harmonics(phase: Float[Tensor, "frames"]) -> Float[Tensor, "frames harmonics"]:
    """cos, then sin, of the first multiples of a phase in radians, the k-th scaled by 1 / k^2: legs swing smoothly, and
    what optimises the coefficients finds the slow harmonics first."""
    multiples = torch.arange(1, HARMONICS + 1, dtype=phase.dtype, device=phase.device)
    angles = phase[:, None] * multiples
    return torch.cat((angles.cos() / multiples**2, angles.sin() / multiples**2), dim=1)


def find_rhythm(features: Float[Tensor, "frames channels"], times: Float[Tensor, "frames"]) -> Rhythm | None:
    """The stride frequency whose harmonics predict the features best across left-out stretches of the clip.

    Seen from the side the two halves of a stride look alike, so an outline that repeats f times a second belongs to
    f / 2 strides; the first harmonic lets them differ. None where the clip is too short for it, or where
    nothing repeats.
    """
    if len(times) < 16:
        return None
    duration = float(times[-1] - times[0])
    lowest, highest = _FEWEST_STRIDES / duration, min(_HIGHEST_STRIDES_PER_SECOND, 0.25 * (len(times) - 1) / duration)
    centered = (features - features.mean(0)).double()
    _, _, directions = torch.linalg.svd(centered, full_matrices=False)
    components = centered @ directions[:_COMPONENTS].T
    best: Rhythm | None = None
    # Steps fine enough that the phase at the ends of the clip moves by less than a tenth of a turn.
    count = max(2, math.ceil((highest - lowest) * duration * 10))
    for frequency in torch.linspace(lowest, highest, count, dtype=torch.float64).tolist():
        candidate = Rhythm(frequency, _predicted_share(components, Rhythm(frequency, 0.0), times.double()))
        if best is None or candidate.explained > best.explained:
            best = candidate
    return best if best is not None and best.explained >= LOWEST_EXPLAINED else None


def _predicted_share(
    components: Float[Tensor, "frames components"], rhythm: Rhythm, times: Float[Tensor, "frames"]
) -> float:
    """Share of variance predicted in blocks of frames from all other frames, beyond a slow drift."""
    span = (times - times.mean()) / (times - times.mean()).abs().max()
    drift = torch.stack((torch.ones_like(span), span, span.square()), dim=1)
    basis = torch.cat((drift, phase_harmonics(rhythm.phase(times))), dim=1)
    return 1.0 - _held_out_error(basis, components) / max(_held_out_error(drift, components), 1e-12)


def _held_out_error(basis: Float[Tensor, "frames terms"], values: Float[Tensor, "frames components"]) -> float:
    """Squared error of ridge regression on blocks of frames that it did not see."""
    ridge = 1e-2 * torch.eye(basis.shape[1], dtype=basis.dtype)
    error = 0.0
    for block in torch.arange(len(basis)).chunk(_BLOCKS):
        seen = torch.ones(len(basis), dtype=torch.bool)
        seen[block] = False
        known = basis[seen]
        coefficients = torch.linalg.solve(known.T @ known + ridge, known.T @ values[seen])
        error += float((basis[block] @ coefficients - values[block]).square().sum())
    return error
