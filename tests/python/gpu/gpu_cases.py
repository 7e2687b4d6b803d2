"""What the GPU tests share: the engine's sizes, the cases over them, and the bounds that every row must keep."""

import re
from pathlib import Path

import torch
from cases import Case, row_errors
from oracle import fft_sum, gradients, operation

from flashfftconv import explain, long_conv

DEVICE = "cuda"
_TABLE = (Path(__file__).parents[3] / "src/cuda/sizes.h").read_text()
SIZES = [int(points) for points in re.findall(r"\{(\d+), *\d+, *\d+, *\d+\}", _TABLE)]
SMALLEST_PAIRS = 128
HALVES = (torch.float16, torch.bfloat16)
GATES = ("", "pre", "post", "pre post")

FAMILIES = {
    "pairs": lambda m: {"mode": "circular", "length": m, "taps": m, "fft_size": m},
    "pairs, padded": lambda m: {"mode": "circular", "length": m - m // 3, "taps": m, "fft_size": m},
    "circular of another size": lambda m: {"mode": "circular", "length": m - 3, "taps": m + 1, "fft_size": m + 1},
    "circular, half": lambda m: {"mode": "circular", "length": m, "taps": 2 * m, "fft_size": 2 * m},
    "causal": lambda m: {"mode": "causal", "length": m, "taps": m},
    "causal, padded": lambda m: {"mode": "causal", "length": m // 2 + 1, "taps": m // 3},
    "bidirectional": lambda m: {"mode": "bidirectional", "length": m, "taps": m, "taps_reverse": m},
    "bidirectional, padded": lambda m: {
        "mode": "bidirectional",
        "length": m - 1,
        "taps": m // 2,
        "taps_reverse": m + 5,
        "k_rev_lag": 0,
    },
}


def has_family(family: str, m: int) -> bool:
    return m >= SMALLEST_PAIRS or not family.startswith("pairs")


def make_case(family: str, m: int, **others) -> Case:
    return Case(**{"batch": 3, "channels": 2, "dtype": torch.float16} | FAMILIES[family](m) | others)


def sampled_cases() -> list[Case]:
    """Every size, family and dtype; batch, channels, gates, skip and the filter's dtype take turns."""
    cases = []
    for m in SIZES:
        for family in FAMILIES:
            for dtype in HALVES:
                turn = len(cases)
                if has_family(family, m):
                    cases.append(
                        make_case(
                            family,
                            m,
                            dtype=dtype,
                            batch=(3, 4, 1, 5, 2)[turn % 5],
                            channels=(2, 3, 1)[turn % 3],
                            gates=GATES[(turn // 2) % 4],
                            skip=turn % 7 < 3,
                            filter_dtype=(torch.float32, torch.float32, dtype)[(turn // 3) % 3],
                        )
                    )
    return cases


def moved(tensors: dict, device: str = DEVICE) -> dict:
    return {name: None if t is None else t.to(device) for name, t in tensors.items()}


def explain_case(case: Case) -> str:
    inputs = moved(case.inputs())
    return explain(inputs["u"], inputs["k"], k_rev=inputs["k_rev"], **case.how)


def rounding(exact: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return row_errors(exact.to(dtype), exact)


def check_rows(name: str, result: torch.Tensor, exact: torch.Tensor) -> None:
    """float16: 1.2e-3 of every row's norm. bfloat16: 1.35 times what rounding the exact row costs."""
    error = row_errors(result, exact)
    bound = torch.full_like(error, 1.2e-3) if result.dtype == torch.float16 else 1.35 * rounding(exact, result.dtype)
    _assert_within(name, error, bound)


def check_taps(name: str, result: torch.Tensor, exact: torch.Tensor) -> None:
    """2.5e-3 of every channel's norm, and the rounding where the taps have fewer bits than float32."""
    error = row_errors(result, exact)
    _assert_within(name, error, 2.5e-3 + rounding(exact, result.dtype))


def check_skip(result: torch.Tensor, inputs: dict, dy: torch.Tensor, exact: torch.Tensor) -> None:
    """The gradient of skip is one of the filter's, at lag 0: its error is measured by the norm of its products."""
    products = dy.double()
    for factor in (inputs["u"], inputs["pregate"], inputs["postgate"]):
        products = products if factor is None else products * factor.double()
    error = (result.double() - exact).abs() / torch.linalg.vector_norm(products, dim=(0, 2))
    _assert_within("gradient of skip", error, torch.full_like(error, 1e-2))


def _assert_within(name: str, error: torch.Tensor, bound: torch.Tensor) -> None:
    within = error <= bound  # NaN is never within
    assert bool(within.all()), (
        f"{name}: {int((~within).sum())} of {within.numel()} rows are off, "
        f"the worst by {(error / bound).max().item():.3g} times its bound; error {error.max().item():.3g}"
    )


def run(inputs: dict, how: dict, dy: torch.Tensor) -> tuple[torch.Tensor, dict]:
    """The library's output, and its gradients in every tensor that is there."""
    leaves = {name: None if t is None else t.detach().requires_grad_() for name, t in inputs.items()}
    y = long_conv(**leaves, **how)
    present = {name: t for name, t in leaves.items() if t is not None}
    grads = torch.autograd.grad(y, list(present.values()), dy)
    return y.detach(), dict(zip(present, grads, strict=True))


def check_case(case: Case, inputs: dict | None = None, dy: torch.Tensor | None = None) -> None:
    """Output and gradients against float64."""
    inputs = moved(case.inputs()) if inputs is None else inputs
    dy = case.cotangent().to(DEVICE) if dy is None else dy
    y, grads = run(inputs, case.how, dy)
    check_rows("y", y, operation(inputs, case.how, fft_sum))
    exact = gradients(inputs, case.how, dy, fft_sum)
    for name, grad in grads.items():
        assert grad.dtype == inputs[name].dtype and grad.shape == inputs[name].shape, name
        if name == "skip":
            check_skip(grad, inputs, dy, exact[name])
        else:
            check = check_taps if name in ("k", "k_rev") else check_rows
            check(f"gradient of {name}", grad, exact[name])


def equal(a: dict, b: dict) -> bool:
    """Whether all tensors agree in every bit but those of NaN."""
    return a.keys() == b.keys() and all(same_bits(a[name], b[name]) for name in a)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(torch.nan_to_num(a, nan=12345.0), torch.nan_to_num(b, nan=12345.0))
