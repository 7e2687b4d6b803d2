"""The Hyena operator of order 2: a projection of three parts, short convolutions, two gates, a long convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import flashfftconv

from .long_filter import LongFilter
from .pointwise import pointwise_linear


class HyenaOperator(nn.Module):
    """Mixes a sequence by a long convolution between two gates that come from the sequence itself (arXiv 2302.10866).

    With z = in_proj(u), three parts of `channels` each, and ``*`` a causal convolution at every channel::

        x0, x1, v = short_filter * z
        w         = x1 v
        out       = out_proj(x0 (filter * w + skip w))

    Projection and convolution see the samples of a channel side by side: nothing is transposed in between. The short
    convolutions, the split and the first gate are one operator (`flashfftconv.short_conv_gate`); the second gate and
    the skip term belong to the long convolution.

    Parameters
    ----------
    channels : int
        D, the channels of input and output.
    l_max : int
        Taps of the default `filter`. Longer sequences are filtered with these taps, shorter ones with the first.
    short_taps : int
        K of the short convolutions.
    filter : nn.Module or None
        Called without arguments, gives the taps [D, Lk] or [1, D, Lk]; None: a `LongFilter` of `l_max` taps.
    device, dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If an argument is out of its range, or an input's shape does not fit.

    Notes
    -----
    `in_proj`, `out_proj` and `short_filter` are named and shaped as in safari's operator; `short_filter` is an
    `nn.Conv1d` of 3 D channels of which only the parameters are used.
    """

    def __init__(
        self,
        channels: int,
        l_max: int,
        short_taps: int = 3,
        filter: nn.Module | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        for name, value in (("channels", channels), ("l_max", l_max), ("short_taps", short_taps)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        factory = {"device": device, "dtype": dtype}
        self.channels, self.l_max = channels, l_max
        self.in_proj = nn.Linear(channels, 3 * channels, **factory)
        self.short_filter = nn.Conv1d(3 * channels, 3 * channels, short_taps, groups=3 * channels, **factory)
        self.filter = LongFilter(1, channels, l_max, init="geometric", **factory) if filter is None else filter
        self.skip = nn.Parameter(torch.randn(channels, **factory))
        self.out_proj = nn.Linear(channels, channels, **factory)

    def forward(self, u: Tensor) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        u : Tensor, (B, L, D)

        Returns
        -------
        Tensor, (B, L, D)
        """
        if u.dim() != 3 or u.shape[-1] != self.channels:
            raise ValueError(f"u has shape {tuple(u.shape)}; it must be (B, L, {self.channels})")
        z = pointwise_linear(u.transpose(1, 2), self.in_proj.weight, self.in_proj.bias)
        gate, w = flashfftconv.short_conv_gate(z, self.short_filter.weight, self.short_filter.bias)
        taps = self.filter().flatten(0, -2)[:, : u.shape[1]]
        y = flashfftconv.long_conv(w, taps, postgate=gate, skip=self.skip)
        return pointwise_linear(y, self.out_proj.weight, self.out_proj.bias).transpose(1, 2)

    def extra_repr(self) -> str:
        return f"{self.channels}, l_max={self.l_max}"
