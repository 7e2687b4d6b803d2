"""torch.func and forward-mode differentiation, against finite differences and against the formulas written out."""

import pytest
import torch
from cases import Case
from oracle import direct_sum, operation, shifted
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from flashfftconv import FlashFFTConv, long_conv
from flashfftconv.problem import MODES

pytestmark = pytest.mark.usefixtures("one_thread")
CAUSAL = Case("causal", 2, 3, 9, 6, gates="pre post", skip=True, dtype=torch.float64, filter_dtype=torch.float64)
LONG = Case("causal", 2, 2, 130, 130, gates="pre post", skip=True, dtype=torch.float64, filter_dtype=torch.float64)
REVERSED = Case(
    "bidirectional", 2, 2, 9, 5, 7, gates="pre post", skip=True, dtype=torch.float64, filter_dtype=torch.float64
)
H3_REVERSED = Case("bidirectional", 2, 2, 80, 80, 80, None, 0, "pre", dtype=torch.float64, filter_dtype=torch.float64)
CIRCULAR = Case(
    "circular", 3, 2, 64, 64, fft_size=64, gates="post", skip=True, dtype=torch.float64, filter_dtype=torch.float64
)
CASES = [CAUSAL, LONG, REVERSED, H3_REVERSED, CIRCULAR]


def present_inputs(case, seed=0):
    return {name: t for name, t in case.inputs(seed).items() if t is not None}


def function_of(case, names):
    return lambda *tensors: long_conv(**dict(zip(names, tensors, strict=True)), **case.how)


def oracle_of(case, names):
    empty = dict.fromkeys(("u", "k", "k_rev", "pregate", "postgate", "skip"))
    return lambda *tensors: operation(empty | dict(zip(names, tensors, strict=True)), case.how)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_jvp_in_each_tensor_and_in_all(case):
    inputs, directions = present_inputs(case), present_inputs(case, seed=5)
    names = list(inputs)
    for chosen in [[name] for name in names] + [names]:
        tangents = [directions[name] if name in chosen else torch.zeros_like(inputs[name]) for name in names]
        y, tangent = jvp(function_of(case, names), tuple(inputs.values()), tuple(tangents))
        # The operation is a polynomial of degree 4 along a line: five-point differences are exact but for rounding.
        at = [
            oracle_of(case, names)(*[p + step * t for p, t in zip(inputs.values(), tangents, strict=True)])
            for step in (-2, -1, 1, 2)
        ]
        expected = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / 12
        assert expected.norm() > 0.1
        torch.testing.assert_close(y, oracle_of(case, names)(*inputs.values()))
        torch.testing.assert_close(tangent, expected, rtol=1e-10, atol=1e-10)


def test_jvp_written_out():
    u, k = torch.randn(2, 1, 3, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    du, dk, pre, post, dpost, skip, dskip = (
        torch.randn_like(u),
        torch.randn_like(k),
        *(torch.randn_like(u) for _ in range(3)),
        torch.randn(1).double(),
        torch.randn(1).double(),
    )

    def function(u, k, post, skip):
        return long_conv(u, k, pregate=pre, postgate=post, skip=skip)

    _, tangent = jvp(function, (u, k, post, skip), (du, dk, dpost, dskip))
    x, dx = pre * u, pre * du

    def conv(x, k):
        return torch.stack(
            [k[0, 0] * x[..., 0], k[0, 0] * x[..., 1] + k[0, 1] * x[..., 0], k[0, 0] * x[..., 2] + k[0, 1] * x[..., 1]],
            -1,
        )

    expected = post * (conv(dx, k) + conv(x, dk) + skip * dx + dskip * x) + dpost * (conv(x, k) + skip * x)
    torch.testing.assert_close(tangent, expected)


def test_dual_tensors_and_their_zero_tangents():
    u, k, direction = torch.randn(2, 3, 40), torch.randn(3, 40), torch.randn(2, 3, 40)
    with forward_ad.dual_level():
        y = long_conv(forward_ad.make_dual(u, direction), k)
        torch.testing.assert_close(forward_ad.unpack_dual(y).tangent, long_conv(direction, k))
        assert forward_ad.unpack_dual(long_conv(u, k)).tangent is None
        zero = forward_ad.make_dual(u, torch._efficientzerotensor(u.shape))
        tangent = forward_ad.unpack_dual(long_conv(zero, k)).tangent
        assert tangent is None or tangent.abs().max() == 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_grad_and_vjp(case):
    inputs = present_inputs(case)
    names, dy = list(inputs), case.cotangent()
    every = tuple(range(len(names)))
    result = grad(lambda *t: (function_of(case, names)(*t) * dy).sum(), argnums=every)(*inputs.values())
    expected = grad(lambda *t: (oracle_of(case, names)(*t) * dy).sum(), argnums=every)(*inputs.values())
    _, pull = vjp(function_of(case, names), *inputs.values())
    for name, ours, pulled, exact in zip(names, result, pull(dy), expected, strict=True):
        torch.testing.assert_close(ours, exact, msg=name)
        assert torch.equal(ours, pulled)


@pytest.mark.parametrize("case", [CAUSAL, REVERSED], ids=str)
@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians(case, jacobian):
    inputs = present_inputs(case)
    names = list(inputs)
    for index in range(len(names)):
        ours = jacobian(function_of(case, names), argnums=index)(*inputs.values())
        exact = jacrev(oracle_of(case, names), argnums=index)(*inputs.values())
        torch.testing.assert_close(ours, exact)


@pytest.mark.parametrize(
    "second",
    [
        hessian,
        lambda f, **a: jacrev(jacrev(f, **a), **a),
        lambda f, **a: jacrev(jacfwd(f, **a), **a),
        lambda f, **a: jacfwd(jacfwd(f, **a), **a),
    ],
    ids=["fwd-rev", "rev-rev", "rev-fwd", "fwd-fwd"],
)
@pytest.mark.parametrize(
    "case",
    [
        Case(
            "causal", 1, 2, 4, 3, gates="pre post", skip=True, **{"dtype": torch.float64, "filter_dtype": torch.float64}
        ),
        Case("bidirectional", 2, 1, 3, 2, 4, None, 0, "pre", **{"dtype": torch.float64, "filter_dtype": torch.float64}),
    ],
    ids=str,
)
def test_second_derivatives(case, second):
    inputs = present_inputs(case)
    names, every = list(inputs), tuple(range(len(inputs)))
    ours = second(lambda *t: function_of(case, names)(*t).sin().sum(), argnums=every)(*inputs.values())
    exact = hessian(lambda *t: oracle_of(case, names)(*t).sin().sum(), argnums=every)(*inputs.values())
    for row, exact_row in zip(ours, exact, strict=True):
        for block, exact_block in zip(row, exact_row, strict=True):
            torch.testing.assert_close(block, exact_block)


def loop(function, in_dims, *args, size):
    picked = [[a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True)] for i in range(size)]
    return torch.stack([function(*p) for p in picked])


@pytest.mark.parametrize("in_dims", [(0, None), (3, None), (None, 0), (None, 2), (0, 1), (2, 0), (1, 2)], ids=str)
@pytest.mark.parametrize("length", [7, 130])
@pytest.mark.parametrize("mode", list(MODES))
def test_vmap_over_rows_and_filters(mode, length, in_dims):
    size = 4
    u, k = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 3, length), (3, length)))
    u, k = (
        t if d is None else torch.randn(*t.shape, size, dtype=torch.float64).movedim(-1, d)
        for t, d in zip((u, k), in_dims, strict=True)
    )
    k_rev = torch.randn(3, 5, dtype=torch.float64) if mode == "bidirectional" else None

    def function(u, k):
        return long_conv(u, k, mode, k_rev=k_rev, fft_size=length if mode == "circular" else None, skip=torch.ones(3))

    torch.testing.assert_close(vmap(function, in_dims)(u, k), loop(function, in_dims, u, k, size=size))
    gradient = grad(lambda u, k: function(u, k).square().sum(), argnums=(0, 1))
    mapped = vmap(gradient, in_dims)(u, k)
    for index in (0, 1):
        torch.testing.assert_close(mapped[index], loop(lambda *a: gradient(*a)[index], in_dims, u, k, size=size))  # noqa: B023


@pytest.mark.parametrize("mapped", ["pregate", "postgate", "skip", "k_rev"])
def test_vmap_over_one_of_the_others(mapped):
    case, inputs = REVERSED, present_inputs(REVERSED)
    names = list(inputs)
    stacked = inputs | {mapped: torch.randn(4, *inputs[mapped].shape, dtype=torch.float64)}
    in_dims = tuple(0 if name == mapped else None for name in names)
    function = function_of(case, names)
    torch.testing.assert_close(
        vmap(function, in_dims)(*stacked.values()), loop(function, in_dims, *stacked.values(), size=4)
    )
    every = tuple(range(len(names)))
    derivative = grad(lambda *t: function(*t).sin().sum(), argnums=every)
    results = vmap(derivative, in_dims)(*stacked.values())
    for index, result in enumerate(results):
        torch.testing.assert_close(result, loop(lambda *a: derivative(*a)[index], in_dims, *stacked.values(), size=4))  # noqa: B023


def test_per_sample_gradients():
    u, k, skip = torch.randn(5, 3, 60), torch.randn(3, 60), torch.randn(3)

    def loss(k, skip, row):
        return long_conv(row[None], k, skip=skip).square().sum()

    dk, dskip = vmap(grad(loss, argnums=(0, 1)), (None, None, 0))(k, skip, u)
    for i in range(5):
        k_, skip_ = k.clone().requires_grad_(), skip.clone().requires_grad_()
        loss(k_, skip_, u[i]).backward()
        torch.testing.assert_close(dk[i], k_.grad)
        torch.testing.assert_close(dskip[i], skip_.grad)


def test_nested_vmap_and_jvp_under_vmap():
    u, k = torch.randn(2, 3, 1, 2, 20, dtype=torch.float64), torch.randn(3, 2, 20, dtype=torch.float64)
    nested = vmap(vmap(long_conv, (0, 0)), (0, None))(u, k)
    expected = torch.stack([torch.stack([long_conv(u[a, b], k[b]) for b in range(3)]) for a in range(2)])
    torch.testing.assert_close(nested, expected)
    directions = torch.randn(4, *k[0].shape, dtype=torch.float64)
    tangents = vmap(lambda d: jvp(lambda k: long_conv(u[0, 0], k), (k[0],), (d,))[1])(directions)
    torch.testing.assert_close(tangents, torch.stack([long_conv(u[0, 0], d) for d in directions]))


def test_vmap_over_an_empty_batch():
    k = torch.randn(3, 5)
    assert vmap(lambda u: long_conv(u, k))(torch.randn(4, 0, 3, 8)).shape == (4, 0, 3, 8)


def test_mixtures_of_three_levels():
    u, d, e = (torch.randn(1, 1, 4, dtype=torch.float64) for _ in range(3))
    k = torch.randn(1, 4, dtype=torch.float64)

    def ours(u):
        return long_conv(u, k, pregate=u, postgate=u).sin()

    def exact(u):
        return (u * direct_sum(u * u, k, "causal")).sin()

    def forward(f, direction):
        return lambda u: jvp(f, (u,), (direction,))[1]

    def reverse(f, direction):
        return lambda u: grad(lambda u: (f(u) * direction).sum())(u)

    for first in (forward, reverse):
        for second in (forward, reverse):
            for third in (forward, reverse):
                result, expected = (third(second(first(f, d), e), d)(u) for f in (ours, exact))
                assert expected.norm() > 1e-3
                torch.testing.assert_close(result, expected)


def test_the_module_under_functional_call():
    conv, u, k = FlashFFTConv(32), torch.randn(2, 3, 16), torch.randn(3, 16)
    gradient = grad(lambda k: torch.func.functional_call(conv, {}, (u, k)).sum())(k)
    expected = torch.stack([shifted(u, j).sum((0, 2)) for j in range(16)], -1)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


def test_the_jacobian_is_the_toeplitz_matrix_of_the_filter():
    k = torch.randn(1, 6, dtype=torch.float64)
    matrix = jacrev(lambda u: long_conv(u, k))(torch.randn(1, 1, 6, dtype=torch.float64))[0, 0, :, 0, 0]
    expected = torch.stack(
        [direct_sum(torch.eye(6, dtype=torch.float64)[i][None, None], k, "causal")[0, 0] for i in range(6)], 1
    )
    torch.testing.assert_close(matrix, expected)
