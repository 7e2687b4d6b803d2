"""What torch needs to know about `torch.ops.flashfftconv.*` beside the C++ kernels.

`long_conv(u, k, k_rev, pregate, postgate, skip, mode, fft_size, k_rev_lag)` is linear in each of u, pregate, postgate
and in the filter (k, k_rev, skip) together; `long_conv_backward(dy, <the same>, wanted)` returns its gradients in that
order, None for those without a bit in `wanted`. The derivatives of both are sums of the two operators again: every
order exists.
Formulas: docs, "The operation" (gradients, double backward).
"""

from __future__ import annotations

from itertools import compress

import torch
from torch import Tensor
from torch.autograd import Function

from . import fft_fallback, log
from .dispatch import (
    add,
    autocast_kernel,
    autograd_kernel,
    below_autograd,
    call,
    check_devices,
    fold_batch,
    fold_channels,
    forward_mode_enabled,
    keeping_errors,
    library_part,
    primals,
)
from .problem import compute_dtype

_long_conv = torch.ops.flashfftconv.long_conv.default
_long_conv_backward = torch.ops.flashfftconv.long_conv_backward.default

TENSORS = 6  # u, k, k_rev, pregate, postgate, skip
U, K, K_REV, PREGATE, POSTGATE, SKIP = _BITS = tuple(1 << i for i in range(TENSORS))
ROWS, FILTER = U | PREGATE | POSTGATE, K | K_REV | SKIP


# ---- shapes without data


@torch.library.register_fake("flashfftconv::long_conv")
def _(u, k, k_rev, pregate, postgate, skip, mode, fft_size, k_rev_lag):
    check_devices(u, k, k_rev, pregate, postgate, skip)
    return u.new_empty(u.shape)


@torch.library.register_fake("flashfftconv::long_conv_backward")
def _(dy, u, k, k_rev, pregate, postgate, skip, mode, fft_size, k_rev_lag, wanted):
    check_devices(dy, u, k, k_rev, pregate, postgate, skip)

    def rows(bit):
        return u.new_empty(u.shape) if wanted & bit else None

    def taps(bit, t):
        return t.new_empty(t.shape) if wanted & bit and t is not None else None

    dskip = u.new_empty(u.shape[1], dtype=compute_dtype(u.dtype)) if wanted & SKIP else None
    return rows(U), taps(K, k), taps(K_REV, k_rev), rows(PREGATE), rows(POSTGATE), dskip


@torch.library.register_fake("flashfftconv::prepare_filter")
def _(u, k, k_rev, mode, fft_size, k_rev_lag):
    return u.new_empty((torch.library.get_ctx().new_dynamic_size(),), dtype=torch.uint8)


@torch.library.register_fake("flashfftconv::long_conv_prepared")
def _(u, spectrum, filter, filter_reverse, pregate, postgate, skip, mode, fft_size, k_rev_lag):
    check_devices(u, spectrum, pregate, postgate, skip)
    return u.new_empty(u.shape)


# What the C++ kernels call: for CUDA tensors that no engine takes, and to show plans.
for _name in ("long_conv", "long_conv_backward"):
    _kernel = keeping_errors(getattr(fft_fallback, _name))
    library_part.impl(f"{_name}_by_fft", _kernel, "CompositeExplicitAutograd")
library_part.impl("log", log.show, "CompositeExplicitAutograd")


# ---- derivatives


class LongConv(Function):
    """y = postgate (conv(pregate u, k) + skip pregate u)."""

    @staticmethod
    def forward(*args):
        return below_autograd(_long_conv, args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.how = inputs[TENSORS:]
        ctx.save_for_backward(*inputs[:TENSORS])
        ctx.save_for_forward(*inputs[:TENSORS])

    @staticmethod
    def backward(ctx, dy):
        wanted = sum(compress(_BITS, ctx.needs_input_grad))
        args = (dy, *ctx.saved_tensors, *ctx.how, wanted)
        return *call(_long_conv_backward, args), None, None, None

    @staticmethod
    def jvp(ctx, *tangents):
        with forward_mode_enabled(True):  # off while a Function runs, but outer levels of torch.func still need it
            terms = _one_tangent_at_a_time(primals(ctx.saved_tensors), tangents)
            return add(*(_long_conv(*tensors, *ctx.how) for _, tensors in terms))


class LongConvBackward(Function):
    """With x = pregate u, g = postgate dy: the gradients of `LongConv`."""

    @staticmethod
    def forward(*args):
        return below_autograd(_long_conv_backward, args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.how, ctx.wanted = inputs[TENSORS + 1 : -1], inputs[-1]
        ctx.save_for_backward(*inputs[: TENSORS + 1])
        ctx.save_for_forward(*inputs[: TENSORS + 1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, *cotangents):
        cotangents = [a if ctx.wanted >> i & 1 else None for i, a in enumerate(cotangents)]
        dy, *tensors = ctx.saved_tensors
        return *_double_backward(dy, tensors, ctx.how, cotangents, ctx.needs_input_grad), *(None,) * 4

    @staticmethod
    def jvp(ctx, *tangents):
        with forward_mode_enabled(True):
            dy, *tensors = primals(ctx.saved_tensors)
            terms = [(dy, t, _DEPEND_ON[index]) for index, t in _one_tangent_at_a_time(tensors, tangents[1:])]
            if tangents[0] is not None:
                terms.append((tangents[0], tensors, ROWS | FILTER))
            sums: list[Tensor | None] = [None] * TENSORS
            for dy_, tensors_, depend in terms:
                grads = _long_conv_backward(dy_, *tensors_, *ctx.how, ctx.wanted & depend)
                for i in range(TENSORS):
                    if ctx.wanted & depend & 1 << i:
                        sums[i] = add(sums[i], grads[i])
            zeros = _long_conv_backward(torch.zeros_like(dy), *tensors, *ctx.how, ctx.wanted)
            return tuple(zero if s is None else s for s, zero in zip(sums, zeros, strict=True))


# The gradients that depend on u, on the filter, on pregate and on postgate.
_DEPEND_ON = {
    0: FILTER | PREGATE | POSTGATE,
    1: ROWS,
    3: U | FILTER | POSTGATE,
    4: U | FILTER | PREGATE,
}


def _times(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """a b, where an absent cotangent a makes the term vanish and an absent gate b is 1."""
    return a if a is None or b is None else a * b


def _one_tangent_at_a_time(tensors, tangents):
    """Yields (index, the tensors with the index-th replaced by its tangent); the filter's three count as one, at 1."""
    for index in (0, 3, 4):
        if tangents[index] is not None:
            yield index, [tangents[index] if i == index else t for i, t in enumerate(tensors)]
    if any(tangents[i] is not None for i in (1, 2, 5)):
        replaced = list(tensors)
        for i in (1, 2):
            if tensors[i] is not None:
                replaced[i] = torch.zeros_like(tensors[i]) if tangents[i] is None else tangents[i]
        replaced[5] = tangents[5]
        yield 1, replaced


def _double_backward(dy, tensors, how, cotangents, needs):
    """Gradients of sum(cotangent * gradient) in dy and the tensors.

    With c = conv(x, k) + skip x, r = corr(g, k) + skip g, e = pregate a_u + u a_pre, q = dy a_post:
    Gg = conv(e, k) + skip e + conv(x, A_k) + A_skip x and Gx = corr(q, k) + skip q + corr(g, A_k) + A_skip g give
    u: pregate Gx + a_pre r; pregate: u Gx + a_u r; postgate: dy Gg; dy: postgate Gg + a_post c; k: W(g, e) + W(q, x);
    skip: sum(g e + q x).
    """
    u, k, k_rev, pregate, postgate, skip = tensors
    a_u, a_k, a_k_rev, a_pre, a_post, a_skip = cotangents
    need_dy, need_u, need_k, need_k_rev, need_pre, need_post, need_skip = needs[: TENSORS + 1]
    x, g = _times(u, pregate), _times(dy, postgate)
    e, q = add(_times(a_u, pregate), _times(a_pre, u)), _times(a_post, dy)
    filters = []  # of the terms that replace the filter by its cotangents
    if a_k is not None or a_k_rev is not None or a_skip is not None:
        zeros = (torch.zeros_like(k), None if k_rev is None else torch.zeros_like(k_rev))
        filters = [(zeros[0] if a_k is None else a_k, zeros[1] if a_k_rev is None else a_k_rev, a_skip)]

    def conv(rows, taps):
        k_, k_rev_, skip_ = taps
        return None if rows is None else _long_conv(rows, k_, k_rev_, None, None, skip_, *how)

    def corr(rows, taps):
        k_, k_rev_, skip_ = taps
        if rows is None:
            return None
        return _long_conv_backward(rows, rows, k_, k_rev_, None, None, skip_, *how, U)[0]

    def filter_gradients(g_, x_):
        if g_ is None or x_ is None:
            return None, None, None
        wanted = (K if need_k else 0) | (K_REV if need_k_rev else 0) | (SKIP if need_skip else 0)
        grads = _long_conv_backward(g_, x_, k, k_rev, None, None, skip, *how, wanted) if wanted else ()
        return tuple(grads[i] if wanted >> i & 1 else None for i in (1, 2, 5))

    own = (k, k_rev, skip)
    out = [None] * (TENSORS + 1)  # dy, u, k, k_rev, pregate, postgate, skip
    if need_dy or need_post:
        gradient_g = add(conv(e, own), *(conv(x, f) for f in filters))
        out[5] = _times(gradient_g, dy) if need_post else None
        if need_dy:
            out[0] = add(_times(gradient_g, postgate), None if a_post is None else a_post * conv(x, own))
    if need_u or need_pre:
        gradient_x = add(corr(q, own), *(corr(g, f) for f in filters))
        r = corr(g, own) if a_u is not None or a_pre is not None else None
        if need_u:
            out[1] = add(_times(gradient_x, pregate), _times(a_pre, r))
        if need_pre:
            out[4] = add(_times(gradient_x, u), _times(a_u, r))
    for i, first, second in zip((2, 3, 6), filter_gradients(g, e), filter_gradients(q, x), strict=True):
        out[i] = add(first, second)
    return out


# ---- vmap: the mapped dimension joins the batch, or the channels where each map has its own filter or filter gradient


def _fold(size: int, in_dims, rows: list[int], filters: list[int], args, into_channels: bool) -> list:
    out = list(args)
    for i in rows:
        out[i] = fold_channels(args[i], in_dims[i], size, 1) if into_channels else fold_batch(args[i], in_dims[i], size)
    if into_channels:
        for i in filters:
            out[i] = fold_channels(args[i], in_dims[i], size, 0)
    return out


def _vmap_long_conv(info, in_dims, *args):
    size, filters = info.batch_size, [1, 2, 5]
    into_channels = any(in_dims[i] is not None for i in filters)
    y = _long_conv(*_fold(size, in_dims, [0, 3, 4], filters, args, into_channels))
    return (y.unflatten(1, (size, -1)), 1) if into_channels else (y.unflatten(0, (size, -1)), 0)


def _vmap_long_conv_backward(info, in_dims, *args):
    size, wanted, filters = info.batch_size, args[-1], [2, 3, 6]
    into_channels = bool(wanted & FILTER) or any(in_dims[i] is not None for i in filters)
    grads = _long_conv_backward(*_fold(size, in_dims, [0, 1, 4, 5], filters, args, into_channels))
    out, dims = [], []
    for i, grad in enumerate(grads):
        if not wanted >> i & 1 or (i == 2 and args[3] is None):
            out.append(grad), dims.append(None)
        elif ROWS >> i & 1:
            dim = 1 if into_channels else 0
            out.append(grad.unflatten(dim, (size, -1))), dims.append(dim)
        else:
            out.append(grad.unflatten(0, (size, -1))), dims.append(0)
    return tuple(out), tuple(dims)


torch.library.register_vmap("flashfftconv::long_conv", _vmap_long_conv)
torch.library.register_vmap("flashfftconv::long_conv_backward", _vmap_long_conv_backward)


# ---- dispatch


library_part.impl("long_conv", autograd_kernel(LongConv), "Autograd")
library_part.impl("long_conv_backward", autograd_kernel(LongConvBackward), "Autograd")
for _key in ("AutocastCPU", "AutocastCUDA"):  # the filter and skip, small, keep their precision
    library_part.impl("long_conv", autocast_kernel(_long_conv, (3, 4), _key), _key)
