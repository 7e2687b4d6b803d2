"""What may be asked of a short convolution: names, types and the checks that every call passes.

Shapes: `x` [B, D, L] (layout "bhl") or [B, L, D] ("blh"); `weight` [D, K] or [D, 1, K]; `bias` [D]; `initial_state`
[B, D, K - 1], or a state for each of the packed sequences; `cu_seqlens` [sequences + 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from .problem import check_device, check_int, check_tensor, shape_of

LAYOUTS = {"bhl": 0, "blh": 1}
ACTIVATIONS = {None: 0, "silu": 1, "gelu": 2}
GATE = 3  # the epilogue of `short_conv_gate`


def check_short_call(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int | str | None,
    activation: str | None,
    layout: str,
    initial_state: Tensor | None,
    return_state: bool,
    cu_seqlens: Tensor | None,
) -> None:
    """Raises ValueError or TypeError naming the argument, what came and what is allowed."""
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; it must be 'bhl' or 'blh'")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; it must be None, 'silu' or 'gelu'")
    channels, length = _check_rows(x, layout)
    taps = _check_weight(weight, channels, x)
    if bias is not None:
        _check_bias(bias, channels, weight)
    _check_padding(padding, taps, length)
    if not isinstance(return_state, bool):
        raise TypeError(f"return_state is {return_state!r}; it must be True or False")
    if cu_seqlens is not None:
        _check_sequences(cu_seqlens, x, padding, taps)
    if initial_state is not None or return_state:
        name = "return_state" if initial_state is None else "initial_state"
        if padding != "causal":
            raise ValueError(f"{name} is given and padding is {padding!r}; a state needs padding 'causal'")
    if initial_state is not None:
        rows = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
        _check_state(initial_state, (rows, channels, taps - 1), x)


def check_gate_call(x: Tensor, layout: str) -> None:
    """What `short_conv_gate` asks for besides."""
    channels = x.shape[1 if layout == "bhl" else 2]
    if channels % 3:
        raise ValueError(f"x has {channels} channels (shape {shape_of(x)}); the gate needs a multiple of 3")


def paddings(padding: int | str | None, taps: int) -> tuple[int, int]:
    """Zeros before and behind the samples."""
    if padding == "causal":
        return taps - 1, 0
    return (padding or 0,) * 2


def _check_rows(x: Tensor, layout: str) -> tuple[int, int]:
    check_tensor("x", x)
    shape = "[batch, channels, length]" if layout == "bhl" else "[batch, length, channels]"
    if x.dim() != 3:
        raise ValueError(f"x has shape {shape_of(x)}; it must be {shape} in layout {layout!r}")
    channels, length = x.shape[1:] if layout == "bhl" else (x.shape[2], x.shape[1])
    if length < 1:
        raise ValueError(f"x has shape {shape_of(x)}, {shape}; its length must be at least 1")
    return channels, length


def _check_weight(weight: Tensor, channels: int, x: Tensor) -> int:
    check_tensor("weight", weight)
    if weight.dim() != 2 and not (weight.dim() == 3 and weight.shape[1] == 1):
        raise ValueError(f"weight has shape {shape_of(weight)}; it must be [channels, taps] or [channels, 1, taps]")
    if weight.shape[-1] < 1:
        raise ValueError(f"weight has shape {shape_of(weight)}; it must have at least 1 tap")
    if weight.shape[0] != channels:
        raise ValueError(f"weight has {weight.shape[0]} channels (shape {shape_of(weight)}); x has {channels}")
    check_device("weight", weight, x, of="x")
    return weight.shape[-1]


def _check_bias(bias: Tensor, channels: int, weight: Tensor) -> None:
    check_tensor("bias", bias)
    if bias.shape != (channels,):
        raise ValueError(f"bias has shape {shape_of(bias)}; it must be [channels], [{channels}]")
    if bias.dtype != weight.dtype:
        raise TypeError(f"bias is {bias.dtype}; it must be of the dtype of weight, {weight.dtype}")
    check_device("bias", bias, weight, of="weight")


def _check_padding(padding: int | str | None, taps: int, length: int) -> None:
    if padding is None or padding == "causal":
        pass
    elif isinstance(padding, str):
        raise ValueError(f"padding is {padding!r}; it must be None, an int or 'causal'")
    else:
        check_int("padding", padding, "None, an int or 'causal'")
        if padding < 0 or padding > 2**48:
            raise ValueError(f"padding is {padding}; it must be at least 0 and at most 2^48")
    if length + sum(paddings(padding, taps)) < taps:
        raise ValueError(f"x has length {length}; with padding {padding} the weight's {taps} taps do not fit into it")


def _check_sequences(cu_seqlens: Tensor, x: Tensor, padding: int | str | None, taps: int) -> None:
    if not isinstance(cu_seqlens, Tensor):
        raise TypeError(f"cu_seqlens is a {type(cu_seqlens).__name__}; it must be a torch.Tensor")
    if cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"cu_seqlens is {cu_seqlens.dtype}; it must be int32 or int64")
    if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] < 2:
        raise ValueError(f"cu_seqlens has shape {shape_of(cu_seqlens)}; it must be [sequences + 1], of 2 or more")
    if x.shape[0] != 1:
        raise ValueError(f"x has batch {x.shape[0]}; with cu_seqlens the sequences lie in a batch of 1")
    if sum(paddings(padding, taps)) != taps - 1:
        raise ValueError(
            f"padding is {padding} and cu_seqlens is given; outputs must be as long as their sequences: 'causal', or "
            f"(taps - 1) / 2 for an odd number of taps (weight has {taps})"
        )
    check_device("cu_seqlens", cu_seqlens, x, of="x")


def _check_state(state: Tensor, shape: tuple[int, int, int], x: Tensor) -> None:
    check_tensor("initial_state", state)
    if state.shape != shape:
        raise ValueError(
            f"initial_state has shape {shape_of(state)}; it must be [batch or sequences, channels, taps - 1], "
            f"{list(shape)}"
        )
    if state.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"initial_state is {state.dtype}; it must be of the dtype of x, {x.dtype}")
    check_device("initial_state", state, x, of="x")


def sizes_of(x: Tensor, weight: Tensor, layout: str) -> tuple[int, int, int, int]:
    """Batch, channels, length and taps."""
    channels, length = x.shape[1:] if layout == "bhl" else (x.shape[2], x.shape[1])
    return x.shape[0], channels, length, weight.shape[-1]
