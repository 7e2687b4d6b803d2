"""``flashfftconv bench``: this package and torch.fft in turn on the same inputs, times and errors in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table

from .bench_cases import DEFAULT_LENGTHS, DTYPES, MODES, Case
from .bench_measure import IMPLEMENTATIONS, measure
from .bench_place import append_rows, check_place, describe_place, whole_numbers
from .console import console


def bench(
    context: typer.Context,
    modes: Annotated[str, typer.Option(help=f"Commas between; of: {', '.join(MODES)}.")] = "causal,gated causal",
    lengths: Annotated[
        str, typer.Option(help="FFT sizes n a padding implementation would use: circular modes have L = n, others n/2.")
    ] = DEFAULT_LENGTHS,
    dtype: Annotated[str, typer.Option(help=f"Of {', '.join(DTYPES)}.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repetitions: Annotated[int, typer.Option(min=1, help="Timed rounds, after two untimed ones.")] = 30,
    batch: Annotated[int, typer.Option(min=0, help="B; 0 chooses by length.")] = 0,
    channels: Annotated[int, typer.Option(min=0, help="H; 0 chooses by length.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the inputs.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    out: Annotated[Path | None, typer.Option(help="File to append the rows to, one JSON object a line.")] = None,
) -> None:
    """Measure convolutions against torch.fft: time forward and backward, and errors against float64.

    `bench short` measures short ones against conv1d.
    """
    if context.invoked_subcommand is not None:
        return
    if threads:
        torch.set_num_threads(threads)
    cases = make_cases(modes, lengths, dtype, device, batch, channels, seed)
    where = describe_place(device)
    console.print(f"{where['machine']}, torch {where['torch']}, commit {where['commit'] or 'unknown'}", markup=False)
    rows = []
    for case in cases:
        with console.status(f"{case.mode}, n = {case.n}"):
            results = measure(case, repetitions)
        rows += results
        if out is not None:
            append_rows(out, [{**row, **where} for row in results])
        if not console.is_terminal:
            console.print(f"{case.mode}, n = {case.n}: done", markup=False)
    console.print(make_table(rows))


def make_cases(modes: str, lengths: str, dtype: str, device: str, batch: int, channels: int, seed: int) -> list[Case]:
    """The cases that the options ask for.

    Raises
    ------
    ValueError
        Naming the option, its value and what is allowed.
    """
    check_place(dtype, device)
    chosen = [mode.strip() for mode in modes.split(",")]
    unknown = [mode for mode in chosen if mode not in MODES]
    if unknown:
        raise ValueError(f"--modes has {unknown[0]!r}; allowed: {', '.join(MODES)}")
    sizes = whole_numbers("--lengths", lengths, 2)
    shape = {"dtype": DTYPES[dtype], "device": device, "batch": batch, "channels": channels, "seed": seed}
    return [Case(mode=mode, n=n, **shape) for mode in chosen for n in sizes]


def make_table(rows: list[dict[str, Any]]) -> Table:
    """One line per case: both times, the ratio with its quartiles, and the errors and working memory of ours."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("mode", "L", "B", "H", "dtype"):
        table.add_column(title, justify="left" if title in ("mode", "dtype") else "right")
    for title in (
        "torch\nfwd ms",
        "ours\nfwd ms",
        "ratio",
        "torch\nfwd+bwd",
        "ours\nfwd+bwd",
        "ratio",
        "error\nof y",
        "worst error\nof gradients",
        "working KiB\nfwd, bwd",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    theirs, ours = IMPLEMENTATIONS
    for first in (row for row in rows if row["impl"] == theirs):
        same_case = (row for row in rows if (row["mode"], row["n"]) == (first["mode"], first["n"]))
        second = next(row for row in same_case if row["impl"] == ours)
        cells = [first["mode"], str(first["L"]), str(first["B"]), str(first["H"]), first["dtype"]]
        for key in ("fwd_ms", "total_ms"):
            lower, upper = second[f"{key}_ratio_quartiles"]
            ratio = f"{first[key] / second[key]:.2f} [{lower:.2f}, {upper:.2f}]"
            cells += [f"{first[key]:.2f}", f"{second[key]:.2f}", ratio.replace("[", r"\[")]
        gradients = max(value for key, value in second.items() if key.startswith("err_"))
        memory = [second[key] / 1024 for key in ("fwd_extra_bytes", "bwd_extra_bytes") if key in second]
        table.add_row(
            *cells, f"{second['err']:.1e}", f"{gradients:.1e}", ", ".join(f"{size:.0f}" for size in memory) or "-"
        )
    return table
