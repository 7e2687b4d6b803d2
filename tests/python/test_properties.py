"""The algebra of convolutions, by hypothesis over random modes and shapes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import operation, shifted

from flashfftconv import FlashFFTConv, long_conv

LENGTHS = st.one_of(st.integers(1, 40), st.integers(41, 1100), st.sampled_from([64, 127, 128, 256, 512, 1024]))


@st.composite
def problems(draw, modes=("causal", "circular", "bidirectional")):
    """(rows and taps in float64, how): decaying random filters of any length."""
    mode, length = draw(st.sampled_from(modes)), draw(LENGTHS)
    batch, channels, seed = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 2**31))
    taps = draw(st.integers(1, 2 * length))
    how = {"mode": mode, "fft_size": None, "k_rev_lag": draw(st.sampled_from([0, 1]))}
    if mode == "circular":
        how["fft_size"] = draw(st.sampled_from([length, max(taps, length), 2 * length + 1, max(taps, length) + 3]))
        taps = min(taps, how["fft_size"])
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    tensors = {"u": normal(batch, channels, length), "k": normal(channels, taps) / taps**0.5}
    if mode == "bidirectional":
        tensors["k_rev"] = normal(channels, draw(st.integers(1, 2 * length)))
    return tensors, how


def close(a, b, tolerance=1e-12):
    """Relative to the larger norm: what transforms of these sizes round."""
    assert (a - b).norm() <= tolerance * (1 + max(a.norm(), b.norm())), f"{(a - b).norm():.3g} apart"


def conv(tensors, how, **changed):
    return long_conv(**(tensors | changed), **how)


@given(problems(), st.data())
def test_an_impulse_reads_the_filter(problem, data):
    tensors, how = problem
    u = torch.zeros_like(tensors["u"])
    at = data.draw(st.integers(0, u.shape[-1] - 1))
    u[..., at] = 1
    y = conv(tensors, how, u=u)
    for i in data.draw(st.lists(st.integers(0, u.shape[-1] - 1), max_size=8)):
        lag, k, expected = i - at, tensors["k"], torch.zeros(tensors["k"].shape[0], dtype=torch.float64)
        lag = lag % how["fft_size"] if how["mode"] == "circular" else lag
        if 0 <= lag < k.shape[-1]:
            expected = expected + k[:, lag]
        if how["mode"] == "bidirectional" and 0 <= -lag - how["k_rev_lag"] < tensors["k_rev"].shape[-1]:
            expected = expected + tensors["k_rev"][:, -lag - how["k_rev_lag"]]
        close(y[..., i], expected.expand(u.shape[:2]))


@given(problems())
def test_against_the_oracle(problem):
    tensors, how = problem
    absent = dict.fromkeys(("k_rev", "pregate", "postgate", "skip"))
    close(conv(tensors, how), operation(absent | tensors, how))


@given(problems(), st.floats(-3, 3), st.floats(-3, 3))
def test_linear_in_rows_and_in_the_filter(problem, a, b):
    tensors, how = problem
    u, other = tensors["u"], torch.randn_like(tensors["u"])
    close(conv(tensors, how, u=a * u + b * other), a * conv(tensors, how) + b * conv(tensors, how, u=other))
    filters = {name: t for name, t in tensors.items() if name != "u"}
    others = {name: torch.randn_like(t) for name, t in filters.items()}
    mixed = {name: a * filters[name] + b * others[name] for name in filters}
    close(conv(tensors, how, **mixed), a * conv(tensors, how) + b * conv(tensors, how, **others))


@given(problems(("causal", "circular")), st.integers(0, 50))
def test_shifting_the_row_shifts_the_result(problem, by):
    tensors, how = problem
    length = tensors["u"].shape[-1]
    if how["mode"] == "circular":
        how = how | {"fft_size": length}
        tensors = tensors | {"k": tensors["k"][:, :length]}
        close(conv(tensors, how, u=tensors["u"].roll(by, -1)), conv(tensors, how).roll(by, -1))
    else:
        close(conv(tensors, how, u=shifted(tensors["u"], by)), shifted(conv(tensors, how), by))


@given(problems(("causal",)), st.data())
def test_the_past_never_sees_the_future(problem, data):
    tensors, how = problem
    u = tensors["u"].float()
    now = data.draw(st.integers(1, u.shape[-1]))
    changed = u.clone()
    changed[..., now:] = 100 * torch.randn_like(changed[..., now:])
    before, after = (long_conv(rows, tensors["k"].float(), **how)[..., :now] for rows in (u, changed))
    # A transform spreads rounding over the row: the change is 100 times larger than the past it may blur.
    assert (before - after).norm() <= 1e-6 * changed.norm()


@given(problems(("circular",)))
def test_parseval(problem):
    tensors, _ = problem
    u = tensors["u"]
    length = u.shape[-1]
    k = torch.zeros(u.shape[1], length, dtype=torch.float64)
    taps = min(length, tensors["k"].shape[-1])
    k[:, :taps] = tensors["k"][:, :taps]
    y = long_conv(u, k, "circular", fft_size=length)
    spectrum = torch.fft.fft(u) * torch.fft.fft(k)
    close(y.square().sum(-1), spectrum.abs().square().sum(-1) / length)
    autocorrelation = long_conv(u[:, :1], u[0, 0].flip(-1).roll(1)[None], "circular", fft_size=length)
    close(autocorrelation[0, 0, 0], u[0, 0].square().sum())


@given(problems())
def test_the_gradient_is_the_adjoint(problem):
    tensors, how = problem
    leaves = {name: t.clone().requires_grad_() for name, t in tensors.items()}
    y = conv(leaves, how)
    g = torch.randn_like(y)
    grads = dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), g), strict=True))
    product, scale = (y * g).sum(), y.norm() * g.norm() + 1e-30
    assert abs(product - (tensors["u"] * grads["u"]).sum()) <= 1e-12 * scale
    filters = sum((tensors[name] * grads[name]).sum() for name in tensors if name != "u")
    assert abs(product - filters) <= 1e-12 * scale


@given(problems(("bidirectional",)))
def test_reversing_time_exchanges_the_filters(problem):
    tensors, how = problem
    how = how | {"k_rev_lag": 0}
    reversed_ = conv(tensors, how, u=tensors["u"].flip(-1), k=tensors["k_rev"], k_rev=tensors["k"])
    close(conv(tensors, how), reversed_.flip(-1))


@given(problems(("bidirectional",)))
def test_the_two_lag_conventions(problem):
    tensors, _ = problem
    u, k, k_rev = tensors.values()
    padded = torch.nn.functional.pad(k_rev, (1, 0))
    one = long_conv(u, k, "bidirectional", k_rev=k_rev, k_rev_lag=1)
    close(one, long_conv(u, k, "bidirectional", k_rev=padded, k_rev_lag=0))
    ahead = torch.nn.functional.pad(shifted(u, -1), (0, k_rev.shape[-1]))
    future = long_conv(ahead.flip(-1), k_rev).flip(-1)[..., : u.shape[-1]]
    close(one, long_conv(u, k) + future)


@given(problems(("causal",)), st.integers(0, 70))
def test_causal_is_a_circular_convolution_large_enough(problem, more):
    tensors, how = problem
    size = tensors["u"].shape[-1] + tensors["k"].shape[-1] - 1 + more
    close(conv(tensors, how), FlashFFTConv(size, torch.float64)(**tensors))


@given(problems(("circular",)))
def test_circular_indices_wrap(problem):
    tensors, how = problem
    u, k, size = tensors["u"], tensors["k"], how["fft_size"]
    extended = torch.nn.functional.pad(u, (0, size - u.shape[-1]))
    twice = long_conv(torch.cat([extended, extended], -1), k)[..., size : size + u.shape[-1]]
    close(conv(tensors, how), twice)


@given(problems(), st.data())
@settings(max_examples=25)
def test_a_row_does_not_depend_on_its_batch(problem, data):
    tensors, how = problem
    tensors = {name: t.to(data.draw(st.sampled_from([torch.float32, torch.float64]))) for name, t in tensors.items()}
    tensors = {name: t.to(tensors["u"].dtype) for name, t in tensors.items()}
    u = torch.cat([tensors["u"], torch.randn(3, *tensors["u"].shape[1:], dtype=tensors["u"].dtype)])
    whole = conv(tensors, how, u=u)
    paired = how["mode"] == "circular" and 2 * u.shape[-1] > how["fft_size"]
    for rows in (u[:1], u[1:2], u[-1:]):
        alone, index = conv(tensors, how, u=rows), next(i for i in range(len(u)) if torch.equal(u[i], rows[0]))
        if paired:
            close(alone[0], whole[index], 1e-6 if u.dtype == torch.float32 else 1e-14)
        else:
            assert torch.equal(alone[0], whole[index])


@given(problems())
@settings(max_examples=20)
def test_the_same_call_gives_the_same_bits_whatever_the_threads(problem):
    tensors, how = problem
    leaves = {name: t.clone().requires_grad_() for name, t in tensors.items()}
    results, threads = [], torch.get_num_threads()
    for count in (1, 2, 2, 3):
        torch.set_num_threads(count)
        y = conv(leaves, how)
        results.append((y, *torch.autograd.grad(y.square().sum(), list(leaves.values()))))
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
