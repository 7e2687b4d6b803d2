"""Strides of every kind, for inputs and incoming gradients; rows that are not finite; hostile scales."""

import pytest
import torch
from cases import check_rows
from oracle import fft_sum, operation

from flashfftconv import long_conv

LENGTH = 300


def odd_offset(t):
    return torch.cat([torch.zeros(1, dtype=t.dtype), t.flatten()])[1:].view(t.shape)


def between_nans(t):
    buffer = torch.full((*t.shape[:-1], t.shape[-1] + 20), float("nan"), dtype=t.dtype)
    buffer[..., 7 : 7 + t.shape[-1]] = t
    return buffer[..., 7 : 7 + t.shape[-1]]


# Each gives a tensor equal to its argument, laid out otherwise.
LAYOUTS = {
    "every second sample": lambda t: torch.stack([t, torch.full_like(t, float("nan"))], -1).flatten(-2)[..., ::2],
    "samples apart": lambda t: t.movedim(-1, 0).contiguous().movedim(0, -1),
    "batch and channels exchanged": lambda t: t.movedim(0, 1).contiguous().movedim(1, 0) if t.dim() == 3 else t,
    "odd offset": odd_offset,
    "between NaNs": between_nans,
    "negative bit": lambda t: (
        torch.complex(torch.zeros_like(t, dtype=torch.float32), -t.float()).conj().imag.to(t.dtype)
        if t.dtype != torch.float64
        else torch.complex(torch.zeros_like(t), -t).conj().imag
    ),
}


def problem(dtype=torch.float32, batch=2, channels=3):
    tensors = {name: torch.randn(batch, channels, LENGTH).to(dtype) for name in ("u", "pregate", "postgate")}
    tensors |= {
        "k": torch.randn(channels, LENGTH) / 17,
        "k_rev": torch.randn(channels, LENGTH) / 17,
        "skip": torch.randn(channels),
    }
    return tensors, {"mode": "bidirectional"}


def value_and_gradients(tensors, how, dy):
    leaves = {name: t.detach().requires_grad_() for name, t in tensors.items()}
    y = long_conv(**leaves, **how)
    return [y, *torch.autograd.grad(y, list(leaves.values()), dy)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_bits(layout, dtype):
    tensors, how = problem(dtype)
    dy, change = torch.randn(2, 3, LENGTH).to(dtype), LAYOUTS[layout]
    changed = {name: change(t) for name, t in tensors.items()}
    assert all(torch.equal(t, changed[name]) for name, t in tensors.items())
    expected = value_and_gradients(tensors, how, dy)
    for a, b in zip(value_and_gradients(changed, how, change(dy)), expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dims", [(0,), (1,), (2,), (0, 1), (0, 1, 2)], ids=str)
def test_expanded_rows_gates_and_gradients(dims):
    tensors, how = problem()
    shape = [1 if d in dims else n for d, n in enumerate(tensors["u"].shape)]
    expanded = {name: torch.randn(shape).expand(2, 3, LENGTH) for name in ("u", "pregate", "postgate", "dy")}
    expanded |= {
        "k": torch.randn(1, LENGTH).expand(3, LENGTH),
        "k_rev": torch.randn(3, 1).expand(3, LENGTH),
        "skip": torch.ones(1).expand(3),
    }
    dense = {name: t.contiguous() for name, t in expanded.items()}
    dy, dense_dy = expanded.pop("dy"), dense.pop("dy")
    for a, b in zip(value_and_gradients(expanded, how, dy), value_and_gradients(dense, how, dense_dy), strict=True):
        assert torch.equal(a, b)


def test_a_gradient_of_a_sum_arrives_expanded():
    u = torch.randn(2, 3, LENGTH, requires_grad=True)
    k = torch.randn(3, LENGTH)
    long_conv(u, k).sum().backward()
    (expected,) = torch.autograd.grad(long_conv(u, k), u, torch.ones(2, 3, LENGTH))
    assert torch.equal(u.grad, expected)


@pytest.mark.parametrize(
    ("mode", "size"),
    [("causal", None), ("bidirectional", None), ("circular", 700), ("circular", 1024), ("circular", 512)],
)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_stays_alone(mode, size, bad):
    length = 512
    u = torch.randn(3, 3, length)
    k, how = (
        torch.randn(3, length) / 20,
        {"mode": mode, "fft_size": size, "k_rev": torch.randn(3, 9) if mode == "bidirectional" else None},
    )
    poisoned = u.clone()
    poisoned[1, 2, 100] = bad
    leaves = [t.clone().requires_grad_() for t in (u, k)], [t.clone().requires_grad_() for t in (poisoned, k)]
    clean, dirty = (long_conv(*pair, **how) for pair in leaves)
    assert not dirty[1, 2, 100:].isfinite().any()
    others = torch.ones(3, 3, dtype=torch.bool)
    others[1, 2] = False
    torch.testing.assert_close(dirty[others], clean[others], rtol=1e-5, atol=1e-5)
    dy = torch.randn(3, 3, length)
    (du, dk), (du_dirty, dk_dirty) = (
        torch.autograd.grad(y, pair, dy) for y, pair in zip((clean, dirty), leaves, strict=True)
    )
    torch.testing.assert_close(du_dirty, du, rtol=1e-4, atol=1e-4)  # du does not depend on u
    assert dk_dirty[2].isnan().all()
    torch.testing.assert_close(dk_dirty[:2], dk[:2], rtol=1e-5, atol=1e-5)
    bad_dy = dy.clone()
    bad_dy[0, 1, 7] = bad
    du_bad, dk_bad = torch.autograd.grad(long_conv(*leaves[0], **how), leaves[0], bad_dy)
    assert not du_bad[0, 1].isfinite().all() and dk_bad[1].isnan().all()
    others = torch.ones(3, 3, dtype=torch.bool)
    others[0, 1] = False
    torch.testing.assert_close(du_bad[others], du[others], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dk_bad[[0, 2]], dk[[0, 2]], rtol=1e-5, atol=1e-5)


def test_a_gate_that_is_not_finite_stays_in_its_row():
    tensors, how = problem()
    tensors["pregate"][0, 1, 5] = float("nan")
    y = long_conv(**tensors, **how)
    assert y.isnan().any(-1).nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e15])
@pytest.mark.parametrize("size", [512, 1024, None])
def test_rows_of_very_different_scales_keep_their_precision(scale, size):
    u, k = torch.randn(4, 2, 512), torch.randn(2, 512) / 20
    u[1] *= scale
    how = {"mode": "causal" if size is None else "circular", "fft_size": size}
    empty = dict.fromkeys(("k_rev", "pregate", "postgate", "skip"))
    exact = operation({"u": u, "k": k} | empty, {"k_rev_lag": 1} | how, fft_sum)
    check_rows("y", long_conv(u, k, **how), exact, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_overflow_is_infinite_and_everything_else_exact(dtype):
    top = torch.finfo(dtype).max
    u, k = torch.full((1, 1, 400), 0.9 * top, dtype=torch.float64).to(dtype), torch.full((1, 400), 0.5)
    y = long_conv(u, k)[0, 0]
    assert y[:2].isfinite().all() and y[2:].isinf().all() and (y[2:] > 0).all()
    assert long_conv(u, torch.tensor([[1.0, -1.0]]))[0, 0, 1:].abs().max() == 0
    gate = torch.full_like(u, 2.0**-10)  # the product with the gate is formed in float32
    assert long_conv(u, k, pregate=gate, postgate=gate).isfinite().all()
