"""What convolutions cost in a training step of a given model, next to torch.fft's, measured on the spot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

import flashfftconv
from flashfftconv.nn import LongConvClassifier

from .fft_reference import fft_conv
from .timing import Spread, alternate


@dataclass(frozen=True)
class ConvTiming:
    """Milliseconds per training step in all convolutions of the model, forward and backward, and their ratio.

    `ratio` is torch.fft's time over ours, round by round, so that its quartiles show how far the claim can be trusted.
    `worst_error` is the largest row error norm(y - reference) / norm(reference) between both in this measurement.
    """

    ours: Spread
    torch_fft: Spread
    ratio: Spread
    layers: int
    batch: int
    channels: int
    length: int
    repetitions: int
    worst_error: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a log."""
        return asdict(self)


def time_convolutions(model: LongConvClassifier, batch: int, length: int, repetitions: int = 30) -> ConvTiming:
    """Time the first layer's convolution on random inputs of the model's shape, times the number of layers.

    All layers have the same shapes. Gradients are taken for input, taps and skip, as in training.
    """
    layers = model.long_convs()
    layer = layers[0]
    channels = layer.heads * layer.channels
    generator = torch.Generator().manual_seed(0)
    u, cotangent = (torch.randn(batch, channels, length, generator=generator) for _ in range(2))
    taps = [bank.taps().detach().flatten(0, 1)[:, :length].clone() for bank in layer.filters()]
    tensors = [t.requires_grad_(True) for t in (u, layer.skip.detach().flatten().clone(), *taps)]

    def ours() -> Tensor:
        mode = "bidirectional" if layer.bidirectional else "causal"
        k_rev = tensors[3] if layer.bidirectional else None
        return flashfftconv.long_conv(tensors[0], tensors[2], mode=mode, k_rev=k_rev, skip=tensors[1])

    def reference() -> Tensor:
        k_rev = tensors[3] if layer.bidirectional else None
        return fft_conv(tensors[0], tensors[2], 2 * length, k_rev=k_rev, skip=tensors[1])

    with torch.no_grad():
        got, expected = ours(), reference()
        worst_error = ((got - expected).norm(dim=-1) / expected.norm(dim=-1).clamp_min(1e-30)).max().item()

    def step(forward) -> None:
        torch.autograd.grad(forward(), tensors, cotangent)

    per_layer = alternate([lambda: step(ours), lambda: step(reference)], repetitions)
    times = [[len(layers) * t for t in sample] for sample in per_layer]
    return ConvTiming(
        ours=Spread.of(times[0]),
        torch_fft=Spread.of(times[1]),
        ratio=Spread.of([theirs / mine for mine, theirs in zip(*times, strict=True)]),
        layers=len(layers),
        batch=batch,
        channels=channels,
        length=length,
        repetitions=repetitions,
        worst_error=worst_error,
    )
