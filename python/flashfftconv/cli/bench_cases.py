"""What ``flashfftconv bench`` measures: the table's modes, with shapes and inputs, and how each is called."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import flashfftconv
from flashfftconv.cases import benchmarks
from flashfftconv.train.fft_reference import fft_conv

DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "float16", "bfloat16")}
MODES = benchmarks()
DEFAULT_LENGTHS = ",".join(MODES["causal"].columns["N"])

# Batch and channels from an FFT size upwards: what fits and takes a fraction of a second.
CPU_SHAPES = ((0, 8, 64), (131072, 4, 16), (262144, 2, 16), (524288, 2, 8), (1048576, 2, 4), (4194304, 1, 4))
CUDA_SHAPES = (
    (0, 64, 768),
    (16384, 32, 768),
    (32768, 16, 768),
    (65536, 8, 768),
    (131072, 8, 384),
    (262144, 8, 192),
    (524288, 8, 96),
    (1048576, 8, 48),
    (2097152, 8, 32),
    (4194304, 8, 16),
)


@dataclass(frozen=True)
class Case:
    """One mode at one FFT size; zero for `batch` or `channels` chooses by size."""

    mode: str
    n: int
    dtype: torch.dtype
    device: str = "cpu"
    batch: int = 0
    channels: int = 0
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, H, L) of the input."""
        table = CUDA_SHAPES if self.device.startswith("cuda") else CPU_SHAPES
        _, batch, channels = [row for row in table if row[0] <= self.n][-1]
        return self.batch or batch, self.channels or channels, MODES[self.mode].at(self.n)["L"]

    @property
    def taps(self) -> int:
        """Lk, the length of the filter."""
        return MODES[self.mode].at(self.n)["Lk"]

    @property
    def operation(self) -> str:
        """The mode as `long_conv` names it."""
        return MODES[self.mode].columns["mode"][0]

    def describe(self) -> dict[str, object]:
        """The columns that say what a row is about."""
        batch, channels, length = self.shape
        name = str(self.dtype).removeprefix("torch.")
        return {"mode": self.mode, "n": self.n, "L": length, "Lk": self.taps, "B": batch, "H": channels, "dtype": name}


def make_inputs(case: Case) -> dict[str, Tensor]:
    """Inputs of unit scale and filters that decay, by the names that `long_conv` gives them."""
    generator = torch.Generator(case.device).manual_seed(case.seed)
    place = {"device": case.device, "generator": generator}
    shape, sizes, extras = case.shape, MODES[case.mode].at(case.n), MODES[case.mode].columns["with"][0]
    filter_dtype = torch.float64 if case.dtype == torch.float64 else torch.float32

    def make_filter(taps: int) -> Tensor:
        decay = torch.exp(-torch.arange(taps, device=case.device) * (8.0 / taps)) / math.sqrt(taps)
        return (torch.randn(shape[1], taps, **place) * decay).to(filter_dtype)

    def make_signal() -> Tensor:
        return torch.randn(shape, **place).to(case.dtype)

    inputs = {"u": make_signal(), "k": make_filter(sizes["Lk"])}
    if sizes["Lr"]:
        inputs["k_rev"] = make_filter(sizes["Lr"])
    for name in ("pre", "post"):
        if name in extras.split("+"):
            inputs[f"{name}gate"] = make_signal()
    return inputs


def call_ours(case: Case, inputs: dict[str, Tensor]) -> Tensor:
    """The operation as this package does it."""
    return flashfftconv.long_conv(**inputs, **_how(case))


def explain_ours(case: Case, inputs: dict[str, Tensor]) -> str:
    """The plan of `call_ours`, in words."""
    return flashfftconv.explain(inputs["u"], inputs["k"], k_rev=inputs.get("k_rev"), **_how(case))


def _how(case: Case) -> dict[str, object]:
    return {"mode": case.operation, "fft_size": case.n if case.operation == "circular" else None}


def call_torch(case: Case, inputs: dict[str, Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """The operation by torch.fft, in float32 unless the case is float64, back in the input's type."""
    if dtype is not None:
        return fft_conv(**inputs, fft_size=case.n, dtype=dtype)
    working = torch.float64 if case.dtype == torch.float64 else torch.float32
    return fft_conv(**inputs, fft_size=case.n, dtype=working).to(case.dtype)
