"""The LongConv layer: a directly learned filter as long as the sequence, then a pointwise mixing of channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import flashfftconv

from .long_filter import Init, LongFilter, Smooth
from .pointwise import PointwiseMixer


class LongConv(nn.Module):
    """Long convolution layer of arXiv 2302.06646.

    With filter K (heads, channels, l_max) and skip D (heads, channels), for each head c and channel h::

        y[c, h] = K[c, h] * u[h] + D[c, h] u[h]
        out     = post_act(Linear(dropout(activation(y))))

    ``*`` is the causal convolution (or, if `bidirectional`, one over both directions) and Linear mixes the
    ``heads * channels`` values of one position into `channels` outputs, twice as many before a GLU.

    Parameters
    ----------
    channels : int
        H, the channels of input and output.
    l_max : int
        Taps of the filter. A shorter input of length L meets only the first L taps, so no output depends on a later
        input; a longer one is filtered with all `l_max` taps.
    heads : int
        C, filters per channel.
    bidirectional : bool
        Adds a second filter over the future: its tap j acts on the sample j + 1 positions later.
    init, lam, smooth, smooth_width, filter_dropout
        Of the filter; see `LongFilter`.
    dropout : float
        Dropout after the activation, in [0, 1).
    tied_dropout : bool
        Drops a channel at all positions of a sequence together.
    activation : {"gelu", "relu", "silu", "tanh", "identity"}
        Between convolution and Linear.
    post_act : {"glu", ...} or None
        After the Linear: "glu", any `activation`, or nothing.
    weight_norm : bool
        Weight normalisation of the Linear.
    transposed : bool
        True: input and output are (B, H, L). False: (B, L, H).
    filter_lr : float or None
        Learning rate of the filters for `parameter_groups`, where they also get no weight decay. None: the model's.
    safari_compat : bool
        Reproduces the public code's behaviour for inputs of L < l_max: the filter is not cut at L but wraps around an
        FFT of size 2 L, which **leaks the future** into earlier outputs. Only for old checkpoints.

    Raises
    ------
    ValueError
        If an argument is out of its range, if `lam` zeroes every tap, or if an input's shape does not fit.
    """

    def __init__(
        self,
        channels: int,
        l_max: int,
        heads: int = 1,
        bidirectional: bool = False,
        init: Init = "random",
        lam: float = 0.0,
        smooth: Smooth | None = None,
        smooth_width: int = 7,
        filter_dropout: float = 0.0,
        dropout: float = 0.0,
        tied_dropout: bool = False,
        activation: str = "gelu",
        post_act: str | None = "glu",
        weight_norm: bool = False,
        transposed: bool = True,
        filter_lr: float | None = None,
        safari_compat: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        for name, value in (("channels", channels), ("l_max", l_max), ("heads", heads)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if filter_lr is not None and not filter_lr > 0.0:
            raise ValueError(f"filter_lr is {filter_lr}; it must be positive, or None for the model's")
        self.channels, self.l_max, self.heads = channels, l_max, heads
        self.bidirectional, self.transposed, self.safari_compat = bidirectional, transposed, safari_compat
        self.filter_lr = filter_lr

        factory = {"device": device, "dtype": dtype}

        def make_filter() -> LongFilter:
            regularisation = {"lam": lam, "smooth": smooth, "smooth_width": smooth_width, "dropout": filter_dropout}
            return LongFilter(heads, channels, l_max, init=init, **regularisation, **factory)

        self.filter = make_filter()
        self.filter_rev = make_filter() if bidirectional else None
        self.skip = nn.Parameter(torch.randn(heads, channels, **factory))
        self.mixer = PointwiseMixer(
            heads * channels,
            channels,
            dropout=dropout,
            tied_dropout=tied_dropout,
            activation=activation,
            post_act=post_act,
            weight_norm=weight_norm,
            **factory,
        )

    def filters(self) -> list[LongFilter]:
        """The layer's filters: one, or two if bidirectional."""
        return [self.filter] if self.filter_rev is None else [self.filter, self.filter_rev]

    def forward(self, u: Tensor) -> Tensor:
        """Apply the layer.

        Parameters
        ----------
        u : Tensor
            (B, H, L) if `transposed`, else (B, L, H); any floating dtype that `long_conv` takes.

        Returns
        -------
        Tensor
            Same shape and dtype as `u`.
        """
        layout = "(B, H, L)" if self.transposed else "(B, L, H)"
        if u.dim() != 3:
            raise ValueError(f"u has {u.dim()} dimensions, shape {tuple(u.shape)}; allowed: 3, {layout}")
        x = u if self.transposed else u.transpose(1, 2)
        if x.shape[1] != self.channels:
            raise ValueError(
                f"u has {x.shape[1]} channels, shape {tuple(u.shape)} read as {layout}; this layer has {self.channels}"
            )
        y = self.mixer(self._convolve(x))
        return y if self.transposed else y.transpose(1, 2)

    def _convolve(self, x: Tensor) -> Tensor:
        """(B, H, L) to (B, C * H, L), head-major, the skip term included."""
        length = x.shape[-1]
        if self.heads > 1:
            x = x.repeat(1, self.heads, 1)
        taps = [f().flatten(0, 1) for f in self.filters()]
        skip = self.skip.flatten()
        if self.safari_compat and length < self.l_max:
            wrapped = self._wrapped_filter(taps, length)
            return flashfftconv.long_conv(x, wrapped, mode="circular", fft_size=2 * length, skip=skip)
        # Taps at or beyond `length` have nothing to act on; cutting them here is what keeps the future out.
        taps = [k[:, :length] for k in taps]
        if self.bidirectional:
            return flashfftconv.long_conv(x, taps[0], mode="bidirectional", k_rev=taps[1], skip=skip)
        return flashfftconv.long_conv(x, taps[0], mode="causal", skip=skip)

    def _wrapped_filter(self, taps: list[Tensor], length: int) -> Tensor:
        """The filter as the public code builds it: padded by `length`, then cut at the FFT size of 2 * length."""
        wrapped = F.pad(taps[0], (0, length))
        if self.bidirectional:
            wrapped = wrapped + F.pad(taps[1].flip(-1), (length, 0))
        return wrapped[:, : 2 * length]

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, l_max={self.l_max}, heads={self.heads}, bidirectional={self.bidirectional}, "
            f"transposed={self.transposed}, filter_lr={self.filter_lr}, safari_compat={self.safari_compat}"
        )
