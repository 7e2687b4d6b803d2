"""Forward results over the case table, against float64; and that the oracle's two ways agree."""

import pytest
import torch
from cases import CASES, SMALL_CASES, check_rows, row_errors
from oracle import direct_sum, fft_sum, gradients, operation

from flashfftconv import explain, long_conv
from flashfftconv.problem import compute_dtype


@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
def test_the_two_oracles_agree(case):
    inputs, dy = case.inputs(), case.cotangent()
    exact = operation(inputs, case.how)
    assert (row_errors(operation(inputs, case.how, fft_sum), exact) <= 1e-13).all()
    if case.length * case.taps <= 20_000:
        slow, fast = gradients(inputs, case.how, dy), gradients(inputs, case.how, dy, fft_sum)
        scale = max(g.abs().max().item() for g in slow.values())
        for name in slow:
            assert (slow[name] - fast[name]).abs().max() <= 1e-13 * scale * case.length, name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case):
    inputs = case.inputs()
    kept = {name: None if t is None else t.clone() for name, t in inputs.items()}
    exact = operation(inputs, case.how, direct_sum if case.is_small else fft_sum)
    y = long_conv(**inputs, **case.how)
    assert y.dtype == case.dtype and y.is_contiguous() and not y.requires_grad
    check_rows("y", y, exact, compute_dtype(case.dtype))
    for name, t in inputs.items():
        assert t is None or torch.equal(t, kept[name]), f"{name} was changed"


def test_the_table_reaches_every_algorithm_in_every_type():
    reached = set()
    for case in CASES:
        inputs = case.inputs()
        text = explain(inputs["u"], inputs["k"], k_rev=inputs["k_rev"], **case.how)
        reached.add((text.split("algorithm: ")[1].split()[0], compute_dtype(case.dtype)))
    expected = {
        (name, dtype) for name in ("direct", "right-angle", "pairs") for dtype in (torch.float32, torch.float64)
    }
    assert reached == expected


@pytest.mark.parametrize("shape", [(0, 3, 40), (2, 0, 40), (0, 0, 1)])
@pytest.mark.parametrize("mode", ["causal", "circular", "bidirectional"])
def test_an_empty_batch_or_no_channels_give_empty_results_and_zero_gradients(shape, mode):
    _, channels, length = shape
    u, gate = torch.randn(shape, requires_grad=True), torch.randn(shape, requires_grad=True)
    k, skip = torch.randn(channels, length, requires_grad=True), torch.randn(channels, requires_grad=True)
    k_rev = torch.randn(channels, length, requires_grad=True) if mode == "bidirectional" else None
    size = length if mode == "circular" else None
    y = long_conv(u, k, mode, k_rev=k_rev, fft_size=size, pregate=gate, postgate=gate, skip=skip)
    assert y.shape == shape
    y.sum().backward()
    assert u.grad.shape == gate.grad.shape == shape
    for t in (k, skip, k_rev):
        assert t is None or torch.equal(t.grad, torch.zeros_like(t))


def test_a_filter_with_a_leading_dimension_of_one():
    u, k = torch.randn(2, 3, 50), torch.randn(1, 3, 50, requires_grad=True)
    y = long_conv(u, k)
    assert torch.equal(y, long_conv(u, k[0]))
    y.sum().backward()
    assert k.grad.shape == (1, 3, 50)


def test_taps_past_the_row_never_matter():
    u, k = torch.randn(2, 3, 50), torch.randn(3, 90, requires_grad=True)
    changed = k.detach().clone()
    changed[:, 50:] = float("nan")
    assert torch.equal(long_conv(u, k), long_conv(u, changed))
    long_conv(u, k).square().sum().backward()
    assert torch.equal(k.grad[:, 50:], torch.zeros(3, 40))


@pytest.mark.parametrize("lag", [0, 1])
def test_reverse_taps_past_the_row_never_matter(lag):
    u, k = torch.randn(2, 3, 300), torch.randn(3, 20)
    k_rev = torch.randn(3, 400, requires_grad=True)
    changed = k_rev.detach().clone()
    changed[:, 300 - lag :] = float("inf")
    bidirectional = {"mode": "bidirectional", "k_rev_lag": lag}
    assert torch.equal(long_conv(u, k, k_rev=k_rev, **bidirectional), long_conv(u, k, k_rev=changed, **bidirectional))
    long_conv(u, k, k_rev=k_rev, **bidirectional).square().sum().backward()
    assert torch.equal(k_rev.grad[:, 300 - lag :], torch.zeros(3, 100 + lag))
    assert k_rev.grad[:, : 300 - lag].abs().min() > 0


def test_an_enormous_circular_size_costs_nothing():
    u, k = torch.randn(1, 2, 100), torch.randn(2, 100)
    assert (long_conv(u, k, "circular", fft_size=2**62) - long_conv(u, k)).abs().max() < 1e-5


def test_strides_beyond_two_to_the_31_bytes():
    storage = torch.empty(1 << 31, dtype=torch.float16)  # pages that nobody touches take no memory
    u = storage.as_strided((2, 1, 300), ((1 << 31) - 300, 300, 1))
    u.copy_(torch.randn(2, 1, 300))
    k = torch.randn(1, 300)
    assert torch.equal(long_conv(u, k), long_conv(u.clone(), k))
