"""Streams, CUDA graphs, compiled code, several devices; the same bits every time."""

import pytest
import torch
from gpu_cases import DEVICE, HALVES, SIZES, equal, has_family, make_case, moved, run

from flashfftconv import Filter, long_conv


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal", "bidirectional"])
def test_the_same_bits_every_time(family, m):
    if not has_family(family, m):
        return
    for dtype in HALVES:
        case = make_case(family, m, batch=40, channels=3, gates="pre post", skip=True, dtype=dtype)
        inputs, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
        y, grads = run(inputs, case.how, dy)
        for _ in range(3):
            y_, grads_ = run(inputs, case.how, dy)
            assert torch.equal(y, y_) and equal(grads, grads_)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["causal", "bidirectional, padded", "circular of another size"])
def test_right_angle_does_not_depend_on_the_batch(family, m):
    case = make_case(family, m, batch=37, channels=2, gates="pre post", skip=True)
    inputs, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
    y, grads = run(inputs, case.how, dy)
    for b in (0, 17, 36):
        rows = {name: inputs[name][b : b + 1] for name in ("u", "pregate", "postgate")}
        y_, grads_ = run(inputs | rows, case.how, dy[b : b + 1])
        assert torch.equal(y[b : b + 1], y_)
        for name in rows:
            assert torch.equal(grads[name][b : b + 1], grads_[name]), name


@pytest.mark.parametrize("family", ["pairs", "causal"])
def test_two_streams_at_once(family):
    cases = [make_case(family, m, batch=64, channels=32) for m in (1024, 8192)]
    work = [(case, moved(case.inputs()), case.cotangent().to(DEVICE)) for case in cases]
    expected = [run(inputs, case.how, dy) for case, inputs, dy in work]
    streams = [torch.cuda.Stream() for _ in work]
    torch.cuda.synchronize()
    results = []
    for _ in range(5):
        for stream, (case, inputs, dy) in zip(streams, work, strict=True):
            with torch.cuda.stream(stream):
                results.append(run(inputs, case.how, dy))
    torch.cuda.synchronize()
    for i, (y, grads) in enumerate(results):
        assert torch.equal(y, expected[i % 2][0]) and equal(grads, expected[i % 2][1])


def test_work_is_on_the_current_stream():
    u, k = torch.zeros(8, 64, 8192, device=DEVICE, dtype=torch.float16), torch.randn(64, 8192, device=DEVICE)
    other = torch.randn_like(u)
    expected = long_conv(other, k)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        u.copy_(other)
        y = long_conv(u, k)  # on any other stream it would read zeros
    stream.synchronize()
    assert torch.equal(y, expected)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal"])
def test_a_graph_replays_what_eager_computes(family, m):
    if not has_family(family, m):
        return
    case = make_case(family, m, batch=3, gates="pre post", skip=True)
    inputs, dy = moved(case.inputs()), case.cotangent().to(DEVICE)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run(inputs, case.how, dy)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y, grads = run(inputs, case.how, dy)
    for seed in (5, 6):
        for name, t in moved(case.inputs(seed)).items():
            if t is not None:
                inputs[name].data.copy_(t)
        dy.copy_(case.cotangent(seed))
        graph.replay()
        y_, grads_ = run(inputs, case.how, dy)
        assert torch.equal(y, y_) and equal(grads, grads_)


def test_compiled_code():
    u = torch.randn(2, 3, 300, device=DEVICE, dtype=torch.float16, requires_grad=True)
    k = torch.randn(3, 300, device=DEVICE, requires_grad=True)

    def f(u, k):
        return long_conv(u * 2, k, pregate=u, skip=k[:, 0]).relu()

    expected = torch.autograd.grad(f(u, k).float().sum(), (u, k))
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    for ours, other in zip(torch.autograd.grad(compiled(u, k).float().sum(), (u, k)), expected, strict=True):
        assert torch.equal(ours, other)


def test_autocast():
    u, k = torch.randn(2, 3, 300, device=DEVICE), torch.randn(3, 300, device=DEVICE)
    for dtype in HALVES:
        with torch.autocast("cuda", dtype):
            y = long_conv(u, k, pregate=u.to(dtype))
        assert torch.equal(y, long_conv(u.to(dtype), k, pregate=u.to(dtype)))


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", ["pairs", "causal", "bidirectional", "circular of another size"])
def test_a_prepared_filter_gives_the_same_bits(family, m):
    if not has_family(family, m):
        return
    case = make_case(family, m, gates="pre post", skip=True)
    inputs = moved(case.inputs())
    f = Filter(inputs["k"], k_rev=inputs["k_rev"], **case.how).precompute()
    rest = {name: inputs[name] for name in ("pregate", "postgate", "skip")}
    expected = long_conv(**inputs, **case.how)
    for _ in range(2):
        assert torch.equal(long_conv(inputs["u"], f, **rest), expected)
    # Of another batch
    rest = {name: t[:1] if t.dim() == 3 else t for name, t in rest.items()}
    single = long_conv(**inputs | rest | {"u": inputs["u"][:1]}, **case.how)
    assert torch.equal(long_conv(inputs["u"][:1], f, **rest), single)


@pytest.mark.parametrize("m", [64, 128, 256])
@pytest.mark.parametrize("family", ["pairs", "causal", "bidirectional"])
def test_few_short_rows_have_the_bits_of_many(family, m):
    """Few take one launch, which makes the spectrum on its way, many two."""
    if not has_family(family, m):
        return
    case = make_case(family, m, batch=64, channels=768, gates="pre post", skip=True)
    inputs = {name: t for name, t in moved(case.inputs()).items() if t is not None}
    few = {name: t[:2, :3] if t.dim() == 3 else t[:3] for name, t in inputs.items()}
    assert torch.equal(long_conv(**few, **case.how), long_conv(**inputs, **case.how)[:2, :3])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_another_device_than_the_current_one():
    case = make_case("pairs", 1024, gates="pre post", skip=True)
    results = []
    for device in ("cuda:0", "cuda:1"):
        y, grads = run(moved(case.inputs(), device), case.how, case.cotangent().to(device))
        assert y.device == torch.device(device) and torch.cuda.current_device() == 0
        results.append((y.cpu(), {name: g.cpu() for name, g in grads.items()}))
    assert torch.equal(results[0][0], results[1][0]) and equal(results[0][1], results[1][1])


def test_tensors_on_different_devices_are_refused():
    u, k = torch.randn(2, 3, 64, device=DEVICE).half(), torch.randn(3, 64)
    with pytest.raises(ValueError, match="k is on cpu"):
        long_conv(u, k)
    for rows, taps in ((u, k), (u.cpu(), k.to(DEVICE))):
        with pytest.raises(RuntimeError, match="on the device of u"):
            torch.ops.flashfftconv.long_conv(rows, taps, None, None, None, None, 1, 0, 1)
