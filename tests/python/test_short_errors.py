"""Bad input of short convolutions: which exception, and that it names the argument, what came and what is allowed."""

import pytest
import torch

from flashfftconv import FlashDepthWiseConv1d, explain_short, short_conv, short_conv_gate

B, D, L, K = 2, 6, 20, 4


def ones(*shape, dtype=torch.float32, device="cpu"):
    return torch.ones(shape, dtype=dtype, device=device)


GOOD = {"x": ones(B, D, L), "weight": ones(D, K), "padding": "causal"}
STATE = ones(B, D, K - 1)
META = torch.zeros(3, dtype=torch.int64, device="meta")
PACKED = {"x": ones(1, D, L), "cu_seqlens": torch.tensor([0, 5, L])}


def packed(*ends):
    return PACKED | {"cu_seqlens": torch.tensor(ends)}


# id: (what differs from a good call, exception, parts of the message: argument, value, allowed)
BAD = {
    "x of rank 2": ({"x": ones(D, L)}, ValueError, ["x has", "[6, 20]", "[batch, channels, length]"]),
    "x of rank 4, blh": ({"x": ones(1, 1, D, L), "layout": "blh"}, ValueError, ["x", "[batch, length, channels]"]),
    "x of length 0": ({"x": ones(B, D, 0)}, ValueError, ["x", "[2, 6, 0]", "at least 1"]),
    "x not a tensor": ({"x": [1.0]}, TypeError, ["x", "list", "torch.Tensor"]),
    "x int64": ({"x": ones(B, D, L, dtype=torch.int64)}, TypeError, ["x", "torch.int64", "float32"]),
    "x complex": ({"x": ones(B, D, L, dtype=torch.complex64)}, TypeError, ["x", "complex64", "float32"]),
    "weight not a tensor": ({"weight": 3}, TypeError, ["weight", "int", "torch.Tensor"]),
    "weight bool": ({"weight": ones(D, K, dtype=torch.bool)}, TypeError, ["weight", "torch.bool"]),
    "weight of rank 1": ({"weight": ones(D)}, ValueError, ["weight", "[6]", "[channels, 1, taps]"]),
    "weight not depthwise": ({"weight": ones(D, 2, K)}, ValueError, ["weight", "[6, 2, 4]", "[channels, 1, taps]"]),
    "weight without taps": ({"weight": ones(D, 0)}, ValueError, ["weight", "[6, 0]", "at least 1 tap"]),
    "weight of other channels": ({"weight": ones(5, K)}, ValueError, ["weight has 5", "x has 6"]),
    "weight of the other layout": ({"layout": "blh"}, ValueError, ["weight has 6", "x has 20"]),
    "weight on another device": ({"weight": ones(D, K, device="meta")}, ValueError, ["weight", "meta", "cpu"]),
    "bias of another shape": ({"bias": ones(1)}, ValueError, ["bias", "[1]", "[6]"]),
    "bias of another type": ({"bias": ones(D, dtype=torch.half)}, TypeError, ["bias", "float16", "float32"]),
    "bias not a tensor": ({"bias": True}, TypeError, ["bias", "bool", "torch.Tensor"]),
    "bias on another device": ({"bias": ones(D, device="meta")}, ValueError, ["bias", "meta", "cpu"]),
    "padding negative": ({"padding": -1}, ValueError, ["padding", "-1", "at least 0"]),
    "padding float": ({"padding": 1.0}, TypeError, ["padding", "1.0", "'causal'"]),
    "padding bool": ({"padding": True}, TypeError, ["padding", "True", "'causal'"]),
    "padding unknown": ({"padding": "same"}, ValueError, ["padding", "'same'", "'causal'"]),
    "padding huge": ({"padding": 2**60}, ValueError, ["padding", str(2**60), "2^48"]),
    "too few samples": ({"padding": 1, "weight": ones(D, 23)}, ValueError, ["x has length 20", "padding 1", "23 taps"]),
    "activation unknown": ({"activation": "relu"}, ValueError, ["activation", "'relu'", "'silu'", "'gelu'"]),
    "layout unknown": ({"layout": "bld"}, ValueError, ["layout", "'bld'", "'bhl'", "'blh'"]),
    "layout not text": ({"layout": 1}, ValueError, ["layout", "1", "'bhl'"]),
    "state of another shape": ({"initial_state": STATE[:1]}, ValueError, ["initial_state", "[1, 6, 3]", "[2, 6, 3]"]),
    "state of another type": ({"initial_state": STATE.double()}, TypeError, ["initial_state", "float64", "float32"]),
    "state not a tensor": ({"initial_state": 0}, TypeError, ["initial_state", "int", "torch.Tensor"]),
    "state elsewhere": ({"initial_state": STATE.to("meta")}, ValueError, ["initial_state", "meta", "cpu"]),
    "state without causal": ({"initial_state": STATE, "padding": 3}, ValueError, ["initial_state", "3", "'causal'"]),
    "return_state without causal": ({"return_state": True, "padding": None}, ValueError, ["return_state", "None"]),
    "return_state not a bool": ({"return_state": 1}, TypeError, ["return_state", "1", "True or False"]),
    "cu_seqlens list": (PACKED | {"cu_seqlens": [0, L]}, TypeError, ["cu_seqlens", "list", "torch.Tensor"]),
    "cu_seqlens float": (PACKED | {"cu_seqlens": ones(3)}, TypeError, ["cu_seqlens", "float32", "int32 or int64"]),
    "cu_seqlens of rank 2": (PACKED | {"cu_seqlens": PACKED["cu_seqlens"][None]}, ValueError, ["[1, 3]", "sequences"]),
    "cu_seqlens of one": (packed(0), ValueError, ["cu_seqlens", "[1]", "2 or more"]),
    "cu_seqlens and a batch": ({"cu_seqlens": PACKED["cu_seqlens"]}, ValueError, ["x has batch 2", "batch of 1"]),
    "cu_seqlens and a padding": (PACKED | {"padding": 2}, ValueError, ["padding is 2", "cu_seqlens", "weight has 4"]),
    "cu_seqlens elsewhere": (
        PACKED | {"cu_seqlens": torch.zeros(3, dtype=torch.int64, device="meta")},
        ValueError,
        ["cu_seqlens", "meta"],
    ),
    "cu_seqlens not from 0": (
        PACKED | {"cu_seqlens": torch.tensor([1, 5, L])},
        ValueError,
        ["cu_seqlens[0] is 1", "0"],
    ),
    "cu_seqlens decreasing": (
        PACKED | {"cu_seqlens": torch.tensor([0, 9, 5, L])},
        ValueError,
        ["cu_seqlens[2] is 5", "9"],
    ),
    "cu_seqlens too short": (packed(0, 9), ValueError, ["cu_seqlens[1] is 9", "20"]),
    "states of packed sequences": (PACKED | {"initial_state": STATE[:1]}, ValueError, ["initial_state", "[2, 6, 3]"]),
}


@pytest.mark.parametrize(("changed", "exception", "words"), BAD.values(), ids=BAD)
def test_short_conv(changed, exception, words):
    given = GOOD | changed
    before = {name: t.clone() for name, t in given.items() if isinstance(t, torch.Tensor) and t.device.type == "cpu"}
    with pytest.raises(exception) as caught:
        short_conv(**given)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in {str(caught.value)!r}"
    for name, t in before.items():
        assert torch.equal(given[name], t)


def test_explain_refuses_alike():
    with pytest.raises(ValueError, match="layout is 'x'"):
        explain_short(ones(B, D, L), ones(D, K), layout="x")


def test_the_gate_needs_thirds():
    with pytest.raises(ValueError, match=r"x has 4 channels .* multiple of 3"):
        short_conv_gate(ones(B, 4, L), ones(4, K))
    with pytest.raises(ValueError, match="weight has 5 channels"):
        short_conv_gate(ones(B, D, L), ones(5, K))


MODULE = {"channels": D, "kernel_size": K, "padding": 1, "weights": ones(D, 1, K), "bias": ones(D)}
BAD_MODULE = {
    "channels 0": ({"channels": 0}, ValueError, ["channels", "0", "at least 1"]),
    "channels float": ({"channels": 6.0}, TypeError, ["channels", "6.0", "an int"]),
    "kernel_size 0": ({"kernel_size": 0}, ValueError, ["kernel_size", "0", "at least 1"]),
    "padding negative": ({"padding": -2}, ValueError, ["padding", "-2", "at least 0"]),
    "padding text": ({"padding": "valid"}, TypeError, ["padding", "'valid'", "'causal'"]),
    "weights of another shape": ({"weights": ones(K, D)}, ValueError, ["weights", "[4, 6]", "[6, 1, 4]"]),
    "weights not a tensor": ({"weights": None}, TypeError, ["weights", "NoneType", "torch.Tensor"]),
    "bias of another shape": ({"bias": ones(K)}, ValueError, ["bias", "[4]", "[6]", "None"]),
}


@pytest.mark.parametrize(("changed", "exception", "words"), BAD_MODULE.values(), ids=BAD_MODULE)
def test_module(changed, exception, words):
    with pytest.raises(exception) as caught:
        FlashDepthWiseConv1d(**(MODULE | changed))
    for word in words:
        assert word in str(caught.value)


# ---- direct misuse of the operators: a RuntimeError, no crash and no wrong answer

_ops = torch.ops.flashfftconv
OPERATOR = {
    "x": ones(B, D, L),
    "weight": ones(D, K),
    "bias": None,
    "initial_state": None,
    "cu_seqlens": None,
    "padding_left": K - 1,
    "padding_right": 0,
    "epilogue": 0,
    "layout": 0,
}
MISUSE = {
    "x of rank 2": {"x": ones(D, L)},
    "x of rank 0": {"x": torch.tensor(1.0)},
    "x int64": {"x": ones(B, D, L, dtype=torch.int64)},
    "x sparse": {"x": ones(B, D, L).to_sparse()},
    "weight of rank 3": {"weight": ones(D, 1, K)},
    "weight of other channels": {"weight": ones(D - 1, K)},
    "weight without taps": {"weight": ones(D, 0)},
    "weight int8": {"weight": ones(D, K, dtype=torch.int8)},
    "weight on meta": {"weight": ones(D, K, device="meta")},
    "bias of rank 2": {"bias": ones(D, 1)},
    "bias too short": {"bias": ones(D - 1)},
    "bias of another type": {"bias": ones(D).double()},
    "state too short": {"initial_state": STATE[..., 1:]},
    "state of another batch": {"initial_state": STATE[:1]},
    "state of another type": {"initial_state": STATE.half()},
    "state without causal padding": {"initial_state": STATE, "padding_left": 1},
    "cu_seqlens int32": {"x": ones(1, D, L), "cu_seqlens": torch.tensor([0, L], dtype=torch.int32)},
    "cu_seqlens empty": {"x": ones(1, D, L), "cu_seqlens": torch.tensor([], dtype=torch.int64)},
    "cu_seqlens beyond": {"x": ones(1, D, L), "cu_seqlens": torch.tensor([0, 2**40])},
    "cu_seqlens below": {"x": ones(1, D, L), "cu_seqlens": torch.tensor([0, -5, L])},
    "cu_seqlens and a batch": {"cu_seqlens": torch.tensor([0, L])},
    "padding negative": {"padding_left": -1},
    "padding smallest": {"padding_right": -(2**63)},
    "padding largest": {"padding_left": 2**63 - 1},
    "too few samples": {"padding_left": 0, "weight": ones(D, L + 1)},
    "epilogue 4": {"epilogue": 4},
    "epilogue beyond 32 bits": {"epilogue": 2**32},
    "layout 2": {"layout": 2},
    "layout beyond 32 bits": {"layout": 2**32 + 1},
    "gate of four": {"epilogue": 3, "x": ones(B, 4, L), "weight": ones(4, K)},
}


@pytest.mark.parametrize("changed", MISUSE.values(), ids=MISUSE)
def test_misuse_of_the_operators(changed):
    given = OPERATOR | changed
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ops.short_conv(*given.values())
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ops.short_conv_backward(ones(B, D, L), *given.values(), 3)


@pytest.mark.parametrize("dy", [ones(B, D, L - 1), ones(D, L), ones(B, D, L).double(), ones(B, D, L, device="meta")])
def test_a_gradient_that_does_not_fit(dy):
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ops.short_conv_backward(dy, *OPERATOR.values(), 3)


def test_the_gradient_of_an_absent_state():
    with pytest.raises(RuntimeError, match="initial_state"):
        _ops.short_conv_backward(ones(B, D, L), *OPERATOR.values(), 8)
    assert [g.numel() for g in _ops.short_conv_backward(ones(B, D, L), *OPERATOR.values(), 0)] == [0] * 4
