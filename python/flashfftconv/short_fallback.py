"""The operators of short convolutions in torch's elementwise operations, for devices that have no engine of ours; and
the gate of those whose engine lacks it, over the engine's sums.

A sequence is extended by what lies before it (zeros or its state) and behind it (zeros), e [B, D, left + L + right];
then ``z[i] = bias + sum_j weight[j] e[i + j]``, a pass over memory a tap, in float32 (float64 for float64).
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import below_autograd
from .problem import compute_dtype
from .short_epilogue import epilogue_gradient, epilogue_value
from .short_problem import ACTIVATIONS, GATE, LAYOUTS

_ops = torch.ops.flashfftconv
_BHL, _NONE = LAYOUTS["bhl"], ACTIVATIONS[None]


def _sequences(ends: Tensor | None, length: int) -> list[tuple[int, int]]:
    """Where the sequences of a row begin and end."""
    if ends is None:
        return [(0, length)]
    cuts = ends.tolist()
    return list(itertools.pairwise(cuts))


def _extended(x: Tensor, state: Tensor | None, padding_left: int, padding_right: int) -> Tensor:
    if state is None:
        return F.pad(x, (padding_left, padding_right))
    return F.pad(torch.cat([state, x], -1), (0, padding_right))


def _sums(e: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """z [B, D, outputs] of extended samples."""
    outputs = e.shape[-1] - weight.shape[1] + 1
    z = e.new_zeros(*e.shape[:2], outputs)
    if bias is not None:
        z += bias[:, None]
    for j in range(weight.shape[1]):
        z.addcmul_(weight[:, j, None], e[..., j : j + outputs])
    return z


def _parts(x: Tensor, state: Tensor | None, ends: Tensor | None, padding: tuple[int, int]):
    """Yields (index of the state, first and last sample, extended samples) of the sequences that are not empty."""
    for i, (start, end) in enumerate(_sequences(ends, x.shape[-1])):
        if end > start:
            before = state if state is None or ends is None else state[i : i + 1]
            yield i, start, end, _extended(x[..., start:end], before, *padding)


def _wide(x: Tensor, *tensors: Tensor | None) -> list[Tensor | None]:
    dtype = compute_dtype(x.dtype)
    return [None if t is None else t.to(dtype) for t in (x, *tensors)]


def _turned(t: Tensor, layout: int) -> Tensor:
    """[B, D, L] of either layout, or the way back."""
    return t if layout == _BHL else t.transpose(1, 2)


def _engine(operator, x, *args):
    """An operator without an epilogue, in the type it is given: in a backward pass autocast may still be on."""
    with torch.autocast(x.device.type, enabled=False):
        return below_autograd(operator, (x, *args))


def _engine_sums(x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, layout) -> Tensor:
    """The sums before an epilogue that an engine lacks, in float32; it may well have the sums themselves."""
    wide = _wide(x, weight, bias, initial_state)
    return _engine(_ops.short_conv, *wide, cu_seqlens, padding_left, padding_right, _NONE, layout)


def short_conv(x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, epilogue, layout) -> Tensor:
    if epilogue == GATE:
        z = _engine_sums(x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, layout)
        return epilogue_value(z, epilogue, layout).to(x.dtype)
    rows, taps, shift, state = _wide(_turned(x, layout), weight, bias, initial_state)
    padding = (padding_left, padding_right)
    z = torch.cat([_sums(e, taps, shift) for *_, e in _parts(rows, state, cu_seqlens, padding)], -1)
    y = epilogue_value(z, epilogue, LAYOUTS["bhl"])
    return _turned(y, layout).to(x.dtype).contiguous()


def _gate_backward(dy, x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, layout, wanted):
    padding = (padding_left, padding_right)
    z = _engine_sums(x, weight, bias, initial_state, cu_seqlens, *padding, layout)
    g = epilogue_gradient(z, dy.to(z.dtype), GATE, layout).contiguous()
    wide = _wide(x, weight, bias, initial_state)
    grads = _engine(_ops.short_conv_backward, g, *wide, cu_seqlens, *padding, _NONE, layout, wanted)
    likes = (x, weight, weight, x)
    return tuple(grad.to(like.dtype) for grad, like in zip(grads, likes, strict=True))


def short_conv_backward(
    dy, x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, epilogue, layout, wanted
) -> tuple[Tensor, ...]:
    if epilogue == GATE:
        return _gate_backward(
            dy, x, weight, bias, initial_state, cu_seqlens, padding_left, padding_right, layout, wanted
        )
    rows, taps, shift, state, dy_ = _wide(_turned(x, layout), weight, bias, initial_state, _turned(dy, layout))
    dx, dtaps, dshift = torch.empty_like(rows), torch.zeros_like(taps), taps.new_zeros(taps.shape[0])
    dstate = None if state is None else torch.zeros_like(state)
    for i, start, end, e in _parts(rows, state, cu_seqlens, (padding_left, padding_right)):
        # Packed outputs lie where their samples do; the outputs of a whole row are all of them.
        g = dy_ if cu_seqlens is None else dy_[..., start:end]
        if epilogue:
            g = epilogue_gradient(_sums(e, taps, shift), g, epilogue, _BHL)
        de = torch.zeros_like(e)
        for j in range(taps.shape[1]):
            window = slice(j, j + g.shape[-1])
            de[..., window].addcmul_(taps[:, j, None], g)
            dtaps[:, j] += (g * e[..., window]).sum((0, 2))
        dshift += g.sum((0, 2))
        dx[..., start:end] = de[..., padding_left : padding_left + end - start]
        if dstate is not None:
            (dstate if cu_seqlens is None else dstate[i : i + 1]).copy_(de[..., :padding_left])
    grads = ((_turned(dx, layout), x), (dtaps, weight), (dshift, weight), (dstate, x))
    return tuple(
        grad.to(like.dtype).contiguous() if wanted >> i & 1 else like.new_empty(0)
        for i, (grad, like) in enumerate(grads)
    )
