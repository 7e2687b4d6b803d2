"""Derivatives of short convolutions: gradcheck of first, second and forward ones, torch.func, what is kept."""

import itertools

import pytest
import torch

from flashfftconv import short_conv, short_conv_gate

_ops = torch.ops.flashfftconv
HOW = [
    {"padding": "causal"},
    {"padding": 2, "layout": "blh"},
    {"padding": "causal", "activation": "silu", "layout": "blh"},
    {"padding": 1, "activation": "gelu"},
    {"padding": "causal", "activation": "gelu", "state": True},
    {"padding": "causal", "layout": "blh", "state": True},
    {"padding": "causal", "activation": "silu", "packed": True, "state": True},
]
IDS = ["-".join(f"{v}" if k != "state" else "state" for k, v in how.items() if k != "packed") for how in HOW]


def problem(how, length=4, taps=3):
    """(function of the leaves, leaves) in float64; the state behind belongs to the result where there is one."""
    how = dict(how)
    with_state, packed = how.pop("state", False), how.pop("packed", False)
    batch = 1 if packed else 2
    shape = (batch, 2, length) if how.get("layout", "bhl") == "bhl" else (batch, length, 2)
    ends = torch.tensor([0, 1, length]) if packed else None
    leaves = [torch.randn(shape), torch.randn(2, taps), torch.randn(2)]
    if with_state:
        leaves.append(torch.randn(2, 2, taps - 1))

    def function(x, weight, bias, state=None):
        return short_conv(x, weight, bias, **how, initial_state=state, return_state=with_state, cu_seqlens=ends)

    return function, [t.double().requires_grad_() for t in leaves]


@pytest.mark.parametrize("how", HOW, ids=IDS)
@pytest.mark.usefixtures("one_thread")
def test_gradcheck(how):
    function, leaves = problem(how)
    torch.autograd.gradcheck(
        function,
        leaves,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
    )


@pytest.mark.parametrize("how", HOW, ids=IDS)
@pytest.mark.usefixtures("one_thread")
def test_gradgradcheck(how):
    function, leaves = problem(how, 3)
    torch.autograd.gradgradcheck(function, leaves, check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.parametrize("layout", ["bhl", "blh"])
@pytest.mark.usefixtures("one_thread")
def test_gradcheck_of_the_gate(layout):
    x = torch.randn((2, 6, 4) if layout == "bhl" else (2, 4, 6), dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((6, 3), (6,)))

    def function(x, weight, bias):
        return short_conv_gate(x, weight, bias, layout=layout)

    leaves = (x, weight, bias)
    torch.autograd.gradcheck(function, leaves, check_forward_ad=True, check_batched_grad=True)
    torch.autograd.gradgradcheck(function, leaves, check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.usefixtures("one_thread")
def test_third_derivatives():
    x, weight = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((1, 2, 4), (2, 3)))

    def second(x, weight):
        y = short_conv(x, weight, None, "causal", "silu")
        first = torch.autograd.grad(y.square().sum(), [x, weight], create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), [x, weight], create_graph=True)

    torch.autograd.gradcheck(second, [x, weight])


@pytest.mark.parametrize("how", HOW, ids=IDS)
def test_only_what_is_wanted_is_computed_with_the_same_bits(how):
    function, leaves = problem(how, 20, 4)

    def gradients(wanted):
        given = [t.detach().clone().requires_grad_(i in wanted) for i, t in enumerate(leaves)]
        out = function(*given)
        y = out[0] if isinstance(out, tuple) else out
        return torch.autograd.grad(y.sin().sum(), [given[i] for i in wanted])

    everything = gradients(range(len(leaves)))
    for count in range(1, len(leaves)):
        for wanted in itertools.combinations(range(len(leaves)), count):
            for i, g in zip(wanted, gradients(wanted), strict=True):
                assert torch.equal(g, everything[i])


def test_nothing_but_the_inputs_is_kept():
    kept = []
    x, weight, bias = torch.randn(2, 3, 20), torch.randn(3, 4), torch.randn(3)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        short_conv(*leaves, "causal", "gelu")
    assert {t.data_ptr() for t in kept} == {t.data_ptr() for t in leaves}


def test_an_input_changed_in_place_is_noticed():
    for i in range(3):
        leaves = [torch.randn(s, requires_grad=True) for s in ((2, 3, 20), (3, 4), (3,))]
        inner = [t * 1 for t in leaves]
        y = short_conv(*inner, "causal", "silu")
        inner[i].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


# ---- torch.func


def reference(x, weight, bias):
    z = torch.nn.functional.conv1d(torch.nn.functional.pad(x, (3, 0)), weight[:, None], bias, groups=x.shape[1])
    return torch.nn.functional.silu(z)


def ours(x, weight, bias):
    return short_conv(x, weight, bias, "causal", "silu")


@pytest.mark.parametrize("mapped", [(0, None, None), (0, 0, 0), (None, 0, None), (0, None, 0), (1, 1, 1)])
@pytest.mark.parametrize("layout", ["bhl", "blh"])
def test_vmap(mapped, layout):
    shapes = [(2, 3, 12), (3, 4), (3,)]
    tensors = []
    for shape, dim in zip(shapes, mapped, strict=True):
        t = torch.randn(5, *shape, dtype=torch.float64) if dim is not None else torch.randn(shape, dtype=torch.float64)
        tensors.append(t if not dim else t.movedim(0, dim))

    def function(x, weight, bias):
        if layout == "bhl":
            return ours(x, weight, bias)
        return short_conv(x.transpose(-1, -2), weight, bias, "causal", "silu", "blh").transpose(-1, -2)

    torch.testing.assert_close(torch.vmap(function, mapped)(*tensors), torch.vmap(reference, mapped)(*tensors))

    def loss(f):
        return lambda *t: f(*t).sin().sum()

    for argnums in ((0, 1, 2), 0, 1):
        results = (torch.vmap(torch.func.grad(loss(f), argnums), mapped)(*tensors) for f in (function, reference))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("mapped", [(0, None), (0, 0)])
def test_vmap_of_the_gate_and_of_packed_sequences(mapped):
    x, weight = torch.randn(5, 1, 6, 12), torch.randn(6, 3) if mapped[1] is None else torch.randn(5, 6, 3)
    ends = torch.tensor([0, 5, 12])

    def gate(x, weight):
        return torch.cat(short_conv_gate(x, weight), 1)

    def packed(x, weight):
        return short_conv(x, weight, None, "causal", cu_seqlens=ends)

    for function in (gate, packed):
        each = [function(x[i], weight if mapped[1] is None else weight[i]) for i in range(5)]
        torch.testing.assert_close(torch.vmap(function, mapped)(x, weight), torch.stack(each))
        got = torch.vmap(torch.func.grad(lambda *t, f=function: f(*t).sin().sum(), (0, 1)), mapped)(x, weight)
        for i in range(5):
            own = torch.func.grad(lambda *t, f=function: f(*t).sin().sum(), (0, 1))(
                x[i], weight if mapped[1] is None else weight[i]
            )
            for a, b in zip(got, own, strict=True):
                torch.testing.assert_close(a[i], b)


def test_vmap_over_cu_seqlens_is_refused():
    x, weight = torch.randn(1, 2, 9), torch.randn(2, 3)
    with pytest.raises(NotImplementedError, match="cu_seqlens"):
        torch.vmap(lambda ends: short_conv(x, weight, None, "causal", cu_seqlens=ends))(
            torch.tensor([[0, 3, 9], [0, 4, 9]])
        )


def test_forward_over_reverse_and_reverse_over_forward():
    tensors = [torch.randn(s, dtype=torch.float64) for s in ((2, 3, 8), (3, 4), (3,))]
    tangents = [torch.randn_like(t) for t in tensors]

    def hvp(f):
        return torch.func.jvp(torch.func.grad(lambda *t: f(*t).sin().sum(), (0, 1, 2)), tuple(tensors), tuple(tangents))

    def vhp(f):
        def directional(*t):
            return torch.func.jvp(lambda *s: f(*s).sin().sum(), t, tuple(tangents))[1]

        return torch.func.grad(directional, (0, 1, 2))(*tensors)

    torch.testing.assert_close(hvp(ours), hvp(reference))
    torch.testing.assert_close(vhp(ours), vhp(reference))
    torch.testing.assert_close(
        torch.func.hessian(lambda w: ours(tensors[0], w, tensors[2]).sin().sum())(tensors[1]),
        torch.func.hessian(lambda w: reference(tensors[0], w, tensors[2]).sin().sum())(tensors[1]),
    )


# ---- autocast


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_follow_autocast_and_weights_keep_their_precision(dtype):
    x, weight, bias = torch.randn(2, 3, 40), torch.randn(3, 4, requires_grad=True), torch.randn(3)
    state = torch.randn(2, 3, 3)
    with torch.autocast("cpu", dtype):
        y, last = short_conv(x, weight, bias, "causal", "silu", initial_state=state, return_state=True)
        direct = _ops.short_conv(x, weight, bias, state, None, 3, 0, 1, 0)
        double = short_conv(x.double(), weight, bias, "causal")
    expected = short_conv(x.to(dtype), weight, bias, "causal", "silu", initial_state=state.to(dtype))
    assert y.dtype == last.dtype == direct.dtype == dtype and double.dtype == torch.float64
    assert torch.equal(y, expected) and torch.equal(direct, expected)
    assert torch.autograd.grad(y.float().sum(), weight)[0].dtype == torch.float32


def test_a_state_of_another_type_is_allowed_under_autocast_only():
    x, weight, state = torch.randn(2, 3, 40), torch.randn(3, 4), torch.randn(2, 3, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        short_conv(x, weight, None, "causal", initial_state=state)
    with pytest.raises(TypeError, match=r"initial_state is torch\.bfloat16; it must be of the dtype of x"):
        short_conv(x, weight, None, "causal", initial_state=state)
