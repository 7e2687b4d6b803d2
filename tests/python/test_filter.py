"""`Filter`: nothing is kept before `precompute`, everything after; `explain` and `backend_info`."""

import copy
import pickle

import pytest
import torch
from cases import CASES, check_rows
from oracle import direct_sum, fft_sum, operation

import flashfftconv
from flashfftconv import Filter, backend_info, explain, long_conv
from flashfftconv.problem import compute_dtype


def filter_of(case):
    inputs = case.inputs()
    return Filter(inputs["k"], k_rev=inputs["k_rev"], **case.how), {
        n: t for n, t in inputs.items() if n not in ("k", "k_rev")
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_filter_stands_for_its_taps(case):
    filter_, rows = filter_of(case)
    exact = operation(case.inputs(), case.how, direct_sum if case.is_small else fft_sum)
    expected = long_conv(**case.inputs(), **case.how)
    assert torch.equal(long_conv(k=filter_, **rows), expected)
    assert not filter_.is_precomputed
    assert filter_.precompute() is filter_ and filter_.is_precomputed
    for _ in range(2):
        y = long_conv(k=filter_, **rows)
        assert y.dtype == case.dtype
        check_rows("y", y, exact, compute_dtype(case.dtype))


def test_one_filter_serves_many_lengths_and_types():
    k = torch.randn(3, 100) / 10
    plain, prepared = Filter(k), Filter(k).precompute()
    for length in (1, 7, 100, 250, 1000, 100):
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
            for batch in (1, 4):
                u = torch.randn(batch, 3, length).to(dtype)
                assert torch.equal(long_conv(u, prepared), long_conv(u, plain))


def test_taps_may_change_in_place_until_they_are_fixed():
    k, u = torch.randn(3, 300), torch.randn(2, 3, 300)
    filter_ = Filter(k)
    before = long_conv(u, filter_)
    k.mul_(2)
    torch.testing.assert_close(long_conv(u, filter_), 2 * before)
    filter_.precompute()
    fixed = long_conv(u, filter_)
    k.mul_(2)
    assert torch.equal(long_conv(u, filter_), fixed)
    assert torch.equal(
        long_conv(u[..., :200], filter_), long_conv(u[..., :200], k / 2)
    )  # also at a length not met before
    filter_.precompute()
    torch.testing.assert_close(long_conv(u, filter_), 2 * fixed)


def test_gradients_flow_until_taps_are_fixed():
    k, u = torch.randn(3, 40, requires_grad=True), torch.randn(2, 3, 40, requires_grad=True)
    ours = torch.autograd.grad(long_conv(u, Filter(k)).square().sum(), (u, k))
    exact = torch.autograd.grad(long_conv(u, k).square().sum(), (u, k))
    assert all(torch.equal(a, b) for a, b in zip(ours, exact, strict=True))


@pytest.mark.parametrize("wanting", ["u", "pregate", "postgate", "skip", "k"])
def test_a_gradient_of_a_fixed_filter_is_refused_not_dropped(wanting):
    tensors = {
        "u": torch.randn(2, 3, 40),
        "pregate": torch.randn(2, 3, 40),
        "postgate": torch.randn(2, 3, 40),
        "skip": torch.randn(3),
    }
    k = torch.randn(3, 40)
    (k if wanting == "k" else tensors[wanting]).requires_grad_()
    filter_ = Filter(k).precompute()
    with pytest.raises(ValueError, match=r"k is a precomputed Filter.*no_grad"):
        long_conv(k=filter_, **tensors)
    with torch.no_grad():
        assert torch.equal(long_conv(k=filter_, **tensors), long_conv(k=k, **tensors))


@pytest.mark.parametrize("shape", [(1, 64), (1, 1, 64), (1, 3, 64), (3, 64)])
def test_shapes_of_taps(shape):
    k = torch.randn(shape)
    u = torch.randn(2, shape[-2], 64)
    assert torch.equal(long_conv(u, Filter(k).precompute()), long_conv(u, k))


def test_one_channel_in_both_directions():
    k, k_rev, u = torch.randn(1, 64), torch.randn(1, 64), torch.randn(2, 1, 64)
    prepared = Filter(k, "bidirectional", k_rev).precompute()
    assert torch.equal(long_conv(u, prepared), long_conv(u, k, "bidirectional", k_rev))


@pytest.mark.parametrize(
    "again", [copy.deepcopy, copy.copy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "copy", "pickle"]
)
def test_copies_of_a_used_filter_give_the_same_result(again):
    k, u = torch.randn(3, 1000), torch.randn(2, 3, 1000)
    filter_ = Filter(k).precompute()
    expected, kept = long_conv(u, filter_), []
    for i in range(50):  # in memory of different alignment
        kept += [torch.empty(16 + 64 * i, dtype=torch.uint8), again(filter_)]
        assert torch.equal(long_conv(u, kept[-1]), expected)


def test_other_batches_reuse_the_spectrum():
    filter_ = Filter(torch.randn(3, 500)).precompute()
    for batch in (1, 2, 5):
        long_conv(torch.randn(batch, 3, 500), filter_)
    assert len(filter_._spectra) == 1


ALGORITHMS = [
    ("causal", 300, 3, None, "direct sums", "3 lags"),
    ("causal", 4096, 4096, None, "right-angle transform", "4096 points"),
    ("bidirectional", 4096, 4096, None, "right-angle transform", "4096 points"),
    ("circular", 4096, 4096, 8192, "right-angle transform", "4096 points"),
    ("circular", 4096, 4096, 4096, "pairs of rows", "4096 points"),
]


@pytest.mark.parametrize(("mode", "length", "taps", "size", "algorithm", "points"), ALGORITHMS)
def test_explain_names_algorithm_size_and_backend(mode, length, taps, size, algorithm, points):
    u, k = torch.empty(4, 8, length, dtype=torch.bfloat16), torch.empty(8, taps)
    k_rev = k if mode == "bidirectional" else None
    text = explain(u, k, mode, k_rev, fft_size=size)
    for part in (
        mode,
        f"[4, 8, {length}]",
        f"{taps} taps",
        "bfloat16",
        "CPU",
        backend_info()["cpu_target"],
        algorithm,
        points,
        "why",
        "bytes",
    ):
        assert part in text, f"{part!r} is not in: {text}"
    assert explain(u, Filter(k, mode, k_rev, fft_size=size)) == text
    assert explain(u, k[None], mode, k_rev, fft_size=size) == text


def test_explain_of_another_device_says_torch_fft():
    text = explain(torch.empty(2, 3, 100, device="meta"), torch.empty(3, 100, device="meta"))
    assert "torch.fft" in text and "meta" in text and "200 points" in text


def test_backend_info():
    info = backend_info()
    assert set(info) >= {"version", "torch", "backends", "cpu_target", "threads"}
    assert info["version"] == flashfftconv.__version__ and info["torch"] == torch.__version__
    assert info["backends"][0] == "cpu" and info["cpu_target"] not in ("", "none")
    assert info["threads"] == torch.get_num_threads()
