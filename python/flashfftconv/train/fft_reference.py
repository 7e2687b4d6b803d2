"""The convolution that anyone would write with torch.fft: what speeds and errors are compared with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def fft_conv(
    u: Tensor,
    k: Tensor,
    fft_size: int,
    k_rev: Tensor | None = None,
    pregate: Tensor | None = None,
    postgate: Tensor | None = None,
    skip: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """``postgate * (k * x + skip x)`` with ``x = pregate u``, by real transforms of `fft_size` points in `dtype`.

    Circular with period `fft_size`, so causal if it is at least L + Lk - 1. With `k_rev` its tap j acts at lag
    ``-(j + 1)``: it is flipped to the end of the period, where negative lags live. Shapes: u and gates (B, H, L),
    k and k_rev (H, Lk), skip (H,). The result has the dtype `dtype`.
    """
    x = u.to(dtype) if pregate is None else u.to(dtype) * pregate.to(dtype)
    taps = k.to(dtype)
    if k_rev is not None:
        backwards = F.pad(k_rev.to(dtype).flip(-1), (fft_size - k_rev.shape[-1], 0))
        taps = F.pad(taps, (0, fft_size - taps.shape[-1])) + backwards
    spectrum = torch.fft.rfft(x, n=fft_size) * torch.fft.rfft(taps, n=fft_size)
    y = torch.fft.irfft(spectrum, n=fft_size)[..., : u.shape[-1]]
    if skip is not None:
        y = y + skip.to(dtype)[:, None] * x
    return y if postgate is None else y * postgate.to(dtype)
