"""Outputs and gradients of the CUDA engine against float64, row by row, over every size, mode, gate and dtype."""

import pytest
import torch
from gpu_cases import (
    DEVICE,
    GATES,
    HALVES,
    SIZES,
    check_case,
    check_rows,
    explain_case,
    has_family,
    make_case,
    moved,
    sampled_cases,
)
from oracle import fft_sum, operation

from flashfftconv import FlashFFTConv, long_conv


@pytest.mark.parametrize("case", sampled_cases(), ids=str)
def test_every_size_and_mode(case):
    check_case(case)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("m", [64, 512, 1024, 4096, 16384])
@pytest.mark.parametrize("family", ["pairs", "causal", "bidirectional, padded"])
def test_gates_and_skip(family, m, gates, skip, dtype):
    if has_family(family, m):
        check_case(make_case(family, m, gates=gates, skip=skip, dtype=dtype, batch=3))


SHAPES = [(1, 1), (2, 1), (33, 1), (1, 769), (5, 769), (300, 3), (257, 2)]


@pytest.mark.parametrize(("batch", "channels"), SHAPES)
@pytest.mark.parametrize("m", [64, 256, 1024, 4096])
@pytest.mark.parametrize("family", ["pairs", "causal"])
def test_batches_and_channels(family, m, batch, channels):
    if has_family(family, m):
        check_case(make_case(family, m, batch=batch, channels=channels, gates="pre post", skip=True))


@pytest.mark.parametrize(("family", "batch"), [("pairs", 601), ("causal", 300)])
def test_sums_of_many_long_rows(family, batch):
    check_case(make_case(family, SIZES[-1], batch=batch, channels=2, gates="pre post", dtype=torch.bfloat16))


def test_chunks_of_channels():
    case = make_case("causal", SIZES[-1], batch=2, channels=140)
    assert "chunk after chunk" in explain_case(case)
    check_case(case)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("length", [1, 2, 3, 7, 9, 31, 33, 63, 65, 127, 129, 255, 1001, 2047, 3001, 4097, 12289])
def test_any_length(length, dtype):
    case = make_case("causal", 64, length=length, taps=length, dtype=dtype, gates="pre", skip=True, batch=4)
    check_case(case)
    check_case(make_case("circular, half", 64, length=length, taps=length, fft_size=length, dtype=dtype, batch=3))


@pytest.mark.parametrize("taps", [1, 2, 5, 64, 999, 5000])
def test_any_number_of_taps(taps):
    check_case(make_case("causal", 1024, taps=taps, length=1000))
    check_case(make_case("bidirectional", 1024, taps=taps, taps_reverse=max(1, 2000 - taps), length=1000))
    check_case(make_case("circular, half", 1024, taps=min(taps, 1500), fft_size=1500, length=1000))


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal"])
def test_rows_of_very_different_sizes_keep_their_precision(family, m):
    if not has_family(family, m):
        return
    for dtype, scales in ((torch.float16, [1, 300, 1e-2, 30]), (torch.bfloat16, [1, 1e6, 1e-8, 1e-3])):
        case = make_case(family, m, batch=4, dtype=dtype)
        inputs = moved(case.inputs())
        inputs["u"] = (inputs["u"].float() * torch.tensor(scales, device=DEVICE)[:, None, None]).to(dtype)
        check_case(case, inputs)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal", "bidirectional"])
def test_large_inputs_of_small_outputs(family, m):
    """Rows of 60000 (or 1e38), constant: their spectrum lies in one bin, and nothing may overflow on the way."""
    if not has_family(family, m):
        return
    for dtype, value in ((torch.float16, 60000.0), (torch.bfloat16, 1e38)):
        case = make_case(family, m, dtype=dtype)
        inputs = moved(case.inputs())
        inputs["u"] = torch.full_like(inputs["u"], value)
        for name in ("k", "k_rev"):
            if inputs[name] is not None:
                inputs[name] = inputs[name].abs() / (8 * inputs[name].abs().sum(-1, keepdim=True))
        y = long_conv(**inputs, **case.how)
        exact = operation(inputs, case.how, fft_sum)
        assert bool(y.isfinite().all()) and exact.abs().max() < value
        check_rows("y", y, exact)
        inputs["pregate"] = torch.full_like(inputs["u"], value)  # the product leaves the type, the output does not
        inputs["k"] = inputs["k"] / value
        if inputs["k_rev"] is not None:
            inputs["k_rev"] = inputs["k_rev"] / value
        if dtype == torch.float16:
            check_rows("y", long_conv(**inputs, **case.how), operation(inputs, case.how, fft_sum))


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("value", [1.0, -3.0, 1e-3])
def test_constant_rows_and_taps(m, value):
    for family in ("pairs", "causal"):
        if not has_family(family, m):
            continue
        case = make_case(family, m)
        inputs = moved(case.inputs())
        inputs["u"] = torch.full_like(inputs["u"], value)
        inputs["k"] = torch.full_like(inputs["k"], 1.0 / m)
        check_rows("y", long_conv(**inputs, **case.how), operation(inputs, case.how, fft_sum))


def test_only_outputs_whose_exact_value_overflows_are_infinite():
    u = torch.full((2, 1, 1024), 60000.0, device=DEVICE, dtype=torch.float16)
    k = torch.zeros(1, 1024, device=DEVICE)
    k[0, :3] = 0.5
    y = long_conv(u, k)
    exact = operation(dict(u=u, k=k, k_rev=None, pregate=None, postgate=None, skip=None), {"mode": "causal"}, fft_sum)
    assert torch.equal(y.isinf(), exact.abs() > 65520)
    assert bool((y[..., :2].double() - exact[..., :2]).abs().max() < 200)


def test_the_interface_of_the_reference():
    conv = FlashFFTConv(4096, dtype=torch.bfloat16).to(DEVICE)
    u, gate = (torch.randn(4, 8, 2048, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    k = torch.randn(8, 2048, device=DEVICE) * torch.exp(-torch.arange(2048, device=DEVICE) / 300)
    inputs = dict(u=u, k=k, k_rev=None, pregate=gate, postgate=gate, skip=None)
    exact = operation(inputs, {"mode": "causal"}, fft_sum)
    check_rows("y", conv(u, k, gate, gate), exact)


def test_double_backward_and_vmap():
    u = torch.randn(3, 2, 500, device=DEVICE, dtype=torch.float16, requires_grad=True)
    k = (torch.randn(2, 500, device=DEVICE) / 20).requires_grad_()

    def second(rows, taps):
        y = long_conv(rows, taps)
        (first,) = torch.autograd.grad(y.float().square().sum(), rows, create_graph=True)
        return torch.autograd.grad(first.float().square().sum(), taps)[0]

    exact = second(u.detach().double().requires_grad_(), k.detach().double().requires_grad_())
    error = torch.linalg.vector_norm(second(u, k).double() - exact) / torch.linalg.vector_norm(exact)
    assert error < 1e-2
    stacked = torch.stack([k.detach(), 2 * k.detach()])
    mapped = torch.vmap(lambda taps: long_conv(u.detach(), taps))(stacked)
    for one, taps in zip(mapped, stacked, strict=True):
        assert torch.equal(one, long_conv(u.detach(), taps))
