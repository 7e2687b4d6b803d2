"""Errors against float64 and times of one case of ``flashfftconv bench``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flashfftconv.train.timing import Spread, alternate

from .bench_cases import Case, call_ours, call_torch, explain_ours, make_inputs

Implementation = Callable[[Case, dict[str, Tensor]], Tensor]

# The order matters: ratios are the first one's time over the second one's.
IMPLEMENTATIONS: dict[str, Implementation] = {"torch": call_torch, "ours": call_ours}

# Channels whose errors are looked at; all of them in float64 would take longer than the measurement.
CHECKED_CHANNELS = 16

# What the gradient of each input is called in a row.
GRADIENT_NAMES = {"u": "err_du", "k": "err_dk", "k_rev": "err_dk_rev", "pregate": "err_dpre", "postgate": "err_dpost"}


def measure(case: Case, repetitions: int) -> list[dict[str, Any]]:
    """A row for each implementation: the case, worst row errors, median milliseconds, quartiles of the ratio."""
    inputs = make_inputs(case)
    about = case.describe()
    rows = {name: {"impl": name, **about, **errors(case, call, inputs)} for name, call in IMPLEMENTATIONS.items()}
    rows["ours"] |= working_memory(case, inputs)
    forward, backward = time_case(case, inputs, repetitions)
    total = [[f + b for f, b in zip(*pair, strict=True)] for pair in zip(forward, backward, strict=True)]
    for key, (first, second) in (("fwd_ms", forward), ("bwd_ms", backward), ("total_ms", total)):
        rows["torch"][key], rows["ours"][key] = Spread.of(first).median, Spread.of(second).median
        ratio = Spread.of([a / b for a, b in zip(first, second, strict=True)])
        rows["ours"][f"{key}_ratio_quartiles"] = [ratio.lower, ratio.upper]
    return [{key: rounded(value) for key, value in row.items()} for row in rows.values()]


def working_memory(case: Case, inputs: dict[str, Tensor]) -> dict[str, int]:
    """Bytes that the plan takes beyond inputs and outputs, forward and backward; none where torch.fft does the work."""
    found = re.search(r"workspace: (\d+) bytes forward, (\d+) backward", explain_ours(case, inputs))
    return {"fwd_extra_bytes": int(found[1]), "bwd_extra_bytes": int(found[2])} if found else {}


def errors(case: Case, call: Implementation, inputs: dict[str, Tensor]) -> dict[str, float]:
    """Worst error of any row of the output and of each gradient, relative to that row's norm in float64."""
    leaves = {name: tensor.detach().clone().requires_grad_(True) for name, tensor in inputs.items()}
    generator = torch.Generator(case.device).manual_seed(case.seed + 1)
    cotangent = torch.randn(case.shape, device=case.device, generator=generator).to(case.dtype)
    y = call(case, leaves)
    gradients = torch.autograd.grad(y, list(leaves.values()), cotangent)

    channels = torch.randperm(case.shape[1], generator=torch.Generator().manual_seed(case.seed))[:CHECKED_CHANNELS]
    channels = channels.to(case.device)

    def part(tensor: Tensor) -> Tensor:
        return tensor.detach().index_select(tensor.dim() - 2, channels)

    exact_leaves = {name: part(tensor).double().requires_grad_(True) for name, tensor in inputs.items()}
    exact = call_torch(case, exact_leaves, dtype=torch.float64)
    exact_gradients = torch.autograd.grad(exact, list(exact_leaves.values()), part(cotangent).double())
    found = {"err": worst_row(part(y), exact), **rounding(part(y), exact, case.dtype), "stale": stale_error(case, call)}
    for name, gradient, reference in zip(leaves, gradients, exact_gradients, strict=True):
        found[GRADIENT_NAMES[name]] = worst_row(part(gradient), reference)
    return found


def row_errors(value: Tensor, exact: Tensor) -> Tensor:
    """norm(value - exact) / norm(exact) of each row."""
    value, exact = value.detach().double(), exact.detach()
    return (value - exact).norm(dim=-1) / exact.norm(dim=-1).clamp_min(1e-300)


def worst_row(value: Tensor, exact: Tensor) -> float:
    """Largest error of a row; NaN if any value is not finite."""
    return row_errors(value, exact).max().item() if torch.isfinite(value).all() else float("nan")


def rounding(value: Tensor, exact: Tensor, dtype: torch.dtype) -> dict[str, float]:
    """What rounding the exact answer to the output's type costs, and the largest multiple of that in any row."""
    unavoidable = row_errors(exact.detach().to(dtype), exact)
    multiple = row_errors(value, exact) / unavoidable.clamp_min(1e-300)
    return {"rounding": unavoidable.max().item(), "round_x": multiple.max().item()}


def stale_error(case: Case, call: Implementation) -> float:
    """Error of a second call after the filter changed in place: a spectrum kept behind the caller's back shows here."""
    inputs = make_inputs(case)
    with torch.no_grad():
        before = call(case, inputs).double()
        inputs["k"].mul_(-0.5)
        if "k_rev" in inputs:
            inputs["k_rev"].mul_(-0.5)
        return worst_row(call(case, inputs), -0.5 * before)


def time_case(case: Case, inputs: dict[str, Tensor], repetitions: int) -> tuple[list[list[float]], list[list[float]]]:
    """Milliseconds of forwards without gradients, and of backwards alone, for each implementation, taking turns."""
    calls = list(IMPLEMENTATIONS.values())
    with torch.no_grad():
        forward = alternate([lambda call=call: call(case, inputs) for call in calls], repetitions, case.device)
    leaves = {name: tensor.detach().clone().requires_grad_(True) for name, tensor in inputs.items()}
    outputs = [call(case, leaves) for call in calls]
    cotangent = torch.randn_like(outputs[0])

    def backward_of(y: Tensor) -> Callable[[], object]:
        return lambda: torch.autograd.grad(y, list(leaves.values()), cotangent, retain_graph=True)

    backward = alternate([backward_of(y) for y in outputs], repetitions, case.device)
    return forward, backward


def rounded(value: Any) -> Any:
    """Four significant digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return [rounded(v) for v in value] if isinstance(value, list) else value
