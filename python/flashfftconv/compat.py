"""Calls of older model code, over the same operators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .functional import long_conv


def fftconv_func(
    u: Tensor,
    k: Tensor,
    D: Tensor,
    dropout_mask: Tensor | None = None,
    gelu: bool = True,
    force_fp16_output: bool = False,
    output_hbl_layout: bool = False,
    v: Tensor | None = None,
    head_dim: int = 1,
    q: Tensor | None = None,
    fftfp16: bool = False,
    k_rev: Tensor | None = None,
) -> Tensor:
    """The convolution of safari's H3 and Hyena: ``gelu(conv(u * v, k) + D * u * v) * dropout_mask * q``.

    Parameters
    ----------
    u : Tensor, [B, H, L]
        With `head_dim` d > 1, `u`, `v` and `q` are [B, H d, L], H heads of d channels, and the product with `v` is outer:
        channel ``(h, i, j)`` convolves ``v[h, i] * u[h, j]``, and `q` contracts i.
    k : Tensor, [H, Lk]
        Causal taps.
    D : Tensor, [H]
        The skip term.
    dropout_mask : Tensor, [B, H], optional
    gelu : bool
        The activation after the skip term.
    force_fp16_output : bool
        The output in float16 whatever the input.
    output_hbl_layout : bool
        The output has the shape [B, H, L] with the strides of [H, B, L].
    v, q : Tensor, optional
        Gates before and after.
    fftfp16 : bool
        Accepted for compatibility; without effect.
    k_rev : Tensor, [H, Lr], optional
        Taps of negative lags, ``k_rev[j]`` at lag -j (H3's convention).

    Returns
    -------
    Tensor, [B, H, L] ([B, H d, L] with heads), in the dtype of `u` or float16.

    Raises
    ------
    ValueError, TypeError
        As `flashfftconv.long_conv`.
    """
    mode = dict(mode="causal") if k_rev is None else dict(mode="bidirectional", k_rev=k_rev, k_rev_lag=0)
    dtype = u.dtype
    if head_dim > 1:
        if v is None or q is None:
            raise ValueError(f"head_dim is {head_dim}; v and q must be given with heads of more than one channel")
        out = _outer_heads(u, k, D, v, q, head_dim, gelu, dropout_mask, mode)
    else:
        # The gate after fuses with the convolution only where nothing lies between.
        fused = q if q is not None and not gelu and dropout_mask is None else None
        out = long_conv(u, k, pregate=v, postgate=fused, skip=D, **mode)
        if gelu:
            out = F.gelu(out)
        if dropout_mask is not None:
            out = out * dropout_mask.unsqueeze(-1)
        if q is not None and fused is None:
            out = out * q
    out = out.to(torch.float16 if force_fp16_output else dtype)
    return out.transpose(0, 1).contiguous().transpose(0, 1) if output_hbl_layout else out


def _outer_heads(
    u: Tensor, k: Tensor, D: Tensor, v: Tensor, q: Tensor, d: int, gelu: bool, dropout_mask: Tensor | None, mode: dict
) -> Tensor:
    batch, channels, length = u.shape
    if channels % d:
        raise ValueError(f"u has {channels} channels; head_dim {d} must divide them")
    u_, v_, q_ = (t.unflatten(1, (channels // d, d)) for t in (u, v, q))  # [B, H, d, L]
    outer = v_.unsqueeze(3) * u_.unsqueeze(2)  # [B, H, i, j, L]
    rows = outer.permute(0, 2, 3, 1, 4).reshape(batch * d * d, channels // d, length)
    y = long_conv(rows, k, skip=D, **mode).unflatten(0, (batch, d, d)).permute(0, 3, 1, 2, 4)
    if gelu:
        y = F.gelu(y)
    if dropout_mask is not None:
        y = y * dropout_mask.view(batch, -1, 1, 1, 1)
    return (y * q_.unsqueeze(3)).sum(2).reshape(batch, channels, length)
