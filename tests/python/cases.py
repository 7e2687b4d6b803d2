"""The table's cases for Python: forward, gradients, the torch.fft operators, filters and mutants all run them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flashfftconv.cases import Case as TableCase
from flashfftconv.cases import cases as table

TENSORS = ("u", "k", "k_rev", "pregate", "postgate", "skip")


@dataclass(frozen=True)
class Case(TableCase):
    """A line of the table with its tensors."""

    def __str__(self) -> str:
        name = f"{self.mode}-{self.batch}x{self.channels}x{self.length}-{self.taps}taps"
        name += f"-{self.taps_reverse}reverse-lag{self.k_rev_lag}" if self.taps_reverse else ""
        name += f"-N{self.fft_size}" if self.fft_size else ""
        name += "".join(f"-{gate}" for gate in self.gates.split()) + ("-skip" if self.skip else "")
        name += f"-{str(self.dtype)[6:]}" + (
            f"-k{str(self.filter_dtype)[6:]}" if self.filter_dtype != torch.float32 else ""
        )
        return name + ("" if self.strides == "dense" else f"-{self.strides}")

    @property
    def is_small(self) -> bool:
        """Whether adding tap by tap is quick."""
        return self.length * (self.taps + self.taps_reverse) <= 400_000

    @property
    def how(self) -> dict:
        """The arguments of `long_conv` that are not tensors."""
        return {"mode": self.mode, "k_rev_lag": self.k_rev_lag, "fft_size": self.fft_size}

    def inputs(self, seed: int = 0) -> dict[str, torch.Tensor | None]:
        """Unit-scale rows and a decaying filter; absent tensors are None."""
        generator = torch.Generator().manual_seed(seed)
        rows = (self.batch, self.channels, self.length)

        def normal(*shape, dtype=self.dtype):
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

        def taps(count):
            decay = torch.exp(-4.0 * torch.arange(count, dtype=torch.float64) / count)
            return (normal(self.channels, count, dtype=torch.float64) * decay / count**0.5).to(self.filter_dtype)

        def signal():
            batch, channels, length = rows
            if self.strides == "spaced":
                return normal(batch, channels + 1, length + 3)[:, :channels, :length]
            if self.strides == "transposed":
                return normal(channels, batch, length).transpose(0, 1)
            return normal(1, channels, length).expand(rows) if self.strides == "shared" else normal(*rows)

        return {
            "u": signal(),
            "k": taps(self.taps),
            "k_rev": taps(self.taps_reverse) if self.taps_reverse else None,
            "pregate": signal() if "pre" in self.gates.split() else None,
            "postgate": signal() if "post" in self.gates.split() else None,
            "skip": normal(self.channels, dtype=torch.float64 if self.dtype == torch.float64 else torch.float32)
            if self.skip
            else None,
        }

    def cotangent(self, seed: int = 1) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.batch, self.channels, self.length, generator=generator, dtype=torch.float64).to(
            self.dtype
        )


CASES = [Case(**vars(case)) for case in table("python")]
SMALL_CASES = [case for case in CASES if case.is_small]


def row_errors(result: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """norm(result - exact) / norm(exact) of every row; where exact is zero, 0 if result is zero too, else infinity.

    Rows shorter than 8 samples, whose terms may cancel, are judged together.
    """
    assert result.shape == exact.shape, f"shape {list(result.shape)}, expected {list(exact.shape)}"
    if exact.shape[-1] < 8:
        result, exact = result.flatten(), exact.flatten()
    difference = torch.linalg.vector_norm(result.double() - exact, dim=-1)
    norm = torch.linalg.vector_norm(exact, dim=-1)
    return torch.where((norm == 0) & (difference == 0), 0.0, difference / norm)


def row_bounds(exact: torch.Tensor, dtype: torch.dtype, precision: torch.dtype) -> torch.Tensor:
    """What a row summed in `precision` may be off by in `dtype`: 1.05 times the rounding of the exact answer."""
    computed = 1e-14 if precision == torch.float64 else 1e-6
    if torch.finfo(dtype).eps <= torch.finfo(precision).eps:
        return torch.tensor(computed, dtype=torch.float64)
    return computed + 1.05 * row_errors(exact.to(dtype), exact)


def check_rows(name: str, result: torch.Tensor, exact: torch.Tensor, precision: torch.dtype) -> None:
    """Fails unless every row is within its bound; NaN is never within."""
    error, bound = row_errors(result, exact), row_bounds(exact, result.dtype, precision)
    assert bool((error <= bound).all()), (
        f"{name}: worst relative error of a row {error.max().item():.3g}, allowed {bound.max().item():.3g}"
    )
    if result.dtype == torch.float16 and exact.shape[-1] >= 256:
        assert error.max() <= 3e-4, f"{name}: {error.max().item():.3g} in float16, 3e-4 is what rounding costs"


def check_gradients(results: dict, exact: dict, inputs: dict, dy: torch.Tensor, precision: torch.dtype) -> None:
    """As `check_rows` for every gradient; that of skip, a sum of B L products, is measured by those products' norm."""
    for name, result in results.items():
        assert result.dtype == inputs[name].dtype, f"gradient of {name} is {result.dtype}"
        if name != "skip":
            check_rows(f"gradient of {name}", result, exact[name], precision)
            continue
        products = dy.double()
        for factor in (inputs["u"], inputs["pregate"], inputs["postgate"]):
            products = products if factor is None else products * factor.double()
        scale = torch.linalg.vector_norm(products, dim=(0, 2))
        error = ((result.double() - exact["skip"]).abs() / scale).max()
        allowed = 1e-14 if precision == torch.float64 else 1e-6
        assert bool(error <= allowed), (
            f"gradient of skip: {error:.3g} of the norm of its products, allowed {allowed:.3g}"
        )
