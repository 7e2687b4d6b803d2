"""What the tests of short convolutions share: inputs of a case, the definition in float64, and the bounds of rows."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from cases import row_errors

from flashfftconv.short_cases import ShortCase, short_cases
from flashfftconv.short_problem import ACTIVATIONS, GATE, LAYOUTS

CASES = short_cases("python")
NAMES = ("x", "weight", "bias", "initial_state")
FINISH = {None: lambda z: z, "silu": F.silu, "gelu": F.gelu}


def name_of(case: ShortCase) -> str:
    shape = f"{case.batch}x{case.channels}x{case.length}-{case.taps}taps-{case.layout}-{case.sides[0]}-{case.sides[1]}"
    words = [shape, *case.extras, str(case.dtype)[6:], str(case.weight_dtype)[6:], case.strides]
    return "-".join(words)


def activation_of(case: ShortCase) -> str | None:
    return next((name for name in ("silu", "gelu") if name in case.extras), None)


def how_of(case: ShortCase) -> tuple[int, int, int, int]:
    """The operator's arguments behind the tensors."""
    epilogue = GATE if "gate" in case.extras else ACTIVATIONS[activation_of(case)]
    return (*case.sides, epilogue, LAYOUTS[case.layout])


def inputs_of(case: ShortCase, seed: int = 0) -> dict[str, torch.Tensor | None]:
    """x in its layout, weight, bias, initial_state and cu_seqlens; absent tensors are None."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, dtype):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def rows(channels, samples):
        lines, line = (channels, samples) if case.layout == "bhl" else (samples, channels)
        if case.strides == "spaced":
            return normal(case.batch, lines + 1, line + 3, dtype=case.dtype)[:, :lines, :line]
        return normal(case.batch, lines, line, dtype=case.dtype)

    rows_of_states = case.batch if case.ends is None else len(case.ends) - 1
    out_channels = case.channels // 3 * 2 if "gate" in case.extras else case.channels
    return {
        "x": rows(case.channels, case.length),
        "weight": normal(case.channels, case.taps, dtype=case.weight_dtype),
        "bias": normal(case.channels, dtype=case.weight_dtype) if "bias" in case.extras else None,
        "initial_state": normal(rows_of_states, case.channels, case.taps - 1, dtype=case.dtype)
        if "state" in case.extras
        else None,
        "cu_seqlens": None if case.ends is None else torch.tensor(case.ends),
        "dy": rows(out_channels, case.outputs),
    }


def definition(case: ShortCase, x, weight, bias, initial_state):
    """y by torch's conv1d in the dtype of its inputs; differentiable. x and y in the case's layout."""
    left, right = case.sides
    rows = x if case.layout == "bhl" else x.transpose(1, 2)
    parts = []
    cuts = case.ends or [0, case.length]
    for i, (start, end) in enumerate(itertools.pairwise(cuts)):
        if start == end:
            continue
        part = rows[..., start:end]
        if initial_state is None:
            part = F.pad(part, (left, right))
        else:
            part = torch.cat([initial_state if case.ends is None else initial_state[i : i + 1], part], -1)
        parts.append(F.conv1d(part, weight[:, None], bias, groups=case.channels))
    z = torch.cat(parts, -1)
    if "gate" in case.extras:
        z0, z1, z2 = z.chunk(3, 1)
        y = torch.cat([z0, z1 * z2], 1)
    else:
        y = FINISH[activation_of(case)](z)
    return y if case.layout == "bhl" else y.transpose(1, 2)


def exact(case: ShortCase, inputs: dict) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """y and the gradients of sum(dy y) by name, in float64."""
    wide = {
        name: t if t is None else t.detach().double().requires_grad_() for name, t in inputs.items() if name in NAMES
    }
    y = definition(case, **wide)
    present = [name for name in NAMES if wide[name] is not None]
    grads = torch.autograd.grad(y, [wide[name] for name in present], inputs["dy"].double(), allow_unused=True)
    zeros = (torch.zeros_like(wide[name]) for name in present)
    grads = (zero if g is None else g for g, zero in zip(grads, zeros, strict=True))
    return y.detach(), dict(zip(present, grads, strict=True))


def check_samples(name: str, case: ShortCase, result: torch.Tensor, expected: torch.Tensor) -> None:
    """Every row of samples is within its bound; a row is a channel's."""
    if case.layout == "blh":
        result, expected = result.transpose(1, 2), expected.transpose(1, 2)
    check(name, result, expected, case)


def check(name: str, result: torch.Tensor, expected: torch.Tensor, case: ShortCase) -> None:
    """Fails unless every row has the error that its type allows; NaN is never within.

    Through an activation or the gate, and where terms cancel in sums of few, more is lost; the C++ tests, which know
    the size of the terms, hold those to what they amount to.
    """
    steep = 4.0 if how_of(case)[2] else 1.0
    few = 8.0 if expected.shape[-1] < 256 else 1.0
    computed = (2e-15 if result.dtype == case.dtype == torch.float64 else 3e-7) * steep * few
    error = row_errors(result, expected)
    if torch.finfo(result.dtype).eps > torch.finfo(torch.float32).eps:
        bound = 1.05 * row_errors(expected.to(result.dtype), expected) + 2 * computed
    else:
        bound = torch.tensor(computed, dtype=torch.float64)
    assert bool((error <= bound).all()), f"{name}: error {error.max():.3g}, allowed {bound.max():.3g}"
    if result.dtype == torch.float16 and expected.shape[-1] >= 256:
        assert error.max() <= 3e-4, f"{name}: {error.max():.3g} in float16"
