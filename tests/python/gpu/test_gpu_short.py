"""Short convolutions on a GPU: the case table against float64, the plan that is said to run, the same bits twice."""

import pytest
import torch
from short_testing import CASES, inputs_of, name_of
from test_short import check_case

from flashfftconv import explain_short, short_conv


@pytest.mark.parametrize("case", [c for c in CASES if c.taps <= 100], ids=name_of)
def test_every_case(case):
    check_case(case, "cuda")


@pytest.mark.parametrize("layout", ["bhl", "blh"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("taps", [4, 12, 17])
def test_the_engine_runs(layout, dtype, taps):
    shape = (4, 64, 1024) if layout == "bhl" else (4, 1024, 64)
    x, weight = torch.randn(shape, device="cuda", dtype=dtype), torch.randn(64, taps, device="cuda", dtype=dtype)
    text = explain_short(x, weight, "causal", "silu", layout)
    assert "on CUDA" in text
    tuned = {"bhl": "channels_first", "blh": "channels_last"}[layout]
    forward, backward = (f"{tuned}_forward", f"{tuned}_backward") if taps <= 16 else ("any_correlate",) * 2
    assert f"kernel {forward}, backward {backward}" in text


def test_the_same_bits_twice_and_in_a_graph():
    case = next(c for c in CASES if c.extras == ("bias", "silu") and c.length == 1500 and c.dtype == torch.float16)
    inputs = {k: t if t is None else t.cuda() for k, t in inputs_of(case).items()}
    leaves = [inputs[name].requires_grad_() for name in ("x", "weight", "bias")]

    def step():
        y = short_conv(*leaves, "causal", "silu", case.layout)
        return (y.detach(), *torch.autograd.grad(y, leaves, inputs["dy"]))

    first, second = step(), step()
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(first, captured, strict=True):
        assert torch.equal(a, b)
