"""Short convolutions, and Hyena's front end made of them, on a GPU against the memory floor: one JSON line a case.

    python bench/measure_short.py --out bench/results/cuda-short.jsonl

floor: x read once and y written once at the copy rate measured in this run; backward x, dy and dx. Of the front end
("gate": short convolution of 3 D channels, two outputs of D) torch's pass is its convolution and the product. Times are
medians of replayed CUDA graphs (device time without launches); where the tensors of a case would fit the second-level
cache, several copies of them take turns. The backward pass gives the gradients of x, weight and bias.
"""

import argparse
import itertools
import json
import subprocess
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from flashfftconv import short_conv, short_conv_gate
from flashfftconv.short_ops import BIAS, WEIGHT, X
from flashfftconv.short_problem import GATE, LAYOUTS

SIZES = [(8192, 768), (8192, 2048), (8192, 8192), (1024, 8192), (1024, 768)]  # L, D
BATCH = 16
WARM_SECONDS = 0.1


def replayed(call, repetitions: int) -> list[float]:
    """Milliseconds of each replay of a graph of one call, sorted."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repetitions)]
    # After a pause, the first tens of milliseconds take up to a tenth longer.
    start = time.monotonic()
    while time.monotonic() < start + WARM_SECONDS:
        graph.replay()
        torch.cuda.synchronize()
    for before, after in events:
        before.record(), graph.replay(), after.record()
    torch.cuda.synchronize()
    return sorted(before.elapsed_time(after) for before, after in events)


def copy_rate() -> float:
    """Bytes read and written a millisecond by a copy of 2 GiB; not in a graph, where a copy is slower."""
    source = torch.empty(1 << 31, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(23)]
    for before, after in events:
        before.record(), target.copy_(source), after.record()
    torch.cuda.synchronize()
    return 2 * source.numel() / sorted(before.elapsed_time(after) for before, after in events[3:])[10]


def conv1d(x, weight, bias, layout):
    """The same by torch, padded on the left."""
    rows = x if layout == "bhl" else x.mT
    y = F.conv1d(F.pad(rows, (weight.shape[1] - 1, 0)), weight[:, None], bias, groups=weight.shape[0])
    return y if layout == "bhl" else y.mT


def gate_of(z, layout):
    """Hyena's front end from the sums of 3 D channels: the gate behind and the input of the long convolution."""
    dim = 1 if layout == "bhl" else 2
    behind, first, second = z.chunk(3, dim)
    return torch.cat((behind, first * second), dim)


def worst_row(got: torch.Tensor, exact: torch.Tensor) -> float:
    got, exact = got.double(), exact.double()
    return ((got - exact).norm(dim=-1) / exact.norm(dim=-1)).max().item()


def measure(
    operation: str,
    length: int,
    channels: int,
    taps: int,
    layout: str,
    dtype: torch.dtype,
    repetitions: int,
    rate: float,
):
    """The row of a case."""
    gate = operation == "gate"
    inputs, outputs = (3 * channels, 2 * channels) if gate else (channels, channels)
    shape = (BATCH, inputs, length) if layout == "bhl" else (BATCH, length, inputs)
    # Of all tensors, as a rule more than 200 MB.
    copies = max(1, (270 << 20) // (BATCH * length * (inputs + outputs) * 2))
    x = [torch.randn(shape, device="cuda").to(dtype) for _ in range(copies)]
    weight = (torch.randn(inputs, taps, device="cuda") / taps**0.5).to(dtype)
    bias = torch.randn(inputs, device="cuda").to(dtype)
    how = (taps - 1, 0, GATE if gate else 0, LAYOUTS[layout])  # paddings, activation

    def torchs(one, w, b):
        return gate_of(conv1d(one, w, b, layout), layout) if gate else conv1d(one, w, b, layout)

    with torch.no_grad():
        y = [torch.ops.flashfftconv.short_conv(one, weight, bias, None, None, *how) for one in x]
    dy = [torch.randn_like(one) for one in y]

    def forward():
        for one in x:
            (short_conv_gate if gate else short_conv)(one, weight, bias, padding="causal", layout=layout)

    def backward():  # the operator that autograd calls: its engine's threads cannot be captured
        for i in range(copies):
            torch.ops.flashfftconv.short_conv_backward(dy[i], x[i], weight, bias, None, None, *how, X | WEIGHT | BIAS)

    lines = (lambda t: t) if layout == "bhl" else (lambda t: t.mT)
    exact = lines(torchs(x[0][:1].double(), weight.double(), bias.double()))
    row = {"operation": operation, "layout": layout, "L": length, "B": BATCH, "D": channels, "K": taps}
    row |= {"dtype": str(dtype).removeprefix("torch."), "err": worst_row(lines(y[0][:1]), exact)}
    row["rounding"] = worst_row(exact.to(dtype), exact)
    forward_bytes, backward_bytes = (sum(t[0].numel() * t[0].element_size() for t in ts) for ts in ((x, y), (x, dy, x)))
    for name, call, size in (("fwd", forward, forward_bytes), ("bwd", backward, backward_bytes)):
        times = [t / copies for t in replayed(call, repetitions)]
        middle = times[len(times) // 2]
        row |= {f"{name}_ms": middle, f"{name}_quartiles": [times[len(times) // 4], times[3 * len(times) // 4]]}
        row |= {f"{name}_floor_ms": size / rate, f"{name}_x": middle / (size / rate)}
    row["torch_fwd_ms"] = replayed(lambda: torchs(x[0], weight, bias), 3)[1]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taps", default="3,4,5,7")
    parser.add_argument("--operations", default="short", help="short, gate")
    parser.add_argument("--dtypes", default="float16,bfloat16")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--commit", default="", help="recorded with each row where git cannot tell")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    where = {"machine": torch.cuda.get_device_name(), "torch": torch.__version__}
    where["commit"] = options.commit or git.stdout.strip()
    rate = copy_rate()
    where["copy_TBs"] = round(rate / 1e9, 3)
    taps_of = [int(taps) for taps in options.taps.split(",")]
    cases = itertools.product(options.operations.split(","), options.dtypes.split(","), SIZES, LAYOUTS, taps_of)
    for operation, dtype, (length, channels), layout, taps in cases:
        row = measure(operation, length, channels, taps, layout, getattr(torch, dtype), options.repetitions, rate)
        torch.cuda.empty_cache()
        row = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}
        with options.out.open("a") as file:
            file.write(json.dumps(row | where) + "\n")
        text = f"{operation} {row['dtype']} {layout} L {length} D {channels} K {taps}"
        print(f"{text}: forward {row['fwd_x']:.2f} backward {row['bwd_x']:.2f} x floor", flush=True)


if __name__ == "__main__":
    main()
