"""Gradients over the case table, each alone and all together; gradcheck of first, second and forward derivatives."""

import itertools

import pytest
import torch
from cases import CASES, TENSORS, Case, check_gradients
from oracle import direct_sum, fft_sum, gradients

from flashfftconv import explain, long_conv
from flashfftconv.problem import compute_dtype


def derived(inputs, how, dy, wanted):
    leaves = {name: None if t is None else t.clone().requires_grad_(name in wanted) for name, t in inputs.items()}
    y = long_conv(**leaves, **how)
    return dict(zip(wanted, torch.autograd.grad(y, [leaves[name] for name in wanted], dy), strict=True))


def present(inputs):
    return [name for name in TENSORS if inputs[name] is not None]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_gradient(case):
    inputs, dy = case.inputs(), case.cotangent()
    exact = gradients(inputs, case.how, dy, direct_sum if case.is_small else fft_sum)
    check_gradients(derived(inputs, case.how, dy, present(inputs)), exact, inputs, dy, compute_dtype(case.dtype))


@pytest.mark.parametrize("mode", ["causal", "circular", "bidirectional"])
@pytest.mark.parametrize("length", [20, 200])
def test_only_what_is_wanted_is_computed_with_the_same_bits(mode, length):
    case = Case(
        mode,
        3,
        2,
        length,
        length,
        length if mode == "bidirectional" else 0,
        gates="pre post",
        skip=True,
        fft_size=length if mode == "circular" else None,
    )
    inputs, dy = case.inputs(), case.cotangent()
    everything = derived(inputs, case.how, dy, present(inputs))
    for count in (1, 2):
        for wanted in itertools.combinations(present(inputs), count):
            for name, gradient in derived(inputs, case.how, dy, wanted).items():
                assert torch.equal(gradient, everything[name]), f"{name} when only {wanted} are wanted"


def test_only_what_is_wanted_is_computed_of_pairs_of_rows():
    case = Case("circular", 3, 2, 1024, 1024, fft_size=1024, gates="pre post", skip=True)
    inputs, dy = case.inputs(), case.cotangent()
    exact = gradients(inputs, case.how, dy, fft_sum)
    for wanted in itertools.combinations(present(inputs), 2):  # rows of a pair agree to rounding, not in every bit
        check_gradients(derived(inputs, case.how, dy, wanted), exact, inputs, dy, torch.float32)


def problems(length, taps, fft_size):
    """Small float64 problems of every mode, gates alone and together: (id, how, which optional tensors)."""
    modes = [{"mode": "causal"}, {"mode": "circular", "fft_size": fft_size}]
    modes += [{"mode": "bidirectional", "k_rev_lag": lag} for lag in (0, 1)]
    options = [(), ("pregate",), ("postgate", "skip"), ("pregate", "postgate", "skip")]
    for how, names in itertools.product(modes, options):
        label = "-".join([how["mode"], str(how.get("k_rev_lag", "")), *names])
        yield pytest.param(how, names, (length, taps), id=f"{length}-{label}")


def leaves_of(how, names, sizes):
    length, taps = sizes
    tensors = {"u": torch.randn(2, 2, length), "k": torch.randn(2, taps)}
    if how["mode"] == "bidirectional":
        tensors["k_rev"] = torch.randn(2, taps)
    tensors |= {name: torch.randn(2) if name == "skip" else torch.randn(2, 2, length) for name in names}
    return {name: t.double().requires_grad_() for name, t in tensors.items()}


def function_of(leaves, how):
    return lambda *tensors: long_conv(**dict(zip(leaves, tensors, strict=True)), **how)


@pytest.mark.parametrize(("how", "names", "sizes"), list(problems(5, 4, 6)))
@pytest.mark.usefixtures("one_thread")
def test_gradcheck_of_direct_sums(how, names, sizes):
    leaves = leaves_of(how, names, sizes)
    torch.autograd.gradcheck(
        function_of(leaves, how),
        list(leaves.values()),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
        check_backward_ad=True,
    )


@pytest.mark.parametrize(("how", "names", "sizes"), list(problems(3, 3, 4)))
@pytest.mark.usefixtures("one_thread")
def test_gradgradcheck_of_direct_sums(how, names, sizes):
    leaves = leaves_of(how, names, sizes)
    torch.autograd.gradgradcheck(
        function_of(leaves, how),
        list(leaves.values()),
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        check_batched_grad=True,
        check_undefined_grad=True,
    )


@pytest.mark.parametrize(("how", "names", "sizes"), list(problems(96, 96, 96)))
@pytest.mark.usefixtures("one_thread")
def test_gradcheck_of_transforms(how, names, sizes):
    leaves = leaves_of(how, names, sizes)
    assert "transform of" in explain(leaves["u"], leaves["k"], k_rev=leaves.get("k_rev"), **how)
    function, tensors = function_of(leaves, how), list(leaves.values())
    torch.autograd.gradcheck(function, tensors, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
    torch.autograd.gradgradcheck(function, tensors, check_fwd_over_rev=True, check_batched_grad=True, fast_mode=True)


@pytest.mark.usefixtures("one_thread")
def test_gradcheck_of_pairs_of_rows():
    how, sizes = {"mode": "circular", "fft_size": 256}, (256, 200)
    leaves = leaves_of(how, ("pregate", "postgate", "skip"), sizes)
    assert "pairs of rows" in explain(leaves["u"], leaves["k"], **how)
    function, tensors = function_of(leaves, how), list(leaves.values())
    torch.autograd.gradcheck(function, tensors, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
    torch.autograd.gradgradcheck(function, tensors, check_fwd_over_rev=True, check_batched_grad=True, fast_mode=True)


@pytest.mark.usefixtures("one_thread")
def test_third_derivatives():
    u, gate = (torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    k = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)

    def second(u, k, gate):
        y = long_conv(u, k, pregate=gate, postgate=gate)
        first = torch.autograd.grad(y.square().sum(), [u, k], create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), [u, k, gate], create_graph=True)

    torch.autograd.gradcheck(second, [u, k, gate])


def test_a_gradient_taken_after_an_input_changed_in_place_is_refused():
    for name in ("u", "k", "pregate", "postgate"):
        leaves = {n: torch.randn(2, 3, 40, requires_grad=True) for n in ("u", "pregate", "postgate")}
        leaves["k"] = torch.randn(3, 40, requires_grad=True)
        inner = {n: t * 1 for n, t in leaves.items()}
        y = long_conv(**inner)
        inner[name].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_the_same_tensor_in_several_places():
    x = torch.randn(2, 3, 30, dtype=torch.float64, requires_grad=True)
    k = torch.randn(3, 30, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(long_conv(x, k, pregate=x, postgate=x).sum(), x)
    parts = [x.detach().clone().requires_grad_() for _ in range(3)]
    separate = torch.autograd.grad(long_conv(parts[0], k, pregate=parts[1], postgate=parts[2]).sum(), parts)
    torch.testing.assert_close(gradient, sum(separate))


def test_gradients_accumulate_and_a_graph_can_be_kept():
    u, k = torch.randn(2, 3, 30), torch.randn(3, 30, requires_grad=True)
    y = long_conv(u, k)
    y.sum().backward(retain_graph=True)
    once = k.grad.clone()
    y.sum().backward()
    assert torch.equal(k.grad, 2 * once)
