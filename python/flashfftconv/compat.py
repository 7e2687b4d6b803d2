"""Calls of older model code, over the same operators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .functional import long_conv
from .problem import check_int


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
        With `head_dim` d > 1, `u`, `v` and `q` are [B, H d, L], H heads of d channels; the product with `v` is outer:
        channel ``(h, i, j)`` convolves ``u[h, i] * v[h, j]``, and `q` contracts i.
    k : Tensor, [H, Lk]
        Causal taps.
    D : Tensor, [H]
        The skip term.
    dropout_mask : Tensor, [B, H], optional
        With heads also [B, H d], of which the first H of each row are used, as safari's kernel does.
    gelu : bool
        The activation after the skip term.
    force_fp16_output : bool
        The output in float16, except for a bfloat16 input.
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
    _check_arguments(u, k, D, v, q, head_dim, dropout_mask)
    mode = dict(mode="causal") if k_rev is None else dict(mode="bidirectional", k_rev=k_rev, k_rev_lag=0)
    with torch.autocast(u.device.type, enabled=False):  # safari's function knows no autocast: the type of u decides
        out = _convolve(u, k, D, dropout_mask, gelu, v, head_dim, q, mode)
    dtype = torch.float16 if force_fp16_output and u.dtype != torch.bfloat16 else u.dtype
    out = out.to(dtype)
    return out.transpose(0, 1).contiguous().transpose(0, 1) if output_hbl_layout else out


def _convolve(
    u: Tensor,
    k: Tensor,
    D: Tensor,
    dropout_mask: Tensor | None,
    gelu: bool,
    v: Tensor | None,
    head_dim: int,
    q: Tensor | None,
    mode: dict,
) -> Tensor:
    if head_dim > 1:
        return _outer_heads(u, k, D, v, q, head_dim, gelu, dropout_mask, mode)
    # The gate after fuses with the convolution only where nothing lies between.
    fuses = not gelu and dropout_mask is None
    out = long_conv(u, k, pregate=v, postgate=q if fuses else None, skip=D, **mode)
    if gelu:
        out = F.gelu(out)
    if dropout_mask is not None:
        out = out * dropout_mask.unsqueeze(-1)
    return out if q is None or fuses else out * q


def _check_arguments(
    u: Tensor, k: Tensor, D: Tensor, v: Tensor | None, q: Tensor | None, head_dim: int, dropout_mask: Tensor | None
) -> None:
    """The arguments that `long_conv` knows by other names, or not at all."""
    check_int("head_dim", head_dim)
    if u.dim() != 3:
        raise ValueError(f"u has shape {list(u.shape)}; it must be [batch, channels, length]")
    batch, channels, _ = u.shape
    if head_dim < 1:
        raise ValueError(f"head_dim is {head_dim}; it must be at least 1")
    if channels % head_dim:
        raise ValueError(f"u has {channels} channels; head_dim {head_dim} must divide them")
    if head_dim > 1 and (v is None or q is None):
        raise ValueError(f"head_dim is {head_dim}; v and q must be given with heads of more than one channel")
    heads = channels // head_dim
    if k.dim() != 2 or k.shape[0] != heads:
        raise ValueError(f"k has shape {list(k.shape)}; it must be [{heads}, taps], a filter a head")
    for name, gate in (("v", v), ("q", q)):
        if gate is not None and gate.shape != u.shape:
            raise ValueError(f"{name} has shape {list(gate.shape)}; it must be that of u, {list(u.shape)}")
    if D.shape != (heads,):
        raise ValueError(f"D has shape {list(D.shape)}; it must be [{heads}], one number a head")
    if dropout_mask is not None and dropout_mask.shape not in ((batch, heads), (batch, channels)):
        raise ValueError(f"dropout_mask has shape {list(dropout_mask.shape)}; it must be [{batch}, {heads}]")


def _outer_heads(
    u: Tensor, k: Tensor, D: Tensor, v: Tensor, q: Tensor, d: int, gelu: bool, dropout_mask: Tensor | None, mode: dict
) -> Tensor:
    batch, channels, length = u.shape
    u_, v_, q_ = (t.unflatten(1, (channels // d, d)) for t in (u, v, q))  # [B, H, d, L]
    outer = u_.unsqueeze(3) * v_.unsqueeze(2)  # [B, H, i, j, L]
    rows = outer.permute(0, 2, 3, 1, 4).reshape(batch * d * d, channels // d, length)
    y = long_conv(rows, k, skip=D, **mode).unflatten(0, (batch, d, d)).permute(0, 3, 1, 2, 4)
    if gelu:
        y = F.gelu(y)
    if dropout_mask is not None:
        y = y * dropout_mask[:, : channels // d, None, None, None]
    return (y * q_.unsqueeze(3)).sum(2).reshape(batch, channels, length)
