"""`FlashFFTConv`: the interface of the reference implementation, for model code that uses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .functional import long_conv
from .problem import DTYPES, check_int

# Buffers that the reference saved in checkpoints; all of them are tables that we compute otherwise or not at all.
_REFERENCE_BUFFERS = (
    "f_sqrt_N_fft",
    "f_sqrt_N_ifft",
    "f_16_",
    "f_32_",
    "f_64_",
    "f_128_",
    "f_n_",
    "twiddle_factors_",
    "twid",
)


class FlashFFTConv(nn.Module):
    """Circular convolution of size `seqlen`; equal to a causal one when the inputs are at most half as long.

    Parameters
    ----------
    seqlen : int
        The FFT size N >= 1: inputs and filters may have up to N samples each.
    dtype : torch.dtype
        float16, bfloat16, float32 or float64. Kept for callers to read; a call computes in the dtype of its `u`.
    use_32_butterfly : bool
        Accepted for compatibility; without effect.

    Raises
    ------
    ValueError, TypeError
        If `seqlen` or `dtype` is none of those.
    """

    def __init__(self, seqlen: int, dtype: torch.dtype = torch.float16, use_32_butterfly: bool = True):
        super().__init__()
        check_int("seqlen", seqlen)
        if seqlen < 1:
            raise ValueError(f"seqlen is {seqlen}; it must be at least 1")
        if dtype not in DTYPES:
            raise TypeError(f"dtype is {dtype}; it must be float16, bfloat16, float32 or float64")
        self.seqlen = self.N = seqlen
        self.dtype = dtype
        self.use_32_butterfly = use_32_butterfly

    def forward(self, u: Tensor, k: Tensor, pregate: Tensor | None = None, postgate: Tensor | None = None) -> Tensor:
        """y = postgate * (k convolved with pregate * u), indices modulo `seqlen`, cropped to the length of `u`.

        Parameters
        ----------
        u, pregate, postgate : Tensor, [B, H, L]
            ``L <= seqlen``; gates of the dtype of `u`.
        k : Tensor, [H, Lk] or [1, H, Lk]
            ``Lk <= seqlen``, any floating dtype.

        Returns
        -------
        Tensor, [B, H, L], of the dtype of `u`.

        Raises
        ------
        ValueError, TypeError
            As `flashfftconv.long_conv`.
        """
        return long_conv(u, k, mode="circular", fft_size=self.seqlen, pregate=pregate, postgate=postgate)

    def extra_repr(self) -> str:
        return f"seqlen={self.seqlen}, dtype={self.dtype}"

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        for name in [name for name in state_dict if name.startswith(prefix)]:
            if name.removeprefix(prefix).startswith(_REFERENCE_BUFFERS):
                del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
