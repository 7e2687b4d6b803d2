"""The Hyena operator and its fused front end, against plain torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flashfftconv import short_conv, short_conv_gate
from flashfftconv.nn import HyenaOperator, parameter_groups


def plain(operator, u):
    """The operator in torch's own operations: conv1d, split, gates and a convolution by torch.fft."""
    length, width = u.shape[1], operator.channels
    z = operator.in_proj(u).transpose(1, 2)
    z = F.pad(z, (operator.short_filter.kernel_size[0] - 1, 0))
    z = F.conv1d(z, operator.short_filter.weight, operator.short_filter.bias, groups=3 * width)
    x0, x1, v = z.split(width, 1)
    w = x1 * v
    taps = operator.filter().reshape(width, -1)[:, :length]
    spectrum = torch.fft.rfft(w, n=2 * length) * torch.fft.rfft(taps, n=2 * length)
    y = torch.fft.irfft(spectrum, n=2 * length)[..., :length] + operator.skip[:, None] * w
    return operator.out_proj((x0 * y).transpose(1, 2))


@pytest.mark.parametrize(("length", "l_max"), [(64, 64), (37, 64), (100, 40), (1, 5)])
@pytest.mark.parametrize("short_taps", [1, 3, 4])
def test_it_is_what_plain_torch_computes(length, l_max, short_taps):
    operator = HyenaOperator(5, l_max, short_taps).double()
    u = torch.randn(2, length, 5, dtype=torch.float64, requires_grad=True)
    tensors = [u, *operator.parameters()]
    y, expected = operator(u), plain(operator, u)
    torch.testing.assert_close(y, expected)
    ours = torch.autograd.grad(y.sin().sum(), tensors)
    for g, exact in zip(ours, torch.autograd.grad(expected.sin().sum(), tensors), strict=True):
        torch.testing.assert_close(g, exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_halves(dtype):
    operator, u = HyenaOperator(8, 64), torch.randn(2, 64, 8)
    exact = plain(operator, u)
    with torch.autocast("cpu", dtype):
        y = operator(u)
    assert y.dtype == dtype
    assert (y.float() - exact).norm() / exact.norm() < (0.005 if dtype == torch.float16 else 0.03)


def test_outputs_do_not_know_the_future():
    operator, u = HyenaOperator(4, 50), torch.randn(2, 50, 4)
    changed = u.clone()
    changed[:, 30:] += 10
    torch.testing.assert_close(operator(changed)[:, :30], operator(u)[:, :30], rtol=1e-4, atol=1e-5)


def test_a_filter_of_the_callers_own():
    class Decay(nn.Module):
        def forward(self):
            return torch.exp(-torch.arange(20.0)).expand(4, 20)

    operator, u = HyenaOperator(4, 20, filter=Decay()), torch.randn(2, 20, 4)
    torch.testing.assert_close(operator(u), plain(operator, u), rtol=1e-4, atol=1e-5)
    assert not [name for name, _ in operator.named_parameters() if name.startswith("filter")]


def test_names_and_shapes_of_safaris_parameters():
    shapes = {name: tuple(t.shape) for name, t in HyenaOperator(4, 20, 3).state_dict().items()}
    assert shapes["in_proj.weight"] == (12, 4) and shapes["out_proj.weight"] == (4, 4)
    assert shapes["short_filter.weight"] == (12, 1, 3) and shapes["short_filter.bias"] == (12,)


def test_its_filter_does_not_decay():
    operator = HyenaOperator(4, 20)
    groups = {group["name"]: group for group in parameter_groups(operator, 1e-3, weight_decay=0.1)}
    assert [p is operator.filter.weight for p in groups["filter"]["params"]] == [True]
    assert groups["filter"]["weight_decay"] == 0.0 and groups["filter"]["lr"] == 1e-3
    assert sum(len(group["params"]) for group in groups.values()) == len(list(operator.parameters()))


def test_bad_input():
    with pytest.raises(ValueError, match="channels is 0"):
        HyenaOperator(0, 5)
    with pytest.raises(ValueError, match="short_taps is 0"):
        HyenaOperator(5, 5, 0)
    with pytest.raises(ValueError, match=r"u has shape \(2, 4, 9\); it must be \(B, L, 4\)"):
        HyenaOperator(4, 9)(torch.randn(2, 4, 9))


def test_compiled():
    operator, u = HyenaOperator(4, 32), torch.randn(2, 32, 4)
    compiled = torch.compile(operator, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(u), operator(u))


@pytest.mark.parametrize("layout", ["bhl", "blh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_front_end_is_its_parts(layout, dtype):
    x, weight, bias = torch.randn(2, 30, 60).to(dtype), torch.randn(30, 4), torch.randn(30)
    own = x if layout == "bhl" else x.transpose(1, 2).contiguous()
    x0, v = short_conv_gate(own, weight, bias, layout=layout)
    dim = 1 if layout == "bhl" else 2
    z0, z1, z2 = short_conv(own.float(), weight, bias, "causal", layout=layout).chunk(3, dim)
    assert x0.dtype == v.dtype == dtype
    assert torch.equal(x0, z0.to(dtype)) and torch.equal(v, (z1 * z2).to(dtype))
