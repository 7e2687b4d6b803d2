"""Wrong implementations of short convolutions, each of which the checks of this suite must reject."""

import hypothesis
import pytest
import test_short
import test_short_properties
import torch
from short_testing import CASES, NAMES, how_of

from flashfftconv import short, short_ops

_ops = torch.ops.flashfftconv
PLAIN = next(c for c in CASES if c.extras == ("bias", "silu") and c.taps == 4 and c.dtype == torch.float32)
FULL = next(c for c in CASES if c.extras == ("bias", "state", "silu") and c.taps == 4 and c.dtype == torch.float32)
PACKED = next(c for c in CASES if c.extras == ("bias", "packed", "silu") and c.taps == 4)
GATE = next(c for c in CASES if c.extras == ("bias", "gate") and c.taps == 4 and c.layout == "blh")


def with_argument(position, change):
    """The operation with one of its arguments changed on the way in."""

    def wrong(*args):
        args = list(args)
        args[position] = None if args[position] is None else change(args[position])
        return _ops.short_conv(*args)

    return wrong


# name: (the wrong forward operator, the case that shows it)
FORWARD = {
    "zeros": (lambda *args: torch.zeros_like(_ops.short_conv(*args)), PLAIN),
    "NaN": (lambda *args: _ops.short_conv(*args) * float("nan"), PLAIN),
    "20 ppm too large": (lambda *args: _ops.short_conv(*args) * (1 + 2e-5), PLAIN),
    "taps reversed": (with_argument(1, lambda w: w.flip(-1)), PLAIN),
    "first tap dropped": (with_argument(1, lambda w: torch.cat([0 * w[:, :1], w[:, 1:]], 1)), PLAIN),
    "taps shifted": (with_argument(1, lambda w: w.roll(1, -1)), PLAIN),
    "channels exchanged": (with_argument(1, lambda w: w.roll(1, 0)), PLAIN),
    "bias ignored": (with_argument(2, torch.zeros_like), PLAIN),
    "state ignored": (with_argument(3, torch.zeros_like), FULL),
    "state backwards": (with_argument(3, lambda s: s.flip(-1)), FULL),
    "sequences leak": (lambda *args: _ops.short_conv(*args[:4], None, *args[5:]), PACKED),
    "activation ignored": (lambda *args: _ops.short_conv(*args[:-2], 0, args[-1]), PLAIN),
    "gelu for silu": (lambda *args: _ops.short_conv(*args[:-2], 2, args[-1]), PLAIN),
    "gate of other thirds": (lambda *args: _ops.short_conv(*args).roll(1, 1 if args[-1] == 0 else 2), GATE),
    "one row twice": (with_argument(0, lambda x: x[[0] * len(x)]), PLAIN),
}


class Patched:
    """`torch.ops.flashfftconv` with other operators."""

    def __init__(self, **changed):
        self.changed = changed

    def __getattr__(self, name):
        return self.changed.get(name, getattr(_ops, name))


@pytest.mark.parametrize("case", [PLAIN, FULL, PACKED, GATE], ids=["plain", "full", "packed", "gate"])
def test_the_checks_pass_the_operation_itself(case):
    test_short.check_case(case)


@pytest.mark.parametrize("name", FORWARD)
def test_a_wrong_forward_is_rejected(name, monkeypatch):
    wrong, case = FORWARD[name]
    monkeypatch.setattr(test_short, "_ops", Patched(short_conv=wrong))
    with pytest.raises(AssertionError):
        test_short.check_case(case)


def wrong_gradient(name, change):
    """The backward operator with one of its gradients changed."""
    index = NAMES.index(name)

    def wrong(*args):
        grads = list(_ops.short_conv_backward(*args))
        if args[-1] >> index & 1:
            grads[index] = change(grads[index])
        return tuple(grads)

    return wrong


BACKWARD = {f"{name} zero": wrong_gradient(name, torch.zeros_like) for name in NAMES}
BACKWARD |= {f"{name} 0.1 % too large": wrong_gradient(name, lambda g: g * 1.001) for name in NAMES}
BACKWARD |= {
    "x not flipped": lambda *args: (
        _ops.short_conv_backward(args[0], args[1], args[2].flip(-1), *args[3:-1], args[-1] & 1)[0],
        *_ops.short_conv_backward(*args)[1:],
    ),
    "bias ignored": lambda *args: _ops.short_conv_backward(*args[:3], torch.zeros_like(args[3]), *args[4:]),
    "the slope of another activation": lambda *args: _ops.short_conv_backward(*args[:-3], 2, *args[-2:]),
    "no slope": lambda *args: _ops.short_conv_backward(*args[:-3], 0, *args[-2:]),
    "a tap lost": wrong_gradient("weight", lambda g: torch.cat([g[:, :-1], 0 * g[:, :1]], 1)),
    "the weight's of one row": lambda *args: (
        *_ops.short_conv_backward(*args)[:1],
        _ops.short_conv_backward(args[0][:1], args[1][:1], *args[2:4], args[4][:1], *args[5:])[1],
        *_ops.short_conv_backward(*args)[2:],
    ),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_a_wrong_gradient_is_rejected(name, monkeypatch):
    monkeypatch.setattr(test_short, "_ops", Patched(short_conv_backward=BACKWARD[name]))
    with pytest.raises(AssertionError, match="gradient of"):
        test_short.check_case(FULL)


@pytest.fixture
def without_shrinking():
    """A counterexample is expected; nobody needs the smallest."""
    hypothesis.settings.load_profile("mutants")
    yield
    hypothesis.settings.load_profile("suite")


PROPERTIES = {
    "zeros": "test_an_impulse_reads_the_weights",
    "taps reversed": "test_an_impulse_reads_the_weights",
    "taps shifted": "test_an_impulse_reads_the_weights",
    "state ignored": "test_pieces_of_a_stream_are_the_whole",
    "sequences leak": "test_packed_sequences_are_the_sequences",
}


@pytest.mark.usefixtures("without_shrinking")
@pytest.mark.parametrize(("wrong", "check"), PROPERTIES.items())
def test_properties_reject(wrong, check, monkeypatch):
    monkeypatch.setattr(short, "_ops", Patched(short_conv=FORWARD[wrong][0]))
    with pytest.raises(AssertionError):
        getattr(test_short_properties, check)()


@pytest.mark.usefixtures("without_shrinking")
def test_causality_rejects_a_look_ahead(monkeypatch):
    def ahead(x, *args):
        return _ops.short_conv(x.roll(-1, 2 - args[-1]), *args)

    monkeypatch.setattr(short, "_ops", Patched(short_conv=ahead))
    with pytest.raises(AssertionError):
        test_short_properties.test_no_output_knows_the_future()


@pytest.mark.usefixtures("without_shrinking")
@pytest.mark.parametrize("wrong", ["x zero", "weight zero", "x not flipped", "a tap lost"])
def test_the_adjoint_property_rejects(wrong, monkeypatch):
    monkeypatch.setattr(short_ops, "_ops", Patched(short_conv_backward=BACKWARD[wrong]))
    with pytest.raises(AssertionError):
        test_short_properties.test_the_gradient_is_the_adjoint()


def test_the_gate_case_is_blh():
    assert how_of(GATE)[2:] == (3, 1)
