"""NaN and infinity stay in their row; in gradients of the filter, in their channel."""

import pytest
import torch
from gpu_cases import DEVICE, HALVES, SIZES, has_family, make_case, moved, run, same_bits

from flashfftconv import long_conv

BAD = [float("nan"), float("inf"), -float("inf")]


def others(t: torch.Tensor, b: int, h: int) -> torch.Tensor:
    """All rows [b', h'] but (b, h), and for pairs its partner."""
    kept = torch.ones(t.shape[:2], dtype=torch.bool, device=t.device)
    kept[b, h] = kept[b ^ 1 if b ^ 1 < t.shape[0] else b, h] = False
    return t[kept]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal", "bidirectional"])
def test_a_row(family, m, bad):
    if not has_family(family, m):
        return
    for dtype in HALVES:
        case = make_case(family, m, batch=5, channels=3, dtype=dtype)
        clean = moved(case.inputs())
        expected = long_conv(**clean, **case.how)
        for b, at in ((2, 0), (3, m // 2), (4, case.length - 1)):
            u = clean["u"].clone()
            u[b, 1, at] = bad
            y = long_conv(**clean | {"u": u}, **case.how)
            assert not bool(y[b, 1].isfinite().all()), "the output of the row hides that its input is not finite"
            assert torch.equal(others(y, b, 1), others(expected, b, 1))
            # The partner in a pair travels with zeros then: as if the row were zero, and exactly that.
            zeroed = clean["u"].clone()
            zeroed[b, 1] = 0
            partner = b ^ 1
            if partner < 5:
                assert torch.equal(y[partner, 1], long_conv(**clean | {"u": zeroed}, **case.how)[partner, 1])


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal"])
def test_a_gate(family, m):
    if not has_family(family, m):
        return
    case = make_case(family, m, batch=4, channels=3, gates="pre post")
    clean = moved(case.inputs())
    expected = long_conv(**clean, **case.how)
    for gate in ("pregate", "postgate"):
        t = clean[gate].clone()
        t[2, 1, 5] = float("nan")
        y = long_conv(**clean | {gate: t}, **case.how)
        assert not bool(y[2, 1].isfinite().all())
        assert torch.equal(others(y, 2, 1), others(expected, 2, 1))


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal"])
def test_gradients(family, m):
    if not has_family(family, m):
        return
    case = make_case(family, m, batch=4, channels=3, skip=True)
    clean, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
    _, expected = run(clean, case.how, dy)
    for where in ("u", "dy"):
        bad = {"u": clean["u"].clone(), "dy": dy.clone()}
        bad[where][2, 1, 7] = float("nan")
        _, grads = run(clean | {"u": bad["u"]}, case.how, bad["dy"])
        for name in ("k", "skip"):
            assert not bool(grads[name][1].isfinite().any()), f"gradient of {name} hides it"
            assert torch.equal(grads[name][[0, 2]], expected[name][[0, 2]])
        assert torch.equal(others(grads["u"], 2, 1), others(expected["u"], 2, 1))
        if where == "dy":
            assert not bool(grads["u"][2, 1].isfinite().all())


@pytest.mark.parametrize("m", SIZES)
def test_taps(m):
    for family in ("pairs", "causal"):
        if not has_family(family, m):
            continue
        case = make_case(family, m, channels=3)
        clean = moved(case.inputs())
        k = clean["k"].clone()
        k[1, 3] = float("nan")
        y = long_conv(**clean | {"k": k}, **case.how)
        assert not bool(y[:, 1].isfinite().all(-1).any())
        assert same_bits(y[:, [0, 2]], long_conv(**clean, **case.how)[:, [0, 2]])
