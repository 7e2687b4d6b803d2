"""opcheck, torch.compile and torch.export of short convolutions."""

import pytest
import torch
from short_testing import CASES, NAMES, how_of, inputs_of, name_of
from torch._dynamo.testing import CompileCounterWithBackend

from flashfftconv import FlashDepthWiseConv1d, short_conv, short_conv_gate

_ops = torch.ops.flashfftconv
CHECKED = [
    c
    for c in CASES
    if c.length in (70, 90) and c.taps == 4 and c.dtype in (torch.float32, torch.bfloat16) and c.padding == "causal"
]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("case", CHECKED, ids=name_of)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(case, requires_grad):
    inputs = inputs_of(case)
    tensors = [None if inputs[name] is None else inputs[name].requires_grad_(requires_grad) for name in NAMES]
    given = (*tensors, inputs["cu_seqlens"], *how_of(case))
    torch.library.opcheck(_ops.short_conv.default, given)
    wanted = sum(1 << i for i, t in enumerate(tensors) if t is not None)
    torch.library.opcheck(_ops.short_conv_backward.default, (inputs["dy"], *given, wanted))
    torch.library.opcheck(_ops.short_conv_backward.default, (inputs["dy"], *given, 2))


class Block(torch.nn.Module):
    """Short convolutions of every kind, with what a model puts around them."""

    def __init__(self, channels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(channels, 4))
        self.bias = torch.nn.Parameter(torch.randn(channels))
        conv = torch.nn.Conv1d(channels, channels, 5, groups=channels)
        self.conv = FlashDepthWiseConv1d(channels, 5, 2, conv.weight, conv.bias, is_bhl=False)

    def forward(self, x):
        y, state = short_conv(x * 2, self.weight, self.bias, "causal", "silu", return_state=True)
        z = self.conv(y.transpose(1, 2)).transpose(1, 2)
        x0, v = short_conv_gate(z, self.weight, self.bias)
        return torch.relu(x0) * v + state.sum()


def test_compiled_forward_and_backward_with_dynamic_batch_and_length():
    block, counter = Block(6), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(block, fullgraph=True, dynamic=True, backend=counter)
    for batch, length in [(2, 64), (3, 64), (5, 100), (4, 31), (7, 200)]:
        x = torch.randn(batch, 6, length, requires_grad=True)
        tensors = [x, *block.parameters()]
        expected, result = block(x), compiled(x)
        torch.testing.assert_close(result, expected)
        for ours, exact in zip(
            torch.autograd.grad(result.sin().sum(), tensors),
            torch.autograd.grad(expected.sin().sum(), tensors),
            strict=True,
        ):
            torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == 1, f"{counter.frame_count} compilations for one dynamic shape"


def test_compiled_by_inductor_with_packed_sequences():
    weight = torch.randn(3, 4)

    def function(x, ends):
        return short_conv(x.sin(), weight, None, "causal", "gelu", cu_seqlens=ends).cos()

    compiled = torch.compile(function, fullgraph=True)
    for ends in ([0, 5, 20], [0, 1, 20]):
        x, ends = torch.randn(1, 3, 20, requires_grad=True), torch.tensor(ends)
        result, expected = compiled(x, ends), function(x, ends)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(*(torch.autograd.grad(y.sum(), x)[0] for y in (result, expected)))


def test_export_with_dynamic_shapes_and_back_from_a_file(tmp_path):
    block, x = Block(6), torch.randn(2, 6, 64)
    batch, length = torch.export.Dim("batch", min=2, max=100), torch.export.Dim("length", min=8, max=200)
    program = torch.export.export(block, (x,), dynamic_shapes={"x": {0: batch, 2: length}})
    torch.export.save(program, tmp_path / "block.pt2")
    loaded = torch.export.load(tmp_path / "block.pt2").module()
    for shape in [(2, 6, 64), (5, 6, 33), (3, 6, 200)]:
        x = torch.randn(shape)
        torch.testing.assert_close(loaded(x), block(x))


@pytest.mark.parametrize("case", CHECKED, ids=name_of)
def test_fake_and_meta_tensors_have_the_right_shapes_without_data(case):
    inputs = inputs_of(case)
    given = [inputs[name] for name in (*NAMES, "cu_seqlens")]
    on_meta = [None if t is None else t.to("meta") for t in given]
    y = _ops.short_conv(*given, *how_of(case))
    meta = _ops.short_conv(*on_meta, *how_of(case))
    assert meta.device.type == "meta" and meta.shape == y.shape and meta.dtype == y.dtype
    grads = _ops.short_conv_backward(inputs["dy"].to("meta"), *on_meta, *how_of(case), 7)
    assert [g.shape for g in grads[:2]] == [t.shape for t in given[:2]] and grads[2].shape == (case.channels,)
