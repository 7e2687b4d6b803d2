"""The algebra of short convolutions, by hypothesis over random shapes, paddings and layouts."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from flashfftconv import short_conv


@st.composite
def problems(draw, paddings=("causal", 0, 1, 2, 9)):
    """(x, weight, how) in float64; x in the layout of `how`."""
    batch, channels = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 8, 17, 33]))
    taps, padding = draw(st.integers(1, 9)), draw(st.sampled_from(paddings))
    least = 1 if padding == "causal" else max(1, taps - 2 * padding)
    length = draw(st.integers(least, least + draw(st.sampled_from([3, 40, 300]))))
    layout, seed = draw(st.sampled_from(["bhl", "blh"])), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, length) if layout == "bhl" else (batch, length, channels)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = torch.randn(channels, taps, generator=generator, dtype=torch.float64)
    return x, weight, {"padding": padding, "layout": layout}


def close(a, b):
    assert (a - b).norm() <= 1e-13 * (1 + max(a.norm(), b.norm())), f"{(a - b).norm():.3g} apart"


def time_of(how):
    return 2 if how["layout"] == "bhl" else 1


@given(problems(), st.floats(-3, 3), st.floats(-3, 3))
def test_linear_in_samples_and_in_weights(problem, a, b):
    x, weight, how = problem
    other, others = torch.randn_like(x), torch.randn_like(weight)
    y = short_conv(x, weight, **how)
    close(short_conv(a * x + b * other, weight, **how), a * y + b * short_conv(other, weight, **how))
    close(short_conv(x, a * weight + b * others, **how), a * y + b * short_conv(x, others, **how))


@given(problems(("causal",)), st.integers(0, 20))
def test_delayed_samples_give_delayed_outputs(problem, by):
    x, weight, how = problem
    dim = time_of(how)
    by = min(by, x.shape[dim])

    def delayed(t):
        zeros = torch.zeros_like(t.narrow(dim, 0, by))
        return torch.cat([zeros, t.narrow(dim, 0, t.shape[dim] - by)], dim)

    close(short_conv(delayed(x), weight, **how), delayed(short_conv(x, weight, **how)))


@given(problems(("causal",)), st.data())
def test_no_output_knows_the_future(problem, data):
    x, weight, how = problem
    dim = time_of(how)
    moment = data.draw(st.integers(0, x.shape[dim] - 1))
    changed = x.clone()
    changed.narrow(dim, moment, x.shape[dim] - moment).fill_(float("nan"))
    before, after = short_conv(x, weight, **how), short_conv(changed, weight, **how)
    assert torch.equal(after.narrow(dim, 0, moment), before.narrow(dim, 0, moment))
    assert after.narrow(dim, moment, x.shape[dim] - moment).isnan().all()


@given(problems(), st.data())
def test_an_impulse_reads_the_weights(problem, data):
    x, weight, how = problem
    dim, taps = time_of(how), weight.shape[1]
    left = taps - 1 if how["padding"] == "causal" else how["padding"]
    at = data.draw(st.integers(0, x.shape[dim] - 1))
    x = torch.zeros_like(x)
    x.narrow(dim, at, 1).fill_(1)
    y = short_conv(x, weight, **how)
    for i in range(y.shape[dim]):
        tap = at + left - i
        expected = weight[:, tap] if 0 <= tap < taps else torch.zeros_like(weight[:, 0])
        assert torch.equal(y.select(dim, i), expected.expand(x.shape[0], -1))


@given(problems())
def test_the_gradient_is_the_adjoint(problem):
    x, weight, how = problem
    x, weight = x.requires_grad_(), weight.requires_grad_()
    y = short_conv(x, weight, **how)
    v = torch.randn_like(y)
    dx, dweight = torch.autograd.grad(y, (x, weight), v)
    product, scale = (y * v).sum(), 1e-13 * (1 + y.norm() * v.norm())
    assert (product - (x * dx).sum()).abs() <= scale
    assert (product - (weight * dweight).sum()).abs() <= scale


@given(problems(("causal",)), st.data())
def test_pieces_of_a_stream_are_the_whole(problem, data):
    x, weight, how = problem
    dim = time_of(how)
    cut = data.draw(st.integers(1, x.shape[dim]))
    first, state = short_conv(x.narrow(dim, 0, cut), weight, **how, return_state=True)
    parts = [first]
    if cut < x.shape[dim]:
        parts.append(short_conv(x.narrow(dim, cut, x.shape[dim] - cut), weight, **how, initial_state=state))
    assert torch.equal(torch.cat(parts, dim), short_conv(x, weight, **how))


@given(problems(("causal",)), st.data())
def test_packed_sequences_are_the_sequences(problem, data):
    x, weight, how = problem
    x, dim = x[:1], time_of(how)
    cuts = sorted(data.draw(st.lists(st.integers(0, x.shape[dim]), max_size=5)))
    ends = [0, *cuts, x.shape[dim]]
    y = short_conv(x, weight, **how, cu_seqlens=torch.tensor(ends))
    for start, end in itertools.pairwise(ends):
        if end > start:
            alone = short_conv(x.narrow(dim, start, end - start), weight, **how)
            assert torch.equal(y.narrow(dim, start, end - start), alone)
