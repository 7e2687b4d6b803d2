"""Which code runs: the kernel that `explain` names, or torch.fft where it says so, and nothing silently else."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
import torch
from cases import CASES
from cases import check_gradients as check_full_gradients
from cases import check_rows as check_full_precision
from gpu_cases import DEVICE, HALVES, SIZES, explain_case, has_family, make_case, moved, run
from oracle import direct_sum, fft_sum, gradients, operation

from flashfftconv import Filter, backend_info, explain, long_conv
from flashfftconv.problem import compute_dtype

_ops = torch.ops.flashfftconv


def kernels_of(call) -> list[str]:
    """Names of the kernels that a call launches."""
    call()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    return [event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]


def runs_fft(names: list[str]) -> bool:
    return any("fft" in name and "ffc" not in name for name in names)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal"])
def test_the_kernel_that_explain_names_is_the_one_that_runs(family, m, dtype):
    if not has_family(family, m):
        return
    case = make_case(family, m, dtype=dtype)
    text = explain_case(case)
    assert f"{'pairs of rows' if family == 'pairs' else 'right-angle'} transform of {m} points" in text
    inputs, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
    tensors = tuple(inputs.values())
    how = (0 if case.mode == "circular" else 1, case.fft_size or 0, 1)
    forward = kernels_of(lambda: _ops.long_conv(*tensors, *how))
    name = re.search(r"forward, plain: ([^,]+),", text)[1]
    assert any(name in kernel for kernel in forward) and not runs_fft(forward), (name, forward)
    backward = kernels_of(lambda: _ops.long_conv_backward(dy, *tensors, *how, 3))
    name = re.search(r"backward: ([^,]+),", text)[1]
    assert any(name in kernel for kernel in backward) and not runs_fft(backward), (name, backward)


FALLBACKS = {
    "float32": ({"dtype": torch.float32}, "float32"),
    "float64": ({"dtype": torch.float64, "filter_dtype": torch.float64}, "float64"),
    "float64 taps": ({"filter_dtype": torch.float64}, "float64"),
    "long rows": ({"length": SIZES[-1] + 1, "taps": 1000}, str(SIZES[-1])),
}


@pytest.mark.parametrize(("change", "word"), FALLBACKS.values(), ids=FALLBACKS)
def test_torch_fft_takes_the_rest_and_explain_says_so(change, word):
    case = make_case("causal", 1024, **change)
    text = explain_case(case)
    assert "by torch.fft" in text and word in text
    inputs = moved(case.inputs())
    assert runs_fft(kernels_of(lambda: long_conv(**inputs, **case.how)))
    exact = operation(inputs, case.how, fft_sum)
    precision = torch.float64 if case.dtype == torch.float64 else torch.float32
    check_full_precision("y", long_conv(**inputs, **case.how), exact, precision)


FULL_PRECISION = [case for case in CASES if case.dtype in (torch.float32, torch.float64)]


@pytest.mark.parametrize("case", FULL_PRECISION, ids=str)
def test_full_precision(case):
    """The whole table of the CPU's cases: what torch.fft computes keeps the bounds of its type."""
    inputs, dy, precision = case.inputs(), case.cotangent(), compute_dtype(case.dtype)
    y, grads = run(moved(inputs), case.how, dy.to(DEVICE))
    convolve = direct_sum if case.is_small else fft_sum
    check_full_precision("y", y.cpu(), operation(inputs, case.how, convolve), precision)
    exact = gradients(inputs, case.how, dy, convolve)
    check_full_gradients({name: grad.cpu() for name, grad in grads.items()}, exact, inputs, dy, precision)


def test_a_prepared_filter_without_an_engine():
    u, k = torch.randn(2, 3, 300, device=DEVICE), torch.randn(3, 300, device=DEVICE)
    f = Filter(k).precompute()
    expected = long_conv(u, k)
    for _ in range(2):
        assert torch.equal(long_conv(u, f), expected)
    half = long_conv(u.half(), f)
    assert torch.equal(half, long_conv(u.half(), k))


def test_a_spectrum_of_another_problem_is_refused():
    u, k = torch.randn(2, 3, 256, device=DEVICE).half(), torch.randn(3, 256, device=DEVICE)
    spectrum = _ops.prepare_filter(u, k, None, 1, 0, 1)
    assert _ops.long_conv_prepared(u, spectrum, 256, 0, None, None, None, 1, 0, 1).shape == u.shape
    for filter, mode, fft_size, rows in ((255, 1, 0, u), (256, 0, 256, u), (256, 1, 0, u[..., :200].contiguous())):
        with pytest.raises(RuntimeError, match="not prepared for this problem"):
            _ops.long_conv_prepared(rows, spectrum, filter, 0, None, None, None, mode, fft_size, 1)


def test_info_and_log():
    info = backend_info()
    assert info["backends"] == ["cpu", "cuda"] and "sm_" in info["cuda_engine"] and "driver" in info["cuda_engine"]
    program = (
        "import torch; from flashfftconv import long_conv\n"
        "u, k = torch.randn(2, 3, 512, device='cuda').half(), torch.randn(3, 512, device='cuda')\n"
        "for _ in range(3): long_conv(u, k)\n"
        "long_conv(u.float(), k)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], env=environment(FFC_LOG="1"), capture_output=True, text=True, check=True
    ).stderr
    assert shown.count("right-angle transform of 512 points") == 1 and "by torch.fft" in shown


def environment(**others: str) -> dict[str, str]:
    return {**os.environ, **others}


def test_the_host_is_quick():
    """A forward call without gradients; the bound is far above what it takes, against accidents."""
    u, k = torch.randn(1, 1, 64, device=DEVICE).half(), torch.randn(1, 64, device=DEVICE)
    times = []
    with torch.no_grad():
        for _ in range(30):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(100):
                long_conv(u, k)
            times.append((time.perf_counter() - begin) / 100)
    best = min(times)
    print(json.dumps({"host microseconds a call": 1e6 * best}))
    assert best < 60e-6


def test_explain_of_a_gpu_names_the_device():
    u, k = torch.randn(2, 3, 100, device=DEVICE).half(), torch.randn(3, 100, device=DEVICE)
    text = explain(u, k)
    assert "on CUDA 0 (sm_" in text and "workspace" in text and "why" in text
