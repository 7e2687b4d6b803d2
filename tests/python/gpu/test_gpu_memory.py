"""Any strides and alignment, nothing written outside, nothing kept, more than 2^31 elements, and no memory left."""

import gc

import pytest
import torch
from gpu_cases import DEVICE, HALVES, SIZES, equal, has_family, make_case, moved, run

from flashfftconv import long_conv

FAMILIES = ("pairs, padded", "causal, padded")


def spaced(t: torch.Tensor, offset: int, gap: int) -> torch.Tensor:
    """A copy whose rows begin at odd places and are `gap` elements apart, in memory full of NaN."""
    batch, channels, length = t.shape
    strides = (channels * (length + gap) + 5, length + gap, 1)
    memory = torch.full((offset + batch * strides[0] + 8,), float("nan"), device=t.device, dtype=t.dtype)
    view = memory.as_strided(t.shape, strides, offset)
    view.copy_(t)
    return view


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_alignment_and_strides_change_no_bit(family, m):
    if not has_family(family, m):
        return
    for dtype in HALVES:
        case = make_case(family, m, batch=3, channels=3, gates="pre post", skip=True, dtype=dtype)
        inputs, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
        y, grads = run(inputs, case.how, dy)
        for offset, gap in ((1, 0), (0, 1), (3, 5), (2, 2), (4, 8)):
            rows = {name: spaced(inputs[name], offset, gap) for name in ("u", "pregate", "postgate")}
            k = torch.empty(3, case.taps + 3, device=DEVICE)[:, 1:-2].copy_(inputs["k"])
            y_, grads_ = run(inputs | rows | {"k": k}, case.how, spaced(dy, offset + 1, gap))
            assert torch.equal(y, y_) and equal(grads, grads_), f"offset {offset}, gap {gap}"


@pytest.mark.parametrize("family", FAMILIES)
def test_transposed_and_expanded_tensors(family):
    case = make_case(family, 1024, batch=4, channels=3)
    inputs = moved(case.inputs())
    expected = long_conv(**inputs, **case.how)
    for transform in (
        lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
        lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
        lambda t: t.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    ):
        assert torch.equal(long_conv(**inputs | {"u": transform(inputs["u"])}, **case.how), expected)
    one = inputs["u"][:1, :1]
    spread = long_conv(**inputs | {"u": one.expand(4, 3, -1)}, **case.how)
    assert torch.equal(spread, long_conv(**inputs | {"u": one.expand(4, 3, -1).contiguous()}, **case.how))
    tap = inputs["k"][:1].expand(3, -1)
    same = long_conv(**inputs | {"k": tap}, **case.how)
    assert torch.equal(same, long_conv(**inputs | {"k": tap.contiguous()}, **case.how))


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_written_outside_the_outputs(family, m):
    """Outputs and workspaces are allocated into the gaps between canaries of their sizes."""
    if not has_family(family, m):
        return
    case = make_case(family, m, batch=3, channels=3, gates="pre post", skip=True)
    inputs, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
    run(inputs, case.how, dy)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    with torch.cuda.use_mem_pool(torch.cuda.MemPool()):
        sizes = [inputs["u"].numel() * 2, inputs["k"].numel() * 4, 12, 12 * m * 3 + 128, 4 * m * 3 + 128]
        canaries = []
        for size in sizes:
            canaries += [torch.full((size,), 0x5A, dtype=torch.uint8, device=DEVICE) for _ in range(12)]
        del canaries[1::2]
        y, grads = run(inputs, case.how, dy)
        torch.cuda.synchronize()
        assert all(bool((canary == 0x5A).all()) for canary in canaries)
        del canaries, y, grads


def test_inputs_are_left_alone():
    case = make_case("pairs", 4096, gates="pre post", skip=True)
    inputs, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
    copies = {name: None if t is None else t.clone() for name, t in (inputs | {"dy": dy}).items()}
    run(inputs, case.how, dy)
    assert all(t is None or torch.equal(t, copies[name]) for name, t in (inputs | {"dy": dy}).items())


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_of_the_filter_is_kept(family):
    case = make_case(family, 2048)
    inputs = moved(case.inputs())
    first = long_conv(**inputs, **case.how)
    inputs["k"].mul_(-3).add_(0.01)
    second = long_conv(**inputs, **case.how)
    assert not torch.equal(first, second)
    assert torch.equal(second, long_conv(**inputs | {"k": inputs["k"].clone()}, **case.how))


@pytest.mark.parametrize("mode", ["causal", "circular", "bidirectional"])
def test_empty_batches_and_channels(mode):
    for batch, channels in ((0, 3), (2, 0), (0, 0)):
        u = torch.randn(batch, channels, 100, device=DEVICE, dtype=torch.float16, requires_grad=True)
        k = torch.randn(channels, 100, device=DEVICE, requires_grad=True)
        k_rev = torch.randn(channels, 50, device=DEVICE, requires_grad=True) if mode == "bidirectional" else None
        skip = torch.randn(channels, device=DEVICE, requires_grad=True)
        y = long_conv(u, k, mode, k_rev, fft_size=128 if mode == "circular" else None, pregate=u, skip=skip)
        assert y.shape == u.shape
        grads = torch.autograd.grad(y, [t for t in (u, k, k_rev, skip) if t is not None], torch.ones_like(y))
        assert grads[0].shape == u.shape and not any(g.any() for g in grads[1:])


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "channels"), [(1, 65600), (65600, 1), (5, 13117)])
def test_more_elements_than_32_bits_count(batch, channels):
    length = 32768
    assert batch * channels * length > 2**31
    u = torch.zeros(batch, channels, length, device=DEVICE, dtype=torch.float16)
    k = torch.randn(channels, 64, device=DEVICE)
    rows = [(0, 0), (batch // 2, channels // 2), (batch - 1, channels - 1)]
    for b, h in rows:
        u[b, h] = torch.randn(length, device=DEVICE)
    y = long_conv(u, k)
    for b, h in rows:
        assert torch.equal(y[b, h], long_conv(u[b : b + 1, h : h + 1], k[h : h + 1])[0, 0])
        y[b, h] = 0
    assert not y.any()
    del u, y
    torch.cuda.empty_cache()


@pytest.mark.slow
def test_gradients_of_more_elements_than_32_bits_count():
    batch, channels, length = 3, 44000, 16384
    u = torch.zeros(batch, channels, length, device=DEVICE, dtype=torch.float16)
    dy = torch.zeros_like(u)
    u[-1, -1] = torch.randn(length, device=DEVICE)
    dy[-1, -1] = torch.randn(length, device=DEVICE)
    k = torch.randn(channels, 64, device=DEVICE)
    wanted = 1 | 2
    how = (None, None, None, None, 1, 0, 1, wanted)
    du, dk, *_ = torch.ops.flashfftconv.long_conv_backward(dy, u, k, *how)
    one = torch.ops.flashfftconv.long_conv_backward(dy[-1:, -1:], u[-1:, -1:], k[-1:], *how)
    assert torch.equal(du[-1, -1], one[0][0, 0]) and not dk[:-1].any()
    torch.testing.assert_close(dk[-1], one[1][0], rtol=1e-3, atol=1e-2)
    du[-1, -1] = 0
    assert not du.any()
    del u, dy, du
    torch.cuda.empty_cache()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("kind", ["no_grad", "grad", "inference"])
def test_out_of_memory_is_torchs_error_and_leaves_nothing(kind, dtype):
    u = torch.randn(64, 64, 4096, device=DEVICE, dtype=dtype).requires_grad_(kind == "grad")
    k = torch.randn(64, 4096, device=DEVICE)
    context = {"no_grad": torch.no_grad, "grad": torch.enable_grad, "inference": torch.inference_mode}[kind]
    with context():
        expected = long_conv(u, k).detach().cpu()  # nothing but u and k stays, and no room between them
        gc.collect()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (4 << 20)) / total)
        try:
            for _ in range(3):
                with pytest.raises(torch.OutOfMemoryError):
                    long_conv(u, k)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        gc.collect()
        assert torch.cuda.memory_allocated() == before
        assert torch.equal(long_conv(u, k).detach().cpu(), expected)
