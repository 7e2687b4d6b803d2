"""Directly learned long filters: a parameter per tap, regularised by smoothing, squashing and dropout."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Init = Literal["random", "geometric"]
Smooth = Literal["average", "gaussian"]

# Scales of the two initialisations in arXiv 2302.06646.
RANDOM_SCALE = 0.002
GEOMETRIC_SCALE = 0.02


def squash(taps: Tensor, lam: float) -> Tensor:
    """Soft threshold ``sign(K) * max(|K| - lam, 0)``: small taps become exactly zero (arXiv 2302.06646)."""
    return F.softshrink(taps, lam) if lam > 0 else taps


def smooth_average(taps: Tensor, width: int) -> Tensor:
    """Moving average over `width` taps (odd) along the last dimension; taps beyond either end count as zero."""
    flat = taps.reshape(-1, 1, taps.shape[-1])
    return F.avg_pool1d(flat, width, stride=1, padding=width // 2, count_include_pad=True).reshape(taps.shape)


def smooth_gaussian(taps: Tensor, width: int) -> Tensor:
    """Low-pass the taps with a Gaussian, applied to their spectrum.

    Frequency f, in cycles per tap, is multiplied by ``exp(-2 (pi f s)^2)``. That is a convolution of the taps with a
    Gaussian of standard deviation ``s = sqrt((width^2 - 1) / 12)`` taps, the spread of a moving average of `width`.
    The taps are zero-extended to twice their length, so the two ends do not mix.
    """
    length = taps.shape[-1]
    frequency = torch.fft.rfftfreq(2 * length, device=taps.device, dtype=taps.dtype)
    deviation = math.sqrt((width * width - 1) / 12)
    gain = torch.exp(-2 * (math.pi * deviation * frequency) ** 2)
    return torch.fft.irfft(torch.fft.rfft(taps, n=2 * length) * gain, n=2 * length)[..., :length]


def random_taps(shape: tuple[int, int, int], **factory) -> Tensor:
    """Initial taps of shape (heads, channels, length): independent N(0, 1) times 0.002."""
    return torch.randn(shape, **factory) * RANDOM_SCALE


def geometric_taps(shape: tuple[int, int, int], **factory) -> Tensor:
    """Initial taps of shape (heads, channels, length) that decay faster in later channels.

    Channel i of H starts as ``0.02 * N(0, 1) * exp(-(j / length) * (H / 2)^(i / H))`` at tap j.
    """
    _, channels, length = shape
    position = torch.arange(length, **factory) / length
    rate = (channels / 2) ** (torch.arange(channels, **factory) / channels)
    return torch.randn(shape, **factory) * GEOMETRIC_SCALE * torch.exp(-rate[:, None] * position)


INITIALISERS = {"random": random_taps, "geometric": geometric_taps}
SMOOTHERS = {"average": smooth_average, "gaussian": smooth_gaussian}


class LongFilter(nn.Module):
    """A bank of long filters with one parameter per tap.

    The taps used by the convolution are ``dropout(squash(smooth(weight)))``, each step optional (arXiv 2302.06646).

    Parameters
    ----------
    heads, channels, l_max : int
        The parameter `weight` has shape (heads, channels, l_max).
    init : {"random", "geometric"}
        How `weight` starts; see `random_taps` and `geometric_taps`.
    lam : float
        Threshold of `squash`, in the unit of the taps; 0 turns it off.
    smooth : {"average", "gaussian"} or None
        Smoothing of the taps before the squash.
    smooth_width : int
        Odd width of the smoothing, in taps.
    dropout : float
        Probability in [0, 1) with which a tap is dropped in training; the others grow by ``1 / (1 - dropout)``.

    Raises
    ------
    ValueError
        If an argument is out of its range, or `lam` would zero every tap: a squash that does so passes no gradient, so
        such a filter could never learn.
    """

    def __init__(
        self,
        heads: int,
        channels: int,
        l_max: int,
        *,
        init: Init = "random",
        lam: float = 0.0,
        smooth: Smooth | None = None,
        smooth_width: int = 7,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if init not in INITIALISERS:
            raise ValueError(f"init is {init!r}; allowed: {', '.join(INITIALISERS)}")
        if smooth is not None and smooth not in SMOOTHERS:
            raise ValueError(f"smooth is {smooth!r}; allowed: None, {', '.join(SMOOTHERS)}")
        if smooth_width < 1 or smooth_width % 2 == 0:
            raise ValueError(f"smooth_width is {smooth_width}; it must be odd and at least 1")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"filter_dropout is {dropout}; it must lie in [0, 1)")
        if not (lam >= 0.0 and math.isfinite(lam)):
            raise ValueError(f"lam is {lam}; it must be finite and at least 0")
        self.lam = lam
        self.smooth = smooth
        self.smooth_width = smooth_width
        self.dropout = dropout
        dtype = dtype or torch.get_default_dtype()
        self.weight = nn.Parameter(INITIALISERS[init]((heads, channels, l_max), device=device, dtype=dtype))
        self.check_alive()

    def smoothed(self) -> Tensor:
        """The taps after smoothing and before the squash, (heads, channels, l_max)."""
        return SMOOTHERS[self.smooth](self.weight, self.smooth_width) if self.smooth else self.weight

    def taps(self) -> Tensor:
        """The taps after smoothing and squash, without dropout, (heads, channels, l_max)."""
        return squash(self.smoothed(), self.lam)

    def check_alive(self, smoothed: Tensor | None = None) -> None:
        """Raise ValueError if `lam` zeroes every tap. Reads a value back, so it waits for the device."""
        if self.lam == 0.0 or self.weight.is_meta:
            return
        with torch.no_grad():
            largest = (self.smoothed() if smoothed is None else smoothed).abs().amax().item()
        # A NaN is no reason to blame lam, hence not the negation of the opposite comparison.
        if self.lam >= largest:
            after = f" after {self.smooth} smoothing" if self.smooth else ""
            raise ValueError(
                f"lam is {self.lam:g}, which zeroes every tap of the filter for ever: the largest |tap|{after} is "
                f"{largest:.4g}; lam must lie in [0, {largest:.4g})"
            )

    def forward(self) -> Tensor:
        """Taps for the convolution, (heads, channels, l_max); with dropout in training."""
        smoothed = self.smoothed()
        # On an accelerator the check would stall the queue at every step; there, construction and the caller check.
        if smoothed.device.type == "cpu" and not torch.compiler.is_compiling():
            self.check_alive(smoothed)
        return F.dropout(squash(smoothed, self.lam), self.dropout, self.training)

    def extra_repr(self) -> str:
        return (
            f"{tuple(self.weight.shape)}, lam={self.lam}, smooth={self.smooth}, smooth_width={self.smooth_width}, "
            f"dropout={self.dropout}"
        )
