"""The interface of the reference implementation, for model code that uses it: long and short convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .functional import long_conv
from .problem import DTYPES, check_int, check_tensor, shape_of
from .short import short_conv

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


class FlashDepthWiseConv1d(nn.Module):
    """Depthwise convolution with a few taps a channel, `nn.Conv1d` with ``groups=channels``, in either layout.

    Parameters
    ----------
    channels : int
        d.
    kernel_size : int
        K >= 1, odd or even.
    padding : int or "causal"
        Zeros on both sides; outputs are ``L + 2 * padding - K + 1``. "causal": see `flashfftconv.short_conv`.
    weights : Tensor, [d, 1, K] or [d, K]
        As `nn.Conv1d` has them; copied into the parameter `weights`, [d, K] with `is_bhl`, else [K, d].
    bias : Tensor, [d], or None
        Copied into the parameter `bias`.
    is_bhl : bool
        Inputs and outputs are [B, d, L]; else [B, L, d].
    device, dtype
        Of the parameters; as `weights` and `bias` come if left out.

    Raises
    ------
    ValueError, TypeError
        If an argument is none of those; from a call, as `flashfftconv.short_conv`.

    Notes
    -----
    Loads its own checkpoints, the reference's, and those of `nn.Conv1d` (`weight`, [d, 1, K]).
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        padding: int | str,
        weights: Tensor,
        bias: Tensor | None,
        is_bhl: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        for name, value in (("channels", channels), ("kernel_size", kernel_size)):
            check_int(name, value)
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if padding != "causal":
            check_int("padding", padding, "an int or 'causal'")
            if padding < 0:
                raise ValueError(f"padding is {padding}; it must be at least 0")
        check_tensor("weights", weights)
        if weights.shape not in ((channels, kernel_size), (channels, 1, kernel_size)):
            raise ValueError(
                f"weights has shape {shape_of(weights)}; it must be [{channels}, 1, {kernel_size}] or "
                f"[{channels}, {kernel_size}]"
            )
        self.d, self.k, self.padding, self.is_bhl = channels, kernel_size, padding, is_bhl
        self.weights = nn.Parameter(self._own_order(weights.detach()).to(device, dtype, copy=True).contiguous())
        self.bias = None
        if bias is not None:
            check_tensor("bias", bias)
            if bias.shape != (channels,):
                raise ValueError(f"bias has shape {shape_of(bias)}; it must be [{channels}], or None")
            self.bias = nn.Parameter(bias.detach().to(device, dtype, copy=True).contiguous())

    def _own_order(self, weights: Tensor) -> Tensor:
        weights = weights.reshape(self.d, self.k)
        return weights if self.is_bhl else weights.t()

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of `input`, [B, d, L] or [B, L, d], in its dtype."""
        weights = self.weights if self.is_bhl else self.weights.t()
        bias = None if self.bias is None else self.bias.to(weights.dtype)
        return short_conv(input, weights, bias, self.padding, layout="bhl" if self.is_bhl else "blh")

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"{self.d}, kernel_size={self.k}, padding={self.padding}, bias={bias}, is_bhl={self.is_bhl}"

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        ours, theirs = f"{prefix}weights", f"{prefix}weight"
        if theirs in state_dict and ours not in state_dict:
            state_dict[ours] = state_dict.pop(theirs)
        given = state_dict.get(ours)
        if given is not None and given.shape == (self.d, 1, self.k):
            state_dict[ours] = self._own_order(given)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
