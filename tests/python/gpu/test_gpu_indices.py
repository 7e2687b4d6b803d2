"""Impulses and shifts at every size: they catch errors of an index that random data averages away."""

import pytest
import torch
from gpu_cases import DEVICE, SIZES, has_family, make_case
from oracle import fft_sum

from flashfftconv import long_conv

MOST = 256  # impulses a test
_ops = torch.ops.flashfftconv


def positions(length: int) -> torch.Tensor:
    """All samples of a short row; of a long one its ends, the powers of two and their neighbours, and a spread."""
    if length <= MOST:
        return torch.arange(length, device=DEVICE)
    chosen = {0, 1, length - 2, length - 1} | {p + d for i in range(16) if (p := 1 << i) < length for d in (-1, 0, 1)}
    chosen |= {i * length // (MOST - len(chosen)) + i % 7 for i in range(MOST - len(chosen))}
    return torch.tensor(sorted(p for p in chosen if 0 <= p < length), device=DEVICE)


def impulses(at: torch.Tensor, length: int, dtype=torch.float16) -> torch.Tensor:
    """[len(at), length]"""
    return torch.nn.functional.one_hot(at, length).to(dtype)


def check(result: torch.Tensor, exact: torch.Tensor, scale: torch.Tensor) -> None:
    """Errors relative to the norm that went in: what comes out of a long delay may be a few samples."""
    error = torch.linalg.vector_norm(result.double() - exact, dim=-1) / scale
    assert bool((error <= 3e-3).all()), f"worst {error.max().item():.3g} at {error.argmax().item()}"


def families(m):
    return [f for f in ("pairs", "pairs, padded", "causal", "circular of another size") if has_family(f, m)]


@pytest.mark.parametrize("m", SIZES)
def test_impulses_in_the_rows(m):
    for family in families(m):
        case = make_case(family, m)
        k = torch.randn(2, case.taps, device=DEVICE)
        at = positions(case.length)
        u = impulses(at, case.length)[:, None].expand(-1, 2, -1)
        exact = fft_sum(u.double(), k.double(), **case.how)
        check(long_conv(u, k, **case.how), exact, torch.linalg.vector_norm(k.double(), dim=-1)[None])


@pytest.mark.parametrize("m", SIZES)
def test_impulses_in_the_filter(m):
    for family in families(m):
        case = make_case(family, m)
        at = positions(case.taps)
        k = impulses(at, case.taps, torch.float32)
        u = torch.randn(3, 1, case.length, device=DEVICE).half().expand(-1, len(at), -1)
        exact = fft_sum(u.double(), k.double(), **case.how)
        check(long_conv(u, k, **case.how), exact, torch.linalg.vector_norm(u.double(), dim=-1))


@pytest.mark.parametrize("lag", [1, 0])
@pytest.mark.parametrize("m", SIZES)
def test_impulses_ahead(m, lag):
    length = m - 1
    at = positions(length)
    k, k_rev = torch.zeros(len(at), 3, device=DEVICE), impulses(at, length, torch.float32)
    u = torch.randn(2, 1, length, device=DEVICE).half().expand(-1, len(at), -1)
    how = {"mode": "bidirectional", "k_rev": k_rev, "k_rev_lag": lag}
    exact = fft_sum(u.double(), k.double(), "bidirectional", k_rev.double(), lag)
    check(long_conv(u, k, **how), exact, torch.linalg.vector_norm(u.double(), dim=-1))


@pytest.mark.parametrize("m", SIZES)
def test_impulses_in_the_gradient_of_the_filter(m):
    """u with an impulse at a and dy with one at b: dk is an impulse at lag b - a."""
    for family in families(m):
        case = make_case(family, m, batch=2)
        a = positions(case.length)
        b = positions(case.length)[torch.randperm(len(a), device=DEVICE)]
        k = torch.randn(len(a), case.taps, device=DEVICE)
        u, dy = (impulses(at, case.length)[None].expand(2, -1, -1) for at in (a, b))
        wanted = 2
        how = (0 if case.mode == "circular" else 1, case.fft_size or 0, 1)
        dk = _ops.long_conv_backward(dy, u, k, None, None, None, None, *how, wanted)[1]
        lag = b - a
        if case.mode == "circular":
            lag = lag % case.fft_size
        exact = torch.zeros(len(a), case.taps, device=DEVICE, dtype=torch.float64)
        inside = (lag >= 0) & (lag < case.taps)
        exact[inside, lag[inside]] = 2.0  # from both rows
        check(dk, exact, torch.full((len(a),), 2.0, device=DEVICE))


@pytest.mark.parametrize("m", SIZES)
def test_impulses_in_the_gradient_of_the_rows(m):
    for family in families(m):
        case = make_case(family, m)
        k = torch.randn(2, case.taps, device=DEVICE)
        at = positions(case.length)
        dy = impulses(at, case.length)[:, None].expand(-1, 2, -1)
        u = torch.zeros(len(at), 2, case.length, device=DEVICE, dtype=torch.float64, requires_grad=True)
        (exact,) = torch.autograd.grad(fft_sum(u, k.double(), **case.how), u, dy.double())
        half = u.detach().half().requires_grad_()
        (du,) = torch.autograd.grad(long_conv(half, k, **case.how), half, dy)
        check(du, exact, torch.linalg.vector_norm(k.double(), dim=-1)[None])


@pytest.mark.parametrize("m", SIZES)
def test_shifts(m):
    """A row that starts later gives an output that starts later; in a circle it turns."""
    k = torch.randn(2, m, device=DEVICE) / m**0.5
    u = torch.randn(3, 2, m, device=DEVICE).half()
    scale = torch.linalg.vector_norm(u.double(), dim=-1)
    for shift in (1, 7, 8, 63, m // 2, m - 1):
        late = torch.nn.functional.pad(u[..., : m - shift], (shift, 0))
        early = long_conv(torch.nn.functional.pad(u[..., : m - shift], (0, shift)), k).double()
        check(long_conv(late, k)[..., shift:], early[..., : m - shift], scale)
        if has_family("pairs", m):
            turned = long_conv(u, k, "circular", fft_size=m).double().roll(shift, -1)
            check(long_conv(u.roll(shift, -1), k, "circular", fft_size=m), turned, scale)


@pytest.mark.parametrize("m", SIZES)
def test_a_sample_never_depends_on_later_ones(m):
    u, k = torch.randn(2, 2, m, device=DEVICE).half(), torch.randn(2, m, device=DEVICE) / m**0.5
    changed = u.clone()
    changed[..., m // 2 :] = torch.randn(2, 2, m - m // 2, device=DEVICE).half()
    before, after = (long_conv(t, k)[..., : m // 2] for t in (u, changed))
    check(before, after.double(), torch.linalg.vector_norm(u.double(), dim=-1))
