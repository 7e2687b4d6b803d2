"""The one table of cases: forward, gradients, the torch.fft operators, filters and mutants all run it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

TENSORS = ("u", "k", "k_rev", "pregate", "postgate", "skip")


@dataclass(frozen=True)
class Case:
    mode: str
    batch: int
    channels: int
    length: int
    taps: int
    taps_reverse: int = 0
    fft_size: int | None = None
    k_rev_lag: int = 1
    gates: str = ""  # any of "pre", "post", "pre post"
    skip: bool = False
    dtype: torch.dtype = torch.float32
    filter_dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        name = f"{self.mode}-{self.batch}x{self.channels}x{self.length}-{self.taps}taps"
        name += f"-{self.taps_reverse}reverse-lag{self.k_rev_lag}" if self.taps_reverse else ""
        name += f"-N{self.fft_size}" if self.fft_size else ""
        name += "".join(f"-{gate}" for gate in self.gates.split()) + ("-skip" if self.skip else "")
        return f"{name}-{str(self.dtype)[6:]}" + (
            f"-k{str(self.filter_dtype)[6:]}" if self.filter_dtype != torch.float32 else ""
        )

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

        return {
            "u": normal(*rows),
            "k": taps(self.taps),
            "k_rev": taps(self.taps_reverse) if self.taps_reverse else None,
            "pregate": normal(*rows) if "pre" in self.gates else None,
            "postgate": normal(*rows) if "post" in self.gates else None,
            "skip": normal(self.channels, dtype=torch.float64 if self.dtype == torch.float64 else torch.float32)
            if self.skip
            else None,
        }

    def cotangent(self, seed: int = 1) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.batch, self.channels, self.length, generator=generator, dtype=torch.float64).to(
            self.dtype
        )


HALF, BRAIN, DOUBLE = (
    {"dtype": torch.float16},
    {"dtype": torch.bfloat16},
    {"dtype": torch.float64, "filter_dtype": torch.float64},
)
GATED = {"gates": "pre post"}

CASES = [
    # The smallest, and lengths around a vector
    Case("causal", 1, 1, 1, 1),
    Case("causal", 2, 3, 1, 5, skip=True, **GATED),
    Case("causal", 1, 2, 2, 1, gates="post"),
    Case("causal", 3, 1, 15, 15, skip=True),
    Case("causal", 1, 5, 16, 4, gates="pre"),
    Case("causal", 2, 2, 17, 40, **GATED),
    # Direct sums
    Case("causal", 4, 8, 100, 3, skip=True, **GATED),
    Case("causal", 2, 3, 1000, 7, gates="pre"),
    Case("causal", 2, 3, 333, 33, **HALF, gates="pre", skip=True),
    Case("causal", 2, 3, 333, 33, **BRAIN, gates="post"),
    Case("causal", 2, 3, 333, 33, **DOUBLE, skip=True, **GATED),
    # One right-angle transform: powers of two, 3 * 2^n, 5 * 2^n, odd and prime lengths
    Case("causal", 3, 4, 255, 255, skip=True),
    Case("causal", 2, 4, 256, 256, **GATED),
    Case("causal", 2, 4, 257, 300, gates="post", skip=True),
    Case("causal", 2, 2, 768, 768, gates="pre"),
    Case("causal", 1, 3, 997, 500, skip=True, **GATED),
    Case("causal", 5, 2, 1024, 1024, skip=True, **HALF, **GATED),
    Case("causal", 2, 2, 1024, 64, **BRAIN, **GATED),
    Case("causal", 2, 2, 1280, 1280, **DOUBLE, gates="pre", skip=True),
    Case("causal", 2, 2, 1023, 2000, filter_dtype=torch.bfloat16, **BRAIN),
    Case("causal", 2, 2, 640, 640, filter_dtype=torch.float16, dtype=torch.float16, skip=True),
    Case("causal", 2, 2, 640, 640, filter_dtype=torch.float64, gates="post"),
    Case("causal", 2, 2, 640, 640, dtype=torch.float64, skip=True),
    Case("causal", 70, 1, 300, 300, skip=True, gates="pre"),  # more rows than slices
    Case("causal", 1, 70, 300, 300, **GATED),
    Case("causal", 2, 4, 4096, 4096, skip=True, **GATED),
    Case("causal", 2, 2, 5000, 300),
    Case("causal", 1, 2, 16384, 16384, **HALF, gates="pre"),
    Case("causal", 2, 1, 40000, 40000, skip=True, **GATED),
    Case("causal", 1, 1, 65536, 65536, **DOUBLE),
    Case("causal", 1, 1, 1 << 20, 1 << 20, gates="post"),
    # Bidirectional, both conventions, either filter longer than the row
    Case("bidirectional", 2, 2, 1, 3, 3, skip=True, **GATED),
    Case("bidirectional", 1, 1, 1, 1, 2, k_rev_lag=0),
    Case("bidirectional", 2, 3, 20, 6, 4),
    Case("bidirectional", 2, 3, 20, 6, 4, k_rev_lag=0, skip=True, **GATED),
    Case("bidirectional", 2, 3, 65, 100, 100, gates="pre"),
    Case("bidirectional", 2, 3, 65, 100, 100, k_rev_lag=0, gates="post"),
    Case("bidirectional", 3, 2, 500, 500, 1, skip=True),
    Case("bidirectional", 3, 2, 512, 1, 512, **GATED),
    Case("bidirectional", 3, 2, 512, 512, 512, k_rev_lag=0, skip=True, **GATED),
    Case("bidirectional", 2, 2, 700, 700, 700, **DOUBLE, skip=True, gates="post"),
    Case("bidirectional", 2, 2, 700, 700, 800, k_rev_lag=0, **DOUBLE, gates="pre"),
    Case("bidirectional", 2, 2, 1000, 900, 1000, **HALF, **GATED),
    Case("bidirectional", 2, 2, 1000, 1000, 37, k_rev_lag=0, **BRAIN, skip=True),
    Case("bidirectional", 1, 2, 32768, 32768, 32768, **GATED),
    # Circular: any FFT size at least as long as row and filter
    Case("circular", 1, 1, 1, 1, fft_size=1),
    Case("circular", 2, 2, 1, 7, fft_size=7, skip=True, **GATED),
    Case("circular", 2, 3, 12, 12, fft_size=12, gates="pre"),
    Case("circular", 2, 3, 30, 50, fft_size=51),
    Case("circular", 2, 3, 97, 97, fft_size=97, skip=True, **GATED),
    Case("circular", 2, 2, 257, 200, fft_size=257, **DOUBLE, **GATED),
    Case("circular", 3, 2, 600, 1009, fft_size=1009, gates="post", skip=True),
    Case("circular", 3, 2, 500, 1000, fft_size=1000, **GATED),
    Case("circular", 3, 2, 501, 1001, fft_size=1001, **HALF, skip=True),
    Case("circular", 2, 2, 100, 2000, fft_size=4000, gates="pre"),
    Case("circular", 2, 2, 999, 20, fft_size=1000, **GATED),
    # Pairs of rows: N a size of the table and L > N / 2, even and odd batches
    Case("circular", 2, 3, 256, 256, fft_size=256, skip=True, **GATED),
    Case("circular", 1, 3, 512, 512, fft_size=512),
    Case("circular", 5, 2, 1024, 1024, fft_size=1024, skip=True, **GATED),
    Case("circular", 5, 2, 800, 1000, fft_size=1024, gates="pre"),
    Case("circular", 3, 2, 513, 1, fft_size=1024, skip=True),
    Case("circular", 3, 2, 2048, 700, fft_size=2048, **HALF, gates="post", skip=True),
    Case("circular", 4, 2, 2048, 2048, fft_size=2048, **BRAIN, **GATED),
    Case("circular", 3, 2, 1024, 1024, fft_size=1024, **DOUBLE, skip=True, **GATED),
    Case("circular", 65, 1, 1024, 1024, fft_size=1024, gates="post"),
    Case("circular", 3, 1, 16384, 16384, fft_size=16384, skip=True, **GATED),
    Case("circular", 1, 2, 16384, 32768, fft_size=32768, **GATED),
    Case("circular", 2, 1, 65536, 65536, fft_size=65536),
]
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
