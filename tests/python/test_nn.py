"""The LongConv layer against its formula written out, its regularisers, its causality, and its parameter groups."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from direct_filter import direct_smooth_average, direct_squash

from flashfftconv.nn import (
    LongConv,
    LongConvClassifier,
    PointwiseControl,
    parameter_groups,
)

H, L = 3, 12


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def direct_convolution(u, k, k_rev, skip):
    """Sums over all pairs of positions; u (B, H, L), k and k_rev (C, H, Lk), skip (C, H) to (B, C * H, L)."""
    length = u.shape[-1]
    heads = []
    for c in range(k.shape[0]):
        y = skip[c][:, None] * u
        for i, j in itertools.product(range(length), range(length)):
            if 0 <= i - j < k.shape[-1]:
                y[..., i] += k[c, :, i - j] * u[..., j]
            if k_rev is not None and 0 <= j - i - 1 < k.shape[-1]:
                y[..., i] += k_rev[c, :, j - i - 1] * u[..., j]
        heads.append(y)
    return torch.cat(heads, dim=1)


def direct_layer(layer, u, lam, width):
    """The whole layer, from its parameters."""

    def taps(bank):
        smooth = direct_smooth_average(bank.weight.detach(), width) if width else bank.weight.detach()
        return direct_squash(smooth, lam)

    k_rev = taps(layer.filter_rev) if layer.bidirectional else None
    y = direct_convolution(u, taps(layer.filter), k_rev, layer.skip.detach())
    activation = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu, "tanh": torch.tanh, "identity": lambda x: x}
    y = activation[layer.mixer.activation](y)
    linear = layer.mixer.linear
    y = torch.einsum("oc,bcl->bol", linear.weight.detach(), y) + linear.bias.detach()[:, None]
    if layer.mixer.post_act == "glu":
        return y[:, :H] * torch.sigmoid(y[:, H:])
    return y if layer.mixer.post_act is None else activation[layer.mixer.post_act](y)


OPTIONS = [
    {},
    {"heads": 2},
    {"bidirectional": True},
    {"heads": 2, "bidirectional": True, "init": "geometric"},
    {"lam": 0.001},
    {"smooth": "average", "smooth_width": 5},
    {"smooth": "average", "lam": 0.0005, "init": "random"},
    {"post_act": None, "activation": "relu"},
    {"post_act": "tanh", "activation": "silu"},
    {"activation": "identity", "weight_norm": True},
    {"transposed": False, "heads": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("length", [L, 7, 1, 17])
def test_layer_equals_the_formula(options, length):
    layer = LongConv(H, L, **{"init": "random", **options}, dtype=torch.float64)
    u = torch.randn(2, H, length, dtype=torch.float64)
    width = options.get("smooth_width", 7) if "smooth" in options else 0
    expected = direct_layer(layer, u, options.get("lam", 0.0), width)
    got = layer(u) if layer.transposed else layer(u.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(got.detach(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("length", [L, 5])
def test_no_output_depends_on_later_inputs(length):
    layer = LongConv(H, L, init="geometric", dtype=torch.float64)
    u = torch.randn(2, H, length, dtype=torch.float64)
    other = u.clone()
    other[..., 3:] = torch.randn(2, H, length - 3, dtype=torch.float64)
    before, after = layer(u), layer(other)
    torch.testing.assert_close(before[..., :3], after[..., :3], rtol=0, atol=1e-14)
    assert not torch.allclose(before[..., 3:], after[..., 3:])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_safari_compatibility_leaks_as_the_public_code_does(bidirectional):
    length, period = 5, 10
    layer = LongConv(H, L, init="geometric", safari_compat=True, bidirectional=bidirectional, dtype=torch.float64)
    u = torch.randn(1, H, length, dtype=torch.float64)
    # The filter is laid out as for an input of l_max and cut at the shorter input's FFT size.
    layout = torch.zeros(H, L + length, dtype=torch.float64)
    layout[:, :L] += layer.filter.weight.detach()[0]
    if bidirectional:
        layout[:, length:] += layer.filter_rev.weight.detach()[0].flip(-1)
    expected = layer.skip.detach()[0][:, None] * u
    for i, j in itertools.product(range(length), range(length)):
        expected[..., i] += layout[:, (i - j) % period] * u[..., j]
    torch.testing.assert_close(layer._convolve(u).detach(), expected, rtol=1e-12, atol=1e-13)
    later = u.clone()
    later[..., -1] += 1
    assert not torch.allclose(layer(u)[..., 0], layer(later)[..., 0], rtol=0, atol=1e-12)
    full = torch.randn(1, H, L, dtype=torch.float64)
    safe = copy.deepcopy(layer)
    safe.safari_compat = False
    torch.testing.assert_close(layer(full), safe(full))


def test_dropout_ties_positions_only_when_asked():
    u = torch.randn(4, 16, 32)
    for tied in (True, False):
        layer = LongConv(16, 32, dropout=0.5, tied_dropout=tied, activation="identity")
        dropped = layer.mixer._drop(u)
        zero = dropped == 0
        assert bool((zero.all(-1) | (~zero).all(-1)).all()) == tied
        torch.testing.assert_close(dropped[~zero], 2 * u[~zero])
        layer.eval()
        assert torch.equal(layer.mixer._drop(u), u)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "zeros"}, "init is 'zeros'; allowed: random, geometric"),
        ({"smooth": "median"}, "smooth is 'median'"),
        ({"smooth": "average", "smooth_width": 4}, "smooth_width is 4; it must be odd"),
        ({"filter_dropout": 1.0}, "filter_dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"lam": -1.0}, "lam is -1.0"),
        ({"lam": float("nan")}, "lam is nan"),
        ({"activation": "sine"}, "activation is 'sine'"),
        ({"post_act": "sine"}, "post_act is 'sine'"),
        ({"heads": 0}, "heads is 0"),
        ({"filter_lr": 0.0}, "filter_lr is 0.0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LongConv(H, L, **options)


@pytest.mark.parametrize("shape", [(H, L), (2, H + 1, L), (2, L, H)])
def test_bad_inputs_are_named(shape):
    with pytest.raises(ValueError, match="u has"):
        LongConv(H, L)(torch.randn(shape))


def test_gradients_of_the_layer():
    layer = LongConv(2, 4, heads=2, bidirectional=True, init="geometric", lam=0.001, smooth="average", smooth_width=3)
    layer = layer.double()
    u = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
    parameters = list(layer.parameters())
    names = [name for name, _ in layer.named_parameters()]

    def run(u, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (u,))

    assert torch.autograd.gradcheck(run, (u, *parameters), atol=1e-7)


def test_filters_learn_at_their_own_rate_without_decay():
    model = LongConvClassifier(
        d_model=4, n_layers=2, l_max=8, norm="layer", layer={"filter_lr": 0.5, "bidirectional": True}
    )
    groups = {group["name"]: group for group in parameter_groups(model, lr=0.1, weight_decay=0.3)}
    banks = [bank.weight for layer in model.long_convs() for bank in layer.filters()]
    assert len(banks) == 4
    assert [id(p) for p in groups["filter"]["params"]] == [id(p) for p in banks]
    assert (groups["filter"]["lr"], groups["filter"]["weight_decay"]) == (0.5, 0.0)
    assert (groups["matrices"]["lr"], groups["matrices"]["weight_decay"]) == (0.1, 0.3)
    assert groups["vectors"]["weight_decay"] == 0.0
    everything = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())
    assert {id(layer.skip) for layer in model.long_convs()} <= {id(p) for p in groups["vectors"]["params"]}


def test_groups_move_the_filter_by_its_rate():
    model = LongConvClassifier(d_model=4, n_layers=1, l_max=8, layer={"filter_lr": 0.5})
    optimizer = torch.optim.SGD(parameter_groups(model, lr=0.0, weight_decay=0.0))
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(3, 8, 1)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"blocks.0.layer.filter.weight"}


def permuted(x):
    return x[:, torch.randperm(x.shape[1])]


@pytest.mark.parametrize("norm", ["layer", "sequence", "batch", "none"])
@pytest.mark.parametrize("prenorm", [True, False])
def test_only_convolutions_know_positions(norm, prenorm):
    x = torch.randn(4, 30, 1, dtype=torch.float64)
    options = {"d_model": 6, "n_layers": 2, "l_max": 30, "norm": norm, "prenorm": prenorm}
    control = LongConvClassifier(**options, control=True, layer={"heads": 2}).double()
    assert not control.long_convs()
    assert any(isinstance(module, PointwiseControl) for module in control.modules())
    torch.testing.assert_close(control(x), control(permuted(x)))
    model = LongConvClassifier(**options, layer={"init": "geometric", "heads": 2}).double()
    assert not torch.allclose(model(x), model(permuted(x)), rtol=1e-5)
    lost = {name for name, _ in model.named_parameters()} - {name for name, _ in control.named_parameters()}
    assert lost == {f"blocks.{i}.layer.filter.weight" for i in range(2)}, (
        "the control lacks the filters and nothing else"
    )


def test_classifier_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"sequence has shape \(2, 8\)"):
        LongConvClassifier(d_model=4, l_max=8)(torch.randn(2, 8))
    with pytest.raises(ValueError, match="norm is 'group'"):
        LongConvClassifier(norm="group")
    with pytest.raises(ValueError, match="transposed"):
        LongConvClassifier(layer={"transposed": False})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_keep_their_type(dtype):
    layer = LongConv(4, 16)
    y = layer(torch.randn(2, 4, 16, dtype=dtype))
    assert y.dtype == dtype
    y.float().square().sum().backward()
    assert layer.filter.weight.grad.dtype == torch.float32


def test_layer_survives_copies():
    layer = LongConv(H, L, filter_lr=0.25, lam=0.0001)
    twin = copy.deepcopy(layer)
    u = torch.randn(1, H, L)
    assert torch.equal(layer(u), twin(u))
    assert parameter_groups(twin, 1.0)[0]["lr"] == 0.25
    twin.load_state_dict(layer.state_dict())
