"""`FlashFFTConv` as models use it: shared, copied, saved, loaded from old checkpoints, converted."""

import copy
import pickle

import pytest
import torch
from oracle import direct_sum, fft_sum
from torch import nn

from flashfftconv import FlashFFTConv, long_conv

REFERENCE_BUFFERS = [
    "f_sqrt_N_fft",
    "f_sqrt_N_ifft",
    "f_16_fft",
    "f_16_ifft",
    "f_32_fft",
    "f_32_ifft",
    "f_64_fft",
    "f_128_ifft",
    "f_n_fft",
    "f_n_ifft",
    "twiddle_factors_fft",
    "twiddle_factors_ifft_16_1K",
    "twiddle_factors_fft_32_1K",
    "twid",
]


class Model(nn.Module):
    """Two layers with one convolution between them, as Monarch Mixer shares it."""

    def __init__(self):
        super().__init__()
        self.conv = FlashFFTConv(128, dtype=torch.bfloat16)
        self.filters = nn.ParameterList([nn.Parameter(torch.randn(3, 64) / 8) for _ in range(2)])
        self.layers = nn.ModuleList([nn.Module() for _ in range(2)])
        for layer in self.layers:
            layer.flashfftconv = self.conv

    def forward(self, u):
        for layer, k in zip(self.layers, self.filters, strict=True):
            u = torch.tanh(layer.flashfftconv(u, k, pregate=u))
        return u


def test_attributes_that_people_read():
    conv = FlashFFTConv(256, torch.bfloat16, False)
    assert (conv.seqlen, conv.N, conv.dtype, conv.use_32_butterfly) == (256, 256, torch.bfloat16, False)
    assert FlashFFTConv(256).dtype == torch.float16 and FlashFFTConv(256).use_32_butterfly is True
    assert not list(conv.parameters()) and not conv.state_dict()
    assert "256" in repr(conv) and "bfloat16" in repr(conv)


@pytest.mark.parametrize("seqlen", [1, 2, 7, 16, 100, 127, 256, 768, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_size(seqlen, dtype):
    conv = FlashFFTConv(seqlen, dtype=dtype)
    for length in sorted({1, (seqlen + 1) // 2, seqlen}):
        u, k = torch.randn(2, 3, length, dtype=dtype), torch.randn(3, seqlen, dtype=dtype) / seqlen**0.5
        expected = (direct_sum if seqlen < 200 else fft_sum)(u.double(), k.double(), "circular", fft_size=seqlen)
        assert (conv(u, k) - expected).norm() <= (1e-6 if dtype == torch.float32 else 1e-14) * (1 + expected.norm())


def test_a_bidirectional_filter_as_monarch_mixer_calls_it():
    length, k, k_rev, u = 60, torch.randn(3, 60), torch.randn(3, 60), torch.randn(2, 3, 60)
    both = torch.nn.functional.pad(k, (0, length)) + torch.nn.functional.pad(k_rev.flip(-1), (length, 0))
    torch.testing.assert_close(
        FlashFFTConv(2 * length)(u, both), long_conv(u, k, "bidirectional", k_rev), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("gates", [(), ("pregate",), ("postgate",), ("pregate", "postgate")], ids="-".join)
def test_either_gate_alone(gates):
    u, k, gate = torch.randn(2, 3, 50), torch.randn(3, 100), torch.randn(2, 3, 50)
    plain = FlashFFTConv(100)(u * gate if "pregate" in gates else u, k)
    expected = plain * gate if "postgate" in gates else plain
    torch.testing.assert_close(FlashFFTConv(100)(u, k, **dict.fromkeys(gates, gate)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("of_module", [torch.float16, torch.float32])
def test_the_type_of_u_decides(dtype, of_module):
    u, k = torch.randn(2, 3, 50, dtype=torch.float64).to(dtype), torch.randn(3, 50, requires_grad=True)
    y = FlashFFTConv(100, dtype=of_module)(u, k)
    assert y.dtype == dtype and torch.equal(y, FlashFFTConv(100, dtype=dtype)(u, k))
    y.sum().backward()
    assert k.grad.dtype == torch.float32


def test_evaluation_mode_still_differentiates():
    model, u = Model().eval(), torch.randn(2, 3, 60, requires_grad=True)
    model(u).sum().backward()
    assert u.grad.abs().sum() > 0 and all(p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    "change",
    [
        copy.deepcopy,
        lambda m: pickle.loads(pickle.dumps(m)),
        lambda m: m.to("cpu"),
        lambda m: m.apply(lambda _: None),
        lambda m: m.train().eval(),
        lambda m: m.requires_grad_(True),
        lambda m: m.float(),
    ],
    ids=["deepcopy", "pickle", "to", "apply", "train", "requires_grad_", "float"],
)
def test_models_survive(change):
    model, u = Model(), torch.randn(2, 3, 60)
    expected = model(u)
    changed = change(model)
    assert torch.equal(changed(u), expected)
    assert changed.layers[0].flashfftconv is changed.layers[1].flashfftconv is changed.conv


@pytest.mark.parametrize("change", ["half", "bfloat16", "double"])
def test_models_change_type(change):
    model = getattr(Model(), change)()
    dtype = model.filters[0].dtype
    y = model(torch.randn(2, 3, 60).to(dtype))
    assert y.dtype == dtype and model.conv.dtype == torch.bfloat16


def test_saved_whole_and_loaded(tmp_path):
    model, u = Model(), torch.randn(2, 3, 60)
    torch.save(model, tmp_path / "model.pt")
    assert torch.equal(torch.load(tmp_path / "model.pt", weights_only=False)(u), model(u))


def test_old_checkpoints_load_strictly():
    model = Model()
    own = model.state_dict()
    assert list(own) == ["filters.0", "filters.1"]
    old = dict(own)
    for prefix in ("conv.", "layers.0.flashfftconv.", "layers.1.flashfftconv."):
        old |= {prefix + name: torch.zeros(4, 4, 2) for name in REFERENCE_BUFFERS}
    names = list(old)
    result = model.load_state_dict(old, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    assert list(old) == names, "the caller's dictionary was changed"
    FlashFFTConv(64).load_state_dict({name: torch.zeros(1) for name in REFERENCE_BUFFERS}, strict=True)


@pytest.mark.parametrize("name", ["conv.weight", "conv.f_17", "f_16_fft", "conv.other.twid"])
def test_other_unknown_names_are_still_refused(name):
    with pytest.raises(RuntimeError, match="Unexpected key"):
        Model().load_state_dict(Model().state_dict() | {name: torch.zeros(1)}, strict=True)


def test_an_attribute_that_old_code_sets():
    conv = FlashFFTConv(64)
    conv.requires_grad = True
    assert conv(torch.randn(1, 2, 32), torch.randn(2, 32)).shape == (1, 2, 32)
    assert copy.deepcopy(conv).requires_grad is True


def test_hooks_and_positional_gates():
    conv, seen = FlashFFTConv(64), []
    conv.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    u, k = torch.randn(1, 2, 32), torch.randn(2, 32)
    torch.testing.assert_close(conv(u, k, u, u), conv(u, k, pregate=u, postgate=u))
    assert seen == [(1, 2, 32)] * 2


def test_checkpointed_activations():
    u, k = torch.randn(2, 3, 64, requires_grad=True), torch.randn(3, 64, requires_grad=True)
    conv = FlashFFTConv(128)
    y = torch.utils.checkpoint.checkpoint(conv, u, k, use_reentrant=False)
    for a, b in zip(
        torch.autograd.grad(y.sin().sum(), (u, k)), torch.autograd.grad(conv(u, k).sin().sum(), (u, k)), strict=True
    ):
        assert torch.equal(a, b)
