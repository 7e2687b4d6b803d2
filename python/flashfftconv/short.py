"""Short depthwise convolutions as functions: `short_conv`, `short_conv_gate` and `explain_short`."""

from __future__ import annotations

import torch
from torch import Tensor

from . import short_ops  # noqa: F401  (registers the operators)
from .dispatch import call, follow_autocast
from .problem import DTYPES
from .short_problem import ACTIVATIONS, GATE, LAYOUTS, check_gate_call, check_short_call, paddings, sizes_of

_ops = torch.ops.flashfftconv


def short_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: int | str | None = None,
    activation: str | None = None,
    layout: str = "bhl",
    initial_state: Tensor | None = None,
    return_state: bool = False,
    cu_seqlens: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Convolves every channel with its few taps, as torch's `conv1d` with ``groups=D``; activation fused.

    In layout "bhl", with ``left`` zeros (or the state) before x and zeros behind it::

        y[b, h, i] = activation(bias[h] + sum_j weight[h, j] * x[b, h, i + j - left])

    Parameters
    ----------
    x : Tensor, [B, D, L] ("bhl") or [B, L, D] ("blh")
        float16, bfloat16, float32 or float64; the last dimension is best adjacent, else it is copied. ``L >= 1``.
    weight : Tensor, [D, K] or [D, 1, K]
        Any ``K >= 1``, any floating dtype, any strides.
    bias : Tensor, [D], optional
        Of the dtype of `weight`.
    padding : int, "causal" or None
        An int pads both sides with as many zeros, outputs are ``L + 2 * padding - K + 1``; None is 0. "causal" pads
        ``K - 1`` before, outputs are L, and output i depends on no sample after i.
    activation : {None, "silu", "gelu"}
        gelu is the exact one, by the error function.
    layout : {"bhl", "blh"}
        Of x and y.
    initial_state : Tensor, [B, D, K - 1], optional
        With "causal": the samples before x, the latest last, in the dtype of x and in either layout of this shape.
    return_state : bool
        With "causal": returns the state behind x too, for the call that goes on.
    cu_seqlens : Tensor, [S + 1], int32 or int64, optional
        x is S sequences one after another in a batch of 1, sequence s at ``cu_seqlens[s]:cu_seqlens[s + 1]``; none
        reaches into another. Starts with 0, ends with L, does not decrease. Outputs must be as long as the sequences:
        "causal", or a padding of ``(K - 1) / 2`` for an odd K. States are then [S, D, K - 1].

    Returns
    -------
    Tensor, or (Tensor, Tensor) with `return_state`
        y, in the dtype and layout of x; the state, [B or S, D, K - 1]. Sums are float32 (float64 for float64).

    Raises
    ------
    ValueError, TypeError
        Naming the argument, what came and what is allowed. What `cu_seqlens` holds is checked on a CPU only.

    Notes
    -----
    Differentiable to any order in every floating tensor; same bits every run. Under autocast x and the state follow it,
    weight and bias keep their precision. Formulas: "Short convolutions" in the documentation.

    Examples
    --------
    >>> x, weight = torch.randn(4, 64, 1000), torch.randn(64, 4)
    >>> short_conv(x, weight, padding="causal", activation="silu").shape
    torch.Size([4, 64, 1000])
    """
    check_short_call(x, weight, bias, padding, activation, layout, initial_state, return_state, cu_seqlens)
    x, initial_state = follow_autocast(x, initial_state)
    weight = weight.squeeze(1) if weight.dim() == 3 else weight
    ends = None if cu_seqlens is None else cu_seqlens.to(torch.int64)
    if layout == "bhl" and x.shape[-1] == 1 and padding == "causal":
        # A single sample, the step of a stream: its channels are adjacent, and vectors run along them.
        y = _call(x.mT, weight, bias, initial_state, ends, *_how(weight, padding, activation, "blh")).mT
    else:
        y = _call(x, weight, bias, initial_state, ends, *_how(weight, padding, activation, layout))
    if not return_state:
        return y
    return y, _state_behind(x if layout == "bhl" else x.mT, initial_state, ends, weight.shape[-1] - 1)


def _how(weight: Tensor, padding: int | str | None, activation: str | None, layout: str) -> tuple[int, int, int, int]:
    """What the operator is told behind the tensors."""
    return (*paddings(padding, weight.shape[-1]), ACTIVATIONS[activation], LAYOUTS[layout])


def short_conv_gate(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int | str | None = "causal", layout: str = "bhl"
) -> tuple[Tensor, Tensor]:
    """Hyena's front end: the short convolution of a projection of three parts, and the first gate.

    One pass over memory; on a GPU in layout "bhl" with up to 8 taps, else several, which take some ten times as long.

    With z the sums of `short_conv`, z0, z1 and z2 its thirds of D channels: returns ``z0`` and ``z1 * z2``, the gate
    behind the long convolution and that one's input.

    Parameters
    ----------
    x : Tensor, [B, 3 D, L] ("bhl") or [B, L, 3 D] ("blh")
    weight, bias, padding, layout
        As in `short_conv`, of 3 D channels.

    Returns
    -------
    (Tensor, Tensor), [B, D, outputs] or [B, outputs, D] each
        Views of one tensor, in the dtype of x.

    Raises
    ------
    ValueError, TypeError
        As `short_conv`; ValueError for channels that are no multiple of 3.
    """
    check_short_call(x, weight, bias, padding, None, layout, None, False, None)
    check_gate_call(x, layout)
    (x,) = follow_autocast(x)
    weight = weight.squeeze(1) if weight.dim() == 3 else weight
    y = _call(x, weight, bias, None, None, *paddings(padding, weight.shape[-1]), GATE, LAYOUTS[layout])
    return y.chunk(2, 1 if layout == "bhl" else 2)


def _call(x: Tensor, *args) -> Tensor:
    try:
        return call(_ops.short_conv, (x, *args))
    except RuntimeError as error:
        message = str(error)
        if "cu_seqlens[" in message:  # what it holds is seen by the engine alone
            raise ValueError(message[message.index("cu_seqlens[") :].splitlines()[0]) from None
        raise


def _state_behind(x: Tensor, before: Tensor | None, ends: Tensor | None, history: int) -> Tensor:
    """The last `history` samples of `before` and x [B, D, L], or of every packed sequence: [B or S, D, history]."""
    rows = x.shape[0] if ends is None else ends.shape[0] - 1
    if history == 0:
        return x.new_empty(rows, x.shape[1], 0)
    if before is None:
        before = x.new_zeros(rows, x.shape[1], history)
    if ends is None:
        return torch.cat([before, x[..., -history:]], -1)[..., -history:].contiguous()
    index = ends[1:, None] - history + torch.arange(history, device=x.device)  # [S, history]
    early = index - ends[:-1, None]  # below 0: in the state before
    samples = x[0][:, index.clamp(0, x.shape[-1] - 1)].transpose(0, 1)
    earlier = before.gather(-1, (early + history).clamp(0, history - 1)[:, None].expand(-1, x.shape[1], -1))
    return torch.where((early < 0)[:, None], earlier, samples)


def explain_short(
    x: Tensor,
    weight: Tensor,
    padding: int | str | None = None,
    activation: str | None = None,
    layout: str = "bhl",
    cu_seqlens: Tensor | None = None,
) -> str:
    """The plan of `short_conv` for these arguments, in words: algorithm, sizes, backend, workspace and why.

    Raises
    ------
    ValueError, TypeError
        As `short_conv`.
    """
    check_short_call(x, weight, None, padding, activation, layout, None, False, cu_seqlens)
    sizes = sizes_of(x, weight, layout)
    sequences = 0 if cu_seqlens is None else cu_seqlens.shape[0] - 1
    kind = (ACTIVATIONS[activation], LAYOUTS[layout], DTYPES[x.dtype], DTYPES[weight.dtype])
    why = "there is no engine for such devices"
    if x.device.type in ("cpu", "cuda"):
        device = -1 if x.device.type == "cpu" else x.device.index
        found, text = _ops.describe_short(*sizes, *paddings(padding, sizes[3]), sequences, *kind, device)
        if found:
            return text
        why = text
    return (
        f"short convolution, layout {layout}, x {list(x.shape)}, {sizes[3]} taps, {str(x.dtype)[6:]}, on {x.device}\n"
        f"  algorithm: torch's elementwise operations, a pass over memory a tap\n"
        f"  why: {why}; same results\n"
    )
