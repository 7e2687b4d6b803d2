"""Long convolutions as functions: `long_conv`, a reusable `Filter`, and `explain`."""

from __future__ import annotations

import torch
from torch import Tensor

from . import ops  # noqa: F401  (registers the operators)
from .dispatch import call, follow_autocast, kernel_checks, raise_cause
from .problem import DTYPES, MODES, check_call, check_filter, compute_dtype, is_fft_size

_ops = torch.ops.flashfftconv
_long_conv = _ops.long_conv.default


def long_conv(
    u: Tensor,
    k: Tensor | Filter,
    mode: str = "causal",
    k_rev: Tensor | None = None,
    k_rev_lag: int = 1,
    fft_size: int | None = None,
    pregate: Tensor | None = None,
    postgate: Tensor | None = None,
    skip: Tensor | None = None,
) -> Tensor:
    r"""Convolves every row of `u` with its channel's filter, gates and skip fused.

    With ``x = pregate * u``::

        y[b, h, i] = postgate[b, h, i] * (sum_j k[h, j] * x[b, h, i - j] + skip[h] * x[b, h, i])

    Parameters
    ----------
    u : Tensor, [B, H, L]
        float16, bfloat16, float32 or float64; any strides. ``L >= 1``; B and H may be 0.
    k : Tensor, [H, Lk] or [1, H, Lk]; or Filter
        Taps in any floating dtype, ``Lk >= 1``. A `Filter` carries its own mode, `k_rev`, `k_rev_lag` and `fft_size`:
        the arguments of those names must then be left out.
    mode : {"causal", "circular", "bidirectional"}
        causal: lags j >= 0; taps past L never matter. circular: indices modulo `fft_size`, `u` and `k` zero-extended
        to it, ``L <= fft_size`` and ``Lk <= fft_size``. bidirectional: lags >= 0 from `k`, lags < 0 from `k_rev`.
    k_rev : Tensor, [H, Lr], optional
        Bidirectional mode only, of the dtype of `k`: ``k_rev[j]`` acts at lag ``-(j + k_rev_lag)``.
    k_rev_lag : {1, 0}
        1: the pad-and-flip convention of LongConv and M2. 0: H3's.
    fft_size : int, optional
        Circular mode only: its N, any integer >= 1.
    pregate, postgate : Tensor, [B, H, L], optional
        Of the dtype of `u`.
    skip : Tensor, [H], optional
        Any floating dtype.

    Returns
    -------
    Tensor, [B, H, L]
        In the dtype of `u`. Sums are formed in float32 (float64 for a float64 `u`); on a GPU the engine's transforms of
        float16 and bfloat16 rows are in half precision: "Rounding" in the documentation, page "CUDA".

    Raises
    ------
    ValueError, TypeError
        Naming the argument, what came and what is allowed.

    Notes
    -----
    Differentiable to any order in every tensor; same bits every run. Under autocast `u` and the gates follow it, the
    filter keeps its precision. Formulas: "The operation" in the documentation.

    Examples
    --------
    >>> u, k = torch.randn(4, 64, 1000), torch.randn(64, 1000)
    >>> long_conv(u, k).shape
    torch.Size([4, 64, 1000])
    """
    if isinstance(k, Filter):
        given = dict(mode=(mode, "causal"), k_rev=(k_rev, None), k_rev_lag=(k_rev_lag, 1), fft_size=(fft_size, None))
        for name, (value, default) in given.items():
            if value is not default and value != default and value is not getattr(k, name):
                raise ValueError(f"k is a Filter, which carries its own {name}; leave the argument out")
        return k._apply(u, pregate, postgate, skip)
    # A check takes as long as all the rest here. The operator's kernels in C++ check tensors once more: where nothing
    # else could be wrong, words are looked for after they have refused.
    late = k_rev is None and skip is None and (fft_size is None or is_fft_size(fft_size)) and kernel_checks(u)
    if not late:
        check_call(u, k, mode, k_rev, k_rev_lag, fft_size, pregate, postgate, skip)
    try:
        taps = k if k.dim() == 2 else k.squeeze(0)
        if skip is not None:
            skip = skip.to(compute_dtype(u.dtype))
        return call(_long_conv, (u, taps, k_rev, pregate, postgate, skip, MODES[mode], fft_size or 0, k_rev_lag))
    except Exception as error:
        if not late:
            raise
        refused = error
    try:
        check_call(u, k, mode, k_rev, k_rev_lag, fft_size, pregate, postgate, skip)
        raise refused
    finally:
        del refused  # its traceback holds this frame, and so the tensors


class Filter:
    """A filter with its mode, which may stand for `k` in `long_conv`.

    After `precompute`, its spectrum is computed once for each length, dtype and device it meets and kept: for
    inference, where taps no longer change. Nothing is kept before: taps may then change in place between calls, and
    gradients flow.

    Parameters
    ----------
    k, mode, k_rev, k_rev_lag, fft_size
        As in `long_conv`.

    Raises
    ------
    ValueError, TypeError
        As `long_conv`; from a call that needs gradients of a precomputed filter, ValueError.
    """

    def __init__(
        self,
        k: Tensor,
        mode: str = "causal",
        k_rev: Tensor | None = None,
        k_rev_lag: int = 1,
        fft_size: int | None = None,
    ):
        check_filter(k, mode, k_rev, k_rev_lag, fft_size)
        self.k, self.k_rev = k, k_rev
        self.mode, self.k_rev_lag, self.fft_size = mode, k_rev_lag, fft_size
        self._spectra: dict[tuple, Tensor | None] | None = None  # None for a key: torch.fft convolves
        self._taps: tuple[Tensor, Tensor | None] = (k, k_rev)

    def precompute(self) -> Filter:
        """Fixes the taps as they are now; their spectra are computed at the first call of each length. Returns self."""
        self._taps = tuple(t if t is None else t.detach().flatten(0, -2).clone() for t in (self.k, self.k_rev))
        self._spectra = {}
        return self

    @property
    def is_precomputed(self) -> bool:
        """Whether taps are fixed and their spectra kept."""
        return self._spectra is not None

    def _has_engine(self, u: Tensor) -> bool:
        """Whether rows like these meet an engine that reads prepared spectra; torch.fft does not."""
        if u.device.type != "cuda":
            return u.device.type == "cpu"
        k, k_rev = self._taps
        key = (u.shape[-1], u.dtype, u.device)
        if key not in self._spectra:
            taps = (k.shape[-1], 0 if k_rev is None else k_rev.shape[-1])
            how = (MODES[self.mode], self.fft_size or 0, self.k_rev_lag, DTYPES[u.dtype], DTYPES[k.dtype])
            if _ops.why_not(*u.shape, *taps, *how, u.device.index):
                self._spectra[key] = None
        return self._spectra.get(key, True) is not None

    def _apply(self, u: Tensor, pregate: Tensor | None, postgate: Tensor | None, skip: Tensor | None) -> Tensor:
        if self._spectra is None:
            return long_conv(u, self.k, self.mode, self.k_rev, self.k_rev_lag, self.fft_size, pregate, postgate, skip)
        u, pregate, postgate = follow_autocast(u, pregate, postgate)
        k, k_rev = self._taps
        check_call(u, k, self.mode, k_rev, self.k_rev_lag, self.fft_size, pregate, postgate, skip)
        if not self._has_engine(u):
            return long_conv(u, k, self.mode, k_rev, self.k_rev_lag, self.fft_size, pregate, postgate, skip)
        if torch.is_grad_enabled() and any(
            t is not None and t.requires_grad for t in (u, self.k, self.k_rev, pregate, postgate, skip)
        ):
            raise ValueError(
                "k is a precomputed Filter and a gradient is wanted; use it under torch.no_grad(), or pass the taps"
            )
        if skip is not None:
            skip = skip.to(compute_dtype(u.dtype))
        how = (MODES[self.mode], self.fft_size or 0, self.k_rev_lag)
        key = (u.shape[-1], u.dtype, u.device)
        sizes = (k.shape[-1], 0 if k_rev is None else k_rev.shape[-1])
        try:
            spectrum = self._spectra.get(key)
            if spectrum is None:
                spectrum = self._spectra[key] = _ops.prepare_filter(u, k, k_rev, *how)
            return _ops.long_conv_prepared(u, spectrum, *sizes, pregate, postgate, skip, *how)
        except RuntimeError as error:
            raise_cause(error, u.device)
            raise


def explain(
    u: Tensor,
    k: Tensor | Filter,
    mode: str = "causal",
    k_rev: Tensor | None = None,
    k_rev_lag: int = 1,
    fft_size: int | None = None,
) -> str:
    """The plan of `long_conv` for these arguments, in words: algorithm, sizes, backend, workspace and why.

    Raises
    ------
    ValueError, TypeError
        As `long_conv`.
    """
    if isinstance(k, Filter):
        k, mode, k_rev, k_rev_lag, fft_size = k.k, k.mode, k.k_rev, k.k_rev_lag, k.fft_size
    check_call(u, k, mode, k_rev, k_rev_lag, fft_size, None, None, None)
    taps = (k.shape[-1], 0 if k_rev is None else k_rev.shape[-1])
    problem = (*u.shape, *taps, MODES[mode], fft_size or 0, k_rev_lag, DTYPES[u.dtype], DTYPES[k.dtype])
    if u.device.type == "cpu":
        return _ops.describe(*problem)
    why = "there is no engine for such devices"
    if u.device.type == "cuda":
        why = _ops.why_not(*problem, u.device.index)
        if not why:
            why_backward = _ops.why_not(*problem, u.device.index, True)
            gradients = f"  gradients: by torch.fft; {why_backward}\n" if why_backward else ""
            return _ops.describe(*problem, u.device.index) + gradients
    n = fft_size if mode == "circular" else 2 * u.shape[-1]
    return (
        f"{mode} convolution {list(u.shape)} * {taps[0]} taps, {str(u.dtype)[6:]}, on {u.device}\n"
        f"  algorithm: real FFTs of {n} points by torch.fft\n"
        f"  why: {why}; same results, in several passes over memory\n"
    )
