"""The operators by torch.fft, for CUDA tensors that no engine takes, called on CPU tensors over all cases."""

import pytest
import torch
from cases import CASES, TENSORS, Case, check_gradients, check_rows
from oracle import direct_sum, fft_sum, gradients, operation

from flashfftconv import fft_fallback
from flashfftconv.problem import MODES, compute_dtype

_ops = torch.ops.flashfftconv


def arguments(case):
    return (*case.inputs().values(), MODES[case.mode], case.fft_size or 0, case.k_rev_lag)


def everything(given):
    return sum(1 << i for i, t in enumerate(given[:6]) if t is not None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case):
    exact = operation(case.inputs(), case.how, direct_sum if case.is_small else fft_sum)
    y = fft_fallback.long_conv(*arguments(case))
    assert y.dtype == case.dtype
    check_rows("y", y, exact, compute_dtype(case.dtype))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients(case):
    given, inputs, dy = arguments(case), case.inputs(), case.cotangent()
    results = fft_fallback.long_conv_backward(dy, *given, everything(given))
    expected = _ops.long_conv_backward(dy, *given, everything(given))
    named = {}
    for name, ours, other in zip(TENSORS, results, expected, strict=True):
        assert (ours is None) == (other is None) == (inputs[name] is None), name
        if ours is not None:
            assert ours.shape == other.shape and ours.dtype == other.dtype, name
            named[name] = ours
    exact = gradients(inputs, case.how, dy, direct_sum if case.is_small else fft_sum)
    check_gradients(named, exact, inputs, dy, compute_dtype(case.dtype))


@pytest.mark.parametrize("mode", MODES)
def test_each_gradient_alone_has_the_shapes_of_the_operator(mode):
    case = Case(
        mode,
        2,
        3,
        20,
        15,
        15 if mode == "bidirectional" else 0,
        25 if mode == "circular" else None,
        gates="pre post",
        skip=True,
    )
    given = arguments(case)
    for bit in [0] + [1 << i for i, t in enumerate(given[:6]) if t is not None]:
        for ours, other in zip(
            fft_fallback.long_conv_backward(case.cotangent(), *given, bit),
            _ops.long_conv_backward(case.cotangent(), *given, bit),
            strict=True,
        ):
            torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3, 20), (2, 0, 20), (0, 0, 1)])
@pytest.mark.parametrize("mode", MODES)
def test_empty_batches_and_channels(mode, shape):
    batch, channels, length = shape
    case = Case(
        mode,
        batch,
        channels,
        length,
        5 if mode != "circular" else 1,
        5 if mode == "bidirectional" else 0,
        length if mode == "circular" else None,
        gates="pre post",
        skip=True,
    )
    given = arguments(case)
    assert fft_fallback.long_conv(*given).shape == shape
    results = fft_fallback.long_conv_backward(case.cotangent(), *given, everything(given))
    for ours, other in zip(results, _ops.long_conv_backward(case.cotangent(), *given, everything(given)), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=0)


def test_a_row_that_is_not_finite_stays_alone():
    u, k = torch.randn(2, 2, 64), torch.randn(2, 64)
    u[0, 1, 3] = float("nan")
    y = fft_fallback.long_conv(u, k, None, None, None, None, MODES["causal"], 0, 1)
    assert y.isnan().any(-1).tolist() == [[False, True], [False, False]]
    _, dk, *_ = fft_fallback.long_conv_backward(u.nan_to_num(), u, k, None, None, None, None, MODES["causal"], 0, 1, 2)
    assert dk.isnan().any(-1).tolist() == [False, True]
