"""The operators in torch's elementwise operations, for CUDA tensors that no engine takes: the same cases."""

import pytest
import torch
from short_testing import CASES, NAMES, check, check_samples, exact, how_of, inputs_of, name_of

from flashfftconv.short_problem import GATE

_ops = torch.ops.flashfftconv


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_case(case):
    inputs = inputs_of(case)
    given = [inputs[name] for name in NAMES]
    y = _ops.short_conv_by_torch(*given, inputs["cu_seqlens"], *how_of(case))
    expected, expected_grads = exact(case, inputs)
    if case.taps <= 100:  # one chain of additions a row: more taps lose digits
        check_samples("y", case, y, expected)
    wanted = sum(1 << i for i, t in enumerate(given) if t is not None)
    grads = _ops.short_conv_backward_by_torch(inputs["dy"], *given, inputs["cu_seqlens"], *how_of(case), wanted)
    own = _ops.short_conv_backward(inputs["dy"], *given, inputs["cu_seqlens"], *how_of(case), wanted)
    assert y.is_contiguous() and y.dtype == case.dtype
    for name, g, engine in zip(NAMES, grads, own, strict=True):
        assert g.shape == engine.shape and g.dtype == engine.dtype and g.is_contiguous()
        if inputs[name] is not None and case.taps <= 100 and case.length < 1000:
            check(f"gradient of {name}", g.flatten(), expected_grads[name].flatten(), case)


def test_only_what_is_wanted():
    case = CASES[0]
    inputs = inputs_of(case)
    given = [inputs[name] for name in NAMES]
    for wanted in range(8):
        grads = _ops.short_conv_backward_by_torch(inputs["dy"], *given, None, *how_of(case), wanted)
        assert [g.numel() > 0 for g in grads] == [bool(wanted >> i & 1) for i in range(4)]
    assert _ops.short_conv_by_torch(inputs["x"][:0], *given[1:], None, *how_of(case)).shape[0] == 0


@pytest.mark.parametrize("layout", [0, 1])
def test_the_gate_inside_autocast(layout):
    """The gate's sums come from an operator, which must not follow autocast: the inputs already have."""
    shape = (2, 6, 50) if layout == 0 else (2, 50, 6)
    x, weight, how = torch.randn(shape).bfloat16(), torch.randn(6, 4), (3, 0, GATE, layout)
    y = _ops.short_conv_by_torch(x, weight, None, None, None, *how)
    dy = torch.randn_like(y)
    grads = _ops.short_conv_backward_by_torch(dy, x, weight, None, None, None, *how, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(_ops.short_conv_by_torch(x, weight, None, None, None, *how), y)
        again = _ops.short_conv_backward_by_torch(dy, x, weight, None, None, None, *how, 3)
    for a, b in zip(grads, again, strict=True):
        assert torch.equal(a, b)
