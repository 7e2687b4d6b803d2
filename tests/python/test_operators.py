"""Direct misuse of torch.ops.flashfftconv.*: a RuntimeError that says what is wrong, no crash and no wrong answer."""

import multiprocessing

import pytest
import torch

import flashfftconv  # noqa: F401  (registers the operators)

_ops = torch.ops.flashfftconv
U, K, DY = torch.randn(2, 3, 300), torch.randn(3, 300), torch.randn(2, 3, 300)
GOOD = {
    "u": U,
    "k": K,
    "k_rev": None,
    "pregate": None,
    "postgate": None,
    "skip": None,
    "mode": 1,
    "fft_size": 0,
    "k_rev_lag": 1,
}
BACK = {"mode": 2, "k_rev": K}

BAD = {
    "u of rank 2": {"u": U[0]},
    "u of rank 0": {"u": U[0, 0, 0]},
    "u of length 0": {"u": U[..., :0]},
    "u int64": {"u": U.long()},
    "u complex": {"u": U.cfloat()},
    "k of rank 1": {"k": K[0]},
    "k of rank 3": {"k": K[None]},
    "k of other channels": {"k": K[:2]},
    "k empty": {"k": K[:, :0]},
    "k int8": {"k": K.char()},
    "k on meta": {"k": K.to("meta")},
    "k_rev of rank 1": {"mode": 2, "k_rev": K[0]},
    "k_rev of rank 0": {"mode": 2, "k_rev": K[0, 0]},
    "k_rev of other channels": {"mode": 2, "k_rev": K[:2]},
    "k_rev of another type": {"mode": 2, "k_rev": K.double()},
    "k_rev in causal mode": {"k_rev": K},
    "k_rev missing": {"mode": 2},
    "pregate of another shape": {"pregate": U[:1]},
    "pregate of rank 1": {"pregate": U[0, 0]},
    "postgate of another type": {"postgate": U.double()},
    "postgate on meta": {"postgate": U.to("meta")},
    "skip of another size": {"skip": K[0]},
    "skip of rank 0": {"skip": K[0, 0]},
    "skip of half precision": {"skip": K[:, 0].half()},
    "mode 3": {"mode": 3},
    "mode -1": {"mode": -1},
    "mode beyond 32 bits": {"mode": 2**32 + 1},
    "lag 2": BACK | {"k_rev_lag": 2},
    "lag -1": BACK | {"k_rev_lag": -1},
    "lag beyond 32 bits": BACK | {"k_rev_lag": 2**32 + 1},
    "fft_size in causal mode": {"fft_size": 600},
    "fft_size 0 in circular mode": {"mode": 0},
    "fft_size negative": {"mode": 0, "fft_size": -600},
    "fft_size smallest": {"mode": 0, "fft_size": -(2**63)},
    "fft_size below L": {"mode": 0, "fft_size": 299},
}


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD)
def test_long_conv_and_its_gradient(changed):
    given = GOOD | changed
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ops.long_conv(*given.values())
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ops.long_conv_backward(DY, *given.values(), 1)
    how = list(given.values())[-3:]
    if not {"pregate", "postgate", "skip"} & set(changed):
        with pytest.raises((RuntimeError, NotImplementedError)):
            _ops.prepare_filter(given["u"], given["k"], given["k_rev"], *how)


@pytest.mark.parametrize(
    "dy",
    [DY[:1], DY[0], DY.double(), DY.long(), DY[..., :299], DY.to("meta")],
    ids=lambda t: f"{list(t.shape)}-{t.dtype}-{t.device}",
)
def test_a_gradient_that_does_not_fit(dy):
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ops.long_conv_backward(dy, *GOOD.values(), 3)


@pytest.mark.parametrize("wanted", [8, 16, 28])
def test_gradients_of_absent_tensors(wanted):
    with pytest.raises(RuntimeError, match=r"pregate|postgate"):
        _ops.long_conv_backward(DY, *GOOD.values(), wanted)


def test_no_gradient_wanted_gives_none():
    assert _ops.long_conv_backward(DY, *GOOD.values(), 0) == (None,) * 6


@pytest.mark.parametrize("shape", [(0, 3, 300), (2, 0, 300), (0, 0, 1)])
def test_empty_batches(shape):
    u, k = torch.empty(shape), torch.empty(shape[1], 300)
    assert _ops.long_conv(u, k, None, u, u, None, 1, 0, 1).shape == shape
    grads = _ops.long_conv_backward(u, u, k, None, u, u, k[:, 0], 1, 0, 1, 0b111011)
    assert grads[2] is None
    shapes = [list(g.shape) for g in grads if g is not None]
    assert shapes == [list(shape), list(k.shape), list(shape), list(shape), [shape[1]]]
    assert grads[1].abs().sum() == 0 and grads[5].abs().sum() == 0
    spectrum = _ops.prepare_filter(u, k, None, 1, 0, 1)
    assert _ops.long_conv_prepared(u, spectrum, 300, 0, None, None, None, 1, 0, 1).shape == shape


SPECTRUM = _ops.prepare_filter(U, K, None, 1, 0, 1)
PREPARED = {
    "u": U,
    "spectrum": SPECTRUM,
    "filter": 300,
    "filter_reverse": 0,
    "pregate": None,
    "postgate": None,
    "skip": None,
    "mode": 1,
    "fft_size": 0,
    "k_rev_lag": 1,
}
BAD_PREPARED = {
    "too short": {"spectrum": SPECTRUM[:-200]},
    "empty": {"spectrum": SPECTRUM[:0]},
    "of another type": {"spectrum": torch.zeros(SPECTRUM.numel(), dtype=torch.int64)},
    "of rank 2": {"spectrum": SPECTRUM.expand(2, -1)},
    "on meta": {"spectrum": SPECTRUM.to("meta")},
    "for a longer row": {"u": torch.randn(2, 3, 5000)},
    "for more channels": {"u": torch.randn(2, 30, 300)},
    "for another type": {"u": U.double()},
    "for other modes": {"mode": 2, "filter_reverse": 300},
    "for no taps": {"filter": 0},
    "for negative taps": {"filter": -5},
    "for absurdly many taps": {"filter": 2**62},
    "for a gate that does not fit": {"pregate": U[:1]},
    "for the lag of another convention": {"mode": 2, "filter_reverse": 300, "k_rev_lag": 0},
    "for another circular size": {"mode": 0, "fft_size": 400},
}


@pytest.mark.parametrize("changed", BAD_PREPARED.values(), ids=BAD_PREPARED)
def test_a_spectrum_of_another_problem(changed):
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ops.long_conv_prepared(*(PREPARED | changed).values())


def test_a_spectrum_does_not_depend_on_where_it_lies():
    expected = _ops.long_conv_prepared(*PREPARED.values())
    kept = []  # memory blocks of different alignment
    for i in range(40):
        kept += [torch.empty(16 + 64 * i, dtype=torch.uint8), SPECTRUM.clone()]
        assert torch.equal(_ops.long_conv_prepared(*(PREPARED | {"spectrum": kept[-1]}).values()), expected)


CRASHES = {
    "an expanded spectrum": lambda: prepared(SPECTRUM[:1].expand(SPECTRUM.numel())),
    "every second byte of a spectrum": lambda: prepared(torch.stack([SPECTRUM, SPECTRUM], 1)[:, 0]),
    "an odd offset": lambda: prepared(torch.cat([SPECTRUM, SPECTRUM])[1:][: SPECTRUM.numel()]),
    "a scalar spectrum": lambda: prepared(SPECTRUM[0]),
    "a spectrum on meta": lambda: prepared(SPECTRUM.to("meta")),
    "a sparse u": lambda: _ops.long_conv(U.to_sparse(), K, None, None, None, None, 1, 0, 1),
    "a sparse k": lambda: _ops.long_conv(U, K.to_sparse(), None, None, None, None, 1, 0, 1),
    "describe of no type": lambda: _ops.describe(2, 3, 300, 300, 0, 1, 0, 1, 99),
    "describe of negative sizes": lambda: _ops.describe(-2, -3, -300, -300, 0, 1, 0, 1, 2),
    "describe of overflowing sizes": lambda: _ops.describe(2**62, 2**62, 2**62, 2**62, 0, 1, 0, 1, 2),
    "describe of a row of 2^56": lambda: _ops.describe(1, 1, 2**56, 2**56, 0, 1, 0, 1, 2),
}


def prepared(spectrum):
    return _ops.long_conv_prepared(*(PREPARED | {"spectrum": spectrum}).values())


def outcome_of(call, send):
    torch.set_num_threads(1)
    try:
        result = call()
        same = torch.equal(result, prepared(SPECTRUM))
        send.send("same" if same else "a wrong result was returned")
    except (RuntimeError, NotImplementedError, MemoryError) as error:
        send.send(f"refused: {error}")


@pytest.mark.parametrize("name", CRASHES)
def test_nothing_kills_the_process(name):
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=outcome_of, args=(CRASHES[name], send))
    child.start()
    child.join(60)
    assert child.exitcode == 0, f"the process ended with {child.exitcode}"
    assert receive.recv().startswith(("refused", "same"))
