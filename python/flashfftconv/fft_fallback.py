"""The operators by torch.fft, for devices that have no engine of ours: the same results, several passes over memory.

All formulas are those of `docs` ("The operation"); the transform is one real FFT of n points, long enough for the mode.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .problem import MODES, check_call, compute_dtype

_NAMES = {number: name for name, number in MODES.items()}
_CIRCULAR, _BIDIRECTIONAL = MODES["circular"], MODES["bidirectional"]


def _transform_size(length: int, mode: int, fft_size: int) -> int:
    return fft_size if mode == _CIRCULAR else 2 * length


def _lags(k: Tensor, k_rev: Tensor | None, length: int, mode: int, n: int, lag: int) -> Tensor:
    """The filter on indices mod n, [H, n]; taps that reach no sample are cropped."""
    taps = F.pad(k if mode == _CIRCULAR else k[:, :length], (0, 0))
    taps = F.pad(taps, (0, n - taps.shape[-1]))
    if k_rev is not None:
        back = k_rev[:, : length - lag]
        taps = taps + F.pad(back.flip(-1), (n - back.shape[-1], 0)).roll(1 - lag, -1)
    return taps


def long_conv(
    u: Tensor,
    k: Tensor,
    k_rev: Tensor | None,
    pregate: Tensor | None,
    postgate: Tensor | None,
    skip: Tensor | None,
    mode: int,
    fft_size: int,
    k_rev_lag: int,
) -> Tensor:
    # `functional.long_conv` leaves the checks to the kernels; torch would broadcast.
    check_call(u, k, _NAMES[mode], k_rev, k_rev_lag, fft_size or None, pregate, postgate, skip)
    if u.numel() == 0:
        return torch.empty_like(u)
    dtype = compute_dtype(u.dtype)
    x = u.to(dtype) if pregate is None else u.to(dtype) * pregate.to(dtype)
    y = _convolve(x, k.to(dtype), None if k_rev is None else k_rev.to(dtype), mode, fft_size, k_rev_lag)
    if skip is not None:
        y = y + skip[:, None] * x
    return (y if postgate is None else y * postgate.to(dtype)).to(u.dtype)


def _convolve(x: Tensor, k: Tensor, k_rev: Tensor | None, mode: int, fft_size: int, lag: int) -> Tensor:
    length = x.shape[-1]
    n = _transform_size(length, mode, fft_size)
    spectrum = torch.fft.rfft(_lags(k, k_rev, length, mode, n, lag), n=n)
    return torch.fft.irfft(torch.fft.rfft(x, n=n) * spectrum, n=n)[..., :length]


def long_conv_backward(
    dy: Tensor,
    u: Tensor,
    k: Tensor,
    k_rev: Tensor | None,
    pregate: Tensor | None,
    postgate: Tensor | None,
    skip: Tensor | None,
    mode: int,
    fft_size: int,
    k_rev_lag: int,
    wanted: int,
) -> tuple[Tensor | None, ...]:
    dtype = compute_dtype(u.dtype)
    if u.numel() == 0:
        return _empty_gradients(u, k, k_rev, wanted)
    length = u.shape[-1]
    n = _transform_size(length, mode, fft_size)
    wide = [None if t is None else t.to(dtype) for t in (u, pregate, postgate, dy)]
    u_, pre, post, dy_ = wide
    x = u_ if pre is None else u_ * pre
    g = dy_ if post is None else dy_ * post
    taps = _lags(k.to(dtype), None if k_rev is None else k_rev.to(dtype), length, mode, n, k_rev_lag)
    spectrum, x_spectrum, g_spectrum = (torch.fft.rfft(t, n=n) for t in (taps, x, g))
    du = dk = dk_rev = dpre = dpost = dskip = None
    if wanted & 0b001001:
        dx = torch.fft.irfft(g_spectrum * spectrum.conj(), n=n)[..., :length]
        if skip is not None:
            dx = dx + skip[:, None] * g
        du = (dx if pre is None else dx * pre).to(u.dtype) if wanted & 1 else None
        dpre = (dx * u_).to(u.dtype) if wanted & 8 else None
    if wanted & 0b010000:
        y = torch.fft.irfft(x_spectrum * spectrum, n=n)[..., :length]
        dpost = (dy_ * (y if skip is None else y + skip[:, None] * x)).to(u.dtype)
    if wanted & 0b000110:
        # At lag j the gradient lies at index j mod n; cropped taps get exact zeros.
        gradient = torch.fft.irfft((g_spectrum * x_spectrum.conj()).sum(0), n=n)
        if wanted & 2:
            kept = gradient if mode == _CIRCULAR else gradient[:, :length]
            dk = _fit(kept, k.shape[-1]).to(k.dtype)
        if wanted & 4:
            back = gradient.roll(k_rev_lag - 1, -1).flip(-1)[:, : length - k_rev_lag]
            dk_rev = _fit(back, k_rev.shape[-1]).to(k_rev.dtype)
    if wanted & 0b100000:
        dskip = (g * x).sum((0, 2))
    return du, dk, dk_rev, dpre, dpost, dskip


def _empty_gradients(u: Tensor, k: Tensor, k_rev: Tensor | None, wanted: int) -> tuple[Tensor | None, ...]:
    """Without rows, rows have no gradient and the filter's is zero."""
    rows = [torch.empty_like(u) if wanted & bit else None for bit in (1, 8, 16)]
    dk = torch.zeros_like(k) if wanted & 2 else None
    dk_rev = torch.zeros_like(k_rev) if wanted & 4 and k_rev is not None else None
    dskip = u.new_zeros(u.shape[1], dtype=compute_dtype(u.dtype)) if wanted & 32 else None
    return rows[0], dk, dk_rev, rows[1], rows[2], dskip


def _fit(t: Tensor, size: int) -> Tensor:
    return F.pad(t[:, :size], (0, max(0, size - t.shape[-1])))
