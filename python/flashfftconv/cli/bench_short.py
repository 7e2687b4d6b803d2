"""``flashfftconv bench short``: short convolutions and torch's conv1d in turn on the same inputs, in both layouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from rich.table import Table
from torch import Tensor

import flashfftconv
from flashfftconv.train.timing import Spread, alternate

from .bench_cases import DTYPES
from .bench_measure import rounded, rounding, worst_row
from .bench_place import append_rows, check_place, describe_place, whole_numbers
from .console import console

LAYOUTS = ("bhl", "blh")

# The sizes of FlashFFTConv's own table, and smaller ones for a CPU: (batch, lengths, channels).
CUDA_SIZES = (16, "1024,2048,4096,8192", "768,1024,2048,8192")
CPU_SIZES = (4, "1024,2048", "256,768")

# Milliseconds of the forward pass on one H200, fp16, K = 5, B = 16, as measured for this project:
# (L, D): FlashFFTConv bhl, blh.
FLASHFFTCONV_MS = {
    (1024, 768): (0.065, 0.035),
    (1024, 2048): (0.164, 0.079),
    (1024, 8192): (0.637, 0.292),
    (8192, 768): (0.479, 0.236),
    (8192, 2048): (1.27, 0.577),
    (8192, 8192): (5.07, 2.29),
}


@dataclass(frozen=True)
class ShortBench:
    """One size in one layout, padded to outputs as long as the inputs (odd K)."""

    batch: int
    channels: int
    length: int
    taps: int
    layout: str
    dtype: torch.dtype
    device: str
    seed: int = 0

    def describe(self) -> dict[str, object]:
        """The columns that say what a row is about."""
        name = str(self.dtype).removeprefix("torch.")
        sizes = {"L": self.length, "B": self.batch, "D": self.channels, "K": self.taps}
        return {"operation": "short", "layout": self.layout, **sizes, "dtype": name}

    def make_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """x, weight and bias of unit scale; the weight and the bias in the type of x."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        lines = (self.channels, self.length) if self.layout == "bhl" else (self.length, self.channels)
        shapes = ((self.batch, *lines), (self.channels, self.taps), (self.channels,))
        return tuple(torch.randn(s, device=self.device, generator=generator).to(self.dtype) for s in shapes)

    def ours(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The operation as this package does it."""
        return flashfftconv.short_conv(x, weight, bias, self.taps // 2, layout=self.layout)

    def by_torch(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The same by conv1d, which knows one layout."""
        rows = x if self.layout == "bhl" else x.transpose(1, 2)
        y = F.conv1d(rows, weight[:, None], bias, padding=self.taps // 2, groups=self.channels)
        return y if self.layout == "bhl" else y.transpose(1, 2)


def bench_short(
    lengths: Annotated[str, typer.Option(help="L, commas between; default by the device.")] = "",
    channels: Annotated[str, typer.Option(help="D, commas between; default by the device.")] = "",
    batch: Annotated[int, typer.Option(min=0, help="B; 0 chooses by the device.")] = 0,
    taps: Annotated[str, typer.Option(help="K, odd, commas between.")] = "5",
    layouts: Annotated[str, typer.Option(help="Of bhl, blh.")] = "bhl,blh",
    dtype: Annotated[str, typer.Option(help=f"Of {', '.join(DTYPES)}; default by the device.")] = "",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repetitions: Annotated[int, typer.Option(min=1, help="Timed rounds, after two untimed ones.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the inputs.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    out: Annotated[Path | None, typer.Option(help="File to append the rows to, one JSON object a line.")] = None,
) -> None:
    """Measure short convolutions against torch's conv1d: time forward and backward, and errors against float64."""
    if threads:
        torch.set_num_threads(threads)
    cases = make_cases(lengths, channels, batch, taps, layouts, dtype, device, seed)
    where = describe_place(device)
    console.print(f"{where['machine']}, torch {where['torch']}, commit {where['commit'] or 'unknown'}", markup=False)
    of_type = str(cases[0].dtype).removeprefix("torch.")
    console.print(
        f"batch {cases[0].batch}, {of_type}; x copy: multiples of copying x; last: on an H200, B 16, K 5, fp16"
    )
    rows = []
    for case in cases:
        with console.status(f"{case.layout}, L = {case.length}, D = {case.channels}, K = {case.taps}"):
            results = measure(case, repetitions)
        rows += results
        if out is not None:
            append_rows(out, [{**row, **where} for row in results])
    console.print(make_table(rows))


def make_cases(
    lengths: str, channels: str, batch: int, taps: str, layouts: str, dtype: str, device: str, seed: int
) -> list[ShortBench]:
    """The cases that the options ask for.

    Raises
    ------
    ValueError
        Naming the option, its value and what is allowed.
    """
    check_place(dtype or "float32", device)
    on_cuda = device.startswith("cuda")
    own_batch, own_lengths, own_channels = CUDA_SIZES if on_cuda else CPU_SIZES
    chosen = [layout.strip() for layout in layouts.split(",")]
    for layout in chosen:
        if layout not in LAYOUTS:
            raise ValueError(f"--layouts has {layout!r}; allowed: {', '.join(LAYOUTS)}")
    widths = whole_numbers("--taps", taps, 1)
    for k in widths:
        if k % 2 == 0:
            raise ValueError(f"--taps has {k}; allowed: odd numbers")
    of_type = DTYPES[dtype or ("float16" if on_cuda else "float32")]
    return [
        ShortBench(batch or own_batch, d, length, k, layout, of_type, device, seed)
        for length in whole_numbers("--lengths", lengths or own_lengths, 1)
        for d in whole_numbers("--channels", channels or own_channels, 1)
        for k in widths
        for layout in chosen
    ]


def measure(case: ShortBench, repetitions: int) -> list[dict[str, Any]]:
    """A row for torch and one for ours: the case, worst row errors, median milliseconds, quartiles of the ratio."""
    inputs = case.make_inputs()
    calls = {"torch": case.by_torch, "ours": case.ours}
    rows = {name: {"impl": name, **case.describe(), **errors(case, call, inputs)} for name, call in calls.items()}
    target = torch.empty_like(inputs[0])
    functions = [lambda call=call: call(*inputs) for call in calls.values()]
    with torch.no_grad():
        *forward, copy = alternate([*functions, lambda: target.copy_(inputs[0])], repetitions, case.device)
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    cotangent = torch.randn_like(inputs[0])

    def step(call):
        return lambda: torch.autograd.grad(call(*leaves), leaves, cotangent)

    total = alternate([step(call) for call in calls.values()], repetitions, case.device)
    for key, (first, second) in (("fwd_ms", forward), ("total_ms", total)):
        rows["torch"][key], rows["ours"][key] = Spread.of(first).median, Spread.of(second).median
        ratio = Spread.of([a / b for a, b in zip(first, second, strict=True)])
        rows["ours"][f"{key}_ratio_quartiles"] = [ratio.lower, ratio.upper]
    rows["ours"]["copy_ms"] = Spread.of(copy).median
    return [{key: rounded(value) for key, value in row.items()} for row in rows.values()]


def errors(case: ShortBench, call, inputs: tuple[Tensor, ...]) -> dict[str, float]:
    """Worst error of any row of y and of each gradient, relative to that row's norm in float64, in the first batch."""

    def gradients(function, tensors, dtype):
        leaves = [t.detach().to(dtype).requires_grad_() for t in tensors]
        y = function(*leaves)
        generator = torch.Generator(case.device).manual_seed(case.seed + 1)
        cotangent = torch.randn(y.shape, device=case.device, generator=generator).to(case.dtype).to(dtype)
        return y.detach(), torch.autograd.grad(y, leaves, cotangent)

    sample = (inputs[0][:1], *inputs[1:])
    y, grads = gradients(call, sample, case.dtype)
    exact, exact_grads = gradients(case.by_torch, sample, torch.float64)

    def rows(t):
        return t.transpose(1, 2) if case.layout == "blh" else t

    found = {"err": worst_row(rows(y), rows(exact)), **rounding(rows(y), rows(exact), case.dtype)}
    found["err_dx"] = worst_row(rows(grads[0]), rows(exact_grads[0]))
    return found | {
        f"err_d{n}": worst_row(g.flatten(), e.flatten())
        for n, g, e in zip(("weight", "bias"), grads[1:], exact_grads[1:], strict=True)
    }


def make_table(rows: list[dict[str, Any]]) -> Table:
    """One line per case: both times, the ratio with its quartiles, multiples of a copy, errors, and published times."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    titles = ("L", "D", "K", "layout", "torch\nfwd ms", "ours\nfwd ms", "ratio", "x copy")
    titles += ("torch\nfwd+bwd", "ours\nfwd+bwd", "ratio", "error\nof y", "error of\ngradients")
    for title in (*titles, "FlashFFT-\nConv fwd"):
        table.add_column(title, justify="left" if title == "layout" else "right", no_wrap=True)
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        cells = [str(first[key]) for key in ("L", "D", "K", "layout")]
        for key in ("fwd_ms", "total_ms"):
            lower, upper = second[f"{key}_ratio_quartiles"]
            ratio = f"{first[key] / second[key]:.2f} \\[{lower:.2f}, {upper:.2f}]"
            cells += [f"{first[key]:.3g}", f"{second[key]:.3g}", ratio]
            if key == "fwd_ms":
                cells.append(f"{second[key] / second['copy_ms']:.2f}")
        gradients = max(value for key, value in second.items() if key.startswith("err_"))
        published = FLASHFFTCONV_MS.get((first["L"], first["D"]))
        theirs = "-" if published is None else f"{published[LAYOUTS.index(first['layout'])]:.3g}"
        table.add_row(*cells, f"{second['err']:.1e}", f"{gradients:.1e}", theirs)
    return table
