"""Autocast: rows and gates follow it, filter and skip keep their precision."""

import pytest
import torch

from flashfftconv import Filter, FlashFFTConv, long_conv

U, K, GATE, SKIP = torch.randn(2, 3, 200), torch.randn(3, 200) / 14, torch.randn(2, 3, 200), torch.randn(3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_follow_and_the_filter_keeps_its_precision(dtype):
    expected = long_conv(U.to(dtype), K, pregate=GATE.to(dtype), postgate=GATE.to(dtype), skip=SKIP)
    rounded = long_conv(U.to(dtype), K.to(dtype), pregate=GATE.to(dtype), postgate=GATE.to(dtype), skip=SKIP)
    with torch.autocast("cpu", dtype):
        y = long_conv(U, K, pregate=GATE, postgate=GATE, skip=SKIP)
        module = FlashFFTConv(400)(U, K, GATE)
    assert y.dtype == module.dtype == dtype
    assert torch.equal(y, expected)
    assert not torch.equal(y, rounded)


def test_gradients_come_in_the_type_of_their_tensors():
    leaves = {
        name: t.clone().requires_grad_()
        for name, t in (("u", U), ("k", K), ("pregate", GATE), ("postgate", GATE), ("skip", SKIP))
    }
    with torch.autocast("cpu", torch.bfloat16):
        y = long_conv(**leaves)
    y.float().square().sum().backward()
    for name, t in leaves.items():
        assert t.grad.dtype == torch.float32, name
    low = {
        name: t.detach().to(torch.bfloat16 if t.dim() == 3 else t.dtype).requires_grad_() for name, t in leaves.items()
    }
    long_conv(**low).float().square().sum().backward()
    for name, t in leaves.items():
        assert torch.equal(t.grad, low[name].grad.float()), name


def test_a_gate_of_another_type_is_allowed_under_autocast_only():
    with torch.autocast("cpu", torch.bfloat16):
        y = long_conv(U, K, pregate=GATE.bfloat16())
        assert torch.equal(y, long_conv(U.bfloat16(), K, pregate=GATE.bfloat16()))
    with pytest.raises(TypeError, match=r"pregate is torch\.bfloat16; it must be of the dtype of u, torch\.float32"):
        long_conv(U, K, pregate=GATE.bfloat16())


@pytest.mark.parametrize("name", ["u", "k", "pregate"])
def test_integers_do_not_follow(name):
    given = {"u": U, "k": K, "pregate": GATE}
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(TypeError, match=rf"{name} is torch\.int32"):
        long_conv(**(given | {name: given[name].int()}))


def test_a_disabled_region_and_float64_are_left_alone():
    with torch.autocast("cpu", torch.bfloat16):
        assert long_conv(U.double(), K).dtype == torch.float64
        with torch.autocast("cpu", enabled=False):
            y = long_conv(U, K)
    assert torch.equal(y, long_conv(U, K))


def test_float64_rows_with_gates_of_another_type():
    with torch.autocast("cpu", torch.bfloat16):
        try:
            y = long_conv(U.double(), K, pregate=GATE)
        except TypeError as error:
            assert "pregate" in str(error)
        else:
            torch.testing.assert_close(y, long_conv(U.double(), K, pregate=GATE.double()), rtol=1e-2, atol=1e-2)


def test_backward_inside_the_region_and_second_derivatives():
    u = U.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = long_conv(u, K, pregate=u)
        (first,) = torch.autograd.grad(y.float().square().sum(), u, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), u)
    exact_u = U.double().requires_grad_()
    (first64,) = torch.autograd.grad(long_conv(exact_u, K, pregate=exact_u).square().sum(), exact_u, create_graph=True)
    (second64,) = torch.autograd.grad(first64.square().sum(), exact_u)
    assert first.dtype == second.dtype == torch.float32
    assert (first - first64).norm() / first64.norm() < 0.02
    assert (second - second64).norm() / second64.norm() < 0.05


def test_a_filter_follows_autocast_as_its_taps_do():
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        plain, prepared = long_conv(U, Filter(K), pregate=GATE), long_conv(U, Filter(K).precompute(), pregate=GATE)
    assert plain.dtype == prepared.dtype == torch.bfloat16
    assert torch.equal(plain, prepared)
