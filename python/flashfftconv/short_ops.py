"""What torch needs to know about `torch.ops.flashfftconv.short_conv` and its gradient beside the C++ kernels.

`short_conv(x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, epilogue, layout)` is
``epilogue(z)`` of sums z that are linear in (x, initial_state), in weight and in bias;
`short_conv_backward(dy, <the same>, wanted)` returns its gradients in that order, those without a bit in `wanted`
empty. Without an epilogue the derivatives of both are sums of the two operators again; with one, what is differentiated
further is put together from the sums and torch's own elementwise operations: every order exists.
Formulas: docs, "Short convolutions".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function

from . import short_fallback
from .dispatch import (
    add,
    autocast_kernel,
    autograd_kernel,
    below_autograd,
    check_devices,
    differentiates,
    fold_batch,
    fold_channels,
    forward_mode_enabled,
    keeping_errors,
    library_part,
    primals,
    unfold_channels,
)
from .short_epilogue import channel_dim, epilogue_gradient, epilogue_tangent
from .short_problem import ACTIVATIONS, GATE

_ops = torch.ops.flashfftconv

TENSORS = 4  # x, weight, bias, initial_state; behind them cu_seqlens, which has no derivative
X, WEIGHT, BIAS, STATE = _BITS = tuple(1 << i for i in range(TENSORS))
NONE = ACTIVATIONS[None]


# ---- shapes without data


@torch.library.register_fake("flashfftconv::short_conv")
def _(x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, epilogue, layout):
    check_devices(x, weight, bias, initial_state, cu_seqlens)
    shape, channels = list(x.shape), channel_dim(layout)
    shape[3 - channels] += padding_left + padding_right - weight.shape[1] + 1
    if epilogue == GATE:
        shape[channels] = shape[channels] // 3 * 2
    return x.new_empty(shape)


@torch.library.register_fake("flashfftconv::short_conv_backward")
def _(dy, x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, epilogue, layout, wanted):
    check_devices(dy, x, weight, bias, initial_state, cu_seqlens)

    def gradient(bit, t, like):
        return like.new_empty(t.shape if wanted & bit else (0,))

    dbias = weight.new_empty((weight.shape[0] if wanted & BIAS else 0,))
    return gradient(X, x, x), gradient(WEIGHT, weight, weight), dbias, gradient(STATE, initial_state, x)


for _name in ("short_conv", "short_conv_backward"):
    _kernel = keeping_errors(getattr(short_fallback, _name))
    library_part.impl(f"{_name}_by_torch", _kernel, "CompositeExplicitAutograd")


# ---- derivatives


class ShortConv(Function):
    """y = epilogue(conv((initial_state, x), weight) + bias)."""

    @staticmethod
    def forward(*args):
        return below_autograd(_ops.short_conv, args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.how = inputs[TENSORS + 1 :]
        ctx.save_for_backward(*inputs[: TENSORS + 1])
        ctx.save_for_forward(*inputs[: TENSORS + 1])

    @staticmethod
    def backward(ctx, dy):
        needs = ctx.needs_input_grad  # made anew each time it is asked for
        wanted = sum(bit for bit, need in zip(_BITS, needs, strict=False) if need)
        args = (dy, *ctx.saved_tensors, *ctx.how, wanted)
        operator = _ops.short_conv_backward
        grads = operator(*args) if differentiates(args) else below_autograd(operator, args)
        return *(g if need else None for g, need in zip(grads, needs, strict=False)), *(None,) * 5

    @staticmethod
    def jvp(ctx, *tangents):
        with forward_mode_enabled(True):  # off while a Function runs, but outer levels of torch.func still need it
            x, weight, bias, state, ends = primals(ctx.saved_tensors)
            *padding, epilogue, layout = ctx.how
            t_x, t_weight, t_bias, t_state = tangents[:TENSORS]
            terms = []
            if t_x is not None or t_state is not None:
                rows = torch.zeros_like(x) if t_x is None else t_x
                terms.append(_ops.short_conv(rows, weight, None, t_state, ends, *padding, NONE, layout))
            if t_weight is not None or t_bias is not None:
                taps = torch.zeros_like(weight) if t_weight is None else t_weight
                terms.append(_ops.short_conv(x, taps, t_bias, state, ends, *padding, NONE, layout))
            if epilogue == NONE:
                return add(*terms)
            z = _ops.short_conv(x, weight, bias, state, ends, *padding, NONE, layout)
            return epilogue_tangent(z, add(*terms), epilogue, layout)


class ShortConvBackward(Function):
    """The gradients of `ShortConv` without an epilogue, bilinear in dy and (x, initial_state, weight)."""

    @staticmethod
    def forward(*args):
        return below_autograd(_ops.short_conv_backward, args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.how, ctx.wanted = inputs[TENSORS + 2 : -1], inputs[-1]
        ctx.save_for_backward(*inputs[: TENSORS + 2])
        ctx.save_for_forward(*inputs[: TENSORS + 2])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, *cotangents):
        """dy: conv(a_x, weight) + conv(x, a_weight) + a_bias; x: corr(dy, a_weight); weight: W(dy, a_x).

        With a_x and x go their states; conv, corr and W are those of the gradients.
        """
        dy, x, weight, _, state, ends = ctx.saved_tensors
        a_x, a_weight, a_bias, a_state = (
            a if ctx.wanted & bit else None for bit, a in zip(_BITS, cotangents, strict=True)
        )
        need_dy, need_x, need_weight, _, need_state = ctx.needs_input_grad[: TENSORS + 1]
        if a_x is None and a_state is not None:
            a_x = torch.zeros_like(x)
        out: list[Tensor | None] = [None] * (TENSORS + 1)  # dy, x, weight, bias, initial_state
        if need_dy and (a_x is not None or a_weight is not None or a_bias is not None):
            first = None if a_x is None else _ops.short_conv(a_x, weight, a_bias, a_state, ends, *ctx.how)
            if a_weight is not None or a_x is None:
                taps = torch.zeros_like(weight) if a_weight is None else a_weight
                shift = a_bias if a_x is None else None
                first = add(first, _ops.short_conv(x, taps, shift, state, ends, *ctx.how))
            out[0] = first
        if (need_x or need_state) and a_weight is not None:
            wanted = (X if need_x else 0) | (STATE if need_state else 0)
            grads = _ops.short_conv_backward(dy, x, a_weight, None, state, ends, *ctx.how, wanted)
            out[1], out[4] = grads[0] if need_x else None, grads[3] if need_state else None
        if need_weight and a_x is not None:
            out[2] = _ops.short_conv_backward(dy, a_x, weight, None, a_state, ends, *ctx.how, WEIGHT)[1]
        return *out, *(None,) * 6

    @staticmethod
    def jvp(ctx, *tangents):
        with forward_mode_enabled(True):
            dy, x, weight, bias, state, ends = primals(ctx.saved_tensors)
            t_dy, t_x, t_weight, _, t_state = tangents[: TENSORS + 1]
            terms = []  # (dy, x, weight, initial_state, the gradients that depend on what is a tangent there)
            if t_dy is not None:
                terms.append((t_dy, x, weight, state, X | WEIGHT | BIAS | STATE))
            if t_x is not None or t_state is not None:
                terms.append((dy, torch.zeros_like(x) if t_x is None else t_x, weight, t_state, WEIGHT))
            if t_weight is not None:
                terms.append((dy, x, t_weight, state, X | STATE))
            sums: list[Tensor | None] = [None] * TENSORS
            for dy_, x_, weight_, state_, depend in terms:
                wanted = ctx.wanted & depend
                grads = _ops.short_conv_backward(dy_, x_, weight_, bias, state_, ends, *ctx.how, wanted)
                sums = [add(s, g) if wanted & bit else s for bit, s, g in zip(_BITS, sums, grads, strict=True)]
            zeros = _ops.short_conv_backward(torch.zeros_like(dy), x, weight, bias, state, ends, *ctx.how, ctx.wanted)
            return tuple(zero if s is None else s for s, zero in zip(sums, zeros, strict=True))


_linear_backward = autograd_kernel(ShortConvBackward)


def _backward_kernel(*args):
    """The autograd kernel of the gradient: through an epilogue by way of the sums."""
    dy, x, weight, bias, state, ends, padding_left, padding_right, epilogue, layout, wanted = args
    if epilogue == NONE or not differentiates(args):
        return _linear_backward(*args) if epilogue == NONE else ShortConvBackward.forward(*args)
    how = (padding_left, padding_right, NONE, layout)
    z = _ops.short_conv(x, weight, bias, state, ends, *how)
    dz = epilogue_gradient(z, dy, epilogue, layout)
    return _ops.short_conv_backward(dz, x, weight, bias, state, ends, *how, wanted)


library_part.impl("short_conv", autograd_kernel(ShortConv), "Autograd")
library_part.impl("short_conv_backward", _backward_kernel, "Autograd")
for _key in ("AutocastCPU", "AutocastCUDA"):  # weight and bias, small, keep their precision
    library_part.impl("short_conv", autocast_kernel(_ops.short_conv, (3,), _key), _key)


# ---- vmap


def _fold(size: int, in_dims, args, into_channels: bool, rows: dict[int, int]) -> list:
    """The arguments without the mapped dimension; `rows` are positions of x and the like and their channels' groups."""
    out, layout = list(args), args[len(rows) + 7]
    first, epilogue = len(rows) - 1, args[len(rows) + 6]
    if in_dims[first + 4] is not None:
        raise NotImplementedError("vmap over cu_seqlens of short_conv; pack the sequences of all maps into one row")
    groups = 3 if epilogue == GATE else 1
    for i, parts in rows.items():
        if into_channels:
            out[i] = fold_channels(args[i], in_dims[i], size, channel_dim(layout), parts if epilogue == GATE else 1)
        else:
            out[i] = fold_batch(args[i], in_dims[i], size)
    weight, bias, state = first + 1, first + 2, first + 3
    if into_channels:
        out[weight] = fold_channels(args[weight], in_dims[weight], size, 0, groups)
        out[bias] = fold_channels(args[bias], in_dims[bias], size, 0, groups)
        out[state] = fold_channels(args[state], in_dims[state], size, 1, groups)
    else:
        out[state] = fold_batch(args[state], in_dims[state], size)
    return out


def _vmap_short_conv(info, in_dims, *args):
    size, epilogue, layout = info.batch_size, args[-2], args[-1]
    into_channels = args[4] is not None or any(in_dims[i] is not None for i in (1, 2))
    y = _ops.short_conv(*_fold(size, in_dims, args, into_channels, {0: 3}))
    if not into_channels:
        return y.unflatten(0, (size, -1)), 0
    return unfold_channels(y, size, channel_dim(layout), 2 if epilogue == GATE else 1), 0


def _vmap_short_conv_backward(info, in_dims, *args):
    size, epilogue, layout, wanted = info.batch_size, *args[-3:]
    into_channels = args[5] is not None or bool(wanted & (WEIGHT | BIAS)) or any(in_dims[i] is not None for i in (2, 3))
    grads = _ops.short_conv_backward(*_fold(size, in_dims, args, into_channels, {0: 2, 1: 3}))
    groups, out, dims = 3 if epilogue == GATE else 1, [], []
    places = (channel_dim(layout), 0, 0, 1)  # of the channels in each gradient
    for bit, grad, place in zip(_BITS, grads, places, strict=True):
        if not wanted & bit:
            out.append(grad), dims.append(None)
        elif into_channels:
            out.append(unfold_channels(grad, size, place, groups)), dims.append(0)
        else:
            out.append(grad.unflatten(0, (size, -1))), dims.append(0)
    return tuple(out), tuple(dims)


torch.library.register_vmap("flashfftconv::short_conv", _vmap_short_conv)
torch.library.register_vmap("flashfftconv::short_conv_backward", _vmap_short_conv_backward)
