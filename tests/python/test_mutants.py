"""Wrong implementations, each of which the checks of this suite must reject: proof that the tests can fail."""

import hypothesis
import pytest
import test_gradients
import test_operation
import test_properties
import torch
from cases import CASES, TENSORS, check_rows

from flashfftconv import functional, ops
from flashfftconv.problem import MODES

_ops = torch.ops.flashfftconv

# One case that shows everything: both gates, skip, all lags; one of pairs; one of half precision.
FULL = next(c for c in CASES if c.mode == "bidirectional" and c.length == 512 and c.k_rev_lag == 0)
PAIRS = next(c for c in CASES if c.mode == "circular" and c.length == 1024 and c.gates == "pre post")
HALF = next(c for c in CASES if c.dtype == torch.bfloat16 and c.gates == "pre post")
SHOWN = [FULL, PAIRS, HALF]


def replaced(position, change):
    """The operation with one argument changed on the way in."""

    def wrong(*args):
        return _ops.long_conv(
            *args[:position], None if args[position] is None else change(args[position]), *args[position + 1 :]
        )

    return wrong


def only_last_sample(t):
    t = t.clone()
    t[..., -1] *= 1.001
    return t


FORWARD = {
    "zeros": lambda *args: torch.zeros_like(args[0]),
    "NaN": lambda *args: torch.full_like(args[0], float("nan")),
    "the input": lambda *args: args[0].clone(),
    "pregate ignored": lambda *args: _ops.long_conv(*args[:3], None, *args[4:]),
    "postgate ignored": lambda *args: _ops.long_conv(*args[:4], None, *args[5:]),
    "skip ignored": lambda *args: _ops.long_conv(*args[:5], None, *args[6:]),
    "skip added twice": replaced(5, lambda skip: 2 * skip),
    "first tap dropped": replaced(1, lambda k: torch.cat([torch.zeros_like(k[:, :1]), k[:, 1:]], -1)),
    "one middle tap dropped": replaced(1, lambda k: torch.where(torch.arange(k.shape[-1]) == k.shape[-1] // 2, 0, k)),
    "taps shifted by one": replaced(1, lambda k: k.roll(1, -1)),
    "taps reversed": replaced(1, lambda k: k.flip(-1)),
    "channels exchanged": replaced(1, lambda k: k.roll(1, 0)),
    "one row twice": replaced(0, lambda u: u[[0] * len(u)]),
    "2 % too large": lambda *args: _ops.long_conv(*args) * 1.02,
    "one sample wrong": lambda *args: (
        only_last_sample(_ops.long_conv(*args).float()).to(args[0].dtype) + args[0][..., :1] * 0.01
    ),
    "a lost lag": lambda *args: _ops.long_conv(*args[:-1], 1 - args[-1]),
}


def check_forward(wrong, case):
    inputs = case.inputs()
    exact = test_operation.operation(inputs, case.how, test_operation.fft_sum)
    arguments = (*inputs.values(), MODES[case.mode], case.fft_size or 0, case.k_rev_lag)
    check_rows("y", wrong(*arguments), exact, test_operation.compute_dtype(case.dtype))


@pytest.mark.parametrize("case", SHOWN, ids=str)
def test_the_checks_pass_the_operation_itself(case):
    check_forward(_ops.long_conv, case)
    test_gradients.test_every_gradient(case)


APPLIES = {"skip ignored": [FULL, PAIRS], "skip added twice": [FULL, PAIRS], "a lost lag": [FULL]}


@pytest.mark.parametrize("name", FORWARD)
def test_a_wrong_forward_is_rejected(name):
    for case in APPLIES.get(name, SHOWN):
        if case.skip or "skip" not in name:
            with pytest.raises(AssertionError):
                check_forward(FORWARD[name], case)


def wrong_gradient(name, change):
    """The backward operator with one of its gradients changed."""
    index = TENSORS.index(name)

    def wrong(*args):
        grads = list(_ops.long_conv_backward(*args))
        if args[-1] >> index & 1:
            grads[index] = change(grads[index])
        return tuple(grads)

    return wrong


def without_conjugation(dy, u, k, k_rev, pregate, postgate, skip, *how):
    """du as the convolution, not the correlation, of the gradient."""
    grads = list(_ops.long_conv_backward(dy, u, k, k_rev, pregate, postgate, skip, *how))
    grads[0] = _ops.long_conv(dy, k, k_rev, postgate, pregate, skip, *how[:-1])
    return tuple(grads)


def dk_of_one_row(args):
    grads = list(_ops.long_conv_backward(*args))
    grads[1] = _ops.long_conv_backward(*(a[:1] if i in (0, 1, 4, 5) else a for i, a in enumerate(args)))[1]
    return tuple(grads)


BACKWARD = {f"{name} zero": wrong_gradient(name, torch.zeros_like) for name in TENSORS}
BACKWARD |= {f"{name} 1 % too large": wrong_gradient(name, lambda g: g * 1.01) for name in TENSORS}
BACKWARD |= {f"{name} NaN": wrong_gradient(name, lambda g: g * float("nan")) for name in TENSORS}
BACKWARD |= {
    "no conjugation": without_conjugation,
    "pregate ignored": lambda *args: _ops.long_conv_backward(*args[:4], torch.ones_like(args[1]), *args[5:]),
    "postgate ignored": lambda *args: _ops.long_conv_backward(*args[:5], torch.ones_like(args[1]), *args[6:]),
    "skip ignored": lambda *args: _ops.long_conv_backward(*args[:6], None, *args[7:]),
    "a tap of dk lost": wrong_gradient("k", lambda g: torch.cat([g[:, :-1], torch.zeros_like(g[:, :1])], -1)),
    "dk of one row": lambda *args: dk_of_one_row(args),
}


def test_the_true_backward_passes_where_the_wrong_ones_are_put(monkeypatch):
    monkeypatch.setattr(ops, "_long_conv_backward", _ops.long_conv_backward)
    test_gradients.test_every_gradient(FULL)
    test_properties.test_the_gradient_is_the_adjoint()


@pytest.mark.parametrize("name", BACKWARD)
def test_a_wrong_gradient_is_rejected(name, monkeypatch):
    monkeypatch.setattr(ops, "_long_conv_backward", BACKWARD[name])
    with pytest.raises(AssertionError, match="gradient of"):
        test_gradients.test_every_gradient(FULL)


@pytest.fixture
def without_shrinking():
    """A counterexample is expected; nobody needs the smallest."""
    hypothesis.settings.load_profile("mutants")
    yield
    hypothesis.settings.load_profile("suite")


@pytest.mark.usefixtures("without_shrinking")
@pytest.mark.parametrize("wrong", ["no conjugation", "u zero", "k zero", "a tap of dk lost"])
def test_the_adjoint_property_rejects(wrong, monkeypatch):
    monkeypatch.setattr(ops, "_long_conv_backward", BACKWARD[wrong])
    with pytest.raises(AssertionError):
        test_properties.test_the_gradient_is_the_adjoint()


PROPERTIES = {
    "zeros": ["test_an_impulse_reads_the_filter", "test_parseval", "test_against_the_oracle"],
    "first tap dropped": ["test_an_impulse_reads_the_filter", "test_against_the_oracle"],
    "taps shifted by one": ["test_an_impulse_reads_the_filter", "test_against_the_oracle"],
    "one row twice": ["test_against_the_oracle", "test_parseval"],
    "2 % too large": ["test_an_impulse_reads_the_filter", "test_parseval"],
}


@pytest.mark.usefixtures("without_shrinking")
@pytest.mark.parametrize(("wrong", "check"), [(w, c) for w, checks in PROPERTIES.items() for c in checks])
def test_properties_reject(wrong, check, monkeypatch):
    monkeypatch.setattr(functional, "_long_conv", FORWARD[wrong])
    with pytest.raises(AssertionError):
        getattr(test_properties, check)()
