"""`FlashDepthWiseConv1d`: the reference's interface, its checkpoints and those of `nn.Conv1d`."""

import copy
import pickle

import pytest
import torch
from torch import nn

import flashfftconv
from flashfftconv import FlashDepthWiseConv1d


def make(channels=6, taps=5, padding=2, is_bhl=True, bias=True, **factory):
    conv = nn.Conv1d(channels, channels, taps, padding=padding, groups=channels, bias=bias)
    return conv, FlashDepthWiseConv1d(channels, taps, padding, conv.weight, conv.bias, is_bhl, **factory)


@pytest.mark.parametrize("is_bhl", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("taps", "padding"), [(1, 0), (3, 1), (4, 3), (5, 2), (7, 0), (4, 9)])
def test_it_is_conv1d(is_bhl, bias, taps, padding):
    conv, ours = make(6, taps, padding, is_bhl, bias)
    x = torch.randn(2, 6, 30)
    y = ours(x if is_bhl else x.transpose(1, 2).contiguous())
    expected = conv(x)
    torch.testing.assert_close(y if is_bhl else y.transpose(1, 2), expected)
    expected.sin().sum().backward()
    y.sin().sum().backward()
    gradient = ours.weights.grad if is_bhl else ours.weights.grad.t()
    torch.testing.assert_close(gradient, conv.weight.grad[:, 0], rtol=1e-4, atol=1e-5)
    if bias:
        torch.testing.assert_close(ours.bias.grad, conv.bias.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_bhl", [True, False])
def test_parameters_and_attributes_of_the_reference(is_bhl):
    conv, ours = make(6, 5, 2, is_bhl)
    assert ours.weights.shape == ((6, 5) if is_bhl else (5, 6)) and ours.weights.is_contiguous()
    assert {name for name, _ in ours.named_parameters()} == {"weights", "bias"}
    assert (ours.d, ours.k, ours.padding, ours.is_bhl) == (6, 5, 2, is_bhl)
    assert ours.weights.data_ptr() != conv.weight.data_ptr()
    assert "6, kernel_size=5, padding=2" in repr(ours)
    assert make(bias=False)[1].bias is None
    assert flashfftconv.FlashDepthwiseConv1d is FlashDepthWiseConv1d


@pytest.mark.parametrize("is_bhl", [True, False])
@pytest.mark.parametrize("source", ["own", "conv1d", "conv1d under our name"])
def test_checkpoints(is_bhl, source):
    conv, ours = make(4, 3, 1, is_bhl)
    other, fresh = make(4, 3, 1, is_bhl)
    state = fresh.state_dict()
    if source != "own":
        name = "weight" if source == "conv1d" else "weights"
        state = {name: other.weight, "bias": other.bias}
    holder = nn.ModuleDict({"short": ours})
    holder.load_state_dict({f"short.{name}": t.detach() for name, t in state.items()}, strict=True)
    assert torch.equal(ours.weights, fresh.weights) and torch.equal(ours.bias, fresh.bias)
    assert not torch.equal(ours.weights if is_bhl else ours.weights.t(), conv.weight[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", ["equal", "float32"])
@pytest.mark.parametrize("is_bhl", [True, False])
def test_halves_come_out_in_the_type_that_went_in(dtype, weights, is_bhl):
    _, ours = make(6, 4, 3, is_bhl, dtype=dtype if weights == "equal" else torch.float32)
    x = torch.randn(2, 6, 40).to(dtype).requires_grad_()
    y = ours(x if is_bhl else x.transpose(1, 2))
    assert y.dtype == dtype
    y.float().sum().backward()
    assert x.grad.dtype == dtype and ours.weights.grad.dtype == ours.weights.dtype


def test_it_survives_what_modules_go_through():
    _, ours = make()
    x = torch.randn(2, 6, 30)
    expected = ours(x)
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), ours.to("cpu").eval()):
        assert torch.equal(again(x), expected)
    assert copy.deepcopy(ours).half()(x.half()).dtype == torch.float16
    assert copy.deepcopy(ours).double()(x.double()).dtype == torch.float64


def test_causal_padding():
    conv, _ = make(6, 4, 3)
    causal = FlashDepthWiseConv1d(6, 4, "causal", conv.weight, conv.bias)
    x = torch.randn(2, 6, 30)
    torch.testing.assert_close(causal(x), conv(x)[..., :30])


def test_autocast():
    _, ours = make()
    x = torch.randn(2, 6, 30)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16
