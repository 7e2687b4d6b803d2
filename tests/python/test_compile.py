"""opcheck, torch.compile and torch.export."""

import pytest
import torch
from cases import Case
from torch._dynamo.testing import CompileCounterWithBackend

from flashfftconv import Filter, FlashFFTConv, long_conv
from flashfftconv.problem import MODES

_ops = torch.ops.flashfftconv
OPCHECK_CASES = [
    Case("causal", 2, 3, 40, 30),
    Case("causal", 2, 3, 200, 200, gates="pre post", skip=True, dtype=torch.bfloat16),
    Case("bidirectional", 2, 3, 40, 30, 50, gates="post", dtype=torch.float64, filter_dtype=torch.float64),
    Case("circular", 3, 2, 256, 256, fft_size=256, gates="pre", skip=True),
]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def arguments(case, requires_grad):
    tensors = [t if t is None else t.requires_grad_(requires_grad) for t in case.inputs().values()]
    return (*tensors, MODES[case.mode], case.fft_size or 0, case.k_rev_lag)


@pytest.mark.parametrize("case", OPCHECK_CASES, ids=str)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck_of_the_operation_and_its_gradient(case, requires_grad):
    given = arguments(case, requires_grad)
    torch.library.opcheck(_ops.long_conv.default, given)
    wanted = sum(1 << i for i, t in enumerate(given[:6]) if t is not None)
    torch.library.opcheck(_ops.long_conv_backward.default, (case.cotangent(), *given, wanted))
    torch.library.opcheck(_ops.long_conv_backward.default, (case.cotangent(), *given, 2))


@pytest.mark.parametrize("case", OPCHECK_CASES, ids=str)
def test_opcheck_of_prepared_filters(case):
    u, k, k_rev, pregate, postgate, skip, *how = arguments(case, False)
    torch.library.opcheck(_ops.prepare_filter.default, (u, k, k_rev, *how))
    spectrum = _ops.prepare_filter(u, k, k_rev, *how)
    given = (u, spectrum, case.taps, case.taps_reverse, pregate, postgate, skip, *how)
    torch.library.opcheck(_ops.long_conv_prepared.default, given)


class Block(torch.nn.Module):
    """A gated convolution with everything a model would put around it."""

    def __init__(self, channels, taps):
        super().__init__()
        self.k = torch.nn.Parameter(torch.randn(channels, taps) / taps**0.5)
        self.skip = torch.nn.Parameter(torch.randn(channels))
        self.conv = FlashFFTConv(4 * taps)

    def forward(self, u):
        gate = torch.sigmoid(u)
        y = long_conv(u * 2, self.k, pregate=gate, postgate=gate, skip=self.skip)
        return torch.relu(y + self.conv(u, self.k, gate))


def test_compiled_forward_and_backward_with_dynamic_batch_and_length():
    block, counter = Block(3, 50), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(block, fullgraph=True, dynamic=True, backend=counter)
    for batch, length in [(2, 64), (3, 64), (5, 100), (4, 31), (7, 200), (2, 50), (6, 199)]:
        u = torch.randn(batch, 3, length, requires_grad=True)
        tensors = [u, *block.parameters()]
        expected, result = block(u), compiled(u)
        torch.testing.assert_close(result, expected)
        for ours, exact in zip(
            torch.autograd.grad(result.sin().sum(), tensors),
            torch.autograd.grad(expected.sin().sum(), tensors),
            strict=True,
        ):
            torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1, f"{counter.frame_count} compilations for one dynamic shape"


def test_compiled_by_inductor():
    block = Block(3, 50)
    compiled = torch.compile(block, fullgraph=True)
    for batch in (2, 4):
        u = torch.randn(batch, 3, 64, requires_grad=True)
        expected, result = block(u), compiled(u)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            *(torch.autograd.grad(y.sin().sum(), u)[0] for y in (result, expected)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("mode", ["bidirectional", "circular"])
def test_compiled_modes_with_dynamic_filters(mode):
    counter = CompileCounterWithBackend("aot_eager")

    def function(u, k):
        if mode == "circular":
            return long_conv(u, k, mode, fft_size=u.shape[-1] + k.shape[-1])
        return long_conv(u, k, mode, k_rev=k, k_rev_lag=0)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    for length, taps in [(40, 30), (41, 60), (300, 299)]:
        u, k = torch.randn(2, 3, length, requires_grad=True), torch.randn(3, taps, requires_grad=True)
        ours, exact = (torch.autograd.grad(f(u, k).square().sum(), (u, k)) for f in (compiled, function))
        for a, b in zip(ours, exact, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == 1


def test_compiled_bad_input_still_raises_what_it_raises():
    compiled = torch.compile(long_conv, backend="aot_eager")
    with pytest.raises(ValueError, match="k has 4 channels"):
        compiled(torch.randn(2, 3, 10), torch.randn(4, 10))


def test_compiled_autocast():
    def function(u, k):
        with torch.autocast("cpu", torch.bfloat16):
            return long_conv(u, k, pregate=u)

    u, k = torch.randn(2, 3, 40), torch.randn(3, 40, requires_grad=True)
    result = torch.compile(function, fullgraph=True, backend="aot_eager")(u, k)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, function(u, k))
    assert torch.autograd.grad(result.float().sum(), k)[0].dtype == torch.float32


def test_compiled_precomputed_filter():
    k = torch.randn(3, 40)
    prepared = Filter(k).precompute()
    u = torch.randn(2, 3, 40)
    long_conv(u, prepared)  # the spectrum is kept from here on
    result = torch.compile(lambda u: long_conv(u, prepared), backend="aot_eager")(u)
    torch.testing.assert_close(result, long_conv(u, k), rtol=1e-5, atol=1e-5)


def test_export_with_dynamic_shapes_and_back_from_a_file(tmp_path):
    block, u = Block(3, 50), torch.randn(2, 3, 64)
    batch, length = torch.export.Dim("batch", min=2, max=100), torch.export.Dim("length", min=2, max=200)
    program = torch.export.export(block, (u,), dynamic_shapes={"u": {0: batch, 2: length}})
    torch.export.save(program, tmp_path / "block.pt2")
    loaded = torch.export.load(tmp_path / "block.pt2").module()
    for shape in [(2, 3, 64), (5, 3, 33), (3, 3, 200)]:
        u = torch.randn(shape)
        torch.testing.assert_close(loaded(u), block(u))


def test_fake_and_meta_tensors_have_the_right_shapes_without_data():
    for case in OPCHECK_CASES:
        given = [t.to("meta") if isinstance(t, torch.Tensor) else t for t in arguments(case, False)]
        y = _ops.long_conv(*given)
        assert y.device.type == "meta" and y.shape == given[0].shape and y.dtype == case.dtype
        grads = _ops.long_conv_backward(y, *given, 3)
        assert [list(g.shape) for g in grads[:2]] == [list(given[0].shape), list(given[1].shape)]
