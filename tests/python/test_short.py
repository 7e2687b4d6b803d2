"""Short convolutions over the case table: outputs and gradients against float64; layouts, states, packed sequences."""

import itertools

import pytest
import torch
from short_testing import CASES, NAMES, activation_of, check, check_samples, exact, how_of, inputs_of, name_of

from flashfftconv import explain_short, short_conv, short_conv_gate

_ops = torch.ops.flashfftconv


def run(case, inputs):
    """y and all gradients of the operator."""
    given = [inputs[name] for name in NAMES]
    y = _ops.short_conv(*given, inputs["cu_seqlens"], *how_of(case))
    wanted = sum(1 << i for i, t in enumerate(given) if t is not None)
    grads = _ops.short_conv_backward(inputs["dy"], *given, inputs["cu_seqlens"], *how_of(case), wanted)
    return y, {name: g for name, g, t in zip(NAMES, grads, given, strict=True) if t is not None}


def check_case(case, device="cpu"):
    inputs = inputs_of(case)
    y, grads = run(case, {name: None if t is None else t.to(device) for name, t in inputs.items()})
    y, grads = y.cpu(), {name: g.cpu() for name, g in grads.items()}
    expected, expected_grads = exact(case, inputs)
    assert y.dtype == case.dtype
    check_samples("y", case, y, expected)
    for name, g in grads.items():
        assert g.dtype == inputs[name].dtype and g.shape == inputs[name].shape
        if name == "x":
            check_samples("gradient of x", case, g, expected_grads[name])
        else:
            check(f"gradient of {name}", g.flatten(), expected_grads[name].flatten(), case)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_case(case):
    check_case(case)


@pytest.mark.parametrize("case", [c for c in CASES if c.sides[0] == c.sides[1] or c.padding == "causal"], ids=name_of)
def test_the_call_is_the_operator(case):
    inputs = inputs_of(case)
    padding = "causal" if case.padding == "causal" else case.sides[0]
    y, _ = run(case, inputs)
    if "gate" in case.extras:
        if not {"state", "packed"} & set(case.extras):
            parts = short_conv_gate(inputs["x"], inputs["weight"], inputs["bias"], padding, case.layout)
            assert torch.equal(torch.cat(parts, 1 if case.layout == "bhl" else 2), y)
        return
    result = short_conv(
        inputs["x"],
        inputs["weight"][:, None],
        inputs["bias"],
        padding,
        activation_of(case),
        case.layout,
        inputs["initial_state"],
        cu_seqlens=None if case.ends is None else inputs["cu_seqlens"].to(torch.int32),
    )
    assert torch.equal(result, y)


def test_both_layouts_have_the_same_bits():
    x, weight, bias = torch.randn(3, 40, 100), torch.randn(40, 5), torch.randn(40)
    y = short_conv(x, weight, bias, 2, "silu")
    z = short_conv(x.transpose(1, 2).contiguous(), weight, bias, 2, "silu", "blh")
    assert torch.equal(z.transpose(1, 2), y)


def test_padding_none_is_none():
    x, weight = torch.randn(2, 3, 10), torch.randn(3, 4)
    assert short_conv(x, weight).shape == (2, 3, 7)
    assert torch.equal(short_conv(x, weight), short_conv(x, weight, padding=0))
    assert torch.equal(short_conv(x, weight, padding=3)[..., :10], short_conv(x, weight, padding="causal"))


@pytest.mark.parametrize("layout", ["bhl", "blh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("taps", [1, 2, 4, 7])
def test_a_stream_is_the_whole(layout, dtype, taps):
    x, weight, bias = torch.randn(2, 5, 50).to(dtype), torch.randn(5, taps), torch.randn(5)
    own = x if layout == "bhl" else x.transpose(1, 2).contiguous()
    time = 2 if layout == "bhl" else 1
    how = dict(padding="causal", activation="silu", layout=layout, return_state=True)
    whole, last = short_conv(own, weight, bias, **how)
    state, parts = None, []
    for part in own.split([1, 1, 2, 7, 30, 9], time):
        y, state = short_conv(part, weight, bias, initial_state=state, **how)
        assert state.shape == (2, 5, taps - 1) and state.is_contiguous()
        parts.append(y)
    assert torch.equal(torch.cat(parts, time), whole)
    assert torch.equal(state, last)
    assert torch.equal(state, x[..., 50 - (taps - 1) :])


@pytest.mark.parametrize("layout", ["bhl", "blh"])
def test_gradients_through_a_stream_are_those_of_the_whole(layout):
    weight, bias = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    x = torch.randn(2, 5, 30, dtype=torch.float64)
    time = 2 if layout == "bhl" else 1

    def gradients(lengths):
        leaves = [t.clone().requires_grad_() for t in (x if layout == "bhl" else x.transpose(1, 2), weight, bias)]
        state, total = None, 0
        for part in leaves[0].split(lengths, time):
            y, state = short_conv(part, leaves[1], leaves[2], "causal", "gelu", layout, state, return_state=True)
            total = total + y.sin().sum()
        return torch.autograd.grad(total + state.cos().sum(), leaves)

    for whole, streamed in zip(gradients([30]), gradients([1, 2, 12, 15]), strict=True):
        torch.testing.assert_close(streamed, whole)


def sequences_one_by_one(x, weight, ends, states):
    """(y, final states) of a call for each sequence."""
    ys, finals = [], []
    for i, (start, end) in enumerate(itertools.pairwise(ends)):
        before = None if states is None else states[i : i + 1]
        if start == end:
            finals.append(torch.zeros(1, x.shape[1], weight.shape[1] - 1) if before is None else before)
            continue
        y, final = short_conv(x[..., start:end], weight, None, "causal", initial_state=before, return_state=True)
        ys.append(y), finals.append(final)
    return torch.cat(ys, -1), torch.cat(finals)


@pytest.mark.parametrize("with_states", [False, True])
def test_packed_sequences_do_not_leak(with_states):
    ends = [0, 5, 5, 6, 8, 40, 41]
    x, weight = torch.randn(1, 3, 41, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    states = torch.randn(6, 3, 3, requires_grad=True) if with_states else None
    y, final = short_conv(x, weight, None, "causal", None, "bhl", states, True, torch.tensor(ends))
    expected, expected_final = sequences_one_by_one(x, weight, ends, states)
    assert torch.equal(y, expected)
    assert torch.equal(final, expected_final)
    leaves = [t for t in (x, weight, states) if t is not None]
    results = [
        torch.autograd.grad(a.sin().sum() + b.cos().sum(), leaves) for a, b in ((y, final), (expected, expected_final))
    ]
    for ours, separate in zip(*results, strict=True):
        torch.testing.assert_close(ours, separate)


def test_a_view_of_a_projection_is_taken_as_it_lies():
    z, weight = torch.randn(2, 50, 12), torch.randn(4, 3)
    part = z[..., 4:8]
    assert torch.equal(short_conv(part, weight, layout="blh"), short_conv(part.contiguous(), weight, layout="blh"))
    turned = torch.randn(2, 50, 4).transpose(1, 2)
    assert torch.equal(short_conv(turned, weight), short_conv(turned.contiguous(), weight))
    assert torch.equal(short_conv(z[:, :4].expand(2, 4, 12), weight.t().contiguous().t()), short_conv(z[:, :4], weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_single_sample_is_as_any(dtype):
    x, weight, state = torch.randn(3, 40, 1).to(dtype), torch.randn(40, 4).to(dtype), torch.randn(3, 40, 3).to(dtype)
    leaves = [t.requires_grad_() for t in (x, weight, state)]
    how = dict(padding="causal", activation="silu")
    y, last = short_conv(x, weight, None, **how, initial_state=state, return_state=True)
    more = short_conv(torch.cat([x, x], -1), weight, None, **how, initial_state=state)
    assert y.shape == (3, 40, 1) and y.is_contiguous() and torch.equal(y, more[..., :1])
    assert torch.equal(last, torch.cat([state, x], -1)[..., 1:])
    ours, exact = (torch.autograd.grad(t.float().sin().sum(), leaves) for t in (y, more[..., :1]))
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a, b)


def test_empty_batches_and_channels():
    for shape, channels in (((0, 3, 9), 3), ((2, 0, 9), 0)):
        x = torch.empty(shape, requires_grad=True)
        weight = torch.randn(channels, 4, requires_grad=True)
        y, state = short_conv(x, weight, None, "causal", return_state=True)
        assert y.shape == shape and state.shape == (shape[0], channels, 3)
        grads = torch.autograd.grad(y.sum(), [x, weight])
        assert [g.shape for g in grads] == [x.shape, weight.shape] and grads[1].abs().sum() == 0


def test_the_same_bits_with_one_thread_and_two():
    x, weight, bias = torch.randn(4, 60, 3000), torch.randn(60, 4), torch.randn(60)
    how = (3, 0, 1, 0)
    results = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        try:
            y = _ops.short_conv(x, weight, bias, None, None, *how)
            results.append((y, *_ops.short_conv_backward(y, x, weight, bias, None, None, *how, 7)[:3]))
        finally:
            torch.set_num_threads(2)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_explain_says_what_runs():
    x, weight = torch.randn(2, 6, 50, dtype=torch.bfloat16), torch.randn(6, 4)
    text = explain_short(x, weight, "causal", "silu")
    for word in ("short convolution", "4 taps", "silu", "bfloat16", "on the CPU", "workspace"):
        assert word in text
    meta = explain_short(x.to("meta"), weight.to("meta"))
    assert "torch's elementwise operations" in meta and "why" in meta


def test_sums_are_in_float32_for_halves():
    """Ones whose running sum in float16 would stop at 2048."""
    y = short_conv(torch.ones(1, 1, 4000, dtype=torch.float16), torch.ones(1, 3001), padding="causal")
    assert y[0, 0, 3000:].unique().tolist() == [3000.0]  # 3001 is a tie, and goes to even
