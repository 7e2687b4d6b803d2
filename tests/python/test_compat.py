"""`compat.fftconv_func` against the semantics of the fused kernel that H3 and Hyena call, written out plainly.

Of that kernel: z[d1, d2] = conv(u[d1] v[d2], k) + D u[d1] v[d2] for the channels d1, d2 of one head; then GELU by erf,
then the dropout mask, then y[d2] = sum over d1 of q[d1] z[d1, d2]. The filter's negative lags are those of
conj(rfft(k_rev)): k_rev[j] at lag -j. The output follows u, or is float16 if asked, except that bfloat16 stays.
"""

import itertools

import pytest
import torch
from oracle import direct_sum
from torch.nn.functional import gelu as exact_gelu

from flashfftconv.compat import fftconv_func

B, HEADS, L = 2, 3, 40


def plain(u, k, D, dropout_mask=None, gelu=True, v=None, head_dim=1, q=None, k_rev=None):
    batch, channels, length = u.shape
    heads = channels // head_dim
    y = torch.zeros(batch, channels, length, dtype=torch.float64)
    mode = {"mode": "causal"} if k_rev is None else {"mode": "bidirectional", "k_rev": k_rev.double(), "k_rev_lag": 0}
    for h in range(heads):
        for d1, d2 in itertools.product(range(head_dim), repeat=2):
            if head_dim == 1 or v is not None:
                x = u[:, h * head_dim + d1].double()
            x = x if v is None else x * v[:, h * head_dim + d2].double()
            own = {name: t[h : h + 1] if name == "k_rev" else t for name, t in mode.items()}
            z = direct_sum(x[:, None], k[h : h + 1].double(), **own)[:, 0] + D[h].double() * x
            z = exact_gelu(z) if gelu else z
            z = z if dropout_mask is None else z * dropout_mask[:, h, None].double()
            y[:, h * head_dim + d2] += z if q is None else z * q[:, h * head_dim + d1].double()
    return y


def inputs(head_dim=1, dtype=torch.float32):
    rows = {name: torch.randn(B, HEADS * head_dim, L).to(dtype) for name in ("u", "v", "q")}
    return rows | {"k": torch.randn(HEADS, L) / 6, "D": torch.randn(HEADS)}


def relative(result, expected):
    return ((result.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("names", [(), ("v",), ("v", "q"), ("q",)], ids="-".join)
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_every_combination(names, gelu, masked, reverse):
    given = {name: t for name, t in inputs().items() if name in ("u", "k", "D", *names)}
    given["dropout_mask"] = (torch.rand(B, HEADS) > 0.5).float() * 2 if masked else None
    given["k_rev"] = torch.randn(HEADS, L) if reverse else None
    y = fftconv_func(**given, gelu=gelu)
    assert y.dtype == torch.float32 and y.shape == (B, HEADS, L)
    assert relative(y, plain(**given, gelu=gelu)) <= 1e-6


@pytest.mark.parametrize("head_dim", [2, 8])
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_heads_contract_q_with_the_channels_of_u(head_dim, gelu, reverse):
    given = inputs(head_dim) | {"k_rev": torch.randn(HEADS, L) if reverse else None, "head_dim": head_dim, "gelu": gelu}
    expected = plain(**given)
    swapped = plain(**(given | {"u": given["v"], "v": given["u"]}))
    assert relative(swapped, expected) > 0.5  # the two readings differ
    assert relative(fftconv_func(**given), expected) <= 1e-6


def test_h3_heads_by_einsum():
    given = inputs(4)
    u, v, q = (given[name].view(B, HEADS, 4, L).double() for name in ("u", "v", "q"))
    outer = torch.einsum("bhil,bhjl->bhijl", u, v)
    state = sum(
        given["k"][:, j].double()[:, None, None, None] * torch.nn.functional.pad(outer, (j, 0))[..., :L]
        for j in range(L)
    )
    z = state + given["D"].double()[:, None, None, None] * outer
    expected = torch.einsum("bhil,bhijl->bhjl", q, z).reshape(B, HEADS * 4, L)
    assert relative(fftconv_func(**given, gelu=False, head_dim=4), expected) <= 1e-6


@pytest.mark.parametrize("columns", ["heads", "channels"])
def test_the_dropout_mask_of_heads(columns):
    head_dim = 2
    given = inputs(head_dim) | {"head_dim": head_dim, "gelu": True}
    mask = (torch.arange(B * HEADS).view(B, HEADS) % 2).float() * 2
    # The kernel asks for [B, H d] and reads the first H of each row.
    wide = mask if columns == "heads" else torch.cat([mask, torch.full((B, HEADS * (head_dim - 1)), float("nan"))], 1)
    assert relative(fftconv_func(**given, dropout_mask=wide), plain(**given, dropout_mask=mask)) <= 1e-6


@pytest.mark.parametrize(
    ("dtype", "forced", "expected"),
    [
        (torch.float32, False, torch.float32),
        (torch.float32, True, torch.float16),
        (torch.float16, False, torch.float16),
        (torch.float16, True, torch.float16),
        (torch.bfloat16, False, torch.bfloat16),
        (torch.bfloat16, True, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("head_dim", [1, 2])
def test_output_types(dtype, forced, expected, head_dim):
    given = inputs(head_dim, dtype)
    y = fftconv_func(**given, head_dim=head_dim, force_fp16_output=forced)
    assert y.dtype == expected
    exact = plain(**given, head_dim=head_dim)
    rounding = relative(exact.to(expected), exact)
    assert relative(y, exact) <= 1e-6 + 3 * rounding  # gelu and q are not fused: a few roundings in the type of u


def test_output_layout():
    given = inputs()
    y = fftconv_func(**given, output_hbl_layout=True)
    assert y.shape == (B, HEADS, L) and y.stride() == (L, B * L, 1)
    assert torch.equal(y, fftconv_func(**given)) and fftconv_func(**given).is_contiguous()
    leaves = {name: t.requires_grad_() for name, t in given.items()}
    dy = torch.randn(HEADS, B, L).transpose(0, 1)
    ours = torch.autograd.grad(fftconv_func(**leaves, output_hbl_layout=True), list(leaves.values()), dy)
    exact = torch.autograd.grad(fftconv_func(**leaves), list(leaves.values()), dy.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(ours, exact, strict=True))


@pytest.mark.parametrize("head_dim", [1, 2])
def test_gradients(head_dim):
    given = {name: t.double().requires_grad_() for name, t in inputs(head_dim).items()}
    given["k_rev"] = torch.randn(HEADS, L, dtype=torch.float64, requires_grad=True)
    dy, leaves = torch.randn(B, HEADS * head_dim, L, dtype=torch.float64), list(given.values())
    mask = torch.rand(B, HEADS)
    ours = torch.autograd.grad(fftconv_func(**given, head_dim=head_dim, dropout_mask=mask), leaves, dy)
    exact = torch.autograd.grad(plain(**given, head_dim=head_dim, dropout_mask=mask), leaves, dy)
    for name, a, b in zip(given, ours, exact, strict=True):
        assert relative(a, b) <= 1e-12, name


def test_positional_as_h3_calls_it_and_accepted_without_effect():
    u, v, q, k, D = inputs().values()
    y = fftconv_func(u, k, D, None, False, True, True, v, 1, q, True, None)
    assert y.dtype == torch.float16
    exact = plain(u, k, D, gelu=False, v=v, q=q)
    assert relative(y, exact) <= 1e-6 + 1.05 * relative(exact.half(), exact)


def test_under_autocast_the_type_of_u_still_decides():
    given = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        y = fftconv_func(**given)
    assert y.dtype == torch.float32
    assert relative(y, plain(**given)) <= 1e-6  # the kernel knows no autocast: float32 in, float32 throughout
