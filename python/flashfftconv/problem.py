"""What may be asked of a long convolution: names, types and the checks that every call passes.

Shapes: `u`, `pregate`, `postgate` [B, H, L]; `k` [H, Lk] or [1, H, Lk]; `k_rev` [H, Lr]; `skip` [H].
"""

from __future__ import annotations

import torch
from torch import Tensor

MODES = {"circular": 0, "causal": 1, "bidirectional": 2}
DTYPES = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2, torch.float64: 3}
_DTYPE_NAMES = "float16, bfloat16, float32 or float64"
_LARGEST_FFT = 2**62


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums are formed: float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_call(
    u: Tensor,
    k: Tensor,
    mode: str,
    k_rev: Tensor | None,
    k_rev_lag: int,
    fft_size: int | None,
    pregate: Tensor | None,
    postgate: Tensor | None,
    skip: Tensor | None,
) -> None:
    """Raises ValueError or TypeError naming the argument, what came and what is allowed."""
    check_tensor("u", u)
    if u.dim() != 3:
        raise ValueError(f"u has shape {shape_of(u)}; it must be [batch, channels, length]")
    if u.shape[-1] < 1:
        raise ValueError(f"u has shape {shape_of(u)}; its length must be at least 1")
    check_filter(k, mode, k_rev, k_rev_lag, fft_size)
    channels = u.shape[1]
    for name, taps in (("k", k), ("k_rev", k_rev)):
        if taps is None:
            continue
        if taps.shape[-2] != channels:
            raise ValueError(
                f"{name} has {taps.shape[-2]} channels (shape {shape_of(taps)}); u has {channels} ({shape_of(u)})"
            )
        check_device(name, taps, u)
    if mode == "circular" and u.shape[-1] > fft_size:
        raise ValueError(
            f"u has length {u.shape[-1]}; a circular convolution of size {fft_size} allows at most {fft_size}"
        )
    for name, gate in (("pregate", pregate), ("postgate", postgate)):
        if gate is not None:
            _check_gate(name, gate, u)
    if skip is not None:
        check_tensor("skip", skip)
        if skip.shape != (channels,):
            raise ValueError(f"skip has shape {shape_of(skip)}; it must be [channels], [{channels}]")
        check_device("skip", skip, u)


def check_filter(k: Tensor, mode: str, k_rev: Tensor | None, k_rev_lag: int, fft_size: int | None) -> None:
    """The checks that concern the filter alone."""
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(map(repr, MODES))}")
    _check_taps("k", k)
    if mode == "circular":
        if fft_size is None:
            raise ValueError("fft_size is missing; mode 'circular' needs it")
        check_int("fft_size", fft_size)
        if fft_size < 1 or fft_size > _LARGEST_FFT:
            raise ValueError(f"fft_size is {fft_size}; it must be at least 1 and at most 2^62")
        if k.shape[-1] > fft_size:
            raise ValueError(
                f"k has {k.shape[-1]} taps; a circular convolution of size {fft_size} allows at most {fft_size}"
            )
    elif fft_size is not None:
        raise ValueError(f"fft_size is {fft_size}; it belongs to mode 'circular', mode {mode!r} chooses its own")
    if mode == "bidirectional":
        if k_rev is None:
            raise ValueError("k_rev is missing; mode 'bidirectional' needs it")
        _check_taps("k_rev", k_rev)
        if k_rev.dim() != 2 or k_rev.shape[0] != k.shape[-2]:
            raise ValueError(
                f"k_rev has shape {shape_of(k_rev)}; it must be [channels of k, taps], [{k.shape[-2]}, ...]"
            )
        if k_rev.dtype != k.dtype:
            raise TypeError(f"k_rev is {k_rev.dtype}; it must be of the dtype of k, {k.dtype}")
        check_int("k_rev_lag", k_rev_lag, "an int, 1 or 0")
        if k_rev_lag not in (0, 1):
            raise ValueError(f"k_rev_lag is {k_rev_lag}; it must be 1 (k_rev[0] acts at lag -1) or 0 (at lag 0)")
        check_device("k_rev", k_rev, k, of="k")
    elif k_rev is not None:
        raise ValueError(f"k_rev is given; only mode 'bidirectional' takes it, not {mode!r}")


def is_fft_size(value: object) -> bool:
    """Whether `value` is a size as the operators take it: an int, no other number that passes for one."""
    return type(value) is int and 0 < value <= _LARGEST_FFT


def check_int(name: str, value: object, allowed: str = "an int") -> None:
    """Raises TypeError unless `value` is a whole number (a symbolic one, while torch.compile traces, is)."""
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        raise TypeError(f"{name} is {value!r}; it must be {allowed}")


def shape_of(t: Tensor) -> list[int]:
    """As messages show it."""
    return list(t.shape)


def check_tensor(name: str, t: object) -> None:
    """Raises TypeError unless `t` is a tensor of a floating type that is known."""
    if not isinstance(t, Tensor):
        raise TypeError(f"{name} is a {type(t).__name__}; it must be a torch.Tensor")
    if t.dtype not in DTYPES:
        raise TypeError(f"{name} is {t.dtype}; it must be {_DTYPE_NAMES}")


def _check_taps(name: str, t: Tensor) -> None:
    check_tensor(name, t)
    if t.dim() != 2 and not (name == "k" and t.dim() == 3 and t.shape[0] == 1):
        allowed = "[channels, taps] or [1, channels, taps]" if name == "k" else "[channels, taps]"
        raise ValueError(f"{name} has shape {shape_of(t)}; it must be {allowed}")
    if t.shape[-1] < 1:
        raise ValueError(f"{name} has shape {shape_of(t)}; it must have at least 1 tap")


def _check_gate(name: str, gate: Tensor, u: Tensor) -> None:
    check_tensor(name, gate)
    if gate.shape != u.shape:
        raise ValueError(f"{name} has shape {shape_of(gate)}; it must be that of u, {shape_of(u)}")
    if gate.dtype != u.dtype and not _is_autocast_enabled(u.device.type):
        raise TypeError(f"{name} is {gate.dtype}; it must be of the dtype of u, {u.dtype}")
    check_device(name, gate, u)


def _is_autocast_enabled(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def check_device(name: str, t: Tensor, other: Tensor, of: str = "u") -> None:
    """Raises ValueError unless both tensors are on one device."""
    if t.device != other.device:
        raise ValueError(f"{name} is on {t.device}; it must be on the device of {of}, {other.device}")
